"""Test stamps in memory, and a network's margins of altered copies of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..random import stable_hash
from .bands import BandStamps, chosen_share, index_bands
from .networks import Classifier
from .score_bands import margins_of


def sample_bands(paths: Sequence[str | Path], n: int) -> tuple[BandStamps, NDArray]:
    """Return some stamps of shards and their images, the same whatever the shards: those whose hashed number comes first.

    Stamps with pixels that are not finite are left out.

    Parameters
    ----------
    paths : shards of g, r, z stamps
    n : stamps wanted

    Returns
    -------
    stamps : BandStamps, of m ≤ n stamps, both classes in the same share
    images : (m, 3, size, size) float32 nanomaggies

    Raises
    ------
    TableError, LearningError
        As `index_bands`.
    """
    stamps = index_bands(paths)
    share = min(1.0, n / len(stamps))
    stamps = stamps.without(~chosen_share(stamps.numbers, stamps.labels, share, stable_hash("shortcuts")), "not in the sample")
    images = np.empty((len(stamps), 3, stamps.size, stamps.size), np.float32)
    for group in np.unique(stamps.group):
        rows = np.flatnonzero(stamps.group == group)
        images[rows] = stamps.decode(int(group))[stamps.row[rows]]
    bad = ~np.isfinite(images.sum((1, 2, 3), dtype=np.float64))
    return stamps.without(bad, "with pixels that are not finite"), images[~bad]


def committee_margins(networks: Sequence[Classifier], images: NDArray, scalars: NDArray, threads: int = 1) -> NDArray:
    """Return the mean margin of several seeds of a network, (n,) float64; arguments as `margins_of`."""
    return np.mean([margins_of(network, images, scalars, threads) for network in networks], axis=0)
