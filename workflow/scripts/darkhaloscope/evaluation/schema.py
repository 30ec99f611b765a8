"""The table of scores: one row per stamp, its score, and every column that strata can be made of."""

from __future__ import annotations

from ..stamps.schema import scalar_columns
from ..tables import Column, Schema

SCORE = (
    Column("dataset", "string", "", "Dataset of the stamp"),
    Column("network", "string", "", "Network that gave the score"),
    Column("seed", "int64", "", "Training seed of the network"),
    Column("score", "float64", "", "Probability of being a positive, 0 to 1"),
)

SCORES = Schema("scores", (*SCORE, *scalar_columns()))
