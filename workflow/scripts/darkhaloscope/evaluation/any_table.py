"""Scores made elsewhere: Parquet or CSV with an id, a label and a score, under these or older column names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from .rates import EvaluationError
from .scored import read_split

#: Names under which a column is recognised, the first one found counts.
ALIASES = {
    "stamp_id": ("stamp_id", "task_id", "id", "object_id", "objid"),
    "label": ("label", "is_lens", "is_positive", "y_true", "target"),
    "score": ("score", "p_lens", "prob", "probability", "p", "y_score"),
    "split": ("split", "region_split"),
}
#: True for a control: the reverse of a label.
CONTROL = ("is_control",)
SPLIT_NAMES = {"val": "validation", "valid": "validation", "dev": "validation", "testing": "test", "training": "train"}


def read_scores_table(path: str | os.PathLike, mapping: Mapping[str, str] | None = None) -> pa.Table:
    """Read a table of scores made elsewhere, ready for `evaluate_network`.

    Parameters
    ----------
    path : path of a .parquet, .pq or .csv (also .csv.gz) file
    mapping : mapping of str to str, optional
        Column of the file for any of stamp_id, label, score, split, or for a strata column that has another name in the file,
        for example `{"score": "p_resnet18"}`.

    Returns
    -------
    pyarrow.Table
        Columns stamp_id (string), label (int8), score (float64), split (string), then all others under their names. Without a
        split column every row is `test`. Nothing in the file is unpickled; binary columns are dropped.

    Raises
    ------
    EvaluationError
        The file is missing or unreadable; a column is missing; label and is_control contradict each other; ids repeat; labels
        are not 0 and 1; scores are not finite; no row is of a split that is evaluated.
    """
    table = _read(Path(path))
    chosen = _choose(table, dict(mapping or {}), path)
    columns = {
        "stamp_id": pc.cast(table.column(chosen["stamp_id"]), pa.string()),
        "label": _label(table, chosen, path),
        "score": _number(table, chosen["score"], path),
        "split": _split(table, chosen.get("split")),
    }
    used = set(chosen.values())
    renamed = {theirs: ours for ours, theirs in chosen.items() if ours not in columns and ours != CONTROL[0]}
    for name in table.column_names:
        wanted = renamed.get(name, name)
        if (name not in used or name in renamed) and wanted not in columns and not _is_binary(table.column(name).type):
            columns[wanted] = table.column(name)
    out = pa.table(columns)
    found = [read_split(out, split, str(path)) for split in ("test", "validation")]
    if not any(found):
        splits = ", ".join(map(str, pc.unique(out.column("split")).to_pylist())) or "no rows"
        raise EvaluationError(
            f"{path}: no row is of split test or validation (found: {splits}); name the split column in the mapping, or leave it out"
        )
    return out


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise EvaluationError(f"{path}: this table of scores does not exist; give the path of a Parquet or CSV file")
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            return pq.read_table(path)
        if name.endswith((".csv", ".csv.gz")):
            return pyarrow.csv.read_csv(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise EvaluationError(
            f"{path}: not a readable table ({str(error).splitlines()[0]}); write it again as Parquet or CSV with a header line"
        ) from error
    raise EvaluationError(f"{path}: the name must end in .parquet, .pq, .csv or .csv.gz, so that the format is known")


def _choose(table: pa.Table, mapping: dict[str, str], path: str | os.PathLike) -> dict[str, str]:
    """Return the file's column for each of ours."""
    lost = [f"{theirs} (for {ours})" for ours, theirs in mapping.items() if theirs not in table.column_names]
    if lost:
        raise EvaluationError(
            f"{path}: the mapping names columns that are not there: {', '.join(lost)}; the table has: {', '.join(table.column_names)}"
        )
    chosen = dict(mapping)
    for ours, names in (*ALIASES.items(), (CONTROL[0], CONTROL)):
        name = next((n for n in names if n in table.column_names), None)
        if ours not in chosen and name is not None and not (ours == CONTROL[0] and "label" in mapping):
            chosen[ours] = name
    missing = [k for k in ("stamp_id", "label", "score") if k not in chosen and not (k == "label" and CONTROL[0] in chosen)]
    if missing:
        known = "; ".join(f"{k}: {', '.join(ALIASES[k] + (CONTROL if k == 'label' else ()))}" for k in missing)
        raise EvaluationError(
            f"{path}: no column for {', '.join(missing)} (recognised — {known}); the table has: {', '.join(table.column_names)}. Name the column in the mapping"
        )
    return chosen


def _label(table: pa.Table, chosen: Mapping[str, str], path: str | os.PathLike) -> pa.Array:
    from_label = np.asarray(pc.fill_null(_number(table, chosen["label"], path), np.nan)) if "label" in chosen else None
    if CONTROL[0] in chosen:
        reverse = 1 - np.asarray(pc.fill_null(_number(table, chosen[CONTROL[0]], path), np.nan))
        if from_label is not None and not np.array_equal(from_label, reverse):
            raise EvaluationError(
                f"{path}: columns `{chosen['label']}` and `{chosen[CONTROL[0]]}` contradict each other; name the right one as `label` in the mapping"
            )
        from_label = reverse
    strange = ~np.isin(from_label, (0, 1))
    if strange.any():
        name = chosen.get("label", CONTROL[0])
        raise EvaluationError(
            f"{path}: labels must be 0 or 1, but {int(strange.sum())} values of `{name}` are others, first {from_label[strange][0]:g}"
        )
    return pa.array(from_label.astype(np.int8))


def _number(table: pa.Table, name: str, path: str | os.PathLike) -> pa.ChunkedArray:
    column = table.column(name)
    try:
        return pc.cast(pc.cast(column, pa.int8()) if pa.types.is_boolean(column.type) else column, pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise EvaluationError(f"{path}: column `{name}` holds {column.type}, expected numbers ({error})") from error


def _split(table: pa.Table, name: str | None) -> pa.Array:
    if name is None:
        return pa.array(["test"] * table.num_rows, pa.string())
    column = pc.utf8_lower(pc.cast(table.column(name), pa.string()))
    for theirs, ours in SPLIT_NAMES.items():
        column = pc.if_else(pc.equal(column, theirs), ours, column)
    return column


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
