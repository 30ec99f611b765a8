"""Test stamps in memory, and what a network makes of them and of altered copies."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..core.random import stable_hash
from ..core.tables import parquet_errors, read_columns
from .head import Objects, objects_of
from .index import Stamps, chosen_share, index_stamps
from .networks import Classifier
from .pixels import IMAGE
from .scaling import SCALARS
from .score import features_of, margins_of
from .sky import seen, trained_sky

log = logging.getLogger("darkhaloscope")

#: Columns by which an object is known again.
WHERE = ("stamp_id", "ra", "dec")


def sample_bands(paths: Sequence[str | Path], n: int) -> tuple[Stamps, NDArray]:
    """Return some stamps of shards and their images, the same whatever the shards: those whose hashed number comes first.

    Stamps with pixels that are not finite are left out.

    Parameters
    ----------
    paths : shards of g, r, z stamps
    n : stamps wanted

    Returns
    -------
    stamps : Stamps, of m ≤ n stamps, both classes in the same share
    images : (m, 3, size, size) float32 nanomaggies

    Raises
    ------
    TableError, LearningError
        As `index_stamps`.
    """
    stamps = index_stamps(paths)
    share = min(1.0, n / len(stamps))
    stamps = stamps.without(~chosen_share(stamps.numbers, stamps.labels, share, stable_hash("shortcuts")), "not in the sample")
    images = np.empty((len(stamps), 3, stamps.size, stamps.size), np.float32)
    for group, rows in stamps.rows_by_group():
        images[rows] = stamps.decode(group)[stamps.row[rows]]
    bad = ~np.isfinite(images.sum((1, 2, 3), dtype=np.float64))
    return stamps.without(bad, "with pixels that are not finite"), images[~bad]


def all_bands(path: str | Path, split: str | None = None) -> tuple[NDArray, NDArray, Objects]:
    """Return images (m, 3, size, size), scalars (m, 6) and objects of every usable stamp of a table, or of those of one split; m may be 0.

    Raises
    ------
    TableError, LearningError
        As `index_stamps`.
    """
    with parquet_errors(path), pq.ParquetFile(path) as file:
        table = file.read(columns=[n for n in ("number", "split", "cutout_ok", *WHERE) if n in file.schema_arrow.names])
        shape = file.schema_arrow.field(IMAGE).type.shape
    use = np.ones(len(table), bool)
    if "cutout_ok" in table.column_names:
        use = table["cutout_ok"].to_pandas().to_numpy(bool)
    if split is not None:
        use = use & np.array([part == split for part in table["split"].to_pylist()], bool)
    if not use.any():
        return np.empty((0, *shape), np.float32), np.empty((0, len(SCALARS)), np.float32), objects_of(table.slice(0, 0))
    stamps, images = sample_bands([path], len(table))
    mine = np.isin(stamps.numbers, table["number"].to_numpy()[use])
    return images[mine], stamps.scalars[mine], objects_of(_rows(table, stamps.numbers[mine]))


def labelled_bands(
    paths: Sequence[str | Path], split: str | None = None, learnt: Sequence[str | Path] = ()
) -> tuple[tuple[NDArray, NDArray, Objects], tuple[NDArray, NDArray, Objects]]:
    """Return images (m, 3, size, size), scalars (m, 6) and objects of real lenses, and the same of real look-alikes; m may be 0.

    Parameters
    ----------
    paths : tables of `surveys.real_sky`; none where there are no real galaxies
    split : the part of the sky that is taken; all of it by default
    learnt : training shards: objects that they show are left out, by position

    Raises
    ------
    TableError, LearningError
        As `index_stamps`.
    """
    sky, _ = trained_sky(learnt)
    none = np.empty((0, 3, 1, 1), np.float32), np.empty((0, len(SCALARS)), np.float32), objects_of(pa.table({"ra": [], "dec": []}))
    classes = []
    for label in (1, 0):
        parts = [_of_label(path, split, label, sky) for path in paths]
        images, scalars, tables = zip(*parts, strict=True) if parts else ((), (), ())
        classes.append((np.concatenate(images), np.concatenate(scalars), objects_of(pa.concat_tables(tables))) if parts else none)
    return classes[0], classes[1]


def _of_label(path: str | Path, split: str | None, label: int, sky: NDArray) -> tuple[NDArray, NDArray, pa.Table]:
    stamps, images = sample_bands([path], len(read_columns(path, ["number"])))
    table = read_columns(path, ["number", "split", *WHERE])
    known = seen(table, sky)
    if label and known.any():
        log.info("%d of %d real galaxies are hosts of training stamps and are left out", known.sum(), len(known))
    asked = np.array([part == split for part in table["split"].to_pylist()]) if split else np.ones(len(known), bool)
    numbers = table["number"].to_numpy()[asked & ~known]
    mine = np.isin(stamps.numbers, numbers) & (stamps.labels == label)
    return images[mine], stamps.scalars[mine], _rows(table, stamps.numbers[mine])


def _rows(table: pa.Table, numbers: NDArray) -> pa.Table:
    """Return names and positions of the rows with some numbers, in their order."""
    order = np.argsort(table["number"].to_numpy(), kind="stable")
    rows = order[np.searchsorted(table["number"].to_numpy()[order], numbers)]
    return table.select([name for name in WHERE if name in table.column_names]).take(rows)


def committee_margins(
    networks: Sequence[Classifier], images: NDArray, scalars: NDArray, objects: Objects | None = None, *, threads: int = 1
) -> NDArray:
    """Return the mean margin of several seeds of a network, (n,) float64; arguments as `margins_of`."""
    if not len(images):
        return np.empty(0)
    return np.mean([margins_of(network, images, scalars, threads, objects) for network in networks], axis=0)


def committee_features(networks: Sequence[Classifier], images: NDArray, scalars: NDArray, threads: int = 1) -> NDArray:
    """Return the features of several seeds of a network side by side, (n, seeds · f) float64; arguments as `margins_of`."""
    return np.concatenate([features_of(network, images, scalars, threads) for network in networks], axis=1)


def one_of_each_host(paths: Sequence[str | Path], numbers: NDArray) -> NDArray:
    """Return which of some stamps come first of their host, (n,) bool: stamps of one host are not independent.

    Parameters
    ----------
    paths : the shards that the stamps are of
    numbers : (n,) increasing
    """
    table = pa.concat_tables([read_columns(path, ["number", "object_id"]) for path in paths])
    order = np.argsort(table["number"].to_numpy(), kind="stable")
    host = table["object_id"].to_numpy()[order][np.searchsorted(table["number"].to_numpy()[order], numbers)]
    first = np.zeros(len(numbers), bool)
    first[np.unique(host, return_index=True)[1]] = True
    return first
