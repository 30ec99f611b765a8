"""One observed lens, from its images to its rows in the tables."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from ...config.cosmology import Cosmology
from ...config.evidence import MassFunction
from ...config.observed import Observed
from ...core.tables import Column
from ...lensing.lens import critical_curve
from ...surveys.observed import ObservedLens, published, read_lens
from ..evidence.sensitivity import MassSteps, least_mass, mass_steps
from .arcs import NoArcs
from .fit import ObservedFit, fit_lens
from .schema import MAPS, MASS, PROMISES, SOURCE_SIZE, TRIALS, lens_columns, lens_schema
from .subhalos import Looker, Trial

log = logging.getLogger("darkhaloscope")


def look_at_lens(folder: str | Path, settings: Observed, mass_function_of: MassFunction, cosmology: Cosmology) -> tuple[pa.Table, pa.Table]:
    """Return the row of a lens and its trials, in the schemas of `lens_schema` and `TRIALS`.

    A lens without arcs has a row that says so, and no trials.
    """
    lens = read_lens(folder, settings)
    for text in lens.missing:
        log.info("%s: %s", lens.name, text)
    row = {c.name: nothing(c) for c in lens_columns()}
    z_lens, z_source = redshifts(lens, settings)
    row |= {"lens": lens.name, "missing": "; ".join(lens.missing), "z_lens": z_lens, "z_source": z_source}
    row |= {"theta_e_published_arcsec": published(lens.name, settings).get("theta_e", np.nan)}
    maps = {name: np.full((settings.shown,) * 2, np.nan, np.float32) for name in MAPS}
    source, trials = np.full((SOURCE_SIZE,) * 2, np.nan, np.float32), []
    try:
        fit = fit_lens(lens, settings.fit)
    except NoArcs as error:
        log.warning("%s", error)
        row["flags"] = "no arcs found"
    else:
        found = fitted_row(fit, settings)
        clock = time.process_time()
        looker = Looker(fit, settings.subhalos, cosmology, (z_lens, z_source))
        seen, pictures, depth = scan_row(looker, mass_function_of)
        trials = looker.trials(depth)
        seen |= halo_row(looker, trials)
        row |= {**found, **seen, "seconds_subhalos": time.process_time() - clock}
        pictures |= fit_maps(looker)
        maps = {name: shown(image, fit, settings.shown) for name, image in pictures.items()}
        source, row["source_arcsec"] = source_picture(fit)
    schema = lens_schema(settings.shown)
    values = {**row, **maps, "source": source}
    table = schema.table({c.name: values[c.name][None] if c.shape else [values[c.name]] for c in schema.columns})
    return table, TRIALS.table(trial_columns(lens.name, trials, looker if trials else None))


def nothing(column: Column) -> object:
    """Return what a column holds of a lens that could not be fitted."""
    if column.shape:
        return np.full(column.shape, np.nan)
    return {"string": "", "bool": False, "int64": 0}.get(column.dtype, np.nan)


def trial_columns(name: str, trials: list[Trial], looker: Looker | None) -> dict[str, list]:
    """Return the columns of `TRIALS`."""
    rows = []
    for t in trials:
        x0, y0 = looker.fit.pixels.x0, looker.fit.pixels.y0
        found = (t.found.x + x0, t.found.y + y0, looker.log10_mass(t.found))
        rows.append((name, t.kind, t.log10_mass_msun, t.x + x0, t.y + y0, t.promised, t.found.z, *found, t.distance, t.negative, t.z_map))
    return {c.name: [row[k] for row in rows] for k, c in enumerate(TRIALS.columns)}


def redshifts(lens: ObservedLens, settings: Observed) -> tuple[float, float]:
    """Return the redshifts of lens and source, the config's where they are unknown."""
    known = np.isfinite(lens.z_lens + lens.z_source)
    return (lens.z_lens, lens.z_source) if known else (settings.z_lens, settings.z_source)


def fitted_row(fit: ObservedFit, settings: Observed) -> dict[str, object]:
    """Return the columns of the fit."""
    values = dict(zip(fit.prior.names, fit.values.tolist(), strict=True))
    errors = dict(zip(fit.prior.names, fit.errors.tolist(), strict=True))
    values |= {"x": values["x"] + fit.pixels.x0, "y": values["y"] + fit.pixels.y0}
    e = float(np.hypot(values["e1"], values["e2"]))
    light = float(np.hypot(fit.galaxy.e1, fit.galaxy.e2))
    flags = []
    if fit.chi2 > settings.fit.good_chi2:
        flags.append(f"χ² per bin {fit.chi2:.2f}")
    if not fit.converged:
        flags.append("not converged")
    if fit.focus > settings.fit.focus:
        flags.append("arcs are not brought together")
    if not fit.arcs.two_sided:
        flags.append("light on one side of the galaxy only")
    pulls = np.abs(fit.prior.offset(fit.values[None])[0].numpy())
    if pulls.max() > settings.fit.most_widths:
        flags.append(f"{fit.prior.names[int(pulls.argmax())]} {pulls.max():.1f} widths from the mean of its prior")
    return {
        "flags": "; ".join(flags),
        "good": not flags,
        "theta_e_effective_arcsec": float(critical_curve(fit.prior.lens(fit.values[None])).radius),
        "q": (1 - e) / (1 + e),
        "angle_deg": float(np.degrees(0.5 * np.arctan2(values["e2"], values["e1"]))) % 180,
        "shear": float(np.hypot(values["gamma1"], values["gamma2"])),
        **{f"fit_{name}": values[name] for name in MASS},
        **{f"fit_{name}_error": errors[name] for name in MASS},
        "light_q": (1 - light) / (1 + light),
        "chi2": fit.chi2,
        "focus": fit.focus,
        "rival": float(fit.rivals[0]) if len(fit.rivals) else np.nan,
        "converged": fit.converged,
        "bins": len(fit.pixels.channel.data),
        "rays": len(fit.pixels.channel.x),
        "kernel_amplitude": float(fit.kernel.amplitude[0, 0]),
        "kernel_length": float(fit.kernel.length[0, 0]),
        "source_size_arcsec": float(fit.size),
        **{f"seconds_{name}": value for name, value in fit.seconds.items()},
    }


def scan_row(looker: Looker, mass_function_of: MassFunction) -> tuple[dict[str, object], dict[str, NDArray], NDArray]:
    """Return the columns of the linear scan of the observed image, its maps (h, w), and the z (m, k) that it promises."""
    fit, settings = looker.fit, looker.settings
    scan, depth = looker.scan()
    limit = least_mass(depth, looker.masses, settings.threshold)
    population = mass_steps(mass_function_of, looker.masses, looker.critical)
    area = (settings.place_step * fit.lens.scale) ** 2
    seen = limit[np.isfinite(limit)]
    row = {
        "least_log10_mass": float(seen.min()) if len(seen) else np.nan,
        "median_log10_mass": float(np.median(seen)) if len(seen) else np.nan,
        "seen_share": len(seen) / len(limit),
        "halos": halos_by_promise(depth, looker.masses, population, area),
    }
    return row, {"z": _cells(looker, scan.z[looker.searched]), "limit": _cells(looker, limit)}, depth


def halos_by_promise(depth: NDArray, log10_mass: NDArray, halos: MassSteps, area: float) -> NDArray:
    """Return how many subhalos of a mass function have a promised z within the edges of `PROMISES`.

    Parameters
    ----------
    depth : (m, k), promised z of m increasing masses at k places
    log10_mass : (m,)
    halos : MassSteps between these masses
    area : float, arcsec² that each place stands for
    """
    between = np.array([np.interp(halos.log10_mass, log10_mass, d) for d in depth.T])
    return np.histogram(between, PROMISES, weights=np.broadcast_to(halos.number * area, between.shape))[0]


def halo_row(looker: Looker, trials: list[Trial]) -> dict[str, float]:
    """Return the columns of the halo that is found in the observed image, and how often controls have a greater z."""
    seen = next(t for t in trials if t.kind == "observed")
    controls = [t.found.z for t in trials if t.kind == "control"]
    found, (strength, x, y) = seen.found, seen.found.errors
    return {
        "z_max": found.z,
        "z_negative": seen.negative,
        "z_map": seen.z_map,
        "false_alarm": (sum(z >= found.z for z in controls) + 1) / (len(controls) + 1),
        "found_x_arcsec": found.x + looker.fit.pixels.x0,
        "found_x_error_arcsec": x,
        "found_y_arcsec": found.y + looker.fit.pixels.y0,
        "found_y_error_arcsec": y,
        "found_log10_mass": looker.log10_mass(found),
        # A halo of no mass has no logarithm, and no error of it.
        "found_log10_mass_error": strength / abs(found.strength) / math.log(10) if found.strength else np.nan,
        "found_log_ratio": found.log_ratio,
    }


def fit_maps(looker: Looker) -> dict[str, NDArray]:
    """Return data, model and residual of a fit as images (h, w)."""
    fit = looker.fit
    batch, solved = fit.batch, fit.linear.solved
    galaxy = batch.light[0] @ (batch.light[0].T @ solved.weights[0])
    data, model = batch.data[0] - galaxy, looker.smooth() - galaxy
    residual = (data - model) / batch.variance[0].sqrt()
    return {name: fit.pixels.image(values.numpy()) for name, values in (("data", data), ("model", model), ("residual", residual))}


def source_picture(fit: ObservedFit) -> tuple[NDArray, float]:
    """Return the source as found about its bright part, (`SOURCE_SIZE`, `SOURCE_SIZE`), and its side [arcsec]."""
    batch, solved = fit.batch, fit.linear.solved
    u, beta = batch.project(solved.weights.float()[..., None])[0], solved.beta[0]
    weight = (solved.covariance[0] @ u)[:, 0].clamp(min=0) ** 2
    centre = (weight[:, None] * beta).sum(0) / weight.sum()
    spread = float(((weight * (beta - centre).square().sum(1)).sum() / weight.sum()).sqrt())
    size = float(fit.size)
    side = float(np.clip(8 * spread * size, 0.4, 4.0))
    axis = (torch.arange(SOURCE_SIZE) / (SOURCE_SIZE - 1) - 0.5) * side / size
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    values = solved.kernel.between(0, torch.stack((x.flatten(), y.flatten()), 1) + centre, beta) @ u
    return values.reshape(SOURCE_SIZE, SOURCE_SIZE).numpy().astype(np.float32), side


def shown(image: NDArray, fit: ObservedFit, size: int) -> NDArray:
    """Return the middle (size, size) of an image, NaN beyond it."""
    out = np.full((size, size), np.nan, np.float32)
    h, w = image.shape
    top, left = (h - size) // 2, (w - size) // 2
    rows, columns = slice(max(top, 0), min(top + size, h)), slice(max(left, 0), min(left + size, w))
    out[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image[rows, columns]
    return out


def _cells(looker: Looker, values: NDArray) -> NDArray:
    """Values at places as an image, each filling its cell."""
    out, step = np.full(looker.fit.lens.image.shape, np.nan), looker.settings.place_step
    low = -(step // 2)
    for dy in range(low, low + step):
        for dx in range(low, low + step):
            rows, columns = looker.where.pixel.T + np.array([[dy], [dx]])
            inside = (rows >= 0) & (rows < out.shape[0]) & (columns >= 0) & (columns < out.shape[1])
            out[rows[inside], columns[inside]] = values[inside]
    return out
