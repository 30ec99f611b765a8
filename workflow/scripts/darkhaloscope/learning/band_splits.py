"""Training and validation stamps of bands, every pixel looked at once before training begins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from ..config.network import Network
from .bands import BandStamps, Emphasis, Extra, index_bands, measure_bands, measured_rows
from .scaling import LearningError, Normalisation
from .streaming import BandBatches, BandOrder, BandsInOrder, Stream, loader

BAD_PIXELS = "with pixels that are NaN or infinite"


@dataclass(frozen=True)
class BandSplit:
    """Stamps of one split with finite pixels, their images, and the constants of the training split."""

    stamps: BandStamps
    images: Stream
    normalisation: Normalisation

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def size(self) -> int:
        """Pixels on a side."""
        return self.stamps.size

    @property
    def numbers(self) -> NDArray:
        """Stamp numbers, increasing."""
        return self.stamps.numbers

    def require_both_classes(self, use: str) -> None:
        """Raise `LearningError` unless there are positives and controls."""
        self.stamps.require_both_classes(use)

    def evidence(self):
        """Give the bytes by which these stamps are known again."""
        yield from self.stamps.evidence()


def read_band_split(
    paths: Sequence[str | Path],
    network: Network,
    *,
    normalisation: Normalisation | None = None,
    seed: int = 0,
    extras: Sequence[Extra] = (),
    emphasis: Emphasis | None = None,
    workers: int = 1,
    log: logging.Logger | None = None,
) -> BandSplit:
    """Read a split: training where `normalisation` is None, otherwise validation with the constants of training.

    Stamps with pixels that are not finite are left out and counted: 0.08% of real cutouts had some although
    `cutout_ok` was set.

    Raises
    ------
    TableError, LearningError
        As `index_bands`; also when no stamp has finite pixels alone.
    """
    log = log or logging.getLogger(__name__)
    stamps = index_bands(paths, training=network if normalisation is None else None, seed=seed, extras=extras, emphasis=emphasis)
    images = Stream(stamps, network.training.window_stamps, workers, network.training.scratch_gb)
    bad, sample = _look(images, measured_rows(stamps))
    if bad.all():
        raise LearningError(f"all {len(stamps)} stamps of {paths[0]} and others have pixels that are not finite; make the shards again")
    if bad.any():
        stamps = stamps.without(bad, BAD_PIXELS)
        images = images.without(bad, stamps)
    for reason, count in stamps.dropped.items():
        log.info("%d stamps left out: %s", count, reason)
    return BandSplit(stamps, images, normalisation or measure_bands(sample, stamps.scalars, network.scaling))


def band_loaders(training: BandSplit, validation: BandSplit, network: Network, seed: int, batch: int) -> tuple[DataLoader, DataLoader]:
    """Return the loaders of training, in a new order each epoch, and of validation, in batches of `batch`."""
    t = network.training
    learnt = BandBatches(training.images, seed, t.augment, t.shift_pixels)
    return (
        loader(learnt, BandOrder(training.images, t.batch_size, seed)),
        loader(BandBatches(validation.images), BandsInOrder(validation.images, batch)),
    )


def _look(images: Stream, sample: NDArray) -> tuple[NDArray, NDArray]:
    """Find stamps with pixels that are not finite, (n,) bool, and take the good ones of a sample."""
    n = len(images.stamps)
    bad = np.zeros(n, bool)
    place = np.full(n, -1)
    place[sample] = np.arange(len(sample))
    taken = np.empty((len(sample), 3, images.stamps.size, images.stamps.size), np.float32)
    parts = images.in_order()
    if images.resident is not None:
        parts = ((rows, images.take(rows)) for rows in np.array_split(np.arange(n), -(-n // 1024)))
    for rows, some in parts:
        bad[rows] = ~np.isfinite(some.sum((1, 2, 3), dtype=np.float64))  # one NaN or infinity makes the sum one
        wanted = place[rows] >= 0
        taken[place[rows[wanted]]] = some[wanted]
    return bad, taken[~bad[sample]]
