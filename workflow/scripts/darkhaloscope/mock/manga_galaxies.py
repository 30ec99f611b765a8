"""The mock galaxies' light and motions on a fine grid, and what MaNGA sees of them.

A galaxy is described by its velocity moments per unit area, F, F·v and F·(v² + σ²). A spectrograph
records a cube whose every channel is blurred by the PSF; since blurring is linear, the moments of
the blurred cube are the blurred moments. Observed flux, velocity and dispersion follow from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import i0

from ..core.random import stream
from .manga_population import MockGalaxy, Observation

SPAXEL_ARCSEC = 0.5
#: Fine pixels along a spaxel's side.
FINE = 4
#: Sky modelled around the maps, since the PSF brings its light in [spaxels].
MARGIN = 12
#: Slope of the Moffat PSF: the wings of atmospheric turbulence (Trujillo et al. 2001, MNRAS 328, 977).
PSF_BETA = 4.765
#: Share of Hα in diffuse ionised gas, and of starlight in a thick disk, both reaching farther out than the thin disk.
DIFFUSE_SHARE, THICK_SHARE = 0.12, 0.12


@dataclass(frozen=True)
class Moments:
    """Flux and its first two velocity moments; (ny, nx) each, in flux, flux·km/s, flux·(km/s)²."""

    flux: NDArray
    first: NDArray
    second: NDArray

    def velocity(self) -> NDArray:
        """Flux-weighted velocity [km/s]."""
        return self.first / self.flux

    def dispersion(self) -> NDArray:
        """Flux-weighted dispersion about the mean velocity [km/s]."""
        return np.sqrt(np.maximum(self.second / self.flux - self.velocity() ** 2, 0))

    def scaled(self, factor: float) -> Moments:
        """Return the moments of `factor` times the light."""
        return Moments(self.flux * factor, self.first * factor, self.second * factor)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.flux + other.flux, self.first + other.first, self.second + other.second)


@dataclass(frozen=True)
class Sky:
    """Noiseless maps of one observation, at MaNGA's resolution, one value per spaxel."""

    gas: Moments
    stars: Moments
    #: [NII] 6585 flux, in the units of Hα.
    nii: NDArray


def see(observation: Observation, seed: int) -> Sky:
    """Return the noiseless maps of one observation.

    Parameters
    ----------
    observation : Observation
    seed : int
        Seed of the archive: places the clumps.

    Returns
    -------
    Sky
        Maps of (n_spaxels, n_spaxels); Hα in 1e-17 erg/s/cm²/spaxel, stars in 1e-17 erg/s/cm²/Å/spaxel (g band).
    """
    galaxy = observation.galaxy
    x, y = fine_grid(observation.n_spaxels)
    gas, stars, nii = fine_moments(galaxy, x, y, seed)
    blur = Blur(x.shape[0], observation.rfwhm_arcsec)
    gas, stars = (Moments(*(to_spaxels(blur(p)) for p in (m.flux, m.first, m.second))) for m in (gas, stars))
    scale = galaxy.peak_flux / gas.flux.max()
    return Sky(
        gas=gas.scaled(scale),
        stars=stars.scaled(galaxy.peak_continuum / stars.flux.max()),
        nii=scale * to_spaxels(blur(nii)),
    )


def fine_grid(n_spaxels: int) -> tuple[NDArray, NDArray]:
    """Return (x, y) of the fine pixels' centres: arcsec east and north of the galaxy.

    Pixel n_spaxels // 2 of the maps (counted from 0) is centred on the galaxy, as in MaNGA; columns run west.
    """
    n = (n_spaxels + 2 * MARGIN) * FINE
    offset = ((np.arange(n) + 0.5) / FINE - 0.5 - MARGIN - n_spaxels // 2) * SPAXEL_ARCSEC
    return np.meshgrid(-offset, offset)


def to_spaxels(fine: NDArray) -> NDArray:
    """Mean of the fine pixels in each spaxel, without the margin."""
    n = fine.shape[0] // FINE
    return fine.reshape(n, FINE, n, FINE).mean(axis=(1, 3))[MARGIN:-MARGIN, MARGIN:-MARGIN]


def moffat(fwhm_arcsec: float, half_width: int, pixel_arcsec: float) -> NDArray:
    """Moffat PSF on (2·half_width + 1)² pixels, of sum 1."""
    alpha = fwhm_arcsec / (2 * math.sqrt(2 ** (1 / PSF_BETA) - 1))
    r = np.arange(-half_width, half_width + 1) * pixel_arcsec
    kernel = (1 + (r[:, None] ** 2 + r[None, :] ** 2) / alpha**2) ** -PSF_BETA
    return kernel / kernel.sum()


class Blur:
    """Convolution with the PSF, by Fourier transform, dark beyond the grid."""

    def __init__(self, n: int, fwhm_arcsec: float) -> None:
        half = MARGIN * FINE
        self._n = n
        self._padded = fft.next_fast_len(n + half, real=True)
        kernel = np.zeros((self._padded, self._padded))
        kernel[: 2 * half + 1, : 2 * half + 1] = moffat(fwhm_arcsec, half, SPAXEL_ARCSEC / FINE)
        self._kernel = fft.rfft2(np.roll(kernel, (-half, -half), (0, 1)))

    def __call__(self, image: NDArray) -> NDArray:
        """Return `image`, (n, n), convolved."""
        blurred = fft.irfft2(fft.rfft2(image, (self._padded, self._padded)) * self._kernel, (self._padded, self._padded))
        return blurred[: self._n, : self._n]


def fine_moments(galaxy: MockGalaxy, x: NDArray, y: NDArray, seed: int) -> tuple[Moments, Moments, NDArray]:
    """Return the moments of gas and stars and the [NII] light, before the PSF, not normalised."""
    radius, theta, sin_i = _disk_coordinates(galaxy, x, y)
    phase = _arm_phase(galaxy, radius, theta)
    circular, radial = _disk_motions(galaxy, radius, theta, phase)
    gas_flux = _gas_light(galaxy, x, y, radius, phase, seed)
    velocity = galaxy.v_sys_kms + sin_i * (circular * np.cos(theta) + radial * np.sin(theta))
    sigma = galaxy.sigma0_kms * (1 + 0.8 * np.exp(-radius / (0.35 * galaxy.re_arcsec)))
    gas = _moments(gas_flux, velocity, sigma)
    nii = gas_flux * galaxy.nii_ratio * (0.75 + 0.6 * np.exp(-radius / (0.8 * galaxy.re_arcsec)))

    star_flux = _star_light(galaxy, x, y, radius, theta, phase)
    # Stars lag behind the gas (asymmetric drift), and are hotter.
    star_velocity = galaxy.v_sys_kms + 0.85 * sin_i * circular * np.cos(theta)
    star_sigma = 38 + 0.45 * galaxy.v_max_kms * np.exp(-radius / (0.9 * galaxy.re_arcsec))
    stars = _moments(star_flux, star_velocity, star_sigma)
    if galaxy.companion_share:
        companion = _companion(galaxy, x, y)
        gas_share = galaxy.companion_share * gas.flux.sum() / companion.flux.sum()
        gas += companion.scaled(gas_share)
        nii = nii + 0.5 * galaxy.nii_ratio * gas_share * companion.flux
        stars += companion.scaled(0.6 * galaxy.companion_share * stars.flux.sum() / companion.flux.sum())
    return gas, stars, nii


def _moments(flux: NDArray, velocity: NDArray, sigma: NDArray) -> Moments:
    return Moments(flux, flux * velocity, flux * (velocity**2 + sigma**2))


def _disk_coordinates(galaxy: MockGalaxy, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray, float]:
    """Return radius and azimuth in the plane of the disk, whose position angle turns where it is warped."""
    inclination = math.radians(galaxy.inclination_deg)
    radius = np.hypot(x, y)
    # The warp depends on the radius that it changes: a few rounds settle it, it being small.
    for _ in range(4 if galaxy.warp_deg else 1):
        beyond = np.maximum(radius / galaxy.re_arcsec - 0.8, 0)
        pa = np.radians(galaxy.pa_deg + galaxy.warp_deg * np.minimum(beyond, 2.5))
        along = x * np.sin(pa) + y * np.cos(pa)
        across = (-x * np.cos(pa) + y * np.sin(pa)) / math.cos(inclination)
        radius = np.hypot(along, across)
    return radius, np.arctan2(across, along), math.sin(inclination)


def _arm_phase(galaxy: MockGalaxy, radius: NDArray, theta: NDArray) -> NDArray:
    """Phase of logarithmic spiral arms: 0 on an arm's crest."""
    winding = np.log(np.maximum(radius, 0.05 * galaxy.re_arcsec) / galaxy.re_arcsec) / math.tan(math.radians(galaxy.pitch_deg))
    return galaxy.n_arms * (theta - winding - math.radians(galaxy.arm_phase_deg))


def _disk_motions(galaxy: MockGalaxy, radius: NDArray, theta: NDArray, phase: NDArray) -> tuple[NDArray, NDArray]:
    """Return speeds along and across the circular orbits [km/s].

    A bar adds the m = 2 streaming of Spekkens & Sellwood 2007 (ApJ 664, 204); arms add theirs along the crests.
    """
    circular = galaxy.v_max_kms * (1 - np.exp(-radius / galaxy.turnover_arcsec))
    if math.isfinite(galaxy.reversal_arcsec):
        circular *= np.tanh((galaxy.reversal_arcsec - radius) / 1.0)
    bar = galaxy.bar_speed_kms * (radius / galaxy.bar_radius_arcsec) * np.exp(0.5 - 0.5 * (radius / galaxy.bar_radius_arcsec) ** 2)
    turn = 2 * (theta - math.radians(galaxy.bar_angle_deg))
    fade = 1 - np.exp(-((radius / (0.4 * galaxy.re_arcsec)) ** 2))
    streaming = galaxy.arm_streaming_kms * fade
    return (
        circular - bar * np.cos(turn) + streaming * np.cos(phase),
        galaxy.radial_flow_kms * fade - bar * np.sin(turn) + streaming * np.sin(phase),
    )


def _gas_light(galaxy: MockGalaxy, x: NDArray, y: NDArray, radius: NDArray, phase: NDArray, seed: int) -> NDArray:
    """Hα: an exponential disk with arms and perhaps a central hole, and clumps that lie mostly on the arms."""
    fade = 1 - np.exp(-((radius / (0.6 * galaxy.re_arcsec)) ** 2))
    arms = np.exp(galaxy.arm_contrast * fade * np.cos(phase)) / i0(galaxy.arm_contrast * fade)
    hole = 1 - galaxy.hole * np.exp(-((radius / (0.45 * galaxy.re_arcsec)) ** 2))
    disk = np.exp(-radius / galaxy.ha_scale_arcsec) * arms * hole
    disk /= disk.sum()
    light = (1 - galaxy.clump_fraction) * disk + galaxy.clump_fraction * _clumps(galaxy, x, y, disk, seed)
    diffuse = np.exp(-_rounder(galaxy, x, y) / (1.9 * galaxy.ha_scale_arcsec))
    return (1 - DIFFUSE_SHARE) * light + DIFFUSE_SHARE * diffuse / diffuse.sum()


def _rounder(galaxy: MockGalaxy, x: NDArray, y: NDArray) -> NDArray:
    """Elliptical radius of the thick, extended light around the disk."""
    pa, q = math.radians(galaxy.pa_deg), max(math.cos(math.radians(galaxy.inclination_deg)), 0.65)
    return np.hypot(x * math.sin(pa) + y * math.cos(pa), (-x * math.cos(pa) + y * math.sin(pa)) / q)


def _clumps(galaxy: MockGalaxy, x: NDArray, y: NDArray, disk: NDArray, seed: int) -> NDArray:
    """H II complexes: places drawn from the disk's light within 3.5 Re, log-normal brightness, round Gaussians."""
    rng = stream(seed, galaxy.number, "mock clumps")
    # A galaxy observed by two bundles has its clumps at the same places: draw them by polar
    # coordinates and accept by the light there, instead of drawing pixels of this grid.
    light, reach = disk / disk.max(), 3.5 * galaxy.re_arcsec
    total, found = np.zeros_like(disk), 0
    step, half = SPAXEL_ARCSEC / FINE, 0.5 * (x.shape[0] - 1)
    centre_x, centre_y = 0.5 * (x[0, 0] + x[0, -1]), 0.5 * (y[0, 0] + y[-1, 0])
    for _ in range(400 * galaxy.n_clumps):
        r, angle, accept, size, bright = reach * math.sqrt(rng.random()), *rng.random(2), rng.uniform(0.22, 0.5), rng.normal()
        cx, cy = r * math.cos(2 * math.pi * angle), r * math.sin(2 * math.pi * angle)
        column, line = round(half - (cx - centre_x) / step), round(half + (cy - centre_y) / step)
        inside = 0 <= column < x.shape[1] and 0 <= line < x.shape[0]
        if not inside or light[line, column] < accept:
            continue
        weight = math.exp(0.7 * bright) * math.sqrt(light[line, column]) / size**2
        total += np.outer(np.exp(-0.5 * ((y[:, 0] - cy) / size) ** 2), weight * np.exp(-0.5 * ((x[0] - cx) / size) ** 2))
        found += 1
        if found == galaxy.n_clumps:
            break
    return total / total.sum()


def _star_light(galaxy: MockGalaxy, x: NDArray, y: NDArray, radius: NDArray, theta: NDArray, phase: NDArray) -> NDArray:
    """Continuum: an exponential disk with faint arms, a small round bulge and a bar where the gas feels one."""
    disk = np.exp(-1.678 * radius / galaxy.re_arcsec) * (1 + 0.12 * galaxy.arm_contrast * np.cos(phase))
    bulge = np.exp(-((radius / (0.15 * galaxy.re_arcsec)) ** 0.7))
    light = (1 - galaxy.bulge_fraction) * disk / disk.sum() + galaxy.bulge_fraction * bulge / bulge.sum()
    thick = np.exp(-1.678 * _rounder(galaxy, x, y) / (1.9 * galaxy.re_arcsec))
    light = (1 - THICK_SHARE) * light + THICK_SHARE * thick / thick.sum()
    if galaxy.bar_speed_kms:
        angle = theta - math.radians(galaxy.bar_angle_deg)
        length = (radius * np.cos(angle) / galaxy.bar_radius_arcsec) ** 2 + (
            radius * np.sin(angle) / (0.35 * galaxy.bar_radius_arcsec)
        ) ** 2
        bar = np.exp(-(length**1.2))
        light = 0.88 * light + 0.12 * bar / bar.sum()
    return light


def _companion(galaxy: MockGalaxy, x: NDArray, y: NDArray) -> Moments:
    """A small rotating disk beside the galaxy, with a bridge of gas between the two."""
    scale, q = 0.3 * galaxy.re_arcsec, 0.7
    pa = math.radians(galaxy.companion_pa_deg)
    dx, dy = x - galaxy.companion_x_arcsec, y - galaxy.companion_y_arcsec
    along, across = dx * math.sin(pa) + dy * math.cos(pa), (-dx * math.cos(pa) + dy * math.sin(pa)) / q
    radius = np.hypot(along, across)
    rotation = galaxy.companion_v_max_kms * (1 - np.exp(-radius / scale)) * along / np.maximum(radius, 1e-6) * math.sqrt(1 - q * q)
    disk = np.exp(-radius / scale)
    length2 = galaxy.companion_x_arcsec**2 + galaxy.companion_y_arcsec**2
    fraction = np.clip((x * galaxy.companion_x_arcsec + y * galaxy.companion_y_arcsec) / length2, 0, 1)
    away = np.hypot(x - fraction * galaxy.companion_x_arcsec, y - fraction * galaxy.companion_y_arcsec)
    bridge = np.exp(-0.5 * (away / (0.25 * galaxy.re_arcsec)) ** 2)
    speed = galaxy.v_sys_kms + galaxy.companion_speed_kms
    disk_light = _moments(disk, speed + rotation, np.full_like(x, 1.2 * galaxy.sigma0_kms))
    bridge_light = _moments(bridge, galaxy.v_sys_kms + fraction * galaxy.companion_speed_kms, np.full_like(x, 1.6 * galaxy.sigma0_kms))
    return disk_light + bridge_light.scaled(0.25 * disk.sum() / bridge.sum())
