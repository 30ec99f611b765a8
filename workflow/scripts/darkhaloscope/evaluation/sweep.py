"""The rates of every point of a sweep in one tidy table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..core.rates import EvaluationError


def sweep_table(points: Sequence[tuple[str, str, Mapping[str, Any]]], frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rates of all points, one row per point, network, seed and metric.

    Parameters
    ----------
    points : sequence of (experiment, network, values)
        What was asked: the point's experiment, a network of it, and the value of every swept key.
    frames : sequence of DataFrame
        The `rates` of each, in the same order.

    Returns
    -------
    DataFrame
        Columns experiment, detector, one per swept key (dotted, in the order of the sweep), then those of the rates.

    Raises
    ------
    EvaluationError
        Points and frames do not match, or the points have different keys.
    """
    if len(points) != len(frames) or not points:
        raise EvaluationError(
            f"a sweep needs one table of rates for each of its points, found {len(points)} points and {len(frames)} tables"
        )
    keys = list(points[0][2])
    parts = []
    for (experiment, network, values), rates in zip(points, frames, strict=True):
        if list(values) != keys:
            raise EvaluationError(
                f"point {experiment} of the sweep sets {', '.join(values) or 'nothing'}, the first point sets {', '.join(keys) or 'nothing'}"
            )
        part = rates.copy()
        for place, (name, value) in enumerate([("experiment", experiment), ("detector", network), *values.items()]):
            if name in rates.columns:
                raise EvaluationError(f"swept key `{name}` has the name of a column of the rates; write it with its section in front")
            # A list as a value (a range, say) stands in one cell.
            part.insert(place, name, [value] * len(part))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
