"""What the detector saw of a stamp as maps of its pixels: residuals, z and √ν′, for networks that learn from them.

Nothing is in them but what the detector saw: the stamp's own observed images and the dataset's priors.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .pixels import Batch, Sky
from .process import Solved
from .scan import Places, Scan
from .schema import MAPS


def maps_of(
    sky: Sky,
    where: Places,
    scans: Mapping[str, Scan],
    channels: Mapping[str, tuple[Batch, Solved, int]],
    velocity_pixels: NDArray | None,
    block: int,
) -> dict[str, NDArray]:
    """Return the maps `MAPS` of one stamp, (h, w) float16 each, 0 where there is nothing.

    Parameters
    ----------
    sky, where : of the stamp
    scans : by channel
    channels : by name, flux and velocity: batch, solution and the stamp's row in both
    velocity_pixels : (n, 2) first pixel of each block whose velocity was fitted, in the order of the channel's data; None without one
    block : pixels on a side of such a block
    """
    shape = sky.flux.shape
    out = {name: np.zeros(shape) for name in MAPS}
    for name, (batch, solved, row) in channels.items():
        at = np.argwhere(sky.arc) if name == "flux" else velocity_pixels
        values = residuals(solved, row, int(batch.pixels[row]))
        _fill(out[f"map_residual_{name}"], at, values, block if name == "velocity" else 1, sky.arc)
    for name, scan in scans.items():
        z = scan.z
        best = z.argmax(0)
        places = np.arange(len(best))
        for kind, values in (("z", z[best, places]), ("d_prime", np.sqrt(scan.information[best, places]))):
            out[f"map_{kind}_{name}"] = between(_at(shape, where.pixel, values), _at(shape, where.pixel, 1.0) > 0, sky.arc)
    # Half precision: a residual or a z to a part in two thousand.
    return {name: np.clip(values, -6e4, 6e4).astype(np.float16) for name, values in out.items()}


def residuals(solved: Solved, row: int, count: int) -> NDArray:
    """Return each pixel less what the model predicts of it from all others, over the error of that, (n,).

    wᵢ/√(C⁻¹)ᵢᵢ with w = C⁻¹ d: the leave-one-out residual over its standard deviation (Rasmussen & Williams 2006, eqs. 5.10 to 5.12).
    """
    inverse: Tensor = torch.cholesky_inverse(solved.factor[row, :count, :count].double())
    return (solved.weights[row, :count] / inverse.diagonal().sqrt()).cpu().numpy()


def velocity_pixels(sky: Sky, sigma: NDArray, mask: NDArray, block: int) -> NDArray:
    """Return the first pixel of each block whose velocity `pixels.velocity_channel` fits, (n, 2), in the order of its data."""
    pixels = np.argwhere(sky.arc)
    good = (mask > 0) & (sigma > 0) & sky.arc
    kept = pixels[good[pixels[:, 0], pixels[:, 1]]]
    _, first = np.unique(kept // block @ (1 << 20, 1), return_index=True)
    return kept[first]


def between(values: NDArray, tried: NDArray, arc: NDArray) -> NDArray:
    """Fill pixels of the arc that were not tried with the mean of those of their four neighbours that were."""

    def shifted(image: NDArray) -> NDArray:
        wide = np.pad(image, 1)
        return wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]

    count = shifted(tried.astype(float))
    filled = shifted(np.where(tried, values, 0)) / np.maximum(count, 1)
    return np.where(tried, values, np.where(arc & (count > 0), filled, 0))


def _at(shape: tuple[int, ...], pixel: NDArray, values: NDArray | float) -> NDArray:
    out = np.zeros(shape)
    out[pixel[:, 0], pixel[:, 1]] = values
    return out


def _fill(out: NDArray, at: NDArray, values: NDArray, block: int, arc: NDArray) -> None:
    """Write values at pixels, or over the blocks that these begin in, as far as the arc goes."""
    if block == 1:
        out[at[:, 0], at[:, 1]] = values
        return
    coarse = np.zeros(tuple(side // block for side in out.shape))
    coarse[at[:, 0] // block, at[:, 1] // block] = values
    out[:] = np.where(arc, np.repeat(np.repeat(coarse, block, 0), block, 1), 0)
