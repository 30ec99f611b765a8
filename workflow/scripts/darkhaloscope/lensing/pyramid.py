"""Source images at several resolutions, made so that sampling a coarse one sparsely keeps what a blurred stamp shows.

Each level halves the resolution of the one before. A plain average of 2 × 2 pixels, interpolated, is a
blurred copy; here the weights are such that the second moment of weights and interpolation together is
that of the original image's own bilinear interpolation. What remains differs from the original in fourth
order of (level pixel)/(scale of the blur that follows) only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .kernels import LEAST_SHARE, SHARE_BLOCK
from .sampling import texel

#: Frame of zeros around every level [pixels of the level], for the reach of the weights.
EDGE = 3
#: Half the number of weights on a side.
HALF_TAPS = 4
MAX_LEVELS = 5


@dataclass(frozen=True)
class Pyramid:
    """All levels of m images with c channels in one flat array.

    Channels come last and are filled up with zeros to `texel` of them.

    `offsets`, `heights`, `widths` are (m, levels): where each level of each image starts and its framed size.
    `ray_share` (m, blocks, blocks) says what share of the rays on a side a place of the image needs: the square
    root of its brightness contrast over the image's greatest, since a quadrature's error falls as the square
    of the rays on a side.
    """

    texture: NDArray[np.float32]
    offsets: NDArray[np.int64]
    heights: NDArray[np.int32]
    widths: NDArray[np.int32]
    ray_share: NDArray[np.float32]
    channels: int


def build_pyramid(planes: Tensor, levels: int = MAX_LEVELS) -> Pyramid:
    """Build the levels of images (m, c, h, w); levels end where an image has fewer than 8 pixels on a side."""
    image = np.pad(planes.detach().cpu().numpy().astype(np.float64), ((0, 0), (0, 0), (EDGE, EDGE), (EDGE, EDGE)))
    m, c = image.shape[:2]
    pieces, heights, widths = [], [], []
    while True:
        pieces.append(_interleaved(image))
        heights.append(image.shape[2])
        widths.append(image.shape[3])
        if len(pieces) == levels or min(image.shape[2:]) - 2 * EDGE < 16:
            break
        image = _halve(_halve(image, 2), 3)
    lengths = np.array([p.shape[1] for p in pieces])
    starts = np.cumsum(lengths) - lengths
    rows = np.arange(m)[:, None] * lengths.sum()
    shape = (m, len(pieces))
    return Pyramid(
        texture=np.concatenate(pieces, 1).ravel(),
        offsets=(rows + starts).astype(np.int64),
        heights=np.broadcast_to(np.array(heights, np.int32), shape).copy(),
        widths=np.broadcast_to(np.array(widths, np.int32), shape).copy(),
        ray_share=_ray_share(planes.detach().cpu().numpy()),
        channels=c,
    )


def _interleaved(image: NDArray) -> NDArray[np.float32]:
    m, c = image.shape[:2]
    image = np.pad(image, ((0, 0), (0, texel(c) - c), (0, 0), (0, 0)))
    return np.ascontiguousarray(image.transpose(0, 2, 3, 1), np.float32).reshape(m, -1)


def _ray_share(planes: NDArray) -> NDArray[np.float32]:
    m, c, h, w = planes.shape
    block = SHARE_BLOCK
    rows, columns = -(-h // block), -(-w // block)
    padded = np.pad(planes, ((0, 0), (0, 0), (0, rows * block - h), (0, columns * block - w)))
    contrast = padded.reshape(m, c, rows, block, columns, block).std((3, 5))
    greatest = contrast.max((2, 3), keepdims=True)
    share = (contrast / np.where(greatest > 0, greatest, 1)).max(1)
    # Where the image is empty, no rays are needed at all.
    return np.where(share > 0, np.sqrt(np.clip(share, LEAST_SHARE**2, 1)), 0).astype(np.float32)


def _halve(image: NDArray, axis: int) -> NDArray:
    """Halve the resolution along one axis; the frame keeps its width in pixels of the new level."""
    image = np.moveaxis(image, axis, -1)
    inner = image.shape[-1] - 2 * EDGE
    count = (inner + 1) // 2 + 2 * EDGE
    # Pixel j of the new level (j = 0 at the image's own first) covers pixels 2j and 2j + 1.
    margin = EDGE + HALF_TAPS
    padded = np.pad(image, [(0, 0)] * (image.ndim - 1) + [(margin, margin + 1)])
    start = margin + EDGE - 2 * EDGE - (HALF_TAPS - 1)
    out = np.zeros((*image.shape[:-1], count))
    for k, weight in enumerate(_weights()):
        out += weight * padded[..., start + k : start + k + 2 * count : 2][..., :count]
    return np.moveaxis(out, -1, axis)


@cache
def _weights() -> NDArray:
    """Weights at ±½, ±3⁄2, … pixels with sum 1 and variance −½, least squares in the pass and stop bands.

    With the variance 4/6 of linear interpolation on the coarse pixels, −½ gives the 1/6 of the fine ones.
    """
    place = np.arange(HALF_TAPS) + 0.5
    omega = np.linspace(0, np.pi, 400)
    response = 2 * np.cos(omega[:, None] * place)
    passing, stopping = omega < 0.4 * np.pi, omega > 0.65 * np.pi
    coarse, fine = np.sinc(omega / np.pi) ** 2, np.sinc(omega / (2 * np.pi)) ** 2
    system = np.vstack((response[passing] * coarse[passing, None], 0.3 * response[stopping]))
    target = np.concatenate((fine[passing], np.zeros(stopping.sum())))
    constraints = np.vstack((2 * np.ones(HALF_TAPS), 2 * place**2))
    values = np.array([1.0, -0.5])
    k = len(values)
    kkt = np.block([[system.T @ system, constraints.T], [constraints, np.zeros((k, k))]])
    half = np.linalg.solve(kkt, np.concatenate((system.T @ target, values)))[:HALF_TAPS]
    return np.concatenate((half[::-1], half))
