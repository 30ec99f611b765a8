"""Stamp shards to network inputs, in memory, in the order of the stamps' numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config.network import Network
from ..core.random import stable_hash
from ..core.tables import TableError, open_table
from ..tasks.subhalo.schema import MANIFEST, stamp_schema
from .scaling import BESIDE_FLUX, COLUMNS, INPUTS, LearningError, Normalisation, measure, normalise, scaled_input

#: Smallest stamp that the architectures take: three halvings leave 2×2.
MIN_SIZE = 16

#: Above this the inputs lie in a memory-mapped scratch file instead of memory.
MEMORY_BYTES = 4 << 30


class BadPixels(LearningError):
    """Stamps hold pixels that are not finite numbers."""


@dataclass(frozen=True)
class StampData:
    """Stamps as network inputs, in the order of their numbers whatever the shards were.

    Attributes
    ----------
    inputs : (n, size, size, c) float32 tensor, scaled
    labels : (n,) int64 tensor, 1 positive, 0 control
    ids : (n,) str array
    numbers : (n,) int64 array, increasing
    normalisation : Normalisation
    """

    inputs: Tensor
    labels: Tensor
    ids: NDArray
    numbers: NDArray
    normalisation: Normalisation

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        """Pixels on a side."""
        return int(self.inputs.shape[1])

    def evidence(self) -> Iterator[NDArray]:
        """Give the arrays by which these stamps are known again."""
        yield from (self.numbers, self.labels.numpy(), self.inputs.numpy())

    def require_both_classes(self, use: str) -> None:
        """Raise `LearningError` unless there are positives and controls."""
        positives = int(self.labels.sum())
        if positives in (0, len(self)):
            raise LearningError(
                f"the {len(self)} {use} stamps are all {'positives' if positives else 'controls'}; a classifier needs both classes: "
                "check the label column of the shards and the dataset's class balance"
            )


def read_stamps(
    paths: Sequence[str | Path],
    network: Network,
    *,
    normalisation: Normalisation | None = None,
    fraction: float = 1.0,
    memory_bytes: int = MEMORY_BYTES,
) -> StampData:
    """Read stamp shards of one split as inputs of a network.

    Shards are read one row group at a time, only the columns that the network needs. With
    `network.shuffle_velocity` every stamp gets the velocity, σ_v and mask of another stamp of the
    same split, by a fixed derangement that depends on the stamps' numbers alone.

    Parameters
    ----------
    paths : shards, in any order
    network : its channels, scaling and shuffle_velocity are used
    normalisation : constants of a trained network; computed from these stamps when None
    fraction : share of the stamps of each class that is read; smaller shares are subsets of larger ones
    memory_bytes : larger inputs go to a scratch file in the temporary folder, mapped into memory

    Raises
    ------
    TableError
        A shard is missing, unreadable or has a wrong column.
    LearningError
        There are no stamps, a stamp comes twice, labels other than 0 and 1, sizes that differ or are too small.
    BadPixels
        Pixels that are used are NaN or infinite; the message counts them and names the stamps.
    """
    size = stamp_size(paths)
    identity = _read_identity(paths)
    numbers, labels, ids = (identity[k] for k in ("number", "label", "stamp_id"))
    chosen = np.flatnonzero(_chosen(numbers, labels, fraction))
    chosen = chosen[np.argsort(numbers[chosen], kind="stable")]
    if len(chosen) == 0:
        raise LearningError(f"no stamps: the {len(paths)} shards given hold no rows ({_some(paths)}); check the dataset's sizes and splits")
    place = np.full(len(numbers), -1)
    place[chosen] = np.arange(len(chosen))
    velocity_place = place
    if network.shuffle_velocity:
        velocity_place = np.full(len(numbers), -1)
        velocity_place[chosen[derangement(numbers[chosen])]] = np.arange(len(chosen))

    names = INPUTS[network.channels]
    inputs = _empty((len(chosen), size, size, len(names)), memory_bytes)
    _fill(inputs, names, paths, network, place, velocity_place)
    if normalisation is None:
        normalisation = measure(inputs, names)
    elif normalisation.inputs != names:
        raise LearningError(
            f"the normalisation is for inputs {list(normalisation.inputs)}, but channels `{network.channels}` are {list(names)}"
        )
    normalise(inputs, normalisation)
    return StampData(
        torch.from_numpy(inputs), torch.from_numpy(labels[chosen].astype(np.int64)), ids[chosen], numbers[chosen], normalisation
    )


def stamp_size(paths: Sequence[str | Path]) -> int:
    """Return the pixels on a side of the stamps in these shards, after checking every shard's schema.

    Raises
    ------
    TableError, LearningError
        As `read_stamps`.
    """
    if not paths:
        raise LearningError("no stamps: the list of shards is empty; check the dataset's sizes and splits")
    sizes: dict[int, str | Path] = {}
    for path in paths:
        with open_table(path, MANIFEST) as file:
            schema = file.schema_arrow
            index = schema.get_field_index("flux")
            kind = schema.field(index).type if index >= 0 else None
            if not isinstance(kind, pa.FixedShapeTensorType) or len(kind.shape) != 2:
                raise TableError(
                    f"{path}: expected an image column `flux`, found {kind or 'none'}; give stamp shards, as render_stamps writes them"
                )
            stamp_schema(kind.shape[0]).check(schema, path)
            sizes.setdefault(kind.shape[0], path)
    if len(sizes) > 1:
        raise LearningError(f"stamps differ in size: {', '.join(f'{s}×{s} in {p}' for s, p in sizes.items())}; give shards of one dataset")
    size = next(iter(sizes))
    if size < MIN_SIZE:
        raise LearningError(
            f"{paths[0]}: stamps of {size}×{size} pixels are too small, at least {MIN_SIZE}×{MIN_SIZE} are needed; raise the dataset's size"
        )
    return size


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


def hashed(numbers: NDArray, key: int) -> NDArray:
    """Hash numbers with a key into uniform 64-bit integers (the finaliser of SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _read_identity(paths: Sequence[str | Path]) -> dict[str, NDArray]:
    tables = []
    for path in paths:
        with open_table(path, MANIFEST) as file:
            tables.append(file.read(columns=["stamp_id", "number", "label"]))
    found = {k: np.concatenate([t[k].to_numpy() for t in tables]) for k in ("stamp_id", "number", "label")}
    values, counts = np.unique(found["number"], return_counts=True)
    if (counts > 1).any():
        twice = values[counts > 1]
        raise LearningError(
            f"{len(twice)} stamps come more than once (number {twice[0]} {counts.max()} times) in {len(paths)} shards; "
            "give each shard of one split once"
        )
    strange = ~np.isin(found["label"], (0, 1))
    if strange.any():
        raise LearningError(
            f"labels must be 0 or 1; stamp {found['stamp_id'][strange][0]} has {found['label'][strange][0]} ({strange.sum()} such stamps)"
        )
    return found


def _chosen(numbers: NDArray, labels: NDArray, fraction: float) -> NDArray:
    """Choose the same share of each class: the stamps whose hashed numbers are smallest."""
    chosen = np.ones(len(numbers), bool)
    if fraction >= 1:
        return chosen
    key = hashed(numbers, stable_hash("training share"))
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        kept = max(round(fraction * len(rows)), 1)
        chosen[rows[np.argsort(key[rows], kind="stable")[kept:]]] = False
    return chosen


def _fill(
    inputs: NDArray, names: tuple[str, ...], paths: Sequence[str | Path], network: Network, place: NDArray, velocity_place: NDArray
) -> None:
    own = "flux" in names or not network.label_blind
    source = {c: BESIDE_FLUX.get(c, c) if own else c for n in names for c in COLUMNS[n]}
    columns = sorted(source.values())
    scalars = ["stamp_id"] + (["flux_noise"] if "flux" in names else [])
    bad: list[tuple[str, int]] = []
    start = 0
    for path in paths:
        with open_table(path, MANIFEST) as file:
            for batch in _row_groups(file, [*scalars, *columns]):
                stop = start + batch.num_rows
                found = {c: batch.column(source[c]).to_numpy_ndarray() for c in sorted(source)}
                if "flux" in names:
                    found["flux_noise"] = batch.column("flux_noise").to_numpy()
                wanted = place[start:stop] >= 0
                bad += _count_bad(found, batch.column("stamp_id").to_numpy(zero_copy_only=False), wanted)
                for k, name in enumerate(names):
                    target = (place if name == "flux" else velocity_place)[start:stop]
                    inputs[target[target >= 0], :, :, k] = scaled_input(name, found, network.scaling)[target >= 0]
                start = stop
    if bad:
        raise BadPixels(
            f"{sum(n for _, n in bad)} values that are NaN or infinite in {len(bad)} of {len(inputs)} stamps, in columns among {columns}: "
            f"{_some([f'{i} ({n})' for i, n in bad])}; render these shards again, and let check_stamps find the cause ({_some(paths)})"
        )


def _row_groups(file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    for group in range(file.num_row_groups):
        yield from file.read_row_group(group, columns=columns).combine_chunks().to_batches()


def _count_bad(found: dict[str, NDArray], ids: NDArray, wanted: NDArray) -> list[tuple[str, int]]:
    count = np.zeros(len(ids), int)
    for values in found.values():
        if values.dtype.kind == "f":
            count += (~np.isfinite(values)).reshape(len(ids), -1).sum(1)
    return [(str(ids[k]), int(count[k])) for k in np.flatnonzero((count > 0) & wanted)]


def _empty(shape: tuple[int, ...], memory_bytes: int) -> NDArray:
    if 4 * int(np.prod(shape)) <= memory_bytes:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile(prefix="stamps-") as scratch:  # the mapping keeps the deleted file alive
        return np.memmap(scratch, np.float32, "w+", shape=shape)


def _some(items: Sequence[object], most: int = 5) -> str:
    return ", ".join(map(str, items[:most])) + (f" and {len(items) - most} more" if len(items) > most else "")
