"""The source tensor: one galaxy's flux and velocity on 64 × 64 pixels, with its scales.

The tensor is normalised and clipped (5% of the velocities are). Lensing therefore works from the
physical maps beside it, which are not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from astropy.cosmology import FlatLambdaCDM
from numpy.typing import NDArray

from ..config.cosmology import Cosmology
from ..config.manga import Tensor
from ..core.files import whole, write_json
from .maps import LEAVE_OUT, Maps, squared
from .preview import draw_preview, draw_reason
from .quality import TooFewSpaxels, inclination_deg, velocity_plane
from .resample import pixel_coordinate, resample_flux, resample_weighted

#: Percentiles of the velocities whose half difference is the peak speed.
PEAK_PERCENTILES = (2.5, 97.5)
#: The peak speed is divided by sin i, but never by less than this: b/a says little about a face-on disk.
MIN_SIN_INCLINATION = 0.25


class TensorError(ValueError):
    """A source tensor cannot be made from these maps."""


class AllMasked(TensorError):
    """No spaxel has both flux and velocity."""


class CriticalQuality(TensorError):
    """The archive says that the observation must not be used."""


@dataclass(frozen=True)
class SourceTensor:
    """A source tensor and what goes with it.

    Attributes
    ----------
    tensor : (2, size, size) float32; flux in [0, 1], velocity in [−1, 1]; 0 where masked.
    flux_per_arcsec2 : (size, size) float32, flux unit of the maps per arcsec²
    velocity, dispersion : (size, size) float32, km/s, unclipped; velocity as in the maps
    valid : (size, size) bool; where False the maps hold 0
    sidecar : JSON-ready dict.
    """

    tensor: NDArray
    flux_per_arcsec2: NDArray
    velocity: NDArray
    dispersion: NDArray
    valid: NDArray
    sidecar: dict


def build_source_tensor(maps: Maps, metrics: Mapping, tensor: Tensor, cosmology: Cosmology, source_sha256: str) -> SourceTensor:
    """Resample one galaxy's maps and normalise them.

    A spaxel is used where both flux and velocity are valid. Percentiles are taken over these spaxels
    before resampling, so they do not depend on the tensor's size. The resampled flux is scaled by one
    factor near 1 (`flux_factor`), after which the total flux is that of the used spaxels.

    Parameters
    ----------
    maps : of a member of `ifu.members`; the shorter side is padded.
    metrics : of `measure_quality`; kept in the sidecar.
    tensor : size and percentiles.
    cosmology : turns arcsec into kpc.
    source_sha256 : SHA-256 of the file of maps.

    Returns
    -------
    SourceTensor

    Raises
    ------
    CriticalQuality
        The archive forbids the use of this observation.
    AllMasked
        No spaxel has both flux and velocity.
    TensorError
        Flux or velocity is the same in all spaxels, or its total is not positive.
    """
    maps, name = squared(maps), maps.galaxy_id
    if maps.unfit is not None:
        raise CriticalQuality(f"galaxy {name}: {maps.unfit}, expected an observation that its archive allows to use; {LEAVE_OUT}")
    used = maps.flux_valid & maps.velocity_valid
    if not used.any():
        raise AllMasked(
            f"galaxy {name}: all {used.size} spaxels are masked in flux or velocity of {maps.line}, expected some valid ones; {LEAVE_OUT}"
        )
    scales = _scales(maps, used, tensor)
    brightness = maps.flux / maps.pixel_scale_arcsec**2
    flux, valid = resample_flux(brightness, used, tensor.size)
    pixel = maps.pixel_scale_arcsec * maps.flux.shape[0] / tensor.size
    total = float(maps.flux[used].sum())
    factor = total / (float(flux.sum()) * pixel**2)
    flux = (flux * factor).astype(np.float32)
    velocity = _masked(resample_weighted(maps.velocity, maps.flux, used, tensor.size), valid)
    dispersion = _dispersion(maps, used, valid, tensor.size)
    sidecar = {
        **_identity(maps, source_sha256),
        **_geometry(maps, pixel, tensor.size, cosmology),
        **_kinematics(maps, used),
        **scales,
        "flux_factor": factor,
        "total_flux": total,
        **compactness(flux * pixel**2, valid),
        "n_valid_pixels": int(valid.sum()),
        "size": tensor.size,
        "metrics": dict(metrics),
    }
    return SourceTensor(_normalise(flux, velocity, valid, sidecar), flux, velocity, dispersion, valid, sidecar)


def write_source_tensor(
    result: SourceTensor,
    npy: str | os.PathLike,
    sidecar: str | os.PathLike,
    npz: str | os.PathLike,
    preview: str | os.PathLike,
) -> None:
    """Write tensor (.npy), sidecar (.json), physical maps (.npz) and preview (.png), each whole."""
    with whole(npy) as temporary:
        np.save(temporary, result.tensor, allow_pickle=False)
    with whole(npz) as temporary:
        np.savez_compressed(
            temporary,
            flux_per_arcsec2=result.flux_per_arcsec2,
            velocity=result.velocity,
            dispersion=result.dispersion,
            valid=result.valid,
        )
    with whole(preview) as temporary:
        draw_preview(temporary, result.flux_per_arcsec2, result.velocity, result.valid, result.sidecar)
    write_json(sidecar, result.sidecar)


def write_left_out(
    maps: Maps, reason: str, npy: str | os.PathLike, sidecar: str | os.PathLike, npz: str | os.PathLike, preview: str | os.PathLike
) -> None:
    """Write files that say why a galaxy has no source tensor: the bank leaves it out, and is made all the same.

    The sidecar holds the galaxy's names and `left_out`, the reason; the arrays are empty, and the preview shows
    the reason.
    """
    with whole(npy) as temporary:
        np.save(temporary, np.zeros((2, 0, 0), np.float32), allow_pickle=False)
    with whole(npz) as temporary:
        np.savez_compressed(temporary, valid=np.zeros((0, 0), bool))
    with whole(preview) as temporary:
        draw_reason(temporary, f"{maps.instrument} {maps.galaxy_id}: no source tensor", reason)
    write_json(sidecar, {"galaxy_id": maps.galaxy_id, "physical_id": maps.physical_id, "left_out": reason})


def compactness(flux: NDArray, valid: NDArray) -> dict[str, float]:
    """Measure how concentrated the light is, about its flux-weighted centre.

    Parameters
    ----------
    flux : (ny, nx) flux per pixel
    valid : (ny, nx) bool

    Returns
    -------
    dict
        `flux_frac_central_5x5`: share of the flux in the 5 × 5 pixels about the pixel of the centre;
        `r_half_pix`, `r80_pix`: radii of circles about the centre with half and 80% of the flux.
    """
    y, x = np.nonzero(valid)
    light = np.maximum(flux[valid].astype(float), 0.0)
    total = light.sum()
    cx, cy = (light * x).sum() / total, (light * y).sum() / total
    central = (abs(x - round(cx)) <= 2) & (abs(y - round(cy)) <= 2)
    radii = np.hypot(x - cx, y - cy)
    return {
        "flux_frac_central_5x5": float(light[central].sum() / total),
        "r_half_pix": _radius_of(radii, light, 0.5),
        "r80_pix": _radius_of(radii, light, 0.8),
    }


def _radius_of(radii: NDArray, light: NDArray, share: float) -> float:
    """Return the radius inside which a share of the light lies, interpolated between pixels."""
    order = np.argsort(radii, kind="stable")
    inside = np.cumsum(light[order])
    # Half of a pixel's light lies inside the radius of its centre.
    middle = (inside - light[order] / 2) / inside[-1]
    return float(np.interp(share, middle, radii[order]))


def _scales(maps: Maps, used: NDArray, tensor: Tensor) -> dict[str, float]:
    low, high = np.percentile(maps.flux[used], tensor.flux_percentiles)
    median = np.median(maps.velocity[used])
    scale = np.percentile(np.abs(maps.velocity[used] - median), tensor.velocity_percentile)
    if not (high > low and scale > 0 and maps.flux[used].sum() > 0):
        raise TensorError(
            f"galaxy {maps.galaxy_id}: flux or velocity does not vary over its {int(used.sum())} valid spaxels "
            f"(flux percentiles {low:.3g} and {high:.3g}, velocity scale {scale:.3g} km/s), so it cannot be normalised; {LEAVE_OUT}"
        )
    area = maps.pixel_scale_arcsec**2
    return {
        "flux_percentiles": list(tensor.flux_percentiles),
        "flux_p5_per_spaxel": float(low),
        "flux_p99_5_per_spaxel": float(high),
        "flux_p5_per_arcsec2": float(low / area),
        "flux_p99_5_per_arcsec2": float(high / area),
        "velocity_percentile": tensor.velocity_percentile,
        "velocity_median_kms": float(median),
        "velocity_scale_kms": float(scale),
    }


def _normalise(flux: NDArray, velocity: NDArray, valid: NDArray, sidecar: Mapping) -> NDArray:
    low, high = sidecar["flux_p5_per_arcsec2"], sidecar["flux_p99_5_per_arcsec2"]
    channels = np.stack(
        [
            np.clip((flux - low) / (high - low), 0, 1),
            np.clip((velocity - sidecar["velocity_median_kms"]) / sidecar["velocity_scale_kms"], -1, 1),
        ]
    )
    return np.where(valid, channels, 0.0).astype(np.float32)


def _masked(values: NDArray, valid: NDArray) -> NDArray:
    return np.where(valid, values, 0.0).astype(np.float32)


def _dispersion(maps: Maps, used: NDArray, valid: NDArray, size: int) -> NDArray:
    """Resample σ² weighted by flux; a used spaxel without a dispersion takes the flux-weighted mean."""
    known = used & maps.dispersion_valid
    squared = np.where(known, maps.dispersion**2, _mean_dispersion(maps, used) ** 2)
    return _masked(np.sqrt(resample_weighted(squared, maps.flux, used, size)), valid)


def _mean_dispersion(maps: Maps, used: NDArray) -> float:
    known = used & maps.dispersion_valid
    light = np.maximum(maps.flux[known], 0.0)
    return float(math.sqrt((light * maps.dispersion[known] ** 2).sum() / light.sum())) if light.sum() > 0 else 0.0


def _identity(maps: Maps, source_sha256: str) -> dict:
    return {
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
        "orientation": "rows go up (north), columns to the right (west); pa_deg is north through east",
        "flux_unit": maps.flux_unit,
        "source_sha256": source_sha256,
    }


def _geometry(maps: Maps, pixel: float, size: int, cosmology: Cosmology) -> dict[str, float]:
    distance = FlatLambdaCDM(H0=cosmology.h0, Om0=cosmology.om0).angular_diameter_distance(maps.z)
    kpc_per_arcsec = float(distance.to_value("kpc") * math.radians(1 / 3600))
    spaxels = maps.flux.shape[0]
    x, y = elliptical_centre(maps)
    half_light = _half_light_arcsec(maps)
    psf = maps.psf_fwhm_arcsec
    return {
        "spaxels": spaxels,
        "original_pixel_scale_arcsec": maps.pixel_scale_arcsec,
        "original_pixel_scale_kpc": maps.pixel_scale_arcsec * kpc_per_arcsec,
        "pixel_scale_arcsec": pixel,
        "pixel_scale_kpc": pixel * kpc_per_arcsec,
        "kpc_per_arcsec": kpc_per_arcsec,
        "centre_x_pix": pixel_coordinate(x, spaxels, size),
        "centre_y_pix": pixel_coordinate(y, spaxels, size),
        "half_light_radius_arcsec": half_light,
        "half_light_radius_kpc": half_light * kpc_per_arcsec,
        "psf_fwhm_arcsec": psf,
        "psf_fwhm_kpc": psf * kpc_per_arcsec,
    }


def elliptical_centre(maps: Maps) -> tuple[float, float]:
    """Return the centre (x, y) of the elliptical coordinates, in spaxels from 0.

    R² is a quadratic form of x and y; its least-squares fit to the spaxels nearest to the centre has its
    minimum at the centre.
    """
    y, x = np.unravel_index(np.argsort(maps.r_re, axis=None, kind="stable")[:25], maps.r_re.shape)
    x0, y0 = x.mean(), y.mean()
    dx, dy = x - x0, y - y0
    design = np.column_stack([dx**2, dx * dy, dy**2, dx, dy, np.ones(len(dx))])
    a, b, c, d, e, _ = np.linalg.lstsq(design, maps.r_re[y, x] ** 2, rcond=None)[0]
    step = np.linalg.lstsq(np.array([[2 * a, b], [b, 2 * c]]), np.array([-d, -e]), rcond=None)[0]
    return float(x0 + step[0]), float(y0 + step[1])


def _half_light_arcsec(maps: Maps) -> float:
    """Return the semi-major axis of the ellipse with half of the valid flux, seeing included [arcsec]."""
    used = maps.flux_valid & maps.velocity_valid
    return _radius_of(maps.r_re[used] * maps.reff_arcsec, np.maximum(maps.flux[used], 0.0), 0.5)


def _kinematics(maps: Maps, used: NDArray) -> dict[str, float]:
    low, high = np.percentile(maps.velocity[used], PEAK_PERCENTILES)
    speed = float(high - low) / 2
    sine = max(math.sin(math.radians(inclination_deg(maps.ba))), MIN_SIN_INCLINATION)
    return {
        "v_peak_los_kms": speed,
        "v_peak_kms": speed / sine,
        "dispersion_mean_kms": _mean_dispersion(maps, used),
        "receding_axis_rad": receding_axis_rad(maps, used),
    }


def receding_axis_rad(maps: Maps, used: NDArray) -> float:
    """Return the direction of the receding half of the major axis, counter-clockwise from x, 0 to 2π.

    The axis is the photometric one (north through east; east is to the left, so it points to
    PA + 90°); the sign of the velocity plane's slope along it chooses the half.
    """
    axis = math.radians(maps.pa_deg + 90)
    try:
        a, b = velocity_plane(maps.velocity, used)
    except TooFewSpaxels:
        a, b = math.cos(axis), math.sin(axis)
    if a * math.cos(axis) + b * math.sin(axis) < 0:
        axis += math.pi
    return axis % (2 * math.pi)
