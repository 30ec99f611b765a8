"""Stamps of the lens finder: real cutouts, the lensed source of positives added with its own Poisson noise, and measures.

Where nothing is injected a pixel keeps the cutout's bits. A stamp depends on its row and its cutout alone.
The source's magnitude is that of the unlensed source, in r as observed; its fluxes in g and z follow from its
colours. Positives whose cutout is not ok are not rendered.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ... import __version__
from ...config.legacysurvey import ZERO_POINT
from ...config.lensfinder import BANDS, PIXEL_SCALE_ARCSEC, LensFinderDataset
from ...core.random import row_keys, stream
from ...lensing.batching import one_thread
from ...lensing.products import half_light_radius
from ...stamps.columns import Columns, row_columns, take
from ...stamps.measures import arc_signal_to_noise
from ...surveys.legacysurvey.bricks import Cutout
from .light import READY, Lensed, Stills, lens_sources, psf_fwhm
from .schema import MANIFEST, MEASURES, stamp_schema

log = logging.getLogger("darkhaloscope")

#: Least share of an arc's light that falls on good pixels, for its measures to count.
LEAST_LIGHT_SEEN = 0.5
#: A lens never shows less of its source than there is; the stamp's edge and the renderer's accuracy take this much.
LEAST_MAGNIFICATION = 0.9
R = BANDS.index("r")
#: The host's core, and all of it that its size is measured in [arcsec].
CORE_ARCSEC, HOST_ARCSEC = 1.0, 4.0


class InjectionError(ValueError):
    """Stamps cannot be made; the message says which and why."""


def inject_rows(
    rows: pa.Table, dataset: LensFinderDataset, cutouts: Iterable[Cutout], stills: Stills, bands: Sequence[str] = BANDS
) -> pa.Table:
    """Make the stamps of some rows of a manifest.

    Parameters
    ----------
    rows : pyarrow.Table
        Schema `MANIFEST`.
    dataset : LensFinderDataset
    cutouts : one per row, in their order; read as they are needed
    stills : for each kind of source that is made of files, what gives a row's image (see `inputs.open_stills`)
    bands : what the cutouts hold in the places of g, r and z; column `bandset` says so

    Returns
    -------
    pyarrow.Table
        Schema `stamp_schema(size)`, in the order of `rows`.

    Raises
    ------
    InjectionError
        A kind of source has no images, or there are fewer cutouts than rows.
    SourceError
        A source's image cannot be used.
    """
    MANIFEST.check(rows.schema, "the rows to inject")
    columns = row_columns(rows)
    kinds = sorted({k for k in columns["source_kind"] if k} - {*stills, *READY})
    if kinds:
        raise InjectionError(
            f"rows have {' and '.join(kinds)} sources, but no images of such are given; set sources.mix and build the manifest again"
        )
    schema = stamp_schema(dataset.camera.stamp_size)
    supply, parts, done = iter(cutouts), [], 0
    with one_thread():
        while done < rows.num_rows:
            count = min(dataset.rendering.batch_size, rows.num_rows - done)
            batch = list(islice(supply, count))
            if len(batch) < count:
                raise InjectionError(f"there are {rows.num_rows} rows but only {done + len(batch)} cutouts")
            made = _batch(take(columns, slice(done, done + count)), batch, dataset, stills, "".join(bands))
            given = rows.slice(done, count)
            parts.append(schema.table({**{c.name: given.column(c.name).combine_chunks() for c in MANIFEST.columns}, **made}))
            done += count
    log.info(
        "%d stamps, %d of them with a cutout that is ok",
        done,
        sum(int(np.sum(p["cutout_ok"].to_numpy(zero_copy_only=False))) for p in parts),
    )
    return pa.concat_tables(parts)


def source_fluxes(columns: Mapping[str, NDArray]) -> NDArray:
    """Return the unlensed fluxes of the sources in g, r, z, (n, 3) nanomaggies; 0 for controls."""
    r = columns["mag_r"] + columns["src_dmag"]
    magnitudes = np.stack([r + columns["src_gr"], r, r - columns["src_rz"]], 1)
    return np.nan_to_num(10 ** (0.4 * (ZERO_POINT - magnitudes)), nan=0.0)


# --- one batch ---------------------------------------------------------------------------------


def _batch(columns: Columns, cutouts: list[Cutout], dataset: LensFinderDataset, stills: Stills, bandset: str) -> dict[str, object]:
    count, size = len(cutouts), dataset.camera.stamp_size
    ok = np.array([c.ok for c in cutouts])
    images = np.zeros((count, len(BANDS), size, size), np.float32)
    measures: dict[str, list] = {c.name: [None] * count for c in MEASURES}
    lit = np.flatnonzero(ok & (columns["label"] == 1))
    fwhm = psf_fwhm(np.stack([c.psfsize for c in cutouts]), dataset.camera)
    offset = np.array([(c.x_offset_arcsec, c.y_offset_arcsec) for c in cutouts])
    place = dict(zip(lit.tolist(), range(len(lit)), strict=True))
    keys = row_keys(columns["object_id"], columns["replicate"])
    # Several rows of one galaxy have one cutout.
    bare = {id(cutout): {**_plain(cutout, size), **_host(cutout)} for cutout in {id(c): c for c in cutouts}.values()}
    lensed = None
    if len(lit):
        lensed = lens_sources(take(columns, lit), offset[lit], fwhm[lit], dataset.camera, dataset.rendering.accuracy, stills)
        radius = half_light_radius(lensed.observed[:, R], offset[lit], PIXEL_SCALE_ARCSEC)
        fluxes = source_fluxes(take(columns, lit))
    for i, cutout in enumerate(cutouts):
        row = {**bare[id(cutout)], "bandset": bandset, **_widths(fwhm[i], float(columns["theta_e_arcsec"][i]))}
        if ok[i]:
            images[i] = cutout.image
        if i in place:
            k = place[i]
            signal = lensed.observed[k] * fluxes[k][:, None, None]
            light = detected_light(signal, dataset, int(keys[i]))
            # Pixels without light keep their bits.
            images[i] = np.where(light != 0, cutout.image + light, cutout.image)
            row |= _arc(signal, cutout, lensed, k, float(radius[k]), dataset)
        for name, value in row.items():
            measures[name][i] = value
    return {**measures, "image": images}


def detected_light(signal: NDArray, dataset: LensFinderDataset, key: int) -> NDArray[np.float32]:
    """Return noiseless light as the camera counts it: with its own Poisson noise.

    Parameters
    ----------
    signal : (3, h, w) nanomaggies
    dataset : LensFinderDataset
        Its seed and camera.
    key : the row's number for random draws
    """
    light = np.maximum(signal, 0.0)
    if dataset.camera.poisson:
        gain = np.array([dataset.camera.electrons_per_nanomaggy[b] for b in BANDS])[:, None, None]
        light = stream(dataset.seed, key, "arc noise").poisson(light * gain) / gain
    return light.astype(np.float32)


def _plain(cutout: Cutout, size: int) -> dict[str, object]:
    """Measures of a stamp without an arc."""
    sigma = [
        float(1 / np.sqrt(np.median(w[g]))) if cutout.ok and g.any() else None for w, g in zip(cutout.invvar, cutout.good, strict=True)
    ]
    return {
        "cutout_ok": cutout.ok,
        "cutout_reason": None if cutout.ok else cutout.reason,
        "bad_pixel_frac": cutout.bad_fraction,
        "host_x_arcsec": cutout.x_offset_arcsec if cutout.ok else None,
        "host_y_arcsec": cutout.y_offset_arcsec if cutout.ok else None,
        **{f"sky_sigma_{b}": s for b, s in zip(BANDS, sigma, strict=True)},
        **{c.name: 0.0 for c in MEASURES if c.name.startswith(("arc_snr", "total_injected_flux"))},
        "physics_valid": cutout.ok,
        "metrics_ok": cutout.ok,
        "stamp_size": size,
        "pipeline_version": __version__,
    }


def _host(cutout: Cutout) -> dict[str, float | None]:
    """Measures of the host before anything is injected: what must not tell positives from controls."""
    names = (*(f"host_core_flux_{b}" for b in BANDS), "host_size_arcsec")
    if not cutout.ok:
        return dict.fromkeys(names)
    axis = (np.arange(cutout.image.shape[1]) - (cutout.image.shape[1] - 1) / 2) * PIXEL_SCALE_ARCSEC
    radius = np.hypot(axis[:, None] - cutout.y_offset_arcsec, axis[None, :] - cutout.x_offset_arcsec)
    core = np.where(radius <= CORE_ARCSEC, cutout.image, 0).sum((1, 2), dtype=np.float64)
    near = np.flatnonzero(radius <= HOST_ARCSEC)
    order = near[np.argsort(radius.ravel()[near], kind="stable")]
    light = np.cumsum(np.nan_to_num(cutout.image[R].ravel()[order]), dtype=np.float64)
    half = float(radius.ravel()[order[np.argmax(light >= 0.5 * light[-1])]])
    return dict(zip(names, (*core.tolist(), half), strict=True))


def _widths(fwhm: NDArray, theta_e: float) -> dict[str, float | None]:
    known = [float(f) if f > 0 else None for f in fwhm]
    ratio = None if known[R] is None else theta_e / known[R]
    return {**{f"psf_fwhm_used_{b}": f for b, f in zip(BANDS, known, strict=True)}, "theta_over_psf": ratio}


def _arc(signal: NDArray, cutout: Cutout, lensed: Lensed, k: int, radius: float, dataset: LensFinderDataset) -> dict[str, object]:
    row: dict[str, object] = {}
    for i, band in enumerate(BANDS):
        snr = arc_signal_to_noise(signal[i], cutout.invvar[i], cutout.good[i])
        row |= {name if band == "r" else f"{name}_{band}": value for name, value in snr.items()}
        row[f"total_injected_flux_{band}"] = float(signal[i].sum())
    measured = {
        "flux_closure": float(lensed.closure[k]),
        "lensed_hlr_arcsec": radius,
        "magnification": float(lensed.magnification[k]),
        "tangential_stretch": float(lensed.tangential[k]),
        "radial_stretch": float(lensed.radial[k]),
    }
    finite = all(math.isfinite(v) for v in (*row.values(), *measured.values()))
    seen = float(signal[R][cutout.good[R]].sum()) >= LEAST_LIGHT_SEEN * row["total_injected_flux_r"]
    valid = finite and measured["flux_closure"] <= dataset.gates.flux_closure and measured["magnification"] >= LEAST_MAGNIFICATION
    return {**row, **measured, "physics_valid": valid, "metrics_ok": finite and seen}
