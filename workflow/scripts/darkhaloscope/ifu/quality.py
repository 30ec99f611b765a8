"""How well one galaxy's maps trace its rotation: metrics, flags, and whether it is usable at all."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..config.manga import SPAXEL_ARCSEC, Quality
from .maps import Maps

#: A plane has three parameters; through fewer spaxels than this it means nothing.
MIN_PLANE_SPAXELS = 10
#: A spread or a correlation of fewer values means nothing.
MIN_SPREAD_SPAXELS = 3
#: A peak of the flux is bright enough at this signal-to-noise, where its unit is not that of the cuts.
MIN_PEAK_SNR = 5.0
#: Radius, in effective radii, inside which `frac_valid_in_1p5re` counts.
INNER_RE = 1.5


class TooFewSpaxels(ValueError):
    """Too few valid spaxels for a measurement."""


def measure_quality(maps: Maps, quality: Quality) -> dict:
    """Measure all metrics of one galaxy.

    No metric depends on how finely the maps are sampled. The cuts were published in km/s and flux per MaNGA
    spaxel of 0.5 arcsec. So the slope is stated over a step (`Maps.gradient_step_arcsec`): 0.5 arcsec for
    MaNGA, whose published cuts are then met exactly, and a tenth of the effective radius for any other
    instrument, because a disk ten times as near has a tenth of the slope per arcsec. Both steps are the same
    for a galaxy of 5 arcsec. The peak flux is stated over the area of a MaNGA spaxel.

    Parameters
    ----------
    maps : of a member of `ifu.members`
    quality : bounds of the flags.

    Returns
    -------
    dict
        JSON-ready; a metric that cannot be measured is None, never NaN.

        - `vel_grad`: slope of the velocity plane [km/s per step of `vel_grad_step_arcsec`];
          `vel_grad_per_arcsec` [km/s per arcsec]; `vel_std` (population standard deviation), `vel_min`,
          `vel_max` [km/s], over valid velocity spaxels.
        - `flux_min`, `flux_max`, `flux_mean` [`flux_unit` per 0.25 arcsec²], over valid flux spaxels;
          `flux_comparable`: whether the unit is that of the cuts; `flux_peak_snr`: greatest flux over its
          error, None where errors are not known.
        - `flux_vel_corr`: Pearson r over spaxels valid in both.
        - `mask_fraction`: invalid velocity spaxels over all, of those that `Maps.counted` counts (for
          MaNGA the whole square, as published; elsewhere no empty field); `n_valid_spaxels` of
          `total_spaxels` have a valid velocity.
        - `frac_valid_in_1p5re`, written frac_valid_in_1.5Re elsewhere: valid flux spaxels with
          R/Re ≤ 1.5 over all such spaxels.
        - `low_rotation`, `heavily_masked`, `low_flux`: flags; a metric that cannot be measured raises
          its flag. `critical_quality`: `Maps.unfit`, the archive forbids the use or nothing was measured. `usable`: no flag is
          raised; `unusable_because` says in words which.
        - galaxy_id, physical_id, z, ba, inclination_deg (arccos b/a), pa_deg, reff_arcsec, instrument, line,
          kinematics, and `Maps.facts`.
    """
    area = (SPAXEL_ARCSEC / maps.pixel_scale_arcsec) ** 2
    flux, velocity = maps.flux[maps.flux_valid] * area, maps.velocity[maps.velocity_valid]
    slope = _or_none(velocity_gradient, maps.velocity, maps.velocity_valid)
    slope = None if slope is None else slope / maps.pixel_scale_arcsec
    inner = maps.r_re <= INNER_RE
    metrics = {
        "galaxy_id": maps.galaxy_id,
        "physical_id": maps.physical_id,
        "z": maps.z,
        "ba": maps.ba,
        "inclination_deg": inclination_deg(maps.ba),
        "pa_deg": maps.pa_deg,
        "reff_arcsec": maps.reff_arcsec,
        **maps.facts,
        "instrument": maps.instrument,
        "line": maps.line,
        "kinematics": maps.kinematics,
        "vel_grad": None if slope is None else slope * maps.gradient_step_arcsec,
        "vel_grad_step_arcsec": maps.gradient_step_arcsec,
        "vel_grad_per_arcsec": slope,
        "vel_std": _or_none(spread, velocity),
        "vel_min": _extreme(np.min, velocity),
        "vel_max": _extreme(np.max, velocity),
        "flux_min": _extreme(np.min, flux),
        "flux_max": _extreme(np.max, flux),
        "flux_mean": _extreme(np.mean, flux),
        "flux_unit": maps.flux_unit,
        "flux_comparable": maps.flux_comparable,
        "flux_peak_snr": _extreme(np.max, (maps.flux * np.sqrt(maps.flux_ivar))[maps.flux_valid]) if maps.errors_known else None,
        "flux_vel_corr": _or_none(correlation, maps.flux, maps.velocity, maps.flux_valid & maps.velocity_valid),
        "mask_fraction": float((~maps.velocity_valid)[maps.counted].mean()) if maps.counted.any() else 1.0,
        "n_valid_spaxels": int(maps.velocity_valid.sum()),
        "total_spaxels": int(maps.velocity_valid.size),
        "frac_valid_in_1p5re": float(maps.flux_valid[inner].mean()) if inner.any() else None,
    }
    return metrics | _flags(metrics, quality, maps.unfit)


def velocity_gradient(velocity: NDArray, valid: NDArray) -> float:
    """Slope of the best-fitting plane through a velocity map.

    The plane v = a x + b y + c is fitted by least squares to the valid spaxels; a rotating disk seen
    at moderate inclination has a steep plane, a face-on or disturbed one a flat plane.

    Parameters
    ----------
    velocity : (ny, nx) float, km/s
    valid : (ny, nx) bool, spaxels to use

    Returns
    -------
    float
        |(a, b)| in km/s per spaxel.

    Raises
    ------
    TooFewSpaxels
        Fewer than `MIN_PLANE_SPAXELS` are valid, or they lie on one line.
    """
    return math.hypot(*velocity_plane(velocity, valid))


def velocity_plane(velocity: NDArray, valid: NDArray) -> tuple[float, float]:
    """Return the slopes (a, b) of the plane of `velocity_gradient` along x and y [km/s per spaxel]."""
    y, x = np.nonzero(valid)
    if len(x) < MIN_PLANE_SPAXELS:
        raise TooFewSpaxels(f"a velocity plane needs {MIN_PLANE_SPAXELS} valid spaxels, found {len(x)}")
    design = np.column_stack([x - x.mean(), y - y.mean(), np.ones(len(x))])
    solution, _, rank, _ = np.linalg.lstsq(design, velocity[valid], rcond=None)
    if rank < 3:
        raise TooFewSpaxels(f"a velocity plane needs spaxels in two dimensions, but the {len(x)} valid ones lie on one line")
    return float(solution[0]), float(solution[1])


def spread(values: NDArray) -> float:
    """Return the population standard deviation of `values`.

    Raises
    ------
    TooFewSpaxels
        There are fewer than `MIN_SPREAD_SPAXELS` values.
    """
    if values.size < MIN_SPREAD_SPAXELS:
        raise TooFewSpaxels(f"a spread needs {MIN_SPREAD_SPAXELS} values, found {values.size}")
    return float(np.std(values))


def correlation(a: NDArray, b: NDArray, valid: NDArray) -> float:
    """Return Pearson's r of two maps over the valid spaxels.

    Raises
    ------
    TooFewSpaxels
        Fewer than `MIN_SPREAD_SPAXELS` are valid, or one map is constant.
    """
    a, b = a[valid], b[valid]
    if a.size < MIN_SPREAD_SPAXELS or np.ptp(a) == 0 or np.ptp(b) == 0:
        raise TooFewSpaxels(f"a correlation needs {MIN_SPREAD_SPAXELS} values that are not all equal, found {a.size}")
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()), -1, 1))


def inclination_deg(ba: float) -> float:
    """Return the inclination arccos(b/a) of a thin disk [deg]."""
    return math.degrees(math.acos(min(max(ba, 0.0), 1.0)))


def _flags(metrics: dict, quality: Quality, unfit: str | None) -> dict:
    gradient, peak, masked = metrics["vel_grad"], metrics["flux_max"], metrics["mask_fraction"]
    snr = metrics["flux_peak_snr"]
    flags = {
        "low_rotation": gradient is None or gradient < quality.min_vel_grad,
        "heavily_masked": masked > quality.max_mask_fraction,
        # A flux in another unit is judged by its errors, where it has some.
        "low_flux": peak is None or (peak < quality.min_flux_max if metrics["flux_comparable"] else snr is not None and snr < MIN_PEAK_SNR),
        "critical_quality": unfit is not None,
    }
    reasons = []
    if metrics["n_valid_spaxels"] == 0:
        reasons.append("no spaxel has a valid velocity")
    if flags["low_rotation"]:
        step = metrics["vel_grad_step_arcsec"]
        reasons.append(f"low rotation: vel_grad {_shown(gradient)} < {quality.min_vel_grad:g} km/s per {step:.3g} arcsec")
    if flags["heavily_masked"]:
        reasons.append(f"heavily masked: mask_fraction {_shown(masked)} > {quality.max_mask_fraction:g}")
    if flags["low_flux"] and (peak is None or metrics["flux_comparable"]):
        reasons.append(f"low flux: flux_max {_shown(peak)} < {quality.min_flux_max:g}")
    elif flags["low_flux"]:
        reasons.append(f"low flux: peak signal-to-noise {_shown(snr)} < {MIN_PEAK_SNR:g}")
    if flags["critical_quality"]:
        reasons.append(unfit)
    return {**flags, "usable": not any(flags.values()), "unusable_because": reasons}


def _shown(value: float | None) -> str:
    return "(not measurable)" if value is None else f"{value:.3g}"


def _or_none(measure, *arguments) -> float | None:
    try:
        return measure(*arguments)
    except TooFewSpaxels:
        return None


def _extreme(measure, values: NDArray) -> float | None:
    return float(measure(values)) if values.size else None
