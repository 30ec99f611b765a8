"""A dataset as its gates are given it: the columns of one shard at a time, a sample of bounded size, and different values in parts.

What takes memory is bounded whatever the dataset: a column of a shard, `SAMPLE` rows of a split, `AT_ONCE` values of a column.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype, union_categoricals

from ..config.subhalo import SPLITS
from ..core.random import row_keys
from ..core.tables import Schema, TableError, open_table, parquet_errors

#: Stamps of a split whose distributions are looked at: those whose hashed numbers come first, all where there are no more.
SAMPLE = 1_000_000
#: Different values of a column that are compared at once: 8 bytes each, and as many again while they are sorted.
AT_ONCE = 50_000_000
#: Values of pieces that are held beside those of the pieces before them.
HELD = 1_000_000

Shards = Mapping[str, Sequence[str | os.PathLike]]


class Piece:
    """The seen stamps of one shard: `piece["label"]` is a Series, `piece[["label", "number"]]` a DataFrame, read when asked for."""

    def __init__(self, path: str | os.PathLike, file: pq.ParquetFile) -> None:
        self._path, self._file = path, file

    def __len__(self) -> int:
        return self._file.metadata.num_rows

    def __contains__(self, name: str) -> bool:
        return name in self._file.schema_arrow.names

    @overload
    def __getitem__(self, names: str) -> pd.Series: ...
    @overload
    def __getitem__(self, names: list[str]) -> pd.DataFrame: ...
    def __getitem__(self, names: str | list[str]) -> pd.Series | pd.DataFrame:
        with parquet_errors(self._path):
            frame = self._file.read([names] if isinstance(names, str) else names).to_pandas()
        text = [name for name in frame if not (is_numeric_dtype(frame[name]) or is_bool_dtype(frame[name]))]
        return frame.assign(**{name: _categories(frame[name]) for name in text})[names]


class Stamps:
    """What gates are given.

    Attributes
    ----------
    dataset : the section of the config
    keys : what no two splits may share: columns, or functions of a piece, by what they name
    columns : names of the columns of a piece: the scalars of a stamp, and what was seen of its images:
        `usable`, `finite`, `digest`, and the task's own measures
    shards : shards of each split that has some
    rows : stamps of each split that has some
    bytes : size of the shards of stamps of each split
    """

    def __init__(self, seen: Shards, schema: Schema, dataset: Any, keys: Mapping[str, str | Callable[[Piece], pd.Series]]) -> None:
        self.dataset, self.keys = dataset, keys
        self.columns = tuple(c.name for c in schema.columns)
        self._text = [c.name for c in schema.columns if c.dtype == "string"]
        self._files = {split: list(seen[split]) for split in SPLITS if seen.get(split)}
        self.rows: dict[str, int] = {}
        self.bytes: dict[str, int] = {}
        for split, paths in self._files.items():
            for path in paths:
                with open_table(path, schema) as file:
                    self.rows[split] = self.rows.get(split, 0) + file.metadata.num_rows
                    size = (file.schema_arrow.metadata or {}).get(b"bytes")
                if size is None:
                    raise TableError(
                        f"{path}: its metadata lack `bytes`, the size of the shard; make the file again with the stage that writes it"
                    )
                self.bytes[split] = self.bytes.get(split, 0) + int(size)
        self.rows = {split: count for split, count in self.rows.items() if count}
        self.shards = {split: len(paths) for split, paths in self._files.items()}

    def pieces(self, *splits: str) -> Iterator[tuple[str, Piece]]:
        """Yield the shards of some splits, or of all, one after another, with the name of their split."""
        for split in splits or self.rows:
            for path in self._files[split]:
                with parquet_errors(path), pq.ParquetFile(path, read_dictionary=self._text) as file:
                    yield split, Piece(path, file)

    def each(self, of: Callable[[Piece], Any]) -> dict[str, Any]:
        """Return, for every split that has stamps, the sum of a value of its pieces: a number, an array, a Counter."""
        found: dict[str, Any] = {}
        for split, piece in self.pieces():
            value = of(piece)
            found[split] = found[split] + value if split in found else value
        return found

    def samples(self, names: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield, for every split that has stamps, columns of at most `SAMPLE` of them, in their order: the same whatever the shards."""
        for split in self.rows:
            limit, parts = self._limits.get(split), []
            for _, piece in self.pieces(split):
                rows = piece[list(dict.fromkeys(("number", *names)))]
                parts.append(rows if limit is None else rows[row_keys(rows["number"].to_numpy()) <= limit])
            yield split, joined(parts)

    @cached_property
    def _limits(self) -> dict[str, np.uint64]:
        """The greatest hashed number of the sample of each split that has more stamps than `SAMPLE`."""
        limits = {}
        for split in self._cut:
            limit, least, held = np.iinfo(np.uint64).max, [], 0
            for _, piece in self.pieces(split):
                keys = row_keys(piece["number"].to_numpy())
                least.append(keys[keys <= limit])
                held += len(least[-1])
                if held >= 2 * SAMPLE:
                    least, held = [np.partition(np.concatenate(least), SAMPLE - 1)[:SAMPLE]], SAMPLE
                    limit = least[0].max()
            limits[split] = np.partition(np.concatenate(least), SAMPLE - 1)[SAMPLE - 1]
        return limits

    @property
    def _cut(self) -> list[str]:
        return [split for split, count in self.rows.items() if count > SAMPLE]

    @property
    def sampled(self) -> str:
        """Of how many stamps `samples` are, in words; empty where they are of all."""
        return " and ".join(f"{SAMPLE:,} of {self.rows[split]:,} stamps of {split}" for split in self._cut)

    def different(self, of: Callable[[str, Piece], Mapping[str, pd.Series]]) -> Iterator[dict[str, NDArray]]:
        """Yield the different values that groups have over all pieces, sorted, missing ones left out.

        Where there may be more than `AT_ONCE` of them they come in parts by their hashes: a value is in one part alone, in every
        group that has it. The pieces are read once for each part.

        Parameters
        ----------
        of : function of a split's name and a piece that returns the piece's values by the names of groups
        """
        parts = 1
        if sum(self.rows.values()) > AT_ONCE:
            most = sum(len(pd.unique(_known(values))) for split, piece in self.pieces() for values in of(split, piece).values())
            parts = max(1, -(-most // AT_ONCE))
        for part in range(parts):
            found: dict[str, list[NDArray]] = {}
            for split, piece in self.pieces():
                for group, values in of(split, piece).items():
                    some = _known(values)
                    if parts > 1:
                        some = some[pd.util.hash_array(some, categorize=False) % parts == part]
                    _hold(found.setdefault(group, []), pd.unique(some))
            yield {group: _merged(values) for group, values in found.items()}


def few(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the rows whose hashed numbers come first, in their order: the same whatever the shards."""
    return rows.iloc[np.sort(np.argsort(row_keys(rows["number"].to_numpy()), kind="stable")[:most])]


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate tables; categories stay categories."""
    columns = {}
    for name in parts[0].columns:
        if isinstance(parts[0][name].dtype, pd.CategoricalDtype):
            columns[name] = union_categoricals([p[name].cat.remove_unused_categories() for p in parts], sort_categories=True)
        else:
            columns[name] = np.concatenate([p[name].to_numpy() for p in parts])
    return pd.DataFrame(columns)


def _categories(values: pd.Series) -> pd.Series:
    """Return text as categories, of text also where a shard has none: the reader gives columns of missing values categories of no type."""
    values = values.astype("category")
    return values if len(values.cat.categories) else values.cat.set_categories(pd.Index([], dtype="str"))


def _known(values: pd.Series) -> NDArray:
    """Return the values that are not missing; of categories each once, as text."""
    known = values.dropna()
    return np.asarray(known.unique(), object) if isinstance(known.dtype, pd.CategoricalDtype) else known.to_numpy()


def _hold(parts: list[NDArray], more: NDArray) -> None:
    """Add different values to those of the pieces before; what many pieces have is held once, lest it grow with their number."""
    parts.append(more)
    if sum(map(len, parts[1:])) > len(parts[0]) + HELD:
        parts[:] = [pd.unique(np.concatenate(parts))]


def _merged(parts: list[NDArray]) -> NDArray:
    """Return the different values of some arrays, sorted in place and the arrays let go: two copies at the most are in memory."""
    values = np.concatenate(parts)
    parts.clear()
    values.sort()
    return values[np.concatenate([[True] * min(len(values), 1), values[1:] != values[:-1]]).astype(bool)]
