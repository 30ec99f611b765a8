"""From noiseless moment images to what a stamp holds: noise, masks, measures, and the ideal observer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...config.subhalo import FWHM_PER_SIGMA, Instrument, Noise
from ...core.random import stream

#: Least share of the peak's flux in a pixel whose velocity is formed: below it the ratio of moments is rounding.
FAINTEST = 1e-6


@dataclass(frozen=True)
class Noiseless:
    """One noiseless image: flux in units of the stamp's peak, (h, w), and line-of-sight velocity per block of pixels.

    `block_flux` and `block_velocity` are (h/b, w/b) for blocks of b × b pixels: summed flux, and velocity
    from summed moments.
    """

    flux: NDArray
    block_flux: NDArray
    block_velocity: NDArray


@dataclass(frozen=True)
class Errors:
    """Noise of one stamp: flux variance (h, w); velocity mask and error per block."""

    variance: NDArray
    mask: NDArray
    sigma_v: NDArray


def noiseless(moments: NDArray, peak: float, block: int) -> Noiseless:
    """Return a noiseless image from its PSF-convolved moments.

    Velocity is P∗(F v)/P∗F, for blocks after summing both over the block: what one resolution element of
    a coarser instrument would find.

    Parameters
    ----------
    moments : (3, h, w) float
        P∗F, P∗(F v), P∗(F (v² + σ²)), flux per pixel.
    peak : float
        Flux that becomes 1.
    block : int
        Side of a block.
    """
    flux, first = moments[0] / peak, moments[1] / peak
    block_flux, block_first = block_sum(flux, block), block_sum(first, block)
    lit = block_flux > FAINTEST * block**2
    velocity = np.where(lit, block_first / np.where(lit, block_flux, 1), 0)
    return Noiseless(flux, block_flux, velocity)


def noiseless_pair(control: NDArray, positive: NDArray, smooth_peak: float, block: int, contrast: str) -> tuple[Noiseless, Noiseless]:
    """Return what a control and a positive of one row would show, without noise, from their moments (3, h, w) as `noiseless` takes them.

    The peak of the control's flux becomes `smooth_peak`.
    """
    peak = float(control[0].max()) / smooth_peak
    without = noiseless(control.astype(np.float64), peak, block)
    if contrast == "lensed":
        # Each has its own peak as unit, or brightness alone would tell them apart.
        peak = float(positive[0].max()) / smooth_peak
    having = noiseless(positive.astype(np.float64), peak, block)
    if contrast == "kinematics":
        having = Noiseless(without.flux, without.block_flux, having.block_velocity)
    return without, having


def flux_variance(flux: NDArray, peak_snr: float, background_share: float) -> NDArray:
    """Return the variance of the flux in each pixel.

    σ² = f/SNR² + (1 − f) F/SNR², F in units of the peak: SNR is that of the brightest pixel, f the share of
    its variance that is background. Without any background a dark pixel still has the variance of one
    electron.

    Parameters
    ----------
    flux : (h, w), units of the peak
    peak_snr : float
    background_share : float
        f, 0 to 1.
    """
    gain = (1 - background_share) / peak_snr**2
    variance = background_share / peak_snr**2 + gain * np.maximum(flux, 0)
    return variance if background_share > 0 else np.maximum(variance, gain**2)


def velocity_errors(flux: NDArray, variance: NDArray, noise: Noise, block: int) -> Errors:
    """Return where a velocity exists and its error, from the line's signal-to-noise.

    σ_v = max(FWHM/(2.355 S/N), floor) where S/N is at least `velocity_min_snr`, S/N being that of the
    flux summed over a block.

    Parameters
    ----------
    flux, variance : (h, w), the flux that the mask is cut from and its variance
    """
    snr = block_sum(flux, block) / np.sqrt(block_sum(variance, block))
    mask = snr >= max(noise.velocity_min_snr, 1e-3)
    sigma = np.maximum(noise.line_fwhm_kms / (FWHM_PER_SIGMA * np.where(mask, snr, 1)), noise.velocity_floor_kms)
    return Errors(variance, mask, np.where(mask, sigma, 0))


def velocity_errors_everywhere(flux: NDArray, variance: NDArray, noise: Noise, block: int) -> Errors:
    """Return the velocity's error in every block, where the line is fainter than its noise that of S/N 1."""
    snr = np.maximum(block_sum(flux, block) / np.sqrt(block_sum(variance, block)), 1)
    return Errors(variance, np.ones(snr.shape, bool), np.maximum(noise.line_fwhm_kms / (FWHM_PER_SIGMA * snr), noise.velocity_floor_kms))


def noisy_flux(flux: NDArray, peak_snr: float, background_share: float, seed: int, number: int) -> NDArray:
    """Return the flux with background noise and Poisson noise of its electrons, from the row's own streams.

    One electron is g = (1 − f)/SNR² in units of the peak: F/g electrons are drawn from a Poisson law.
    """
    gain = (1 - background_share) / peak_snr**2
    electrons = stream(seed, number, "poisson noise").poisson(np.maximum(flux, 0) / gain) if gain > 0 else None
    light = flux if electrons is None else gain * electrons
    background = stream(seed, number, "background noise").standard_normal(flux.shape)
    return light + np.sqrt(background_share) / peak_snr * background


def twin_fluxes(
    without: NDArray, having: NDArray, peak_snr: float, background_share: float, seed: int, number: int
) -> tuple[NDArray, NDArray]:
    """Return two fluxes of one row with common random numbers, each distributed as `noisy_flux` has it.

    The electrons that both images have are drawn once; what one has beyond the other is drawn on its own, and a sum of Poisson
    numbers is a Poisson number. The background is the same. So the two differ by the signal and its own photon noise alone.

    Parameters
    ----------
    without, having : (h, w), units of the peak
    """
    gain = (1 - background_share) / peak_snr**2
    background = np.sqrt(background_share) / peak_snr * stream(seed, number, "background noise").standard_normal(without.shape)
    if gain <= 0:
        return without + background, having + background
    low, high = np.maximum(without, 0) / gain, np.maximum(having, 0) / gain
    shared = stream(seed, number, "poisson noise").poisson(np.minimum(low, high))
    excess = stream(seed, number, "poisson noise of the excess").poisson(np.abs(high - low))
    return (
        gain * (shared + np.where(low > high, excess, 0)) + background,
        gain * (shared + np.where(high > low, excess, 0)) + background,
    )


def images_of(
    flux: NDArray, shown: Noiseless, reference: Noiseless, peak_snr: float, instrument: Instrument, seed: int, number: int
) -> dict[str, NDArray]:
    """Return the image columns of a stamp, (h, w) each, from its noisy flux; the velocity's noise comes from the row's own stream.

    Parameters
    ----------
    flux : (h, w), with its noise
    shown : Noiseless
        What is there.
    reference : Noiseless
        What the label-blind mask and σ_v are cut from: the smooth lens in both classes, where the label allows it.
    peak_snr, instrument : as the stamp has them
    seed, number : of the noise's stream
    """
    noise, block = instrument.noise, instrument.velocity_block

    def variance(image: NDArray) -> NDArray:
        return flux_variance(image, peak_snr, noise.background_share)

    def noisy(errors: Errors) -> NDArray:
        return noisy_velocity(shown.block_velocity, errors, seed, number) if noise.velocity else shown.block_velocity

    blind = velocity_errors(reference.flux, variance(reference.flux), noise, block)
    observed = velocity_errors(flux, variance(flux), noise, block)
    errors = observed if instrument.mask == "observed" else blind
    # Each velocity has the noise that its own σ_v states: of the reference image, or of what is really there.
    own = noisy(velocity_errors_everywhere(shown.flux, variance(shown.flux), noise, block))
    return {
        "flux": flux,
        "velocity": spread(np.where(errors.mask, own if instrument.mask == "observed" else noisy(blind), 0), block),
        "velocity_sigma": spread(errors.sigma_v, block),
        "mask": spread(errors.mask, block),
        "observed_velocity": spread(np.where(observed.mask, own, 0), block),
        "observed_sigma": spread(observed.sigma_v, block),
        "observed_mask": spread(observed.mask, block),
    }


def noisy_velocity(velocity: NDArray, errors: Errors, seed: int, number: int) -> NDArray:
    """Return block velocities with Gaussian noise, from the row's own stream."""
    return velocity + errors.sigma_v * stream(seed, number, "velocity noise").standard_normal(velocity.shape)


def d_primes(without: Noiseless, having: Noiseless, peak_snr: float, noise: Noise, block: int, contrast: str) -> tuple[float, float]:
    """Return the ideal observer's d′ in flux and velocity, with the noise of the image without the subhalo."""
    variance = flux_variance(without.flux, peak_snr, noise.background_share)
    errors = velocity_errors(without.flux, variance, noise, block)
    if contrast == "lensed":
        # A velocity can be compared only where both images have one.
        other = velocity_errors(having.flux, flux_variance(having.flux, peak_snr, noise.background_share), noise, block)
        errors = Errors(variance, errors.mask & other.mask, np.maximum(errors.sigma_v, other.sigma_v))
    return (
        flux_d_prime(without.flux, having.flux, variance),
        velocity_d_prime(without.block_velocity, having.block_velocity, errors),
    )


def flux_d_prime(without: NDArray, having: NDArray, variance: NDArray) -> float:
    """Return the ideal observer's d′ from flux, √Σ((F₁ − F₀)/σ)²."""
    return float(np.sqrt(((having - without) ** 2 / variance).sum()))


def velocity_d_prime(without: NDArray, having: NDArray, errors: Errors) -> float:
    """Return the ideal observer's d′ from velocity on a label-blind mask, √Σ((V₁ − V₀)/σ_v)²; each block counts once."""
    good = errors.mask & (errors.sigma_v > 0)
    return float(np.sqrt((((having - without)[good] / errors.sigma_v[good]) ** 2).sum()))


def block_sum(image: NDArray, block: int) -> NDArray:
    """Return the sums over blocks of pixels, (h/b, w/b)."""
    h, w = image.shape
    return image.reshape(h // block, block, w // block, block).sum(axis=(1, 3)) if block > 1 else image


def spread(image: NDArray, block: int) -> NDArray:
    """Return a block image on the pixels of the stamp."""
    return np.repeat(np.repeat(image, block, axis=0), block, axis=1) if block > 1 else image
