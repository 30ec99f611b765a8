"""Rows of the manifest in, stamps out: the noiseless pair, placement, noise, masks, measures, ideal observer.

A stamp depends on its row alone: rows are computed in whole blocks, one kind of source at a time, by one
thread (more cores render more shards), and every random number comes from the row's own stream, so that
shards, batches and threads change no bit.

Every measure (arc S/N, magnification, distances, d′) is taken from the smooth lens in both classes, so
that a stratum made of it cannot know the label. Where the label is the lens itself (contrast `lensed`)
there is no such image: there, they describe the row's own noiseless image.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config.cosmology import Cosmology
from ...config.sources import MOVING
from ...config.subhalo import Rendering, SubhaloDataset
from ...lensing.batching import BLOCK, one_thread
from ...lensing.engine import Lensing, render_together
from ...lensing.lens import CriticalCurve, MacroLens, Subhalos, critical_curve, join
from ...lensing.light import DiskLight, PixelLight
from ...lensing.observe import convolve, psf_kernel
from ...lensing.products import count_images, half_light_radius, stretches
from ...lensing.profiles import codes
from ...lensing.render import Grid
from ...sources.moving import KINDS
from ...stamps.columns import Columns, row_columns, shear_components, source_position, take
from ...stamps.measures import arc_signal_to_noise
from . import observation as obs
from . import placement
from .lights import UNUSED, lights, source_fwhm_arcsec
from .population import draw_clumps
from .schema import MANIFEST, MEASURES, PLACE, pair_images, pair_schema, stamp_images, stamp_schema

log = logging.getLogger("darkhaloscope")

Progress = Callable[[int, int], None]
Light = PixelLight | DiskLight
DTYPE = torch.float32
#: Accuracy of an image that only says where light is.
ROUGH = 1e-2
#: Seconds between two lines of progress.
REPORT_EVERY_S = 10.0


class StampError(ValueError):
    """A stamp cannot be made; the message names it and says what to do."""


def render_rows(rows: pa.Table, dataset: SubhaloDataset, bank: pa.Table | None, cosmology: Cosmology) -> pa.Table:
    """Render the stamps of some rows of a manifest; a line with rate and time left is logged every ten seconds.

    Parameters
    ----------
    rows : pyarrow.Table
        Rows of the `MANIFEST` schema, any of them in any order.
    dataset : SubhaloDataset
        The dataset that the manifest was built from.
    bank : pyarrow.Table or None
        Bank of MaNGA sources; None where no row needs one.
    cosmology : Cosmology

    Returns
    -------
    pyarrow.Table
        Schema `stamp_schema(size)`, in the order of `rows`.

    Raises
    ------
    StampError
        A row needs a bank that is not given, or has no light in its stamp.
    SourceError
        The bank lacks a galaxy or its maps are not finite.
    """
    MANIFEST.check(rows.schema, "the rows to render")
    columns = row_columns(rows.select([c.name for c in MANIFEST.columns]))
    count, size = rows.num_rows, dataset.instrument.stamp_size
    out = {c.name: np.zeros((count, size, size), c.dtype) for c in stamp_images(size)}
    out |= {c.name: np.zeros(count) for c in MEASURES}
    progress = report_progress()
    done = 0
    with one_thread():
        for index, chunk, light in _chunks(columns, dataset, bank, cosmology):
            for place, stamp in zip(index, _render_chunk(chunk, light, dataset, cosmology, len(index)), strict=True):
                for name, value in stamp.items():
                    out[name][place] = value
            done += len(index)
            progress(done, count)
    out["source_fwhm_arcsec"] = source_fwhm_arcsec(columns, dataset, bank, cosmology)
    return stamp_schema(size).table({**{c.name: rows.column(c.name).combine_chunks() for c in MANIFEST.columns}, **out})


def render_pairs(rows: pa.Table, dataset: SubhaloDataset, bank: pa.Table | None, cosmology: Cosmology) -> pa.Table:
    """Render what a control and a positive of each row show without noise, for networks that draw the noise while they train.

    Parameters, order and errors are those of `render_rows`.

    Returns
    -------
    pyarrow.Table
        Schema `pair_schema(size)`.

    Raises
    ------
    StampError
        Also where the two classes of the dataset are not the same lens.
    """
    if dataset.contrast == "lensed":
        raise StampError("contrast `lensed` has no pairs: its classes are not one lens with and without a subhalo; leave out `pairs`")
    MANIFEST.check(rows.schema, "the rows to render")
    rows = rows.select([c.name for c in MANIFEST.columns])
    size, count, done = dataset.instrument.stamp_size, rows.num_rows, 0
    out = {c.name: np.zeros((count, size, size), c.dtype) for c in pair_images(size)} | {c.name: np.zeros(count) for c in PLACE}
    progress = report_progress("pairs")
    with one_thread():
        for index, found in _pairs(rows, dataset, bank, cosmology):
            for name, values in found.items():
                out[name][index] = values
            done += len(index)
            progress(done, count)
    return pair_schema(size).table({**{c.name: rows.column(c.name).combine_chunks() for c in MANIFEST.columns}, **out})


def noiseless_pairs(rows: pa.Table, dataset: SubhaloDataset, bank: pa.Table | None, cosmology: Cosmology) -> dict[str, NDArray]:
    """Return what a control and a positive of each row would show without noise, for pictures.

    Parameters are those of `render_rows`.

    Returns
    -------
    dict
        `smooth_flux`, `perturbed_flux` in units of the peak and `smooth_velocity`, `perturbed_velocity` in km/s,
        (n, size, size) each; velocities are NaN where the smooth lens shows none.
    """
    rows = rows.select([c.name for c in MANIFEST.columns])
    snr = rows.column("peak_snr").to_numpy()
    size, noise, block = dataset.instrument.stamp_size, dataset.instrument.noise, dataset.instrument.velocity_block
    out = {c.name: np.zeros((rows.num_rows, size, size), np.float32) for c in pair_images(size)}
    for index, found in _pairs(rows, dataset, bank, cosmology):
        for row, place in enumerate(index):
            flux = found["smooth_flux"][row]
            mask = obs.velocity_errors(flux, obs.flux_variance(flux, snr[place], noise.background_share), noise, block).mask
            for name in out:
                image = found[name][row]
                out[name][place] = np.where(obs.spread(mask, block), image, np.nan) if name.endswith("velocity") else image
    return out


def report_progress(what: str = "stamps") -> Progress:
    """Return a progress function that logs count, rate and time left every `REPORT_EVERY_S` seconds, and at the end."""
    start = time.monotonic()
    last = [start]

    def report(done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] < REPORT_EVERY_S and done < total:
            return
        last[0] = now
        rate = done / max(now - start, 1e-9)
        log.info("%d of %d %s, %.1f per second, %.0f s left", done, total, what, rate, (total - done) / max(rate, 1e-9))

    return report


# --- chunks ------------------------------------------------------------------------------------


def _chunks(columns: Columns, dataset: SubhaloDataset, bank: pa.Table | None, cosmology: Cosmology):
    """Yield indices of rows, their columns filled up to whole blocks with the last of them, and their light."""
    for name in [k for k, kind in MOVING.items() if kind.needs == "sample" and KINDS[k].maps]:
        rows = columns["source_kind"] == name
        if rows.any() and bank is None:
            raise StampError(
                f"stamp {columns['stamp_id'][rows][0]} has a {name} source, but there is no bank of sources: name a sample in sources.sample"
            )
    batch = math.ceil(dataset.rendering.batch_size / BLOCK) * BLOCK
    for group, light in lights(columns, dataset, bank, cosmology, DTYPE):
        for start in range(0, len(group), batch):
            index = group[start : start + batch]
            chunk = take(columns, np.concatenate([index, np.full(-len(index) % BLOCK, index[-1])]))
            yield index, chunk, light(chunk)


def _pairs(rows: pa.Table, dataset: SubhaloDataset, bank: pa.Table | None, cosmology: Cosmology):
    """Yield indices of rows with the images of their noiseless pairs, (m, size, size) float64, and the subhalos' places (m,)."""
    block = dataset.instrument.velocity_block
    for index, chunk, light in _chunks(row_columns(rows), dataset, bank, cosmology):
        seen = _seen(chunk, light, dataset, cosmology)
        pairs = [_noiseless(chunk, row, seen.pair, dataset) for row in range(len(index))]
        found = {c.name: seen.measures[c.name][: len(index)] for c in PLACE}
        for k, name in enumerate(("smooth", "perturbed")):
            found[f"{name}_flux"] = np.stack([pair[k].flux for pair in pairs])
            found[f"{name}_velocity"] = np.stack([obs.spread(pair[k].block_velocity, block) for pair in pairs])
        yield index, found


# --- the renderers -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Engine:
    """This package's engine: to the accuracy that is asked for, with rays where the image needs them.

    Images are those of n rows before the PSF, moment planes (n, 3, size, size) in flux per pixel. The smooth lens includes the
    background clumps, where there are any.
    """

    light: Light
    lens: MacroLens
    clumps: Subhalos | None
    grid: Grid
    kernel: Tensor
    rendering: Rendering

    def rough(self) -> Tensor:
        """Through the smooth lens, to see where light is."""
        return self._images([(self.lens, self.clumps)], max(self.rendering.accuracy, ROUGH))[0]

    def smooth(self) -> Tensor:
        """Through the smooth lens."""
        return self._images([(self.lens, self.clumps)], self.rendering.accuracy)[0]

    def pair(self, subhalos: Subhalos) -> tuple[Tensor, Tensor]:
        """Through the smooth lens, and through it and subhalos, with the same rays."""
        lensings = [(self.lens, self.clumps), (self.lens, join(self.clumps, subhalos))]
        smooth, perturbed = self._images(lensings, self.rendering.accuracy)
        return smooth, perturbed

    def unlensed(self) -> Tensor:
        """The source itself."""
        return self._images([(None, None)], self.rendering.accuracy)[0]

    def _images(self, lensings: Sequence[Lensing], accuracy: float) -> list[Tensor]:
        return render_together(self.light, lensings, self.grid, accuracy, self.kernel if self.kernel.numel() > 1 else None)


class Lenstronomy(Engine):
    """The slow reference: lenstronomy's ray shooting, row by row, with `supersampling` rays on a side of each pixel."""

    @cached_property
    def _smooth(self) -> Tensor:
        return super().smooth()

    def rough(self) -> Tensor:
        """Through the smooth lens."""
        return self._smooth

    def smooth(self) -> Tensor:
        """Through the smooth lens, rendered once."""
        return self._smooth

    def pair(self, subhalos: Subhalos) -> tuple[Tensor, Tensor]:
        """Through the smooth lens, and through it and subhalos."""
        return self._smooth, self._images([(self.lens, join(self.clumps, subhalos))], self.rendering.accuracy)[0]

    def _images(self, lensings: Sequence[Lensing], accuracy: float) -> list[Tensor]:
        # Here, since every job would wait for lenstronomy's import otherwise.
        from ...lensing.reference import render_with_lenstronomy

        return [render_with_lenstronomy(self.light, *lensing, self.grid, self.rendering.supersampling) for lensing in lensings]


#: By their names in `rendering.renderer`.
RENDERERS = {"torch": Engine, "lenstronomy": Lenstronomy}


# --- lenses of rows ----------------------------------------------------------------------------


def macro_lenses(columns: Columns, dtype: torch.dtype) -> MacroLens:
    """Return the smooth lenses of rows that share one profile."""

    def tensor(values: NDArray) -> Tensor:
        return torch.as_tensor(np.array(values, float)).to(dtype)

    e, phi = columns["lens_e"], columns["lens_phi_rad"]
    gamma1, gamma2 = shear_components(columns)
    return MacroLens(
        profile=str(columns["lens_profile"][0]),
        theta_e=tensor(columns["theta_e_arcsec"]),
        slope=tensor(columns["lens_slope"]),
        e1=tensor(e * np.cos(2 * phi)),
        e2=tensor(e * np.sin(2 * phi)),
        x=tensor(columns["lens_x_arcsec"]),
        y=tensor(columns["lens_y_arcsec"]),
        gamma1=tensor(gamma1),
        gamma2=tensor(gamma2),
        m3=tensor(columns["multipole_m3"]),
        m3_phi=tensor(columns["multipole_m3_phi_rad"]),
        m4=tensor(columns["multipole_m4"]),
        m4_phi=tensor(columns["multipole_m4_phi_rad"]),
    )


def subhalos_at(columns: Columns, x: NDArray, y: NDArray, dtype: torch.dtype) -> Subhalos:
    """Return the one (phantom) subhalo of each row, placed at (x, y) arcsec."""

    def tensor(values: NDArray) -> Tensor:
        values = np.asarray(values, float)
        return torch.as_tensor(np.where(np.isnan(values), UNUSED, values)).to(dtype)[:, None]

    return Subhalos(
        kind=torch.as_tensor([codes()[p] for p in columns["subhalo_profile"]])[:, None],
        x=tensor(x),
        y=tensor(y),
        theta_e=tensor(columns["subhalo_theta_e_arcsec"]),
        r_s=tensor(columns["subhalo_rs_arcsec"]),
        alpha_rs=tensor(columns["subhalo_alpha_rs_arcsec"]),
        r_t=tensor(columns["subhalo_rt_arcsec"]),
    )


# --- one chunk ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    """PSF-convolved moments of what the two classes show, (n, 3, h, w) each."""

    control: NDArray
    positive: NDArray


@dataclass(frozen=True)
class _Seen:
    """The noiseless pair of each row, the flux behind the PSF that places and distances refer to, and measures (n,)."""

    pair: _Pair
    flux: NDArray
    measures: dict[str, NDArray]


def _render_chunk(columns: Columns, light: Light, dataset: SubhaloDataset, cosmology: Cosmology, count: int):
    """Yield the images and measures of the first `count` rows of a chunk; the rest is padding."""
    seen = _seen(columns, light, dataset, cosmology)
    x, y = seen.measures["subhalo_x_arcsec"], seen.measures["subhalo_y_arcsec"]
    for row in range(count):
        yield {
            **_stamp(columns, row, seen.pair, dataset),
            **{name: values[row] for name, values in seen.measures.items()},
            "subhalo_arc_distance_arcsec": placement.distance_to_arc(x[row], y[row], seen.flux[row], dataset.instrument.pixel_scale_arcsec),
        }


def _seen(columns: Columns, light: Light, dataset: SubhaloDataset, cosmology: Cosmology) -> _Seen:
    grid = Grid(dataset.instrument.stamp_size, dataset.instrument.pixel_scale_arcsec)
    curve = critical_curve(macro_lenses(columns, torch.float64))
    clumps = draw_clumps(columns, dataset, cosmology, DTYPE)
    kernel = psf_kernel(dataset.instrument.psf, grid.pixel_scale, DTYPE)
    lens, background = macro_lenses(columns, DTYPE), None if clumps is None else clumps.halos
    renderer = RENDERERS[dataset.rendering.renderer](light, lens, background, grid, kernel, dataset.rendering)

    rough = convolve(renderer.rough(), kernel).numpy()
    _check_light(columns, rough)
    x, y = placement.places(columns, rough[:, 0], curve, dataset)
    if dataset.contrast == "lensed":
        control, positive = renderer.unlensed(), renderer.smooth()
        lensed = positive
    else:
        control, positive = renderer.pair(subhalos_at(columns, x, y, DTYPE))
        lensed = control
    pair = _Pair(convolve(control, kernel).numpy(), convolve(positive, kernel).numpy())
    measures = _products(columns, light, lensed[:, 0].double(), pair, curve, dataset)
    measures |= {
        "subhalo_x_arcsec": x,
        "subhalo_y_arcsec": y,
        "subhalo_critical_distance_arcsec": curve.distance(torch.as_tensor(x), torch.as_tensor(y)).numpy(),
        "critical_radius_arcsec": curve.radius.numpy(),
        "clump_count": np.zeros(len(x)) if clumps is None else clumps.count,
        "clump_mass_msun": np.zeros(len(x)) if clumps is None else clumps.mass_msun,
    }
    return _Seen(pair, rough[:, 0], measures)


def _products(
    columns: Columns, light: Light, lensed: Tensor, pair: _Pair, curve: CriticalCurve, dataset: SubhaloDataset
) -> dict[str, NDArray]:
    """What the smooth lens did to the source; where the label is the lens, what was done to what a row shows."""
    lens = macro_lenses(columns, torch.float64)
    grid = Grid(dataset.instrument.stamp_size, dataset.instrument.pixel_scale_arcsec)
    place = source_position(columns, columns["lens_x_arcsec"], columns["lens_y_arcsec"])
    source = (torch.as_tensor(np.array(v, float)) for v in place)
    tangential, radial = stretches(lens, lensed, grid)
    out = {
        "magnification": lensed.sum((1, 2)) / _total_flux(light).double(),
        "tangential_stretch": tangential,
        "radial_stretch": radial,
        "image_count": count_images(lens, curve, *source),
    }
    out = {name: values.numpy() for name, values in out.items()}
    shown = pair.control[:, 0]
    if dataset.contrast == "lensed":
        label = columns["label"] == 1
        shown = np.where(label[:, None, None], pair.positive[:, 0], shown)
        out = {name: np.where(label, values, 1.0) for name, values in out.items()}
    centre = np.stack([columns["lens_x_arcsec"], columns["lens_y_arcsec"]], 1).astype(float)
    return out | {"lensed_hlr_arcsec": half_light_radius(shown.astype(float), centre, grid.pixel_scale)}


def _stamp(columns: Columns, row: int, pair: _Pair, dataset: SubhaloDataset) -> dict[str, object]:
    """Return the images of one row, and the measures that come from its light."""
    instrument, noise = dataset.instrument, dataset.instrument.noise
    block, snr = instrument.velocity_block, float(columns["peak_snr"][row])
    label, number = bool(columns["label"][row]), int(columns["number"][row])
    without, having = _noiseless(columns, row, pair, dataset)
    shown = having if label else without
    # Label-blind where the label allows it: the smooth lens stands for both classes.
    reference = shown if dataset.contrast == "lensed" else without
    flux = obs.noisy_flux(shown.flux, snr, noise.background_share, dataset.seed, number) if noise.flux else shown.flux
    seen = obs.images_of(flux, shown, reference, snr, instrument, dataset.seed, number)
    d_flux, d_velocity = obs.d_primes(without, having, snr, noise, block, dataset.contrast)
    return {
        **seen,
        **arc_signal_to_noise(reference.flux, 1 / obs.flux_variance(np.zeros_like(reference.flux), snr, noise.background_share)),
        "flux_noise": np.sqrt(noise.background_share) / snr,
        "mask_fraction": seen["mask"].mean(),
        "d_prime_flux": d_flux,
        "d_prime_velocity": d_velocity,
        "d_prime_both": np.hypot(d_flux, d_velocity),
    }


def _noiseless(columns: Columns, row: int, pair: _Pair, dataset: SubhaloDataset) -> tuple[obs.Noiseless, obs.Noiseless]:
    peak, block = float(columns["smooth_peak"][row]), dataset.instrument.velocity_block
    return obs.noiseless_pair(pair.control[row], pair.positive[row], peak, block, dataset.contrast)


def _total_flux(light: Light) -> Tensor:
    """Flux of the unlensed source over its whole extent, (n,)."""
    return light.flux if light.flux.ndim == 1 else light.flux[:, 0]


def _check_light(columns: Columns, smooth: NDArray) -> None:
    peak = smooth[:, 0].max(axis=(1, 2))
    bad = ~(np.isfinite(smooth).all(axis=(1, 2, 3)) & (peak > 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise StampError(
            f"stamp {columns['stamp_id'][row]} has {'no light' if np.isfinite(peak[row]) else 'values that are not finite'} in its field "
            f"(θ_E {columns['theta_e_arcsec'][row]:.3g} arcsec, source at {columns['src_x_arcsec'][row]:.3g}, {columns['src_y_arcsec'][row]:.3g} from the lens): "
            "enlarge the stamp, or bring the source nearer to the lens (sources.offset_arcsec)"
        )
