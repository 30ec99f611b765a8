"""HEALPix cells, nested ordering: which of 12 · nside² cells of equal area a position falls in.

The formulas are those of Górski et al. 2005, ApJ 622, 759, section 4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def healpix(ra: ArrayLike, dec: ArrayLike, nside: int) -> NDArray[np.int64]:
    """Return the nested HEALPix cell of sky positions.

    Parameters
    ----------
    ra, dec : (n,) float, deg
    nside : int
        Power of two; the sky has 12 nside² cells. The cell at nside / 2 is this one divided by 4.
    """
    z = np.sin(np.radians(np.asarray(dec, float)))
    # Longitude in quarter turns, 0 to 4.
    turns = np.asarray(ra, float) % 360 / 90
    face, x, y = (np.where(np.abs(z) <= 2 / 3, a, b) for a, b in zip(_belt(z, turns, nside), _cap(z, turns, nside), strict=True))
    return face * nside**2 + _spread(x) + 2 * _spread(y)


def _belt(z: NDArray, turns: NDArray, nside: int) -> tuple[NDArray, NDArray, NDArray]:
    """Face and place within it of positions near the equator."""
    rising = np.floor(nside * (0.5 + turns - 0.75 * z)).astype(np.int64)
    falling = np.floor(nside * (0.5 + turns + 0.75 * z)).astype(np.int64)
    i, j = rising // nside, falling // nside
    face = np.where(i == j, i % 4 + 4, np.where(i < j, i % 4, j % 4 + 8))
    return face, falling % nside, nside - 1 - rising % nside


def _cap(z: NDArray, turns: NDArray, nside: int) -> tuple[NDArray, NDArray, NDArray]:
    """Face and place within it of positions near a pole."""
    quarter = np.minimum(np.floor(turns).astype(np.int64), 3)
    part = turns - quarter
    depth = nside * np.sqrt(3 * np.maximum(1 - np.abs(z), 0))
    up = np.minimum(np.floor(part * depth).astype(np.int64), nside - 1)
    down = np.minimum(np.floor((1 - part) * depth).astype(np.int64), nside - 1)
    north = z >= 0
    return (
        np.where(north, quarter, quarter + 8),
        np.where(north, nside - 1 - down, up),
        np.where(north, nside - 1 - up, down),
    )


def _spread(value: NDArray) -> NDArray:
    """Put the bits of a number at even places."""
    out = np.zeros_like(value)
    for bit in range(16):
        out |= (value >> bit & 1) << (2 * bit)
    return out
