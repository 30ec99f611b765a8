"""From physical channels to network inputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config.legacysurvey import BANDS as SURVEY_BANDS
from ..config.network import Network, Scaling

#: Inputs of each channel mode, in order. `flux` comes with the mask and 1/σ_v that follow from it, as `both` has them: a
#: comparison of the two is then about the velocity, not about another view of the flux. `velocity` comes with its mask and with 1/σ_v, both zero outside the mask.
INPUTS = {
    "flux": ("flux", "mask", "inverse_sigma"),
    "velocity": ("velocity", "mask", "inverse_sigma"),
    "both": ("flux", "velocity", "mask", "inverse_sigma"),
    "mask": ("mask",),
    "bands": SURVEY_BANDS,
}

#: What networks that see the evidence have in place of pixels, by their channels: maps of `detectors.evidence.schema`, less their prefix.
EVIDENCE_INPUTS = {
    "flux": ("residual_flux", "z_flux", "d_prime_flux"),
    "velocity": ("residual_velocity", "z_velocity", "d_prime_velocity"),
    "both": (
        *("residual_flux", "z_flux", "d_prime_flux"),
        *("residual_velocity", "z_velocity", "d_prime_velocity"),
        *("z_both", "d_prime_both"),
    ),
}

#: Bands of the lens finder, in the order of its image column, and the scalars that may go with them:
#: PSF sizes in arcsec and 5σ point-source depths in magnitudes.
BANDS = INPUTS["bands"]
SCALARS = tuple(f"{kind}_{band}" for kind in ("psfsize", "psfdepth") for band in BANDS)

#: Image columns that each input is made of.
COLUMNS = {
    "flux": ("flux",),
    "velocity": ("velocity", "velocity_sigma", "mask"),
    "mask": ("mask",),
    "inverse_sigma": ("velocity_sigma", "mask"),
}

#: What a network that sees the flux reads instead of the dataset's own velocity, mask and σ_v. Those are label-blind: they come from
#: the smooth lens without noise, and a network could compare them with the flux and so see the subhalo for nothing.
BESIDE_FLUX = {"velocity": "observed_velocity", "mask": "observed_mask", "velocity_sigma": "observed_sigma"}

#: Stand in for the noise of noise-free stamps, so that a ratio to the noise stays finite.
FLUX_NOISE_FLOOR = 1e-3
VELOCITY_SIGMA_FLOOR_KMS = 1.0


class LearningError(ValueError):
    """Stamps, networks or weights cannot be used for learning; the message says which and why."""


def inputs_of(network: Network) -> tuple[str, ...]:
    """Return the names of a network's input channels, in order."""
    return (EVIDENCE_INPUTS if network.sees_evidence else INPUTS)[network.channels]


@dataclass(frozen=True)
class Normalisation:
    """Constants of the last step of input scaling, (x − offset)/scale, one per input.

    Taken from the training stamps of both classes together, so they know no label.
    """

    inputs: tuple[str, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    #: Of bands: the flux at which each band's stretch bends, nanomaggies.
    softening: tuple[float, ...] = ()


def scaled_input(name: str, found: dict[str, NDArray], scaling: Scaling) -> NDArray:
    """Return one input before normalisation, (n, size, size) float32."""
    with np.errstate(invalid="ignore", over="ignore"):  # stamps with bad pixels are refused by name after reading
        if name == "flux":
            return scale_flux(found["flux"], found["flux_noise"], scaling)
        mask = found["mask"] > 0
        if name == "mask":
            return mask.astype(np.float32)
        sigma = np.maximum(found["velocity_sigma"], np.float32(VELOCITY_SIGMA_FLOOR_KMS))
        if name == "inverse_sigma":
            return np.where(mask, np.float32(scaling.velocity_scale_kms) / sigma, np.float32(0))
        return scale_velocity(found["velocity"], sigma, mask, scaling)


def scale_flux(flux: NDArray, flux_noise: NDArray, scaling: Scaling) -> NDArray:
    """Flux over the stamp's peak, over its background noise, or the asinh of the latter.

    Parameters
    ----------
    flux : (n, size, size) float32
    flux_noise : (n,), same unit; at least `FLUX_NOISE_FLOOR` is used, for noise-free stamps
    """
    if scaling.flux == "peak":
        peak = flux.max((1, 2), keepdims=True)
        return flux / np.where(peak > 0, peak, np.float32(1))
    ratio = flux / np.maximum(flux_noise, FLUX_NOISE_FLOOR).astype(np.float32)[:, None, None]
    return np.arcsinh(ratio) if scaling.flux == "asinh" else ratio


def scale_velocity(velocity: NDArray, sigma: NDArray, mask: NDArray, scaling: Scaling) -> NDArray:
    """Velocity over a fixed scale, over σ_v, or the asinh of the latter; 0 outside the mask.

    Parameters
    ----------
    velocity, sigma : (n, size, size) float32, km/s; sigma above zero
    mask : (n, size, size) bool
    """
    if scaling.centre_velocity:
        velocity = velocity - _masked_median(velocity, mask)[:, None, None]
    if scaling.velocity == "fixed":
        ratio = velocity / np.float32(scaling.velocity_scale_kms)
    else:
        ratio = velocity / sigma
        if scaling.velocity == "asinh":
            ratio = np.arcsinh(ratio)
    return np.where(mask, ratio, np.float32(0))


def _masked_median(values: NDArray, mask: NDArray) -> NDArray:
    """Median of each stamp's pixels inside its mask, (n,) float32; 0 where the mask is empty."""
    ordered = np.sort(np.where(mask, values, np.float32(np.inf)).reshape(len(values), -1), axis=1)
    count = mask.reshape(len(values), -1).sum(1)
    rows = np.arange(len(values))
    middle = (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, np.minimum(count // 2, ordered.shape[1] - 1)]) / 2
    return np.where(count > 0, middle, 0).astype(np.float32)


def measure(parts: Iterable[tuple[NDArray, NDArray]], n: int, names: tuple[str, ...]) -> Normalisation:
    """Take the constants from training inputs: mean and deviation of flux over all pixels, rms of velocity and 1/σ_v in the masks.

    Parameters
    ----------
    parts : rows and their inputs (m, size, size, c), each of the n rows once
    names : of the inputs
    """
    sums = np.empty((n, 3, len(names)))
    for rows, inputs in parts:
        for k, image in zip(rows, inputs, strict=True):  # stamp by stamp: float64 copies stay small, and sums do not depend on shards
            pixels = image.reshape(-1, len(names)).astype(np.float64)
            sums[k, 0], sums[k, 1], sums[k, 2] = pixels.sum(0), (pixels**2).sum(0), len(pixels)
            if "mask" in names:
                sums[k, 2] = pixels[:, names.index("mask")].sum()
                if names[0] == "flux":
                    sums[k, 2, 0] = len(pixels)
    total, square, count = sums.sum(0)
    offset, scale = [], []
    for k, name in enumerate(names):
        n = max(count[k], 1.0)
        mean = total[k] / n if name == "flux" else 0.0
        spread = 1.0 if name == "mask" else np.sqrt(max(square[k] / n - mean**2, 0.0))
        offset.append(float(mean))
        scale.append(float(spread) if spread > 0 else 1.0)
    return Normalisation(names, tuple(offset), tuple(scale))


def normalise(inputs: NDArray, normalisation: Normalisation) -> None:
    """Apply the last step of input scaling to inputs (n, size, size, c), in place."""
    offset, scale = np.float32(normalisation.offset), np.float32(normalisation.scale)
    for start in range(0, len(inputs), 1024):
        inputs[start : start + 1024] = (inputs[start : start + 1024] - offset) / scale
