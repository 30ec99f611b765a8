"""What networks see, by name, and the constants that their inputs are scaled by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config.legacysurvey import BANDS as SURVEY_BANDS
from ..config.network import Network

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
