"""The marginal observer: what is left of a subhalo's signal when lens and source must be found from the same pixels.

Science notes, "What physics allows": take Δ/σ, the noiseless difference with and without the subhalo over the noise,
project out the tangent space of the smooth lens' and the source's parameters, and the norm of what is
left is d′. It is linearised, has flat priors, knows the subhalo's place and mass, and needs a parametric
source: a reference, not a strict ceiling.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config.cosmology import Cosmology
from ...config.subhalo import SubhaloDataset
from ...core.tables import Schema, open_table
from ...lensing.lens import MacroLens, Subhalos, deflection, join
from ...lensing.light import DiskLight
from ...lensing.observe import convolve, psf_kernel
from ...lensing.profiles import MAIN
from ...lensing.render import Grid
from ...stamps.columns import Columns, row_columns, take
from . import observation as obs
from .lights import closed_form, disk_light
from .population import draw_clumps
from .render import StampError, macro_lenses, report_progress, subhalos_at
from .schema import scalar_columns

log = logging.getLogger("darkhaloscope")

#: Parameters of the smooth lens that the observer must find (a power law with shear), by field of `MacroLens`.
MACRO = ("theta_e", "slope", "e1", "e2", "x", "y", "gamma1", "gamma2")
#: Multipoles that it must find too, as a cos mφ and a sin mφ, in stamps that have them: they imitate subhalos.
MULTIPOLES = (3, 4)
#: Parameters of the source that the observer must find, by field of `DiskLight`.
SOURCE = ("x", "y", "inclination", "pa", "scale_radius", "r_turn", "v_max", "v_sys", "flux")
#: Parameters of the bulge, in stamps that have one.
BULGE = ("bulge_fraction", "bulge_radius")
#: Parameters of each knot: its place, amplitude and size.
KNOT = ("knot_x", "knot_y", "knot_share", "knot_sigma")
#: Directions of the tangent space weaker than this share of the strongest are rounding, not parameters.
RANK_TOLERANCE = 1e-9
#: Images whose derivatives are computed at a time.
BATCH = 32


def marginal_d_prime(
    rows: pa.Table,
    dataset: SubhaloDataset,
    cosmology: Cosmology,
    look: Callable[[Columns, Whitened], None] | None = None,
) -> pd.DataFrame:
    """Return the ideal and the marginal observer's d′ of stamps with analytic sources.

    Parameters
    ----------
    rows : pyarrow.Table
        Rows of stamps (images are not needed): the manifest's columns, `subhalo_x_arcsec` and
        `subhalo_y_arcsec`. Rows with MaNGA sources have no parameters to find and are left out.
    dataset : SubhaloDataset
        The dataset that they belong to. Its background clumps, if any, count as known.
    cosmology : Cosmology
    look : callable, optional
        Shown each row and what was made of it: observers who know less begin there.

    Returns
    -------
    DataFrame
        stamp_id, ideal_d_prime_{flux,velocity,both}, marginal_d_prime_{flux,velocity,both}, n_parameters.

    Raises
    ------
    StampError
        The dataset's contrast is not about a subhalo.
    """
    if dataset.contrast == "lensed":
        raise StampError(
            "the marginal observer looks for a subhalo, which contrast `lensed` does not have: set marginal_stamps to 0 for it"
        )
    columns = row_columns(rows)
    columns = take(columns, np.flatnonzero(closed_form(columns)))
    progress = report_progress("marginal observers")
    out = []
    for row in range(len(columns["number"])):
        one = take(columns, np.array([row]))
        seen = whiten(one, dataset, cosmology)
        out.append({"stamp_id": str(one["stamp_id"][0]), **_observers(seen)})
        if look is not None:
            look(one, seen)
        progress(row + 1, len(columns["number"]))
    names = [f"{who}_d_prime_{what}" for who in ("ideal", "marginal") for what in ("flux", "velocity", "both")]
    return pd.DataFrame(out, columns=["stamp_id", *names, "n_parameters"])


def read_parametric(shards: Sequence[str | os.PathLike], n: int) -> pa.Table:
    """Return the first `n` rows with analytic sources over all shards, images left out.

    Stamps are drawn independently of their order, so the first ones are a fair sample.
    """
    names = [c.name for c in scalar_columns()]
    parts, found = [], 0
    for path in shards:
        if found >= n:
            break
        with open_table(path, Schema("stamps", scalar_columns())) as file:
            rows = file.read(columns=names)
        rows = rows.filter(closed_form(row_columns(rows.select(["source_kind"])))).slice(0, n - found)
        parts.append(rows)
        found += rows.num_rows
    if found < n:
        log.warning("%d stamps with analytic sources were asked for, the %d shards hold %d", n, len(shards), found)
    return pa.concat_tables(parts).combine_chunks()


def tangents(columns: Columns, dataset: SubhaloDataset, cosmology: Cosmology) -> tuple[NDArray, NDArray]:
    """Return the derivatives of one row's noiseless image, without subhalo, by lens and source parameters.

    Forward mode: each parameter is a row of a batch that is pushed along its own unit direction.

    Returns
    -------
    flux : (p, h, w), units of the image's peak per unit of the parameter
    velocity : (p, h/b, w/b), km/s per unit of the parameter
    """
    model = Model.of(columns, dataset, cosmology)
    values = model.start()
    count = values.shape[0]
    parts = []
    for start in range(0, count, BATCH):
        directions = torch.eye(count, dtype=values.dtype)[start : start + BATCH]
        _, pushed = torch.func.jvp(model.observe, (values.repeat(len(directions), 1),), (directions,))
        parts.append(pushed)
    return tuple(torch.cat(p).numpy() for p in zip(*parts, strict=True))


def residual_norm(signal: NDArray, directions: NDArray) -> float:
    """Return the norm of what is left of a signal after projecting out the span of some directions.

    Parameters
    ----------
    signal : (n,)
    directions : (p, n)
        They may depend on each other, or be zero.
    """
    return float(np.linalg.norm(residual(signal, directions)))


def residual(signal: NDArray, directions: NDArray) -> NDArray:
    """Return what is left of a signal (n,), or of several (n, s), after projecting out the span of directions (p, n)."""
    norm = np.linalg.norm(directions, axis=1)
    used = directions[norm > 0] / norm[norm > 0, None]
    _, strength, basis = np.linalg.svd(used, full_matrices=False)
    basis = basis[strength > RANK_TOLERANCE * strength.max(initial=0)]
    left = signal - basis.T @ (basis @ signal)
    return left - basis.T @ (basis @ left)


@dataclass(frozen=True)
class Whitened:
    """What one row's subhalo does to its pixels, and lens and source, all over the noise.

    `signal` (n,) and `directions` (p, n) by channel: flux has all pixels of the stamp, velocity those where it is measured (`good`, with
    errors `sigma_v`), both the ones after the other; `flux` (h, w) is the smooth lens' noiseless image, in which a pixel's noise is `sigma`.
    """

    model: Model
    flux: NDArray
    sigma: NDArray
    good: NDArray
    sigma_v: NDArray
    signal: dict[str, NDArray]
    directions: dict[str, NDArray]


def whiten(one: Columns, dataset: SubhaloDataset, cosmology: Cosmology) -> Whitened:
    """Return signal and tangent space of a single row, over its noise."""
    noise, snr, block = dataset.instrument.noise, float(one["peak_snr"][0]), dataset.instrument.velocity_block
    model = Model.of(one, dataset, cosmology)
    values = model.start()[None]
    flux, velocity = (a[0].numpy() for a in model.observe(values))
    subhalos = subhalos_at(one, one["subhalo_x_arcsec"], one["subhalo_y_arcsec"], torch.float64)
    flux_with, velocity_with = (a[0].numpy() for a in replace(model, subhalos=join(model.subhalos, subhalos)).observe(values))
    if dataset.contrast == "kinematics":
        flux_with = flux

    variance = obs.flux_variance(flux, snr, noise.background_share)
    errors = obs.velocity_errors(flux, variance, noise, block)
    good = errors.mask & (errors.sigma_v > 0)
    d_flux, d_velocity = tangents(one, dataset, cosmology)
    by_flux = d_flux.reshape(len(d_flux), -1) / np.sqrt(variance).ravel()
    by_velocity = d_velocity[:, good] / errors.sigma_v[good]
    delta_flux = ((flux_with - flux) / np.sqrt(variance)).ravel()
    delta_velocity = (velocity_with - velocity)[good] / errors.sigma_v[good]
    return Whitened(
        model=model,
        flux=flux,
        sigma=np.sqrt(variance),
        good=good,
        sigma_v=errors.sigma_v,
        signal={"flux": delta_flux, "velocity": delta_velocity, "both": np.concatenate([delta_flux, delta_velocity])},
        directions={"flux": by_flux, "velocity": by_velocity, "both": np.hstack([by_flux, by_velocity])},
    )


def _observers(seen: Whitened) -> dict[str, float]:
    return {
        **{f"ideal_d_prime_{c}": float(np.linalg.norm(signal)) for c, signal in seen.signal.items()},
        **{f"marginal_d_prime_{c}": residual_norm(signal, seen.directions[c]) for c, signal in seen.signal.items()},
        "n_parameters": len(seen.directions["flux"]),
    }


@dataclass(frozen=True)
class Model:
    """One row as a function of its free parameters."""

    lens: MacroLens
    light: DiskLight
    subhalos: Subhalos | None
    grid: Grid
    supersampling: int
    kernel: Tensor
    block: int
    knots: int
    peak: float

    @property
    def multipoles(self) -> tuple[int, ...]:
        """Orders of the multipoles that this row has."""
        return tuple(m for m in MULTIPOLES if float(getattr(self.lens, f"m{m}")[0]) != 0)

    @property
    def source(self) -> tuple[str, ...]:
        """Parameters of the source that this row has, knots left out."""
        return SOURCE + (BULGE if float(self.light.bulge_fraction[0]) > 0 else ())

    @classmethod
    def of(cls, one: Columns, dataset: SubhaloDataset, cosmology: Cosmology) -> Model:
        """Return the model of a single row, without its subhalo, in units of its own peak."""
        instrument = dataset.instrument
        grid = Grid(instrument.stamp_size, instrument.pixel_scale_arcsec)
        clumps, lens = draw_clumps(one, dataset, cosmology, torch.float64), macro_lenses(one, torch.float64)
        model = cls(
            # SIS and SIE are power laws of slope 2 (and ellipticity 0), but the observer does not know that. Any other profile is known;
            # what it does not have moves nothing, and so is no direction of the tangent space.
            lens=replace(lens, profile="epl") if MAIN[lens.profile].power_law else lens,
            light=disk_light(one, dataset, torch.float64),
            subhalos=None if clumps is None else clumps.halos,
            grid=grid,
            supersampling=dataset.rendering.supersampling,
            kernel=psf_kernel(instrument.psf, grid.pixel_scale, torch.float64),
            block=instrument.velocity_block,
            knots=int(one["disk_n_knots"][0]),
            peak=1.0,
        )
        return replace(model, peak=float(model.observe(model.start()[None])[0].max()) / float(one["smooth_peak"][0]))

    def start(self) -> Tensor:
        """Return the true values of the free parameters, (p,)."""
        parts = [getattr(self.lens, k) for k in MACRO]
        for m in self.multipoles:
            amplitude, phi = getattr(self.lens, f"m{m}"), getattr(self.lens, f"m{m}_phi")
            parts += [amplitude * torch.cos(m * phi), amplitude * torch.sin(m * phi)]
        parts += [getattr(self.light, k) for k in self.source]
        return torch.cat([*parts, *(getattr(self.light, k)[0, : self.knots] for k in KNOT)])

    def observe(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return flux (n, h, w) over the peak and block velocities (n, h/b, w/b) for parameters (n, p)."""
        n = len(values)
        lens, light = self._with(values)
        subhalos = self.subhalos and Subhalos(**{k: v.expand(n, -1) for k, v in vars(self.subhalos).items()})
        return self.record(self._shoot(light, lens, subhalos))

    def record(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """Return what an observer has, as `observe` does, of flux and first moment before the PSF, (n, 2, h, w)."""
        moments = convolve(moments, self.kernel)
        h, w = (s // self.block for s in moments.shape[-2:])
        blocks = moments.reshape(len(moments), 2, h, self.block, w, self.block).sum((3, 5))
        lit = blocks[:, 0] > obs.FAINTEST * self.peak * self.block**2
        velocity = torch.where(lit, blocks[:, 1] / torch.where(lit, blocks[:, 0], 1.0), 0.0)
        return moments[:, 0] / self.peak, velocity

    def _shoot(self, light: DiskLight, lens: MacroLens, subhalos: Subhalos | None) -> Tensor:
        """Flux and first moment before the PSF, (n, 2, h, w); the second moment is not observed here."""
        n = light.x.shape[0]
        x, y = self.grid.coordinates(torch.float64)
        steps = [((k + 0.5) / self.supersampling - 0.5) * self.grid.pixel_scale for k in range(self.supersampling)]
        total = 0.0
        for sy in steps:
            for sx in steps:
                px, py = (x + sx).expand(n, -1, -1), (y + sy).expand(n, -1, -1)
                ax, ay = deflection(lens, subhalos, px, py)
                total = total + light.moments(px - ax, py - ay)[:, :2]
        return total * (self.grid.pixel_scale / self.supersampling) ** 2

    def _with(self, values: Tensor) -> tuple[MacroLens, DiskLight]:
        n, used = len(values), 0
        lens = {k: v.expand(n) for k, v in vars(self.lens).items() if isinstance(v, Tensor)}
        light = {k: v.expand(n, *v.shape[1:]) for k, v in vars(self.light).items()}
        for name in MACRO:
            lens[name] = values[:, used]
            used += 1
        for m in self.multipoles:
            cosine, sine = values[:, used], values[:, used + 1]
            lens[f"m{m}"], lens[f"m{m}_phi"] = torch.hypot(cosine, sine), torch.atan2(sine, cosine) / m
            used += 2
        for name in self.source:
            light[name] = values[:, used]
            used += 1
        for name in KNOT:
            # Padding beyond the row's own knots stays dark.
            group = light[name][:, self.knots :]
            light[name] = torch.cat((values[:, used : used + self.knots], group), 1)
            used += self.knots
        return MacroLens(self.lens.profile, **lens), DiskLight(**light)
