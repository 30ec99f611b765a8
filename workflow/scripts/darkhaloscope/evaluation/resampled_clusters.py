"""Intervals from a bootstrap of clusters: which clusters a group of stamps has enough of, and one interval of all of theirs.

A stamp can belong to several clusters at once, its host, its source and its region of the sky. Each kind is resampled by
itself. Of kinds that lie within one another (a region holds bricks, these hold hosts) the widest interval holds what the others do. Hosts and
sources do not, and what either kind adds to the interval of independent stamps is added up.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..config.experiment import Evaluation
from ..core.random import stable_hash, stream
from ..core.resampling import Draws, Gathered, Resampled, row_weights
from .clusters import Clusters, family, words
from .scored import Scored
from .strata import Group

#: The unit of an interval that takes every stamp as independent.
STAMP = "stamp"
#: Between the columns whose clusters an interval resamples, where there are several.
BESIDE = " + "
#: What rates can be, and differences of two of them.
RATES, DIFFERENCES = (0.0, 1.0), (-1.0, 1.0)
#: Stamps of a table above which clusters are resampled over all stamps alone: strata visit every stamp some twenty times.
MOST = 2_000_000


@dataclass(frozen=True, eq=False)
class Clustered:
    """The bootstrap of one group over every kind of clusters that it has enough of.

    Attributes
    ----------
    draws : mapping of a column of clusters to the rates of its resamples
    note : str
        Of which clusters there are too few.
    """

    draws: Mapping[str, Draws]
    note: str


def draw_clusters(scored: Scored, groups: Sequence[Group], evaluation: Evaluation, cuts: Sequence[float], key: str) -> list[Clustered]:
    """Return the bootstrap over clusters of each group; of tables with more than `MOST` stamps, of the group of all alone.

    Parameters
    ----------
    scored : Scored
    groups : of its stamps
    evaluation : `clusters`, `min_clusters`, `bootstrap`, `fprs`, `tprs`
    cuts : fixed thresholds at which shares are wanted, too
    key : str
        The resamples follow from it alone, so that seeds and networks share them.
    """
    drawn = {
        found.column: found.draw(cluster_rng(key, found.column), evaluation.bootstrap) for found in scored.clusters(evaluation.clusters)
    }
    out = []
    for group in groups:
        if drawn and len(scored.label) > MOST and len(group.positives) + len(group.negatives) < len(scored.label):
            many = f"{len(scored.label):,} stamps, clusters are resampled in strata up to {MOST:,}"
            out.append(Clustered({}, f"{many}: the interval takes stamps as independent; see that of all stamps"))
            continue
        enough, note = enough_clusters(scored, group, evaluation)
        draws = {}
        for found in enough:
            weights = drawn[found.column]
            prepared = Gathered(
                scored.score, scored.label, group.rows, found.code, weights.shape[1], evaluation.fprs, evaluation.tprs, cuts
            )
            draws[found.column] = prepared.rates(weights)
        out.append(Clustered(draws, note))
    return out


def cluster_rng(key: str, column: str) -> np.random.Generator:
    """Return what draws the clusters of a column."""
    return stream(0, stable_hash(key, column), "bootstrap over clusters")


def enough_clusters(scored: Scored, group: Group, evaluation: Evaluation) -> tuple[list[Clusters], str]:
    """Return the kinds of clusters that a group has `min_clusters` of, in each class that has any; and of which there are too few."""
    enough, few = [], {}
    for found in scored.clusters(evaluation.clusters):
        n = min((n for n in (found.count(group.positives), found.count(group.negatives)) if n), default=0)
        if n >= evaluation.min_clusters:
            enough.append(found)
        elif n:
            few[found.column] = n
    return enough, "; ".join(_few(column, n, evaluation.min_clusters, bool(enough)) for column, n in few.items())


def units_of(
    scored: Scored, group: Group, evaluation: Evaluation, key: str, purpose: str
) -> tuple[dict[str, Iterator[NDArray[np.uint8]]], str]:
    """Return what is drawn for a paired bootstrap, by unit: stamps one by one, and the clusters that a group has enough of; and a note.

    Parameters
    ----------
    key, purpose : name the random numbers
    """
    enough, note = enough_clusters(scored, group, evaluation)
    weights = {STAMP: row_weights(scored.label, stream(0, stable_hash(key), purpose), evaluation.bootstrap)}
    return weights | {found.column: found.row_weights(cluster_rng(key, found.column), evaluation.bootstrap) for found in enough}, note


def resample_together(prepared: Mapping[Hashable, Resampled], weights: Iterable[NDArray[np.uint8]]) -> dict[Hashable, Draws]:
    """Return the rates of the resamples of several scores or groups, whose stamps are drawn alike, so that their differences are paired."""
    parts: dict[Hashable, list[Draws]] = {name: [] for name in prepared}
    for chunk in weights if prepared else ():
        for name, one in prepared.items():
            parts[name].append(one.rates(chunk))
    return {name: Draws.join(draws) for name, draws in parts.items()}


def over(unit: str) -> str:
    """Return what an interval is called that resamples the clusters of a column, or of several that `joined` has put together."""
    return f"bootstrap over {' and over '.join(map(words, unit.split(BESIDE)))}"


def joined(intervals: Mapping[str, tuple[NDArray, NDArray]], values: ArrayLike, limits: tuple[float, float] = RATES) -> list[dict]:
    """Return one interval for each rate from those by the unit that was resampled: `low`, `high` and `unit`.

    Where clusters of one family alone give a longer interval than independent stamps, the widest counts. Where several families do,
    variances add up: the distance of each end from the value is √(d² + Σ (d_f² − d²)), d being that of independent stamps and d_f that of the widest
    kind of each family (Cameron, Gelbach & Miller 2011, J. Bus. Econ. Stat. 29, 238, whose intersection of clusters is a stamp here).

    Parameters
    ----------
    intervals : by unit, that of `STAMP` among them
    values : of the rates
    limits : what a rate can be
    """
    ends = {unit: [np.atleast_1d(np.asarray(end, float)) for end in interval] for unit, interval in intervals.items()}
    length = {unit: np.nan_to_num(high - low, nan=-1.0) for unit, (low, high) in ends.items()}
    out = widest(intervals)
    for k, value in enumerate(np.atleast_1d(np.asarray(values, float))):
        best: dict[str, str] = {}
        for unit in ends:
            kind = family(unit)
            if unit != STAMP and length[unit][k] > length[STAMP][k] and length[unit][k] > (length[best[kind]][k] if kind in best else 0):
                best[kind] = unit
        if len(best) < 2:
            continue
        reach = []
        for side, sign in ((0, -1), (1, 1)):
            own, *others = (max(sign * (ends[unit][side][k] - value), 0.0) ** 2 for unit in (STAMP, *best.values()))
            reach.append(np.sqrt(own + sum(max(other - own, 0.0) for other in others)))
        low, high = max(value - reach[0], limits[0]), min(value + reach[1], limits[1])
        out[k] = {"low": float(min(low, out[k]["low"])), "high": float(max(high, out[k]["high"])), "unit": BESIDE.join(best.values())}
    return out


def widest(intervals: Mapping[str, tuple[NDArray, NDArray]]) -> list[dict]:
    """Return, of intervals by the unit that was resampled, the widest for each rate: `low`, `high` and `unit`.

    Of intervals of equal length the first one counts.
    """
    ends = [[np.atleast_1d(np.asarray(end, float)) for end in interval] for interval in intervals.values()]
    length = np.array([np.nan_to_num(high - low, nan=-1.0) for low, high in ends])
    units = list(intervals)
    return [{"low": float(ends[i][0][k]), "high": float(ends[i][1][k]), "unit": units[i]} for k, i in enumerate(np.argmax(length, axis=0))]


def _few(column: str, n: int, needed: int, others: bool) -> str:
    several = words(column)
    said = f"one {words(column, 1)}" if n == 1 else f"{n} {several}"
    independent = "" if others else "takes stamps as independent and "
    return f"{said}, {needed} needed for a bootstrap over {several}: the interval {independent}holds for these {several} alone"
