"""Strata: how stamps fall into bins, and which stamps of the other class each bin is judged against.

A stratum is one function, registered under the name that the config gives it (`stratum`); any other name is a column, cut as
the config says. A property that positives alone have is judged against all controls, one that controls alone have against all
positives; what both classes have, against the stratum's own. Subhalo controls carry the phantom subhalo that they would
have had, so mass and d′ exist in both classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..config.experiment import RESOLVED, Stratum
from ..core.rates import EvaluationError
from .scored import Scored, encode

#: A float column with more distinct values than this is no category.
MAX_FLOAT_CATEGORIES = 50
#: An upper edge at or above this stands for infinity.
UNBOUNDED = 1e8


@dataclass(frozen=True, eq=False)
class Cut:
    """How the stamps of a table fall into strata.

    Attributes
    ----------
    codes : (n,) int
        Number of the stratum of every stamp, −1 for none.
    names : list of str
        Names of the strata, in their order.
    of_positives : bool
        Whether positives alone have the property, so that every stratum is judged against all controls.
    of_controls : bool
        Whether controls alone have it, so that every stratum is judged against all positives.
    """

    codes: NDArray[np.integer]
    names: Sequence[str]
    of_positives: bool = False
    of_controls: bool = False


#: Strata that are more than a column, by the name that the config gives them. `config.columns.STRATA` says of which stamps.
REGISTRY: dict[str, Callable[[Scored, Stratum], Cut]] = {}


def stratum(name: str) -> Callable[[Callable[[Scored, Stratum], Cut]], Callable[[Scored, Stratum], Cut]]:
    """Register a function of stamps and of the config's cut (edges, quantiles) as the stratum of a name."""

    def register(function: Callable[[Scored, Stratum], Cut]) -> Callable[[Scored, Stratum], Cut]:
        if name in REGISTRY:
            raise ValueError(f"stratum `{name}` is registered twice, by {REGISTRY[name].__module__} and {function.__module__}")
        REGISTRY[name] = function
        return function

    return register


@stratum("resolved")
def resolved(scored: Scored, how: Stratum) -> Cut:
    """Lenses whose Einstein radius is at least half the PSF's FWHM, and those below."""
    ratio = _numbers(scored.values("theta_over_psf"))
    codes = np.where(np.isnan(ratio) | ~scored.label, -1, (ratio >= RESOLVED).astype(np.int64))
    return Cut(codes, [f"θ_E/PSF < {RESOLVED:g}", f"θ_E/PSF ≥ {RESOLVED:g}"], of_positives=True)


@dataclass(frozen=True, eq=False)
class Group:
    """The stamps of one stratum.

    Attributes
    ----------
    column, stratum : str
        What the stratum is made of, and its name.
    positives, negatives : (p,), (m,) int
        Row numbers of its stamps. Where it comes from `cut_strata`, each class goes from the lowest score to the highest.
    of_positives : bool
        Whether the controls are all controls, since the property belongs to positives alone.
    of_controls : bool
        Whether the positives are all positives, since the property belongs to controls alone.
    """

    column: str
    stratum: str
    positives: NDArray[np.integer]
    negatives: NDArray[np.integer]
    of_positives: bool
    of_controls: bool = False

    @classmethod
    def of(cls, column: str, stratum: str, rows: NDArray[np.integer], scored: Scored) -> Group:
        """Return stamps of both classes that are judged against their own controls."""
        label = scored.label[rows]
        return cls(column, stratum, rows[label], rows[~label], False)

    def against_all(self, scored: Scored) -> Group:
        """Return the positives of the stratum with all controls."""
        return Group(self.column, self.stratum, self.positives, scored.controls, True)

    def against_all_positives(self, scored: Scored) -> Group:
        """Return the controls of the stratum with all positives."""
        return Group(self.column, self.stratum, scored.positives, self.negatives, False, True)

    @property
    def rows(self) -> NDArray[np.integer]:
        """Row numbers of both classes, positives first."""
        return np.concatenate([self.positives, self.negatives])


def cut_strata(scored: Scored, strata: Mapping[str, Stratum]) -> Iterator[Group]:
    """Yield the strata of every configured column, in the order of the config and of the values.

    Stamps without a value, or outside the edges, belong to no stratum of that column. A stratum without stamps is left out.

    Raises
    ------
    EvaluationError
        A column is missing, is text but has edges or quantiles, or is a continuous number without them.
    """
    for name, how in strata.items():
        yield from _groups(scored, name, cut(scored, name, how))


def cut_pairs(scored: Scored, pairs: Sequence[tuple[str, str]], strata: Mapping[str, Stratum]) -> Iterator[Group]:
    """Yield the cells of every pair of strata, each cut as `strata` says; a cell of what positives alone have takes all controls,
    one of what controls alone have all positives.

    The column is called `a × b`, the stratum `x, y`.
    """
    for a, b in pairs:
        first, second = (cut(scored, name, strata[name]) for name in (a, b))
        codes = np.where((first.codes < 0) | (second.codes < 0), -1, first.codes * len(second.names) + second.codes)
        names = [f"{x}, {y}" for x in first.names for y in second.names]
        of_one = first.of_positives or second.of_positives, first.of_controls or second.of_controls
        yield from _groups(scored, f"{a} × {b}", Cut(codes, names, *of_one))


def cut(scored: Scored, name: str, how: Stratum) -> Cut:
    """Return how stamps fall into a registered stratum, or into the bins or categories of a column.

    Bins hold their lower edge, the last one its upper edge too, in single precision (`bins`). Quantiles are taken over the class that alone
    has the property, over both classes otherwise; equal values stay together, so that there may be
    fewer bins than asked for.
    """
    if name in REGISTRY:
        return REGISTRY[name](scored, how)
    values, of_one = scored.values(name), (how.of_positives, how.of_controls)
    if how.edges is None and how.quantiles is None:
        return Cut(*_categories(values, name, scored.name), *of_one)
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type)):
        raise EvaluationError(
            f"{scored.name}: column `{name}` holds {values.type}, so it has no edges or quantiles; write it as numbers, or leave both out to take its values as categories"
        )
    numbers = _numbers(values)
    if how.edges is not None:
        return Cut(*bins(numbers, how.edges), *of_one)
    counted = scored.label if how.of_positives else ~scored.label if how.of_controls else np.ones_like(scored.label)
    return Cut(*_quantile_bins(numbers, counted, how.quantiles), *of_one)


def _numbers(values: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(pc.fill_null(pc.cast(values, pa.float64()), np.nan))


def _groups(scored: Scored, column: str, found: Cut) -> Iterator[Group]:
    """Yield the stamps of each stratum, each class in order of score."""
    # One stable sort of rows in order of score gives the rows of every stratum, in order of score again.
    names = found.names
    codes = found.codes.astype(np.int16 if len(names) < 2**15 else np.int32)[scored.by_score]
    order = np.argsort(codes, kind="stable")
    bounds = np.cumsum([np.sum(codes == -1), *np.bincount(codes[codes >= 0], minlength=len(names))])
    order = scored.by_score[order]
    for name, start, stop in zip(names, bounds[:-1], bounds[1:], strict=True):
        group = Group.of(column, name, order[start:stop], scored)
        if found.of_positives:
            group = group.against_all(scored)
        if found.of_controls:
            group = group.against_all_positives(scored)
        if (len(group.positives) and not found.of_controls) or (len(group.negatives) and not found.of_positives):
            yield group


def bins(numbers: NDArray, edges: Sequence[float]) -> tuple[NDArray[np.int64], list[str]]:
    """Return the bin of every number, −1 outside the edges and for NaN, and the names of the bins.

    Numbers and edges are compared in single precision: 0.7 of a grid is the edge 0.7, although a table that holds it in single precision,
    or a sum of steps, has it a little below; and 0.4 does not lie beyond a last edge of 0.4.
    """
    with np.errstate(over="ignore"):
        single, ends = np.asarray(numbers, np.float32), np.asarray(edges, np.float32)
    codes = (np.searchsorted(ends, single, "right") - 1).astype(np.int32)
    codes[single == ends[-1]] = len(ends) - 2
    codes[(codes >= len(ends) - 1) | np.isnan(single)] = -1
    return codes, [_name(a, b) for a, b in pairwise(np.asarray(edges, float))]


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
    numbers, found = encode(values)
    if pa.types.is_floating(values.type) and len(found) > MAX_FLOAT_CATEGORIES:
        raise EvaluationError(
            f"{name}: column `{column}` has {len(found)} different numbers, too many for categories; give `edges` or `quantiles` in `evaluation.strata.{column}`"
        )
    order = np.asarray(pc.sort_indices(found))
    place = np.empty(len(found) + 1, np.int64)
    place[order], place[-1] = np.arange(len(found)), -1
    names = [v if isinstance(v, str) else f"{v:g}" if isinstance(v, float) else str(v) for v in found.take(pa.array(order)).to_pylist()]
    return place[numbers], names


def _name(low: float, high: float) -> str:
    if high == low:
        return f"{low:.4g}"
    return f"{low:.4g} and above" if high >= UNBOUNDED else f"{low:.4g}–{high:.4g}"
