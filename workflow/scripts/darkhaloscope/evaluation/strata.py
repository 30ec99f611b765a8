"""Strata: which stamps each bin or category of a column holds, and which controls it is judged against.

A stratum of a property that positives alone have (`of_positives`) is judged against all controls; a
stratum that both classes have is judged against its own. Subhalo controls carry the phantom subhalo that they would
have had, so mass and d′ exist in both classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..config.experiment import Stratum
from .rates import EvaluationError
from .scored import Scored

#: A float column with more distinct values than this is no category.
MAX_FLOAT_CATEGORIES = 50
#: An upper edge at or above this stands for infinity.
UNBOUNDED = 1e8


@dataclass(frozen=True, eq=False)
class Group:
    """The stamps of one stratum.

    Attributes
    ----------
    column, stratum : str
        What the stratum is made of, and its name.
    rows : (k,) int64
        Row numbers of its stamps, of both classes.
    of_positives : bool
        Whether the controls are all controls, since the property belongs to positives alone.
    """

    column: str
    stratum: str
    rows: NDArray[np.int64]
    of_positives: bool


def cut_strata(scored: Scored, strata: Mapping[str, Stratum]) -> Iterator[Group]:
    """Yield the strata of every configured column, in the order of the config and of the values.

    Stamps without a value, or outside the edges, belong to no stratum of that column. A stratum without stamps is left out.

    Raises
    ------
    EvaluationError
        A column is missing, is text but has edges or quantiles, or is a continuous number without them.
    """
    for column, how in strata.items():
        codes, names = assign(scored, column, how)
        # One stable sort gives the rows of every stratum.
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
        controls = np.flatnonzero(~scored.label) if how.of_positives else None
        for name, start, stop in zip(names, bounds[:-1], bounds[1:], strict=True):
            rows = order[start:stop]
            if controls is not None:
                rows = rows[scored.label[rows]]
            if len(rows):
                yield Group(column, name, rows if controls is None else np.concatenate([rows, controls]), how.of_positives)


def assign(scored: Scored, column: str, how: Stratum) -> tuple[NDArray[np.int64], list[str]]:
    """Return the stratum number of every stamp, −1 for none, and the names of the strata.

    Bins hold their lower edge, the last one its upper edge too. Quantiles are taken over positives alone where they
    alone have the property, over both classes otherwise; equal values stay together, so that there may be
    fewer bins than asked for.
    """
    values = scored.values(column)
    numeric = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    if how.edges is None and how.quantiles is None:
        return _categories(values, column, scored.name)
    if not numeric:
        raise EvaluationError(
            f"{scored.name}: column `{column}` holds {values.type}, so it has no edges or quantiles; leave both out to take its values as categories"
        )
    numbers = np.asarray(pc.fill_null(pc.cast(values, pa.float64()), np.nan))
    if how.edges is not None:
        return bins(numbers, how.edges)
    return _quantile_bins(numbers, scored.label if how.of_positives else np.ones_like(scored.label), how.quantiles)


def bins(numbers: NDArray, edges: Sequence[float]) -> tuple[NDArray[np.int64], list[str]]:
    """Return the bin of every number, −1 outside the edges and for NaN, and the names of the bins."""
    edges = np.asarray(edges, float)
    codes = np.searchsorted(edges, numbers, "right") - 1
    codes[numbers == edges[-1]] = len(edges) - 2
    codes[(codes >= len(edges) - 1) | np.isnan(numbers)] = -1
    return codes, [_name(a, b) for a, b in pairwise(edges)]


def _quantile_bins(numbers: NDArray, counted: NDArray[np.bool_], n: int) -> tuple[NDArray[np.int64], list[str]]:
    ordered = np.sort(numbers[counted & ~np.isnan(numbers)])
    if not len(ordered):
        return np.full(len(numbers), -1), []
    # Order statistics, not interpolated ones: infinite values (θ_E/PSF without a PSF) are allowed.
    lower = np.unique(ordered[(len(ordered) * np.arange(n)) // n])
    codes = np.searchsorted(lower, numbers, "right") - 1
    codes[np.isnan(numbers) | (numbers > ordered[-1])] = -1
    return codes, [_name(a, b) for a, b in zip(lower, [*lower[1:], ordered[-1]], strict=True)]


def _categories(values: pa.ChunkedArray, column: str, name: str) -> tuple[NDArray[np.int64], list[str]]:
    encoded = pc.dictionary_encode(values.combine_chunks())
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    found = encoded.dictionary
    if pa.types.is_floating(values.type) and len(found) > MAX_FLOAT_CATEGORIES:
        raise EvaluationError(
            f"{name}: column `{column}` has {len(found)} different numbers, too many for categories; give `edges` or `quantiles` in `evaluation.strata.{column}`"
        )
    order = np.asarray(pc.sort_indices(found))
    place = np.empty(len(found) + 1, np.int64)
    place[order], place[-1] = np.arange(len(found)), -1
    names = [v if isinstance(v, str) else f"{v:g}" if isinstance(v, float) else str(v) for v in found.take(pa.array(order)).to_pylist()]
    return place[np.asarray(pc.fill_null(encoded.indices, -1))], names


def _name(low: float, high: float) -> str:
    if high == low:
        return f"{low:.4g}"
    return f"{low:.4g} and above" if high >= UNBOUNDED else f"{low:.4g}–{high:.4g}"
