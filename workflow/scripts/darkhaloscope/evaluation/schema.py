"""The table of scores: one row per stamp, its score, and every column that strata can be made of."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pyarrow as pa

from ..stamps.schema import scalar_columns
from ..tables import Column, Schema, read_table

SCORE = (
    Column("dataset", "string", "", "Dataset of the stamp"),
    Column("network", "string", "", "Network that gave the score"),
    Column("seed", "int64", "", "Training seed of the network"),
    Column("score", "float64", "", "Probability of being a positive, 0 to 1"),
)

SCORES = Schema("scores", (*SCORE, *scalar_columns()))


def read_scores(paths: Iterable[str | os.PathLike], network: str | None = None) -> dict[tuple[str, str], pa.Table]:
    """Return score tables by (dataset, seed), those of one network where it is named."""
    tables = {}
    for path in paths:
        table = read_table(path, SCORES)
        first = table.slice(0, 1).to_pylist()[0]
        if network is None or first["network"] == network:
            tables[first["dataset"], str(first["seed"])] = table
    return tables
