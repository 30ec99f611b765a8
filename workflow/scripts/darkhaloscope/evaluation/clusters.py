"""What stamps share: all stamps of a galaxy, a host, a source or a region of the sky are one cluster, and drawn together.

Clusters beyond 1,024 are put together at random into 1,024 groups that are drawn in their place (the method of random groups:
Wolter 2007, Introduction to Variance Estimation, chapter 2). The groups are as independent as the clusters, so the variance
stays unbiased; that so many groups estimate it costs 1/√2048 = 2% of an interval's length. So the work of a resample does
not grow with the number of clusters, and twelve million stamps have a bootstrap over hosts like any others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..config.columns import SKY_CELLS
from ..core.resampling import chunks, drawn
from .lazy_table import BATCH, LazyTable

#: Groups that are drawn at most, of clusters and of stamps of each class without one.
GROUPS = 1024
#: Clusters are told apart by so many values of their hash; two that share one count as one cluster, which an interval survives.
CELLS = 1 << 22
#: What a cluster of a column is called, one and several.
WORDS = {
    "physical_id": ("galaxy", "galaxies"),
    "galaxy_id": ("galaxy", "galaxies"),
    "object_id": ("host", "hosts"),
    "source_id": ("source", "sources"),
    "region_id": ("sky region", "sky regions"),
    "brickname": ("brick", "bricks"),
}
#: Kinds of clusters that lie within one another: places on the sky, with cells of it, and sources. Any other column stands for itself.
FAMILIES = {
    **dict.fromkeys(("object_id", "brickname", "region_id"), "sky"),
    **dict.fromkeys(("physical_id", "galaxy_id", "source_id"), "source"),
}


@dataclass(frozen=True, eq=False)
class Clusters:
    """The clusters of all stamps of a table.

    Attributes
    ----------
    column : str
        Whose values they are, or `healpix-N`.
    code : (n,) int16
        Group of each stamp: those of clusters come first, then those of positives and of controls without a cluster.
    pools : (clusters, positives without, controls without)
        How many groups there are of each; each pool is drawn by itself.
    """

    column: str
    code: NDArray[np.int16]
    pools: tuple[int, int, int]

    def count(self, rows: NDArray[np.integer]) -> int:
        """Return the number of clusters that some stamps belong to (of groups, where there are more than 1,024)."""
        return int(np.count_nonzero(np.bincount(self.code[rows], minlength=sum(self.pools))[: self.pools[0]]))

    def draw(self, rng: np.random.Generator, resamples: int) -> NDArray[np.uint8]:
        """Return how often each group is drawn, each pool as often as it has groups; (r, groups)."""
        return np.concatenate([drawn(size, resamples, rng) for size in self.pools], axis=1)

    def row_weights(self, rng: np.random.Generator, resamples: int) -> Iterator[NDArray[np.uint8]]:
        """Yield how often each stamp is drawn when whole clusters are, in chunks that add up to `resamples` rows of (n,)."""
        weights, start = self.draw(rng, resamples), 0
        for r in chunks(len(self.code), resamples):
            yield weights[start : start + r, self.code]
            start += r


def words(column: str, n: int = 2) -> str:
    """Return what n clusters of a column are called."""
    if SKY_CELLS.fullmatch(column):
        return "sky cell" if n == 1 else "sky cells"
    one, several = WORDS.get(column, (f"value of {column}", f"values of {column}"))
    return one if n == 1 else several


def family(column: str) -> str:
    """Return what the clusters of a column are a kind of: bricks hold hosts, but a source lies behind hosts anywhere."""
    return "sky" if SKY_CELLS.fullmatch(column) else FAMILIES.get(column, column)


def cluster_columns(name: str) -> tuple[str, ...]:
    """Return the columns of a table that clusters of a name are made of."""
    return ("ra", "dec") if SKY_CELLS.fullmatch(name) else (name,)


def find_clusters(table: pa.Table | LazyTable, label: NDArray[np.bool_], column: str) -> Clusters | None:
    """Return the clusters that a column makes; None where the table has no such column, or no value in it.

    Stamps without a value (an analytic disk has no galaxy, a control no source) are drawn one by one within their class.

    Parameters
    ----------
    table : pyarrow.Table or LazyTable
    label : (n,) bool
    column : str
        A column of any kind, or `healpix-N` for the HEALPix cells at nside N of the columns `ra` and `dec`.
    """
    needed = cluster_columns(column)
    if any(name not in table.column_names for name in needed):
        return None
    pieces = _sky(table, column) if len(needed) == 2 else map(_hashed, table.column(column).chunks)
    cell = np.concatenate([np.zeros(0, np.int32), *pieces])
    named = cell >= 0
    seen = np.zeros(CELLS, bool)
    seen[cell[named]] = True
    present = np.flatnonzero(seen)
    if not len(present):
        return None
    code, sizes = np.empty(len(cell), np.int16), [min(len(present), GROUPS)]
    # Ranked by their hash, so that which clusters share a group is random, and the same in every table.
    group = np.empty(CELLS, np.int16)
    group[present] = np.arange(len(present)) % GROUPS
    code[named] = group[cell[named]]
    for alone in (~named & label, ~named & ~label):
        rows = np.flatnonzero(alone)
        size = min(len(rows), GROUPS)
        code[rows] = sum(sizes) + np.arange(len(rows)) % max(size, 1)
        sizes.append(size)
    return Clusters(column, code, tuple(sizes))


def _hashed(chunk: pa.Array) -> NDArray[np.int32]:
    """Return the upper bits of a hash of each value, −1 for none."""
    if pa.types.is_dictionary(chunk.type):
        of_value = _hashed(chunk.dictionary) if len(chunk.dictionary) else np.zeros(0, np.int32)
        out = np.full(len(chunk), -1, np.int32)
        valid = np.asarray(chunk.indices.is_valid())
        out[valid] = of_value[np.asarray(chunk.indices.drop_null())]
        return out
    valid = np.asarray(pc.invert(pc.is_null(chunk, nan_is_null=True)))
    values = chunk.filter(pa.array(valid)).to_numpy(zero_copy_only=False)
    out = np.full(len(chunk), -1, np.int32)
    out[valid] = _upper_bits(values)
    return out


def _sky(table: pa.Table | LazyTable, column: str) -> Iterator[NDArray[np.int32]]:
    # Astropy takes half a second to import, and few tables are cut by the sky.
    from astropy import units
    from astropy_healpix import lonlat_to_healpix

    nside = int(SKY_CELLS.fullmatch(column)[1])
    ra, dec = (np.asarray(pc.fill_null(pc.cast(table.column(name), pa.float64()), np.nan)) for name in ("ra", "dec"))
    for start in range(0, len(ra), BATCH):
        part = slice(start, start + BATCH)
        known = np.isfinite(ra[part]) & np.isfinite(dec[part])
        out = np.full(len(known), -1, np.int32)
        out[known] = _upper_bits(lonlat_to_healpix(ra[part][known] * units.deg, dec[part][known] * units.deg, nside, order="nested"))
        yield out


def _upper_bits(values: NDArray) -> NDArray[np.int32]:
    shift = np.uint64(64 - (CELLS.bit_length() - 1))
    return (pd.util.hash_array(values, categorize=False) >> shift).astype(np.int32)
