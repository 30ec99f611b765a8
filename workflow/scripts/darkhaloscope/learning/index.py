"""Shards of stamps: which stamps a network learns from or scores, their labels, weights and scalars.

Pixels stay on disk until they are needed (`streaming`); everything else of a stamp fits in memory: 40 bytes each.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from ..config.legacysurvey import ZERO_POINT
from ..config.network import Network, Scaling
from ..core.random import stable_hash
from ..core.tables import parquet_errors
from .augment import hashed
from .pixels import BandPixels, Pixels, open_shard
from .relative import relative_to_core
from .scaling import BANDS, SCALARS, LearningError, Normalisation

#: Stamps from which the stretch is measured: those whose hashed number comes first.
MEASURED = 2048

#: What a stamp is, pixels apart.
PER_STAMP = ("numbers", "labels", "weights", "scalars", "group", "row")

#: Columns that decide whether a stamp is used; a shard may lack them, and then they decide nothing.
_CHOICE = ("cutout_ok", "theta_over_psf", "arc_snr")


@dataclass(frozen=True)
class Extra:
    """Stamps from elsewhere that join the training stamps: mined controls of other datasets, or known lenses.

    Attributes
    ----------
    paths : shards
    weight : of each stamp in the loss; the training stamps have 1
    numbers : those that join; None for all
    """

    paths: tuple[str | Path, ...]
    weight: float
    numbers: NDArray | None = None


@dataclass(frozen=True)
class Emphasis:
    """Training stamps that count more than once in the loss, by number."""

    numbers: NDArray
    weight: float


@dataclass(frozen=True, eq=False)
class Stamps:
    """Chosen stamps of shards, in the order of their numbers.

    Attributes
    ----------
    pixels : how their images are read
    files : metadata of each shard by path
    size : pixels on a side
    numbers, labels, weights : (n,) int64, int64, float32; the weights' mean is 1
    scalars : (n, 6) float32, as `SCALARS`; NaN where unknown
    group, row : (n,) which row group of `groups`, and which row in it
    groups : (path, row group) of each
    dropped : number of stamps left out, by reason
    """

    pixels: Pixels
    files: Mapping[Path, pq.FileMetaData]
    size: int
    numbers: NDArray
    labels: NDArray
    weights: NDArray
    scalars: NDArray
    group: NDArray
    row: NDArray
    groups: tuple[tuple[Path, int], ...]
    dropped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    def require_both_classes(self, use: str) -> None:
        """Raise `LearningError` unless there are positives and controls."""
        positives = int(self.labels.sum())
        if positives in (0, len(self)):
            left_out = ", ".join(f"{n} {reason}" for reason, n in self.dropped.items() if n)
            raise LearningError(
                f"the {len(self)} {use} stamps are all {'positives' if positives else 'controls'}"
                f"{f' (left out: {left_out})' if left_out else ''}; a classifier needs both classes: check the label column of the shards, "
                "the dataset's class balance, and training.min_theta_over_psf and min_arc_snr"
            )

    def without(self, bad: NDArray, reason: str) -> Stamps:
        """Return the stamps that are not `bad`, (n,) bool; the others are counted as dropped for `reason`."""
        some = {name: getattr(self, name)[~bad] for name in PER_STAMP}
        some["weights"] = _mean_one(some["weights"])
        return dataclasses.replace(self, **some, dropped={**self.dropped, reason: int(bad.sum())})

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image."""
        return self.pixels.shape(self.size)

    def decode(self, group: int) -> NDArray:
        """Read the images of one row group, (rows, *shape) float32. Safe in several threads at once."""
        path, number = self.groups[group]
        return self.pixels.decode(path, self.files[path], number)

    def rows_by_group(self) -> Iterator[tuple[int, NDArray]]:
        """Give each row group and the rows of the stamps in it, increasing."""
        for group in np.unique(self.group):
            yield int(group), np.flatnonzero(self.group == group)

    def refuse_or_count(self, bad: NDArray, reason: str) -> Stamps:
        """Return the stamps without the `bad` ones, (n,) bool, whose pixels are not finite; where none should have such, raise `BadPixels`.

        0.08% of real cutouts had some although `cutout_ok` was set; rendered stamps have none.
        """
        if not bad.any():
            return self
        if hasattr(self.pixels, "refuse"):
            where = []
            for group, rows in self.rows_by_group():
                if bad[rows].any():
                    path, number = self.groups[group]
                    where.append((path, self.files[path], number, self.row[rows[bad[rows]]]))
            self.pixels.refuse(where, len(self))
        return self.without(bad, reason)

    def evidence(self) -> Iterator[object]:
        """Give the bytes by which these stamps are known again: all but pixels, and the shards' footers in their stead."""
        yield from (self.numbers, self.labels, self.weights, self.scalars)
        yield from map(footer_digest, self.files)


def footer_digest(path: Path) -> bytes:
    """Return a digest of a Parquet file's footer, which knows its columns' sizes and bounds: it stands for the pixels."""
    with open(path, "rb") as file:
        file.seek(-8, 2)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, 2)
        return hashlib.sha256(file.read(length)).digest()


def index_stamps(
    paths: Sequence[str | Path],
    pixels: Pixels = BandPixels(),  # noqa: B008  (frozen)
    *,
    training: Network | None = None,
    seed: int = 0,
    extras: Sequence[Extra] = (),
    emphasis: Emphasis | None = None,
) -> Stamps:
    """Read which stamps there are, and everything of them but pixels.

    Stamps whose `cutout_ok` is false are left out and counted.

    Parameters
    ----------
    paths : shards of one split, in any order
    pixels : how their images are read
    training : for training stamps, the network: its filters, `train_fraction` and `seed_share` choose among them
    seed : training seed, for `seed_share`
    extras : stamps that join them, beyond every filter
    emphasis : stamps that weigh more

    Raises
    ------
    TableError
        A shard is missing, unreadable, or lacks a column.
    LearningError
        No stamps, a stamp twice, labels other than 0 and 1, sizes that differ or are too small.
    """
    main = _read(paths, pixels, 0)
    criteria = {"cutout not ok": main.choice["cutout_ok"] != 0}
    if training is not None:
        criteria |= _criteria(main, training, seed)
    if emphasis is not None:
        main.weights[np.isin(main.numbers, emphasis.numbers)] = emphasis.weight
    use, dropped = np.ones(len(main.numbers), bool), {}
    for reason, keep in criteria.items():  # each stamp counts for the first reason that leaves it out
        if (use & ~keep).any():
            dropped[reason] = int((use & ~keep).sum())
        use &= keep
    if not use.any():
        raise LearningError(f"no stamps are left of {len(use)}: {', '.join(f'{n} {r}' for r, n in dropped.items())}; check the dataset")
    return _joined([main.of(use), *(_read_extra(extra, pixels, k + 1) for k, extra in enumerate(extras))], pixels, dropped)


def chosen_share(numbers: NDArray, labels: NDArray, share: float, key: int) -> NDArray:
    """Choose the same share of each class, (n,) bool: the stamps whose hashed numbers are smallest."""
    chosen = np.ones(len(numbers), bool)
    if share < 1:
        order = hashed(numbers, key)
        for label in (0, 1):
            rows = np.flatnonzero(labels == label)
            chosen[rows[np.argsort(order[rows], kind="stable")[max(round(share * len(rows)), 1) :]]] = False
    return chosen


def measured_rows(stamps: Stamps) -> NDArray:
    """Return the rows of the stamps that the stretch is measured on, increasing."""
    return np.sort(np.argsort(hashed(stamps.numbers, stable_hash("stretch")), kind="stable")[:MEASURED])


def measure_bands(images: NDArray, scalars: NDArray, scaling: Scaling) -> Normalisation:
    """Measure the constants of the input scaling on training stamps of both classes together.

    The softening of a band is `scaling.softening` × the median over stamps of 1.4826 MAD of their pixels; offset and
    scale are mean and deviation of the stretched pixels. Scalars: mean and deviation of the finite ones. Images are scaled by
    their cores first where the network sees them so.

    Parameters
    ----------
    images : (m, 3, size, size) float32 nanomaggies
    scalars : (n, 6)
    """
    if scaling.relative_to_core:
        parts = torch.from_numpy(images).split(256)
        images = np.concatenate([relative_to_core(part).numpy() for part in parts])
    flat = images.reshape(len(images), len(BANDS), -1)
    noise = np.median(1.4826 * np.median(np.abs(flat - np.median(flat, 2, keepdims=True)), 2), 0).astype(np.float64)
    softening = scaling.softening * np.where(noise > 0, noise, 1.0)
    ratio = flat / softening[None, :, None]
    stretched = np.arcsinh(ratio) if scaling.bands == "asinh" else ratio
    offset, scale = list(stretched.mean((0, 2))), list(stretched.std((0, 2)))
    for values in scalars.T:
        finite = values[np.isfinite(values)].astype(np.float64)
        offset.append(finite.mean() if len(finite) else 0.0)
        scale.append(finite.std() if len(finite) else 1.0)
    scale = [float(s) if s > 0 else 1.0 for s in scale]
    return Normalisation((*BANDS, *SCALARS), tuple(map(float, offset)), tuple(scale), tuple(map(float, softening)))


@dataclass
class _Columns:
    files: dict[Path, pq.FileMetaData]
    size: int
    groups: list[tuple[Path, int]]
    numbers: NDArray
    labels: NDArray
    weights: NDArray
    scalars: NDArray
    group: NDArray
    row: NDArray
    choice: dict[str, NDArray]

    def of(self, rows: NDArray) -> _Columns:
        """Return the stamps at `rows`, (n,) bool."""
        some = {name: getattr(self, name)[rows] for name in PER_STAMP}
        return dataclasses.replace(self, **some, choice={k: v[rows] for k, v in self.choice.items()})


def _criteria(main: _Columns, network: Network, seed: int) -> dict[str, NDArray]:
    """Which training stamps each setting lets through, by what is said of the others."""
    t = network.training
    control = main.labels == 0
    return {
        "θ_E/PSF below the limit": control | ~(main.choice["theta_over_psf"] < t.min_theta_over_psf),
        "arc S/N below the limit": control | ~(main.choice["arc_snr"] < t.min_arc_snr),
        "beyond train_fraction": chosen_share(main.numbers, main.labels, t.train_fraction, stable_hash("training share")),
        "beyond the seed's share": chosen_share(main.numbers, main.labels, t.seed_share, stable_hash("subset of seed", seed)),
    }


def _read(paths: Sequence[str | Path], pixels: Pixels, source: int) -> _Columns:
    """Read all but pixels; numbers of further sources are moved apart from those of the first."""
    if not paths:
        raise LearningError("no stamps: the list of shards is empty; check the dataset's sizes and splits")
    files, sizes, groups, parts = {}, {}, [], []
    for path in map(Path, paths):
        files[path], size, present = open_shard(path, pixels)
        sizes.setdefault(size, path)
        names = [n for n in ("number", "label", *_CHOICE, *SCALARS) if n in present]
        with parquet_errors(path), pq.ParquetFile(path, metadata=files[path]) as file:
            for k in range(files[path].num_row_groups):
                found = file.read_row_group(k, columns=names, use_threads=False)
                parts.append({n: _numeric(found, n) for n in ("number", "label", *_CHOICE, *SCALARS)} | {"rows": found.num_rows})
                groups.append((path, k))
    if len(sizes) > 1:
        raise LearningError(f"stamps differ in size: {', '.join(f'{s}×{s} in {p}' for s, p in sizes.items())}; give shards of one dataset")
    if not sum(p["rows"] for p in parts):
        raise LearningError(
            f"no stamps: the {len(paths)} shards given hold no rows (first {paths[0]}); check the dataset's sizes and splits"
        )
    joined = {n: np.concatenate([p[n] for p in parts]) for n in ("number", "label", *_CHOICE, *SCALARS)}
    counts = [p["rows"] for p in parts]
    labels = joined.pop("label")
    strange = ~np.isin(labels, (0, 1))
    numbers = joined.pop("number").astype(np.int64)
    if strange.any():
        first, path = _name_of(groups, files, counts, int(np.flatnonzero(strange)[0]))
        raise LearningError(
            f"labels must be 0 or 1; stamp {first} has {labels[strange][0]:g} in {path} ({strange.sum()} such stamps); correct them, or make the shard again"
        )
    return _Columns(
        files=files,
        size=next(iter(sizes)),
        groups=groups,
        numbers=numbers + (source << 48),
        labels=labels.astype(np.int64),
        weights=np.ones(len(numbers), np.float32),
        scalars=scalars_of(joined),
        group=np.repeat(np.arange(len(parts)), counts),
        row=np.concatenate([np.arange(n) for n in counts]),
        choice={n: joined[n] for n in _CHOICE},
    )


def _name_of(
    groups: Sequence[tuple[Path, int]], files: Mapping[Path, pq.FileMetaData], counts: Sequence[int], row: int
) -> tuple[str, Path]:
    """Return the id of a stamp by its row over all row groups, or its number where shards have no ids, and its shard."""
    k = int(np.searchsorted(np.cumsum(counts), row, side="right"))
    path, group = groups[k]
    with pq.ParquetFile(path, metadata=files[path]) as file:
        name = "stamp_id" if "stamp_id" in file.schema_arrow.names else "number"
        return str(file.read_row_group(group, columns=[name])[name][row - sum(counts[:k])]), path


def _numeric(table: pa.Table, name: str) -> NDArray:
    """Return a column as floats (integers for numbers), NaN where it is missing or null."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    column = table[name]
    if name == "number":
        return column.to_numpy()
    return column.cast(pa.int8()).cast(pa.float64()).to_numpy() if column.type == pa.bool_() else column.cast(pa.float64()).to_numpy()


def scalars_of(columns: Mapping[str, NDArray]) -> NDArray:
    """Return `SCALARS` of stamps, (n, 6): PSF sizes, and depths from inverse variances: 22.5 − 2.5 log10(5/√psfdepth), the 5σ point source."""
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = {n: ZERO_POINT - 2.5 * np.log10(5 / np.sqrt(columns[n])) for n in SCALARS if n.startswith("psfdepth")}
    return np.stack([depth.get(n, columns[n]) for n in SCALARS], 1).astype(np.float32)


def _read_extra(extra: Extra, pixels: Pixels, source: int) -> _Columns:
    found = _read(extra.paths, pixels, source)
    use = found.choice["cutout_ok"] != 0
    if extra.numbers is not None:
        use &= np.isin(found.numbers - (source << 48), extra.numbers)
    found = found.of(use)
    found.weights[:] = extra.weight
    return found


def _joined(parts: Sequence[_Columns], pixels: Pixels, dropped: dict[str, int]) -> Stamps:
    """Join stamps of several sources, sorted by number."""
    if len({p.size for p in parts}) > 1:
        raise LearningError(
            f"stamps that join the training have other sizes: {[p.size for p in parts]} pixels; make them of the dataset's size"
        )
    starts = np.cumsum([0, *(len(p.groups) for p in parts)])
    some = {name: np.concatenate([getattr(p, name) for p in parts]) for name in PER_STAMP}
    some["group"] = np.concatenate([p.group + start for p, start in zip(parts, starts, strict=False)])
    order = np.argsort(some["numbers"], kind="stable")
    some = {name: values[order] for name, values in some.items()}
    some["weights"] = _mean_one(some["weights"])
    values, counts = np.unique(some["numbers"], return_counts=True)
    if (counts > 1).any():
        groups = [group for p in parts for group in p.groups]
        first = np.flatnonzero(some["numbers"] == values[counts > 1][0])
        places = list(dict.fromkeys(str(groups[k][0]) for k in some["group"][first]))
        raise LearningError(
            f"{(counts > 1).sum()} stamps come more than once (number {values[counts > 1][0]} {counts.max()} times, in {', '.join(places[:3])}), "
            "expected each once; give each shard of one split once"
        )
    return Stamps(
        pixels=pixels,
        files={path: metadata for p in parts for path, metadata in p.files.items()},
        size=parts[0].size,
        groups=tuple(g for p in parts for g in p.groups),
        dropped=dropped,
        **some,
    )


def _mean_one(weights: NDArray) -> NDArray:
    return (weights / weights.mean()).astype(np.float32) if len(weights) else weights
