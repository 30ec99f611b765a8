"""The table of scores: one row per stamp, its score, and every column that strata can be made of."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.tables import Column, Schema, read_table
from ..tasks.lensfinder import schema as lensfinder
from ..tasks.subhalo.schema import scalar_columns

SCORE = (
    Column("dataset", "string", "", "Dataset of the stamp"),
    Column("detector", "string", "", "Detector that gave the score"),
    Column("seed", "int64", "", "Training seed of a network; 0 of detectors without"),
    Column("score", "float64", "", "Probability of being a positive, 0 to 1"),
    Column("calibrated", "float64", "", "The score after calibration on validation stamps; the score itself where none was fitted"),
)

#: Scores of stamps of the subhalo chain, and of the lens finder's.
SCORES = Schema("scores", (*SCORE, *scalar_columns()))
LENS_SCORES = Schema("lens scores", (*SCORE, *lensfinder.scalar_columns()))


def score_columns() -> tuple[str, ...]:
    """Return the columns that a table of scores begins with; those of the stamps follow."""
    return tuple(column.name for column in SCORE)


def maps_schema(size: int) -> Schema:
    """Return the schema of attributions of stamps with `size` pixels on a side."""
    return Schema(
        "explanations",
        (
            Column("stamp_id", "string", "", "Stamp"),
            Column("network", "string", "", "Network whose attributions these are; empty for the stamp's own pixels"),
            Column("input", "string", "", "Input of the network, or what the pixels are"),
            Column("map", "float32", "log-odds", "Attribution of the margin; of pixels, their own unit", (size, size)),
        ),
    )


def scores_schema(columns: Iterable[str]) -> Schema:
    """Return which of the two tables has these columns."""
    return LENS_SCORES if "is_control" in set(columns) else SCORES


def column_units() -> dict[str, str]:
    """Return the unit of every column of both tables."""
    return {c.name: c.unit for schema in (SCORES, LENS_SCORES) for c in schema.columns}


def read_score_table(path: str | os.PathLike, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table of scores of either chain, or those of some columns that it has, after checking its schema."""
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError):
        names = []  # read_table says what is wrong
    return read_table(path, scores_schema(names), None if columns is None else [c for c in columns if c in names])


def read_scores(paths: Iterable[str | os.PathLike], detector: str | None = None) -> dict[tuple[str, str], pa.Table]:
    """Return score tables by (dataset, seed), those of one detector where it is named."""
    tables = {}
    for path in paths:
        table = read_score_table(path)
        first = table.slice(0, 1).to_pylist()[0]
        if detector is None or first["detector"] == detector:
            tables[first["dataset"], str(first["seed"])] = table
    return tables


def read_detectors(paths: Iterable[str | os.PathLike], columns: Sequence[str]) -> dict[str, dict[tuple[str, str], pa.Table]]:
    """Return some columns of score tables, `dataset`, `detector` and `seed` among them, by detector and by (dataset, seed)."""
    tables: dict[str, dict[tuple[str, str], pa.Table]] = {}
    for path in paths:
        table = read_score_table(path, columns)
        first = table.slice(0, 1).to_pylist()[0]
        tables.setdefault(first["detector"], {})[first["dataset"], str(first["seed"])] = table
    return tables
