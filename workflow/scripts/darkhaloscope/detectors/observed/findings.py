"""One observed lens, from its images to its rows in the tables."""

from __future__ import annotations

import logging
import time
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from ...config.cosmology import Cosmology
from ...config.evidence import Sensitivity
from ...config.observed import Observed
from ...lensing.lens import critical_curve
from ...surveys.observed import ObservedLens, published, read_lens
from ..evidence.sensitivity import expected_detections, least_mass, mass_function, sigma_critical
from .arcs import NoArcs
from .fit import ObservedFit, fit_lens
from .schema import MAPS, MASS, SOURCE_SIZE, TRIALS, lens_columns, lens_schema
from .subhalos import Looker, Trial, covariance, mass_posterior

log = logging.getLogger("darkhaloscope")


def look_at_lens(folder: str | Path, settings: Observed, mass_function_of: Sensitivity, cosmology: Cosmology) -> tuple[pa.Table, pa.Table]:
    """Return the row of a lens and its trials, in the schemas of `lens_schema` and `TRIALS`.

    A lens without arcs has a row that says so, and no trials.
    """
    lens = read_lens(folder, settings)
    for text in lens.missing:
        log.info("%s: %s", lens.name, text)
    row = {c.name: {"string": "", "bool": False, "int64": 0}.get(c.dtype, np.nan) for c in lens_columns()}
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
        seen, pictures = subhalo_row(looker, mass_function_of)
        trials = looker.trials()
        seen |= false_alarm(trials)
        row |= {**found, **seen, "seconds_subhalos": time.process_time() - clock}
        pictures |= fit_maps(looker)
        maps = {name: shown(image, fit, settings.shown) for name, image in pictures.items()}
        source, row["source_arcsec"] = source_picture(fit)
    schema = lens_schema(settings.shown)
    values = {**row, **maps, "source": source}
    table = schema.table({c.name: values[c.name][None] if c.shape else [values[c.name]] for c in schema.columns})
    rows = [(lens.name, *astuple(trial)) for trial in trials]
    columns = {c.name: [r[k] for r in rows] for k, c in enumerate(TRIALS.columns)}
    return table, TRIALS.table(columns)


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
        "kernel_length_arcsec": float(fit.kernel.length[0, 0]),
        **{f"seconds_{name}": value for name, value in fit.seconds.items()},
    }


def subhalo_row(looker: Looker, mass_function_of: Sensitivity) -> tuple[dict[str, object], dict[str, NDArray]]:
    """Return the columns of the scan of the observed image, and its maps (h, w)."""
    fit, settings, where = looker.fit, looker.settings, looker.where
    scan, depth = looker.scan()
    z = scan.z
    searched = z[looker.tried]
    best, place = np.unravel_index(int(searched.argmax()), searched.shape)
    # z and what moves it, as a Gaussian in the strength of the halo that is there.
    log_bayes = z[:, place] * depth[:, place] - depth[:, place] ** 2 / 2
    mass, error = mass_posterior(log_bayes, looker.masses)
    limit = least_mass(depth, looker.masses, settings.threshold)
    density = mass_function(mass_function_of, 10**looker.masses, sigma_critical(looker.halos[0]))
    area = (settings.place_step * fit.lens.scale) ** 2
    seen = limit[np.isfinite(limit)]
    row = {
        "z_max": float(searched.max()),
        "z_negative": float((-searched).max()),
        "found_x_arcsec": float(where.x[place]) + fit.pixels.x0,
        "found_y_arcsec": float(where.y[place]) + fit.pixels.y0,
        "found_log10_mass": mass,
        "found_log10_mass_error": error,
        "found_log_bayes": float(log_bayes.max()),
        "least_log10_mass": float(seen.min()) if len(seen) else np.nan,
        "median_log10_mass": float(np.median(seen)) if len(seen) else np.nan,
        "seen_share": len(seen) / len(limit),
        "expected": expected_detections(depth, looker.masses, density, settings.threshold, area),
    }
    return row, {"z": _cells(looker, searched[best]), "limit": _cells(looker, limit)}


def false_alarm(trials: list[Trial]) -> dict[str, float]:
    """Return how often controls have a greater z_max than the observed image."""
    observed = next(t.z_max for t in trials if t.kind == "observed")
    controls = [t.z_max for t in trials if t.kind == "control"]
    return {"false_alarm": (sum(z >= observed for z in controls) + 1) / (len(controls) + 1)}


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
    side = float(np.clip(8 * spread, 0.4, 4.0))
    axis = (torch.arange(SOURCE_SIZE) / (SOURCE_SIZE - 1) - 0.5) * side
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    values = covariance(torch.stack((x.flatten(), y.flatten()), 1) + centre, beta, fit) @ u
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
