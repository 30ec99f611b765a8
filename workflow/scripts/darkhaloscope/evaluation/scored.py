"""Scores in memory, checked: what every table must satisfy before a rate is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..core.rates import EvaluationError
from .clusters import Clusters, find_clusters
from .lazy_table import LazyTable
from .tidy import COMMITTEE


@dataclass(frozen=True, eq=False)
class Scored:
    """Stamps with scores.

    Attributes
    ----------
    name : str
        Where they come from, for messages.
    score : (n,) float64, finite
    label : (n,) bool
    table : pyarrow.Table or LazyTable
        The rows with all their columns, for strata and clusters.
    """

    name: str
    score: NDArray[np.float64]
    label: NDArray[np.bool_]
    table: pa.Table | LazyTable

    @cached_property
    def ids(self) -> pa.Array:
        """Ids of the stamps as strings, (n,)."""
        return pc.cast(self.table.column("stamp_id"), pa.string()).combine_chunks()

    @cached_property
    def by_score(self) -> NDArray[np.int32]:
        """Row numbers from the lowest score to the highest: sorted once, so that no group's scores need to be sorted again."""
        return np.argsort(self.score, kind="stable").astype(np.int32)

    @cached_property
    def controls(self) -> NDArray[np.int32]:
        """Row numbers of all controls, from the lowest score to the highest."""
        return self.by_score[~self.label[self.by_score]]

    @cached_property
    def positives(self) -> NDArray[np.int32]:
        """Row numbers of all positives, from the lowest score to the highest."""
        return self.by_score[self.label[self.by_score]]

    @cached_property
    def control_scores(self) -> NDArray[np.float64]:
        """Scores of all controls, in increasing order."""
        return self.score[self.controls]

    @cached_property
    def _clusters(self) -> dict[str, Clusters | None]:
        return {}

    def clusters(self, columns: Sequence[str]) -> list[Clusters]:
        """Return the clusters of each column that the table has values of; found once."""
        for column in columns:
            if column not in self._clusters:
                self._clusters[column] = find_clusters(self.table, self.label, column)
        return [found for column in columns if (found := self._clusters[column]) is not None]

    def values(self, column: str) -> pa.ChunkedArray:
        """Return a column of the table.

        Raises
        ------
        EvaluationError
            The table has no such column.
        """
        if column not in self.table.column_names:
            known = ", ".join(sorted(self.table.column_names))
            raise EvaluationError(
                f"{self.name}: there is no column `{column}`; the table has: {known}. Take it out of `evaluation.strata`, or add the column"
            )
        return self.table.column(column)


def read_split(table: pa.Table, split: str, name: str) -> Scored | None:
    """Return the checked stamps of one split, or None where the table has none.

    A table without a `split` column is all test.

    Parameters
    ----------
    table : pyarrow.Table
        Columns stamp_id, label (0 or 1), score, and what strata need.
    split : "validation" or "test"
    name : str
        What messages call the table.

    Raises
    ------
    EvaluationError
        A needed column is missing, an id is missing or appears twice, a label is not 0 or 1, a score is not finite.
    """
    for column in ("stamp_id", "label", "score"):
        if column not in table.column_names:
            raise EvaluationError(f"{name}: column `{column}` is missing; the table has: {', '.join(table.column_names)}")
    if "split" in table.column_names:
        table = table.filter(pc.equal(table.column("split"), split))
    elif split != "test":
        return None
    if not table.num_rows:
        return None
    name = f"{name}, {split} split"
    _check_ids(table.column("stamp_id"), name)
    label = _labels(table.column("label"), name)
    return Scored(name, _scores(table, name), label, table)


def has_split(table: pa.Table, split: str) -> bool:
    """Say whether a table has rows of a split; one without a `split` column is all test."""
    if "split" not in table.column_names:
        return split == "test" and table.num_rows > 0
    return bool(pc.any(pc.equal(table.column("split"), split)).as_py())


def committee(members: Sequence[Scored], name: str) -> Scored:
    """Return the mean score of several seeds on the same stamps.

    Raises
    ------
    EvaluationError
        The members do not hold the same stamps, or not with the same labels.
    """
    first = members[0]
    total = first.score.copy()
    for other in members[1:]:
        total += other.score[match(first, other)]
    return Scored(name, total / len(members), first.label, first.table)


def match(reference: Scored, other: Scored) -> NDArray[np.int64] | slice:
    """Return the rows of `other` in the order of `reference`.

    Raises
    ------
    EvaluationError
        A stamp is in one table alone, or its label differs.
    """
    if reference.ids.equals(other.ids):
        rows: NDArray[np.int64] | slice = slice(None)
    else:
        found = pc.index_in(reference.ids, value_set=other.ids)
        if found.null_count or len(reference.ids) != len(other.ids):
            lost = reference.ids.filter(pc.is_null(found))
            added = other.ids.filter(pc.invert(pc.is_in(other.ids, value_set=reference.ids)))
            raise EvaluationError(
                f"{reference.name} and {other.name} do not hold the same stamps: {len(lost)} are in the first alone{_example(lost)}, "
                f"{len(added)} in the second alone{_example(added)}; score both on the same shards"
            )
        rows = found.to_numpy(zero_copy_only=False).astype(np.int64)
    different = np.flatnonzero(reference.label != other.label[rows])
    if len(different):
        raise EvaluationError(
            f"{reference.name} and {other.name} disagree on the label of {len(different)} stamps, first {reference.ids[int(different[0])]}; "
            "their stamps were made from different manifests: score both again"
        )
    return rows


def need_both_classes(scored: Scored) -> None:
    """Raise `EvaluationError` unless both classes are present."""
    positives = int(scored.label.sum())
    if positives == 0 or positives == len(scored.label):
        missing = "positive" if positives == 0 else "control"
        raise EvaluationError(f"{scored.name}: {len(scored.label)} stamps and no {missing} among them; rates need both classes")


def load_seeds(tables: Mapping[tuple[str, object], pa.Table], dataset: str, split: str) -> dict[str, Scored]:
    """Return the stamps of one split of a dataset by seed, and their committee last; empty where no table has the split."""
    members = {}
    for (name, seed), table in tables.items():
        if name == dataset and (scored := read_split(table, split, f"scores of {dataset}, seed {seed}")) is not None:
            members[str(seed)] = scored
    if members:
        members[COMMITTEE] = committee(list(members.values()), f"scores of {dataset}, committee, {split} split")
    return members


def _check_ids(column: pa.ChunkedArray, name: str) -> None:
    """Raise `EvaluationError` unless every stamp has an id of its own; hashes of 64 bits find the ones to look at."""
    if column.null_count:
        raise EvaluationError(f"{name}: {column.null_count} rows have no stamp_id; every stamp needs one")
    hashes = np.concatenate([pd.util.hash_array(chunk.to_numpy(zero_copy_only=False), categorize=False) for chunk in column.chunks])
    ordered = np.sort(hashes)
    suspected = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(suspected):
        return
    counts = pc.value_counts(column.filter(pa.array(np.isin(hashes, suspected))))
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise EvaluationError(
            f"{name}: {len(twice)} stamp_ids appear more than once{_example(twice)}; a stamp counted twice narrows every interval; expected once: score each once"
        )


def _scores(table: pa.Table | LazyTable, name: str) -> NDArray[np.float64]:
    score = np.asarray(pc.fill_null(pc.cast(table.column("score"), pa.float64()), np.nan), np.float64)
    bad = np.flatnonzero(~np.isfinite(score))
    if len(bad):
        first = table.column("stamp_id")[int(bad[0])]
        raise EvaluationError(
            f"{name}: {len(bad)} scores are missing, NaN or infinite, first that of {first}, expected a finite number for each; look for NaN pixels in its stamp, then score again"
        )
    return score


def _labels(column: pa.ChunkedArray, name: str) -> NDArray[np.bool_]:
    if pa.types.is_integer(column.type) and not column.null_count:
        label = np.asarray(column)
    else:
        label = np.asarray(pc.fill_null(pc.cast(column, pa.float64()), np.nan))
    strange = np.unique(label[(label != 0) & (label != 1)])
    if len(strange):
        raise EvaluationError(f"{name}: labels must be 0 or 1, found also {', '.join(f'{v:g}' for v in strange[:5])}; correct them")
    return label == 1


def encode(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """Return a column as numbers of its values, −1 for none, and the values."""
    whole = column.combine_chunks()
    encoded = whole if pa.types.is_dictionary(whole.type) else pc.dictionary_encode(whole)
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    return np.asarray(pc.fill_null(encoded.indices, -1), np.int32), encoded.dictionary


def _example(ids: pa.Array) -> str:
    return f" (first {ids[0]})" if len(ids) else ""
