"""The source tensor as networks and people take it: flux in [0, 1], velocity in [−1, 1], clipped; and its preview.

5% of the velocities are clipped. Nothing of the run reads it: the bank and lensing work from the physical maps (`ifu.tensors`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..config.manga import Tensor
from ..core.files import whole, write_json
from .maps import Maps, squared
from .preview import draw_preview, draw_reason
from .tensors import SourceTensor, scales


def normalise(physical: SourceTensor, maps: Maps, tensor: Tensor) -> tuple[NDArray, dict]:
    """Normalise one galaxy's tensor.

    Percentiles are taken over the used spaxels of the maps before resampling, so they do not depend on the tensor's size.

    Parameters
    ----------
    physical : of `build_source_tensor`
    maps : those that it was made from
    tensor : percentiles

    Returns
    -------
    tensor : (2, size, size) float32; flux in [0, 1], velocity in [−1, 1]; 0 where masked
    sidecar : the facts, and the percentiles with their values; JSON-ready

    Raises
    ------
    TensorError
        Flux or velocity does not vary between the percentiles.
    """
    low, high, scale = scales(squared(maps), tensor.flux_percentiles, tensor.velocity_percentile)
    area = maps.pixel_scale_arcsec**2
    sidecar = {
        **physical.facts,
        "flux_percentiles": list(tensor.flux_percentiles),
        "flux_p5_per_spaxel": low,
        "flux_p99_5_per_spaxel": high,
        "flux_p5_per_arcsec2": low / area,
        "flux_p99_5_per_arcsec2": high / area,
        "velocity_percentile": tensor.velocity_percentile,
        "velocity_scale_kms": scale,
    }
    return _channels(physical, sidecar), sidecar


def write_normalised(
    physical: SourceTensor,
    normalised: tuple[NDArray, Mapping],
    npy: str | os.PathLike,
    sidecar: str | os.PathLike,
    preview: str | os.PathLike,
) -> None:
    """Write tensor (.npy), sidecar (.json) and preview (.png), each whole."""
    with whole(npy) as temporary:
        np.save(temporary, normalised[0], allow_pickle=False)
    with whole(preview) as temporary:
        draw_preview(temporary, physical.flux_per_arcsec2, physical.velocity, physical.valid, normalised[1])
    write_json(sidecar, normalised[1])


def write_reason(facts: Mapping, npy: str | os.PathLike, sidecar: str | os.PathLike, preview: str | os.PathLike) -> None:
    """Write files that say why a galaxy has no tensor: an empty array, and the reason in sidecar and preview.

    Parameters
    ----------
    facts : of `ifu.tensors.left_out`
    """
    with whole(npy) as temporary:
        np.save(temporary, np.zeros((2, 0, 0), np.float32), allow_pickle=False)
    with whole(preview) as temporary:
        draw_reason(temporary, f"{facts['instrument']} {facts['galaxy_id']}: no source tensor", facts["left_out"])
    write_json(sidecar, facts)


def _channels(physical: SourceTensor, sidecar: Mapping) -> NDArray[np.float32]:
    low, high = sidecar["flux_p5_per_arcsec2"], sidecar["flux_p99_5_per_arcsec2"]
    channels = np.stack(
        [
            np.clip((physical.flux_per_arcsec2 - low) / (high - low), 0, 1),
            np.clip((physical.velocity - sidecar["velocity_median_kms"]) / sidecar["velocity_scale_kms"], -1, 1),
        ]
    )
    return np.where(physical.valid, channels, 0.0).astype(np.float32)
