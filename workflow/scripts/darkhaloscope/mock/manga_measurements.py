"""What the analysis pipeline would measure in a mock galaxy: noise, inverse variance, bins and masks.

The noise laws are read off a real MAPS file (7815-3702, 3.75 hours): Hα errors of
√(0.035² + 3.3e-4 F) [1e-17 erg/s/cm²/spaxel], continuum errors of √(0.0105² + 3e-4 C), velocity errors of
σ/(S/N) and dispersion errors of 1.25 σ/(S/N), σ being the observed line width. Noise is independent from
spaxel to spaxel; in real cubes neighbours share fibres and are correlated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.cosmology import FlatLambdaCDM
from numpy.typing import NDArray

from ..core.random import stream
from .manga_galaxies import SPAXEL_ARCSEC, Sky
from .manga_lines import HA, INDEX_NAMES, INDEX_UNITS, LINE_NAMES, NII, of_indices, of_lines
from .manga_population import Observation

# Bits of MANGA_DAPPIXMASK.
NOCOV, LOWCOV, DEADFIBER, FORESTAR, NOVALUE, UNRELIABLE, MATHERROR = (1 << b for b in range(7))
NEARBOUND, DONOTUSE = 1 << 8, 1 << 30
#: The pipeline fits spectra above this continuum S/N, and bins them to this one.
MIN_SNR, BIN_SNR = 1.0, 10.0
#: Below this line S/N the fitted width runs into its bound.
MIN_LINE_SNR = 3.0
#: The pipeline's cosmology, lengths in Mpc/h.
COSMOLOGY = FlatLambdaCDM(H0=100, Om0=0.3)


@dataclass(frozen=True)
class Truth:
    """Noiseless maps, (ny, nx), and the one-sigma errors that the noise was drawn with."""

    flux: NDArray
    velocity: NDArray
    dispersion: NDArray
    flux_error: NDArray
    velocity_error: NDArray
    dispersion_error: NDArray


def measure(observation: Observation, sky: Sky, seed: int) -> tuple[dict[str, NDArray], Truth]:
    """Return every image of a MAPS file by extension name, and the truth behind Hα.

    Parameters
    ----------
    observation : Observation
    sky : Sky
        Noiseless maps.
    seed : int
        Seed of the archive; each observation draws its own noise.

    Returns
    -------
    dict of (ny, nx) or (channels, ny, nx) arrays
        Inverse variances and masks included; invalid spaxels hold 0.
    Truth
    """
    rng = stream(seed, observation.row, "mock noise")
    x, y = spaxel_offsets(observation.n_spaxels)
    maps: dict[str, NDArray] = {"SPX_SKYCOO": np.stack([x, y]), "SPX_ELLCOO": elliptical(observation, x, y)}
    noise = observation.noise_factor / np.sqrt(_depth(observation, x, y))
    mask = _coverage_mask(observation, x, y)
    covered = mask == 0
    _continuum(maps, sky, noise, covered, rng)
    mask[covered & (maps["SPX_SNR"] < MIN_SNR)] = NOVALUE | DONOTUSE
    _local_accidents(observation, mask, x, y, rng)
    bins = _bins(maps, mask == 0)
    _stars(maps, sky, mask, bins, rng)
    truth = _lines(maps, sky, noise, mask, observation, rng)
    _indices(maps, mask)
    return maps, truth


def spaxel_offsets(n_spaxels: int) -> tuple[NDArray, NDArray]:
    """Return (x, y): offsets of the spaxels east and north of the galaxy [arcsec]."""
    offset = (np.arange(n_spaxels) - n_spaxels // 2) * SPAXEL_ARCSEC
    return np.meshgrid(-offset, offset)


def elliptical(observation: Observation, x: NDArray, y: NDArray) -> NDArray:
    """Return SPX_ELLCOO, (4, ny, nx): radius [arcsec], R/Re, radius [kpc/h], azimuth [deg] on the catalogue's ellipse.

    The pipeline's convention, checked on a real file: azimuth grows from the major axis clockwise on the sky.
    """
    galaxy = observation.galaxy
    pa = np.radians(observation.nsa_phi_deg)
    along, across = x * np.sin(pa) + y * np.cos(pa), (-x * np.cos(pa) + y * np.sin(pa)) / observation.nsa_ba
    radius = np.hypot(along, across)
    azimuth = np.degrees(np.arctan2(-across, along)) % 360
    kpc_per_arcsec = COSMOLOGY.angular_diameter_distance(galaxy.z).value * 1000 * np.pi / 180 / 3600
    return np.stack([radius, radius / galaxy.re_arcsec, radius * kpc_per_arcsec, azimuth])


def _hexagon_radius(x: NDArray, y: NDArray) -> NDArray:
    """Distance of a point's hexagon (corners east and west, slightly rounded) from the centre to its corner."""
    hexagon = np.maximum(np.abs(y), np.abs(x) * np.sqrt(0.75) + np.abs(y) / 2) / np.sqrt(0.75)
    return np.maximum(hexagon, np.hypot(x, y) / 0.96)


def _coverage_mask(observation: Observation, x: NDArray, y: NDArray) -> NDArray:
    """Spaxels beyond the bundle's dithered hexagon, and the ring that few fibres reach."""
    corner = _hexagon_radius(x, y)
    half = observation.diameter_arcsec / 2
    mask = np.zeros(x.shape, np.int32)
    mask[corner > half + 0.75] = LOWCOV | DONOTUSE
    mask[corner > half + 1.75] = NOCOV | LOWCOV | DONOTUSE
    return mask


def _depth(observation: Observation, x: NDArray, y: NDArray) -> NDArray:
    """Exposure relative to the centre: fewer dithered fibres reach the rim."""
    inside = observation.diameter_arcsec / 2 + 0.75 - _hexagon_radius(x, y)
    return np.clip(0.35 + 0.65 * inside / 1.5, 0.35, 1)


def _local_accidents(observation: Observation, mask: NDArray, x: NDArray, y: NDArray, rng: np.random.Generator) -> None:
    """Mask what a dead fibre or a foreground star spoils."""
    bit, radius = {"dead fibre": (DEADFIBER, 1.2), "foreground star": (FORESTAR, 1.8)}.get(observation.accident, (0, 0.0))
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.75) * observation.diameter_arcsec / 2
    if bit:
        near = np.hypot(x - distance * np.cos(angle), y - distance * np.sin(angle)) < radius
        mask[near & (mask == 0)] = bit | DONOTUSE


def _continuum(maps: dict[str, NDArray], sky: Sky, noise: NDArray, covered: NDArray, rng: np.random.Generator) -> None:
    error = noise * np.sqrt(0.0105**2 + 3e-4 * sky.stars.flux)
    flux = np.where(covered, sky.stars.flux + error * rng.standard_normal(error.shape), 0)
    maps["SPX_MFLUX"] = flux
    maps["SPX_MFLUX_IVAR"] = np.where(covered, error**-2, 0)
    maps["SPX_SNR"] = np.where(covered, np.maximum(flux / error, 0), 0)


def _bins(maps: dict[str, NDArray], good: NDArray) -> NDArray:
    """Group spaxels to the target S/N in squares of 1, 2, 4 or 8; return bin numbers, -1 outside, and fill the BIN maps.

    A simple stand-in for the pipeline's Voronoi bins, with the same meaning.
    """
    snr2 = np.where(good, maps["SPX_SNR"] ** 2, 0)
    n = good.shape[0]
    rows, columns = np.indices(good.shape)
    label = np.full(good.shape, -1, np.int64)
    for size in (8, 4, 2, 1):
        cell = (rows // size) * n + columns // size
        enough = np.bincount(cell.ravel(), snr2.ravel(), n * n)[cell] >= BIN_SNR**2
        label = np.where((size == 8) | enough, size * n * n + cell, label)
    names, numbers = np.unique(label[good], return_inverse=True)
    bins = np.full(good.shape, -1, np.int32)
    bins[good] = numbers
    spaxels = np.where(good, np.cumsum(good).reshape(good.shape) - 1, -1)
    maps["BINID"] = np.stack([bins, bins, spaxels, spaxels, spaxels]).astype(np.int32)

    def mean(image: NDArray, weight: NDArray) -> NDArray:
        top = np.bincount(numbers, (image * weight)[good], len(names))
        return top / np.maximum(np.bincount(numbers, weight[good], len(names)), 1e-12)

    flux, ones = maps["SPX_MFLUX"], np.ones(good.shape)
    light = np.maximum(flux, 1e-3)
    count = np.bincount(numbers, minlength=len(names))
    variance = mean(1 / np.maximum(maps["SPX_MFLUX_IVAR"], 1e-12), ones) / np.maximum(count, 1)
    values = {
        "BIN_AREA": SPAXEL_ARCSEC**2 * count,
        "BIN_FAREA": np.ones(len(names)),
        "BIN_MFLUX": mean(flux, ones),
        "BIN_MFLUX_IVAR": 1 / variance,
        "BIN_SNR": np.maximum(mean(flux, ones), 0) / np.sqrt(variance),
    }
    for name, value in values.items():
        maps[name] = spread(value, bins)
    maps["BIN_LWSKYCOO"] = np.stack([spread(mean(c, light), bins) for c in maps["SPX_SKYCOO"]])
    maps["BIN_LWELLCOO"] = np.stack([spread(mean(c, light), bins) for c in maps["SPX_ELLCOO"]])
    return bins


def spread(values: NDArray, bins: NDArray) -> NDArray:
    """Give each spaxel its bin's value, and 0 outside the bins."""
    return np.append(values, 0)[bins]


def _stars(maps: dict[str, NDArray], sky: Sky, mask: NDArray, bins: NDArray, rng: np.random.Generator) -> None:
    """Stellar kinematics, one value per bin: the bin's moments, and noise that falls with its S/N."""
    good, n_bins = bins >= 0, bins.max() + 1
    flux, first, second = (np.bincount(bins[good], p[good], n_bins) for p in (sky.stars.flux, sky.stars.first, sky.stars.second))
    velocity = first / flux
    dispersion = np.sqrt(np.maximum(second / flux - velocity**2, 1))
    snr = np.zeros(n_bins)
    snr[bins[good]] = maps["BIN_SNR"][good]
    error = 70 / np.maximum(snr, 3)
    for name, value, scatter in (("STELLAR_VEL", velocity, error), ("STELLAR_SIGMA", np.hypot(dispersion, 40), 1.3 * error)):
        noisy = value + scatter * rng.standard_normal(n_bins)
        maps[name] = spread(np.maximum(noisy, 1) if name == "STELLAR_SIGMA" else noisy, bins)
        maps[f"{name}_IVAR"] = spread(scatter**-2, bins)
        maps[f"{name}_MASK"] = mask.copy()
    maps["BIN_MFLUX_MASK"] = mask.copy()
    # The observed width holds 40 km/s of resolution difference between galaxy and templates.
    maps["STELLAR_SIGMACORR"] = np.where(mask == 0, 40.0, 0.0) * np.array([1.0, 0.98])[:, None, None]
    maps["STELLAR_FOM"] = _figures_of_merit(mask, rng)


def _lines(maps: dict[str, NDArray], sky: Sky, noise: NDArray, mask: NDArray, observation: Observation, rng: np.random.Generator) -> Truth:
    """Emission lines, moments and Gaussian fits alike; velocity is tied over all lines, as in DR17."""
    good = mask == 0
    velocity, dispersion = sky.gas.velocity(), sky.gas.dispersion()
    radius = maps["SPX_ELLCOO"][1]
    flux = sky.gas.flux * of_lines("ratio") * np.exp(of_lines("gradient") * (np.minimum(radius, 3) - 0.7))
    flux[HA], flux[NII], flux[NII - 2] = sky.gas.flux, sky.nii, 0.326 * sky.nii
    error = noise * np.sqrt((0.035 * of_lines("noise")) ** 2 + 3.3e-4 * flux)

    # The instrument's resolution drifts by a per cent or so across a bundle.
    drift = 1 + 0.008 * maps["SPX_SKYCOO"][0] / observation.diameter_arcsec
    instrument = of_lines("instrument_kms") * drift
    width = np.hypot(dispersion, instrument)
    snr = flux / error
    ha_snr = snr[HA]
    velocity_error = width[HA] / ha_snr
    line_mask = np.repeat(mask[None], len(LINE_NAMES), 0)
    weak = good & (ha_snr < MIN_LINE_SNR)
    line_mask[:, weak] = NEARBOUND | DONOTUSE
    fitted = line_mask == 0

    def noisy(value: NDArray, scatter: NDArray) -> NDArray:
        return np.where(fitted, value + scatter * rng.standard_normal(fitted.shape, np.float32), 0)

    dispersion_error = 1.25 * width * np.maximum(1 / np.maximum(snr, 0.5), 1 / ha_snr)
    maps["EMLINE_GFLUX"] = noisy(flux, error)
    maps["EMLINE_SFLUX"] = noisy(flux, 1.1 * error)
    one_velocity = velocity + velocity_error * rng.standard_normal(velocity.shape)
    maps["EMLINE_GVEL"] = np.where(fitted, one_velocity, 0)
    maps["EMLINE_GSIGMA"] = np.maximum(noisy(width, dispersion_error), 0)
    for name, scatter in (("GFLUX", error), ("SFLUX", 1.1 * error), ("GVEL", velocity_error), ("GSIGMA", dispersion_error)):
        maps[f"EMLINE_{name}_IVAR"] = np.where(fitted, scatter**-2.0, 0)
        maps[f"EMLINE_{name}_MASK"] = line_mask.copy()
    maps["EMLINE_INSTSIGMA"] = np.where(fitted, instrument, 0)
    maps["EMLINE_TPLSIGMA"] = np.where(fitted, 0.72 * instrument, 0)
    # Fits at the bound report a width near 1000 km/s, with an error without meaning.
    maps["EMLINE_GSIGMA"][:, weak] = 1001.0
    continuum = np.maximum(sky.stars.flux, 1e-3)
    for kind in ("S", "G"):
        maps[f"EMLINE_{kind}EW_CNT"] = np.where(fitted, continuum, 0)
        maps[f"EMLINE_{kind}EW"] = np.where(fitted, maps[f"EMLINE_{kind}FLUX"] / continuum, 0)
        maps[f"EMLINE_{kind}EW_IVAR"] = maps[f"EMLINE_{kind}FLUX_IVAR"] * continuum**2
        maps[f"EMLINE_{kind}EW_MASK"] = line_mask.copy()
    amplitude = maps["EMLINE_GFLUX"] / (np.sqrt(2 * np.pi) * of_lines("wavelength") * (1 + observation.galaxy.z) * width / 299792.458)
    maps["EMLINE_GA"] = np.where(fitted, amplitude, 0)
    maps["EMLINE_GANR"] = maps["EMLINE_GFLUX"] * np.sqrt(maps["EMLINE_GFLUX_IVAR"])
    maps["EMLINE_FOM"] = _figures_of_merit(mask, rng)
    maps["EMLINE_LFOM"] = np.where(fitted, 1 + 0.08 * rng.standard_normal(fitted.shape, np.float32), 0)
    _bad_fits(maps, observation, rng)
    return Truth(sky.gas.flux, velocity, width[HA], error[HA], velocity_error, dispersion_error[HA])


def _bad_fits(maps: dict[str, NDArray], observation: Observation, rng: np.random.Generator) -> None:
    """Spoil a few spaxels' fits as real files show it."""
    good = np.flatnonzero(maps["EMLINE_GFLUX_MASK"][HA] == 0)
    chosen = np.unravel_index(rng.choice(good, 5, replace=False), maps["SPX_SNR"].shape)
    absurd = 10.0 ** rng.uniform(5, 7, 5)
    if observation.accident == "unreliable spaxels":
        # UNRELIABLE stands alone, without DONOTUSE: only `mask == 0` finds these.
        for name in ("GFLUX", "GVEL", "GSIGMA"):
            maps[f"EMLINE_{name}_MASK"][(HA, *chosen)] = UNRELIABLE
        maps["EMLINE_GFLUX"][(HA, *chosen)] = absurd
        maps["EMLINE_GVEL"][(HA, *chosen)] = 900.0
    elif observation.accident == "mathematical errors":
        for name in ("GFLUX", "GVEL"):
            maps[f"EMLINE_{name}_MASK"][(HA, *chosen)] = MATHERROR | DONOTUSE
        maps["EMLINE_GFLUX"][(HA, *chosen)] = 0
        maps["EMLINE_GFLUX_IVAR"][(HA, *chosen)] = 0


def _figures_of_merit(mask: NDArray, rng: np.random.Generator) -> NDArray:
    """Nine figures of merit of a spectral fit (rms, fractional rms, reduced χ² and percentiles), of plausible size."""
    typical = np.array([0.02, 0.05, 1.0, 0.04, 0.2, 0.6, 1.0, 2.6, 4.5])[:, None, None]
    return np.where(mask == 0, typical * (1 + 0.1 * rng.standard_normal((9, *mask.shape), np.float32)), 0)


def _indices(maps: dict[str, NDArray], mask: NDArray) -> None:
    """Spectral indices: typical values and errors, the same in all three definitions."""
    good, shape = mask == 0, (len(INDEX_NAMES), *mask.shape)
    # Corrections for the velocity dispersion add to magnitudes and multiply all else: none is needed here.
    correction = np.array([0.0 if unit == "mag" else 1.0 for unit in INDEX_UNITS])[:, None, None]
    values = {"": of_indices("value"), "_IVAR": of_indices("error") ** -2, "_CORR": correction, "_MODEL": of_indices("value")}
    for name in ("SPECINDEX", "SPECINDEX_BF", "SPECINDEX_WGT"):
        maps |= {name + part: np.where(good, value, 0) for part, value in values.items()}
        maps[f"{name}_MASK"] = np.broadcast_to(mask, shape).copy()
