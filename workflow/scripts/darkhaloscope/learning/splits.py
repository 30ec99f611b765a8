"""Training and validation stamps, every pixel looked at once before training begins."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from ..config.network import Network
from ..core.random import stable_hash
from .augment import hashed
from .index import Emphasis, Extra, Stamps, index_stamps, measure_bands, measured_rows
from .pixels import normalise, pixels_of
from .ranks import ALONE, Rank
from .scaling import LearningError, Normalisation, inputs_of, measure
from .streaming import Batches, EpochOrder, InOrder, Stream, loader

log = logging.getLogger(__name__)

BAD_PIXELS = "with pixels that are NaN or infinite"

#: Inputs of the subhalo task's stamps up to this size are kept in memory.
MEMORY_BYTES = 4 << 30


@dataclass(frozen=True)
class Split:
    """Stamps of one split with finite pixels, their images, and the constants of the training split."""

    stamps: Stamps
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

    def evidence(self) -> Iterator[object]:
        """Give the bytes by which these stamps are known again."""
        yield from self.stamps.evidence()


def read_split(
    paths: Sequence[str | Path],
    network: Network,
    *,
    normalisation: Normalisation | None = None,
    seed: int = 0,
    extras: Sequence[Extra] = (),
    emphasis: Emphasis | None = None,
    workers: int = 1,
    memory_bytes: int = MEMORY_BYTES,
) -> Split:
    """Read a split: training where `normalisation` is None, otherwise validation or test with the constants of training.

    Stamps of bands with pixels that are not finite are left out and counted; rendered stamps with such are refused. With
    `network.shuffle_velocity` every stamp gets the velocity, σ_v and mask of another stamp of the same split, by a fixed
    derangement that depends on the stamps' numbers alone.

    Parameters
    ----------
    paths : shards of one split, in any order
    seed, extras, emphasis : as `index_stamps`
    workers : threads that read ahead
    memory_bytes : inputs of the subhalo task's stamps up to this size are kept in memory, whatever the window

    Raises
    ------
    TableError, LearningError
        As `index_stamps`; also when no stamp has finite pixels alone, or the constants are those of other channels.
    BadPixels
        Rendered stamps hold pixels that are NaN or infinite.
    """
    bands = network.channels == "bands"
    names = inputs_of(network)
    if not bands and normalisation is not None and normalisation.inputs != names:
        raise LearningError(
            f"the normalisation is for inputs {list(normalisation.inputs)}, but channels `{network.channels}` are {list(names)}"
        )
    training = network if normalisation is None else None
    stamps = index_stamps(paths, pixels_of(network), training=training, seed=seed, extras=extras, emphasis=emphasis)
    t = network.training
    images = Stream(stamps, t.window_stamps, workers, t.scratch_gb, 0 if bands else memory_bytes)
    bad, sample = _look(images, measured_rows(stamps) if bands else np.empty(0, np.int64))
    if bands and bad.all():
        raise LearningError(f"all {len(stamps)} stamps of {paths[0]} and others have pixels that are not finite; make the shards again")
    if bad.any():
        stamps = stamps.refuse_or_count(bad, BAD_PIXELS)
        images = images.without(bad, stamps)
    for reason, count in stamps.dropped.items():
        log.info("%d stamps left out: %s", count, reason)
    if bands:
        return Split(stamps, images, normalisation or measure_bands(sample, stamps.scalars, network.scaling))
    if network.shuffle_velocity:
        _shuffle_velocity(images, names)
    normalisation = normalisation or measure(images.in_order(), len(stamps), names)
    images = _normalised(images, normalisation)
    return Split(images.stamps, images, normalisation)


def training_loader(training: Split, network: Network, seed: int, rank: Rank = ALONE) -> DataLoader:
    """Return the loader of training stamps, in a new order each epoch, of a rank's share of each batch."""
    t = network.training
    order = EpochOrder(training.images, t.batch_size, seed, rank)
    return loader(Batches(training.images, seed, t.augment, t.shift_pixels, t.jitter), order)


def validation_loader(validation: Split, batch: int, rank: Rank = ALONE) -> DataLoader:
    """Return the loader of a rank's share of the validation stamps, in batches of `batch`."""
    return loader(Batches(validation.images), InOrder(validation.images, batch, rank))


def derangement(numbers: NDArray) -> NDArray:
    """Return for each stamp the place of another one, one cycle through all, fixed by the numbers alone.

    Raises
    ------
    LearningError
        There are fewer than two stamps.
    """
    if len(numbers) < 2:
        raise LearningError("shuffle_velocity needs at least two stamps in a split; this one has " + str(len(numbers)))
    cycle = np.argsort(hashed(numbers, stable_hash("shuffle velocity")), kind="stable")
    other = np.empty(len(numbers), np.int64)
    other[cycle] = np.roll(cycle, -1)
    return other


def _shuffle_velocity(images: Stream, names: tuple[str, ...]) -> None:
    """Give every stamp the channels beside the flux of another stamp."""
    other = derangement(images.stamps.numbers)
    if images.resident is None:
        raise LearningError(
            f"shuffle_velocity takes velocities from all over the split, so its {len(other)} stamps must fit into a scratch file: raise "
            "training.scratch_gb, or lower train_fraction"
        )
    for k, name in enumerate(names):
        if name != "flux":
            images.resident[..., k] = images.resident[other, ..., k]


def _normalised(images: Stream, normalisation: Normalisation) -> Stream:
    """Return the stream with the last step of input scaling done: in place, or whenever a row group is decoded."""
    if images.resident is None:
        pixels = dataclasses.replace(images.stamps.pixels, normalisation=normalisation)
        return images.reading(dataclasses.replace(images.stamps, pixels=pixels))
    normalise(images.resident, normalisation)
    return images


def _look(images: Stream, sample: NDArray) -> tuple[NDArray, NDArray]:
    """Find stamps with pixels that are not finite, (n,) bool, and take the good ones of a sample."""
    n = len(images.stamps)
    bad = np.zeros(n, bool)
    place = np.full(n, -1)
    place[sample] = np.arange(len(sample))
    taken = np.empty((len(sample), *images.stamps.shape), np.float32)
    for rows, some in images.in_order():
        bad[rows] = ~np.isfinite(some.sum((1, 2, 3), dtype=np.float64))  # one NaN or infinity makes the sum one
        wanted = place[rows] >= 0
        taken[place[rows[wanted]]] = some[wanted]
    return bad, taken[~bad[sample]]
