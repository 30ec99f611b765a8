"""One galaxy's flux, velocity and dispersion on 64 × 64 pixels, in physical units: what the bank and lensing work from.

The normalised and clipped source tensor is made from them for people and for other programs (`ifu.normalised`).

Resampling is bilinear, keeps the field of view, and lets no masked zero into the edges. A masked spaxel holds 0, which is no
measurement: interpolating it with its neighbours would pull flux and velocity towards 0 along every edge. So flux is interpolated
weighted by validity, velocity weighted by flux and validity, and each is divided by what its weights add up to.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..config.cosmology import Cosmology
from ..core.files import whole, write_json
from ..core.reading import read_json, read_npz, readable
from .maps import LEAVE_OUT, Maps, squared
from .quality import TooFewSpaxels, inclination_deg, velocity_plane

#: Flux between these percentiles, and |v − median| up to this one, must vary: maps that do not are no measurement of a disk.
FLUX_SPREAD, VELOCITY_SPREAD = (5.0, 99.5), 95.0
#: Percentiles of the velocities whose half difference is the peak speed.
PEAK_PERCENTILES = (2.5, 97.5)
#: The peak speed is divided by sin i, but never by less than this: b/a says little about a face-on disk.
MIN_SIN_INCLINATION = 0.25
#: A new pixel is valid where the valid spaxels have at least this share of its bilinear weights.
MIN_VALID_WEIGHT = 0.5


class TensorError(ValueError):
    """A source tensor cannot be made from these maps."""


class UnreadableTensor(ValueError):
    """A file of a source tensor cannot be read: the message names it and says what to do."""


class AllMasked(TensorError):
    """No spaxel has both flux and velocity."""


class CriticalQuality(TensorError):
    """The observation must not be used, or holds nothing."""


@dataclass(frozen=True)
class SourceTensor:
    """A galaxy's maps on square pixels, and what goes with them.

    Attributes
    ----------
    flux_per_arcsec2 : (size, size) float32, flux unit of the maps per arcsec²
    velocity, dispersion : (size, size) float32, km/s, unclipped; velocity as in the maps
    valid : (size, size) bool; where False the maps hold 0
    facts : JSON-ready dict; the sidecar of the normalised tensor holds these and its scales.
    """

    flux_per_arcsec2: NDArray
    velocity: NDArray
    dispersion: NDArray
    valid: NDArray
    facts: dict


def build_source_tensor(maps: Maps, metrics: Mapping, size: int, cosmology: Cosmology, source_sha256: str) -> SourceTensor:
    """Resample one galaxy's maps.

    A spaxel is used where both flux and velocity are valid. The resampled flux is scaled by one
    factor near 1 (`flux_factor`), after which the total flux is that of the used spaxels.

    Parameters
    ----------
    maps : of a member of `ifu.members`; the shorter side is padded.
    metrics : of `measure_quality`; kept among the facts.
    size : pixels on a side.
    cosmology : turns arcsec into kpc.
    source_sha256 : SHA-256 of the file of maps.

    Returns
    -------
    SourceTensor

    Raises
    ------
    CriticalQuality
        This observation cannot be used (`Maps.unfit`).
    AllMasked
        No spaxel has both flux and velocity.
    TensorError
        Flux or velocity is the same in nearly all spaxels, or the flux is not positive in all.
    """
    maps, name = squared(maps), maps.galaxy_id
    if maps.unfit is not None:
        raise CriticalQuality(f"galaxy {name}: {maps.unfit}, expected an observation that can be used; {LEAVE_OUT}")
    used = used_spaxels(maps)
    if not used.any():
        raise AllMasked(
            f"galaxy {name}: all {used.size} spaxels are masked in flux or velocity of {maps.line}, expected some valid ones; {LEAVE_OUT}"
        )
    total = float(maps.flux[used].sum())
    scales(maps, FLUX_SPREAD, VELOCITY_SPREAD)
    brightness = maps.flux / maps.pixel_scale_arcsec**2
    flux, valid = resample_flux(brightness, used, size)
    pixel = maps.pixel_scale_arcsec * maps.flux.shape[0] / size
    factor = total / (float(flux.sum()) * pixel**2)
    flux = (flux * factor).astype(np.float32)
    velocity = _masked(resample_weighted(maps.velocity, maps.flux, used, size), valid)
    dispersion = _dispersion(maps, used, valid, size)
    facts = {
        **_identity(maps, source_sha256),
        **_geometry(maps, pixel, size, cosmology),
        **_kinematics(maps, used),
        "velocity_median_kms": float(np.median(maps.velocity[used])),
        "flux_factor": factor,
        "total_flux": total,
        **compactness(flux * pixel**2, valid),
        "n_valid_pixels": int(valid.sum()),
        "size": size,
        "metrics": dict(metrics),
    }
    return SourceTensor(flux, velocity, dispersion, valid, facts)


def write_source_tensor(result: SourceTensor, npz: str | os.PathLike, facts: str | os.PathLike) -> None:
    """Write physical maps (.npz) and facts (.json), each whole."""
    with whole(npz) as temporary:
        np.savez_compressed(
            temporary,
            flux_per_arcsec2=result.flux_per_arcsec2,
            velocity=result.velocity,
            dispersion=result.dispersion,
            valid=result.valid,
        )
    write_json(facts, result.facts)


def read_source_tensor(npz: str | os.PathLike, facts: str | os.PathLike) -> SourceTensor | dict:
    """Read what `write_source_tensor` wrote; of a galaxy that was left out, its facts alone.

    Raises
    ------
    UnreadableTensor
        A file is missing or damaged; the message names it.
    """
    found = read_json(facts, "the facts of a source tensor", "build the source tensor again", UnreadableTensor)
    if "left_out" in found:
        return found
    with readable(npz, "the physical maps of a galaxy", "build its source tensor again", UnreadableTensor):
        maps = read_npz(Path(npz).read_bytes())
        return SourceTensor(*(maps[name] for name in ("flux_per_arcsec2", "velocity", "dispersion", "valid")), found)


def write_left_out(maps: Maps, reason: str, npz: str | os.PathLike, facts: str | os.PathLike) -> None:
    """Write files that say why a galaxy has no source tensor: the bank leaves it out, and is made all the same.

    The facts are the galaxy's names and `left_out`, the reason; the arrays are empty.
    """
    with whole(npz) as temporary:
        np.savez_compressed(temporary, valid=np.zeros((0, 0), bool))
    write_json(facts, left_out(maps, reason))


def left_out(maps: Maps, reason: str) -> dict[str, str]:
    """Return what stands for the facts of a galaxy that cannot be used."""
    return {"galaxy_id": maps.galaxy_id, "physical_id": maps.physical_id, "left_out": reason, "instrument": maps.instrument}


def used_spaxels(maps: Maps) -> NDArray[np.bool_]:
    """Return where flux and velocity are both valid."""
    return maps.flux_valid & maps.velocity_valid


def scales(maps: Maps, flux_percentiles: tuple[float, float], velocity_percentile: float) -> tuple[float, float, float]:
    """Return two percentiles of the flux per spaxel and one of |v − median| [km/s], over the used spaxels.

    Raises
    ------
    TensorError
        Flux or velocity does not vary between them, or the total flux is not positive.
    """
    used = used_spaxels(maps)
    low, high = np.percentile(maps.flux[used], flux_percentiles)
    scale = np.percentile(np.abs(maps.velocity[used] - np.median(maps.velocity[used])), velocity_percentile)
    if not (high > low and scale > 0 and maps.flux[used].sum() > 0):
        raise TensorError(
            f"galaxy {maps.galaxy_id}: flux or velocity does not vary over its {int(used.sum())} valid spaxels "
            f"(flux percentiles {low:.3g} and {high:.3g}, velocity scale {scale:.3g} km/s), so it cannot be normalised; {LEAVE_OUT}"
        )
    return float(low), float(high), float(scale)


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
    from astropy.cosmology import FlatLambdaCDM  # importing it takes a second, which readers of tensors need not wait

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
    used = used_spaxels(maps)
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


# --- resampling --------------------------------------------------------------------------------


def resample_flux(surface_brightness: NDArray, valid: NDArray, size: int) -> tuple[NDArray, NDArray]:
    """Resample a map of surface brightness.

    Parameters
    ----------
    surface_brightness : (n, n) float, flux per unit of area
    valid : (n, n) bool
    size : pixels on a side of the result, which covers the same field of view.

    Returns
    -------
    surface_brightness : (size, size) float, 0 where not valid
    valid : (size, size) bool
    """
    weights = _interpolate(valid.astype(float), size)
    summed = _interpolate(np.where(valid, surface_brightness, 0.0), size)
    new_valid = weights >= MIN_VALID_WEIGHT
    return np.where(new_valid, summed / np.where(new_valid, weights, 1.0), 0.0), new_valid


def resample_weighted(values: NDArray, flux: NDArray, valid: NDArray, size: int) -> NDArray:
    """Resample a map of what is a mean over light, such as velocity, weighted by flux.

    Parameters
    ----------
    values, flux : (n, n) float
    valid : (n, n) bool, where `values` is a measurement; spaxels without positive flux get a weight
        far below any other, so that they count only where they are alone.
    size : pixels on a side of the result.

    Returns
    -------
    (size, size) float
        0 where no valid spaxel is near.
    """
    if not valid.any():
        return np.zeros((size, size))
    positive = valid & (flux > 0)
    floor = 1e-9 * flux[positive].max() if positive.any() else 1.0
    light = np.where(valid, np.maximum(flux, floor), 0.0)
    weights = _interpolate(light, size)
    summed = _interpolate(light * np.where(valid, values, 0.0), size)
    near = weights > 0
    return np.where(near, summed / np.where(near, weights, 1.0), 0.0)


def pixel_coordinate(old: float, n: int, size: int) -> float:
    """Return where an old coordinate, from 0 at the first pixel's centre, lies among the new pixels."""
    return (old + 0.5) * size / n - 0.5


def _interpolate(image: NDArray, size: int) -> NDArray:
    rows, columns = (_weights(n, size) for n in image.shape)
    return np.asarray(rows @ image @ columns.T)


def _weights(n: int, size: int) -> sparse.csr_array:
    """Return the bilinear weights (size, n) of old pixels in new ones; the border repeats its last pixel."""
    place = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
    first = np.minimum(place.astype(int), n - 2) if n > 1 else np.zeros(size, int)
    share = place - first
    pixel = np.arange(size)
    data = np.concatenate([1 - share, share])
    index = np.concatenate([first, np.minimum(first + 1, n - 1)])
    return sparse.csr_array((data, (np.concatenate([pixel, pixel]), index)), shape=(size, n))
