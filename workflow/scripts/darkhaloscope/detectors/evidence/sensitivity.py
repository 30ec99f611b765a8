"""What would have been seen: the least mass at each place of a stamp, and how many subhalos of a mass function it would show.

The mean z of a halo that is there is what `scan.promise` says of the lens and the source as found; once both are fitted to the image with the halo
in it, which takes some of it up, a share is kept (`mean_z`). A threshold on z is passed with probability Φ(mean − threshold). In between the mapped
masses the mean is interpolated linearly in log₁₀ mass; beyond them nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtr

from ...config.cosmology import Cosmology
from ...config.evidence import MassFunction, Sensitivity
from .detect import Detector, Fitted, Stamp
from .prior import SubhaloProfile, halo
from .schema import sensitivity_schema

#: Steps of the integral over mass between two mapped masses.
MASS_STEPS = 8


@dataclass(frozen=True)
class MassSteps:
    """Steps of an integral over a mass function: `log10_mass` (f,), and the `number` (f,) of halos per arcsec² that each stands for."""

    log10_mass: NDArray
    number: NDArray


def map_sensitivity(detector: Detector, stamps: Sequence[Stamp], settings: Sensitivity, cosmology: Cosmology) -> pa.Table:
    """Return the sensitivity of some stamps, one row per stamp and channel, in the schema of `sensitivity_schema`.

    Stamps without enough light to be fitted are left out.
    """
    dataset = detector.dataset
    masses = np.array(settings.log10_mass_msun)
    halos = mapped_halos(detector, settings, cosmology)
    rows = []
    for stamp, fitted in zip(stamps, detector.fit(stamps), strict=True):
        if fitted is None:
            continue
        population = mass_steps(settings, masses, sigma_critical(halos[0]))
        for channel, depth in mean_z(fitted, halos, settings).items():
            limit = least_mass(depth, masses, settings.threshold)
            image = np.full(stamp.flux.shape, np.nan, np.float32)
            image[tuple(fitted.where.pixel.T)] = limit
            seen = limit[np.isfinite(limit)]
            area = detector.scale**2 * detector.settings.place_step
            rows.append(
                {
                    "stamp_id": stamp.name,
                    "channel": channel,
                    "least_log10_mass": float(seen.min()) if len(seen) else None,
                    "median_log10_mass": float(np.median(seen)) if len(seen) else None,
                    "seen_share": len(seen) / len(limit),
                    "expected": expected_detections(depth, masses, population, settings.threshold, area),
                    "limit": image,
                }
            )
    schema = sensitivity_schema(dataset.instrument.stamp_size)
    columns = {c.name: [row[c.name] for row in rows] for c in schema.columns}
    return schema.table({**columns, "limit": np.array(columns["limit"]).reshape(-1, *schema.columns[-1].shape)})


def mapped_halos(detector: Detector, settings: Sensitivity, cosmology: Cosmology) -> list[SubhaloProfile]:
    """Return a halo of each mass that is mapped."""
    return [halo(settings.profile, mass, 1.0, detector.dataset, cosmology) for mass in settings.log10_mass_msun]


def mean_z(fitted: Fitted, halos: Sequence[SubhaloProfile], settings: Sensitivity) -> dict[str, NDArray]:
    """Return the mean z (m, k) of halos at each place of a stamp, by channel: a share of the promised one."""
    return {channel: settings.kept * depth for channel, depth in fitted.promise(halos).items()}


def least_mass(depth: NDArray, log10_mass: NDArray, threshold: float) -> NDArray:
    """Return the least log₁₀ mass (k,) whose mean z reaches a threshold at each place; NaN where no mapped one does.

    Parameters
    ----------
    depth : (m, k), mean z of m increasing masses at k places
    log10_mass : (m,)
    threshold : float
    """
    out = np.full(depth.shape[1], np.nan)
    for low, high, d_low, d_high in zip(log10_mass[:-1], log10_mass[1:], depth[:-1], depth[1:], strict=True):
        crosses = np.isnan(out) & (d_low < threshold) & (d_high >= threshold)
        out[crosses] = low + (high - low) * (threshold - d_low[crosses]) / (d_high[crosses] - d_low[crosses])
    # Seen already at the least mass that was mapped: the limit is there or below.
    out[depth[0] >= threshold] = log10_mass[0]
    return out


def expected_detections(depth: NDArray, log10_mass: NDArray, halos: MassSteps, threshold: float, area: float) -> float:
    """Return the number of subhalos above a threshold that a mass function gives on average.

    N = Σ_places area ∫ dN/(dlog₁₀M arcsec²) Φ(z − threshold) dlog₁₀M.

    Parameters
    ----------
    depth : (m, k), mean z
    log10_mass : (m,), increasing
    halos : MassSteps between these masses
    threshold : float
    area : float, arcsec² that each place stands for
    """
    between = np.array([np.interp(halos.log10_mass, log10_mass, d) for d in depth.T])
    return float((ndtr(between - threshold) @ halos.number).sum() * area)


def mass_steps(settings: MassFunction, log10_mass: NDArray, critical: float) -> MassSteps:
    """Return the halos of a mass function between mapped masses, (m,) increasing, by the trapezoidal rule.

    Steps begin and end at the mass function's own bounds where these lie within, and meet every mapped mass: nothing is lost at a bound.
    """
    bounds = [math.log10(mass) for mass in settings.mass_bounds_msun]
    low, high = max(float(log10_mass[0]), bounds[0]), min(float(log10_mass[-1]), bounds[1])
    if low >= high:
        return MassSteps(np.zeros(0), np.zeros(0))
    knots = [low, *log10_mass[(log10_mass > low) & (log10_mass < high)], high]
    steps = np.append(np.concatenate([np.linspace(a, b, MASS_STEPS, endpoint=False) for a, b in pairwise(knots)]), high)
    width = np.diff(steps, prepend=low, append=high)
    # At a bound itself rounding must not put a halo beyond it.
    density = mass_function(settings, np.clip(10**steps, *settings.mass_bounds_msun), critical)
    return MassSteps(steps, density * (width[:-1] + width[1:]) / 2)


def mass_function(settings: MassFunction, mass_msun: NDArray, critical: float) -> NDArray:
    """Return halos per dex of mass and arcsec² near the Einstein radius, none beyond the bounds of the mass function.

    dN/dM ∝ M^slope between the bounds of the mass function; together they hold `fraction` of the mass there, half of which, as in an
    isothermal lens at its Einstein radius, is the critical surface density.

    Parameters
    ----------
    mass_msun : (m,)
    critical : float, Σ_cr [M☉/arcsec²]
    """
    low, high = settings.mass_bounds_msun
    power = settings.slope + 2
    total = math.log(high / low) if power == 0 else (high**power - low**power) / power
    per_mass = settings.fraction * critical / 2 / total * mass_msun**settings.slope
    return np.where((mass_msun >= low) & (mass_msun <= high), per_mass * mass_msun * math.log(10), 0.0)


def sigma_critical(one: SubhaloProfile) -> float:
    """Return Σ_cr [M☉/arcsec²] from a halo's mass, scale radius and deflection there: α(R_s) = M(R_s)/(π R_s Σ_cr)."""
    c = one.concentration
    inside = 10**one.log10_mass_msun * (1 + math.log(0.5)) / (math.log1p(c) - c / (1 + c))
    return inside / (math.pi * one.r_s * one.alpha_rs)
