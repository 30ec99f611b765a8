"""Networks × test datasets: what each network loses where the test stamps differ from those that it was made for.

A variant holds the same stamps under another PSF, noise or source: every resample draws the same stamps of both, so that
the difference is paired. Other test datasets share no stamps, and each side is resampled alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..config.experiment import Evaluation
from ..core.intervals import edge_widened, percentiles
from ..core.rates import EvaluationError, auc, rank, share_above, tpr_at_fpr
from ..core.resampling import Draws, Resampled
from .clusters import cluster_columns
from .judging import BOTH_CLASSES, MIN_PER_CLASS, Cuts, Row, everything, expected_note, needed_negatives, resolves
from .resampled_clusters import DIFFERENCES, RATES, STAMP, enough_clusters, joined, over, resample_together, units_of
from .scored import Scored, load_seeds, match, need_both_classes
from .tidy import COMMITTEE, frame

#: `variant` is empty for test datasets that are none; a row with a `baseline` is what the network has over it.
ROBUSTNESS = (
    "test_dataset", "variant", "baseline", "detector", "metric", "at", "value", "low", "high", "resolved",
    "home_value", "difference", "difference_low", "difference_high", "n_positives", "n_negatives", "negatives_needed", "interval", "unit", "note",
)  # fmt: skip
#: Columns of a score table that are used: the first of `KEYS` that there is names a stamp and its twin in a variant.
KEYS = ("task_id", "number")
COLUMNS = ("dataset", "detector", "seed", "stamp_id", "split", "label", "score", *KEYS)
PAIRED, APART = "paired", "each side resampled alone"
NO_DRAWS = np.empty(0)

#: Metric and the rate that it is at.
Key = tuple[str, float | None]


def used_columns(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the columns of score tables that the measurement needs, where they have them."""
    return tuple(dict.fromkeys([*COLUMNS, *(name for clusters in evaluation.clusters for name in cluster_columns(clusters))]))


def measure_robustness(
    tables: Mapping[str, Mapping[tuple[str, object], pa.Table]],
    evaluation: Evaluation,
    *,
    home: str,
    variants: Mapping[str, str],
    tests: Sequence[str] = (),
    gains: Sequence[tuple[str, str]] = (),
) -> pd.DataFrame:
    """Measure networks on every test dataset, and the difference from their own.

    Rates are those of the committee, the mean of the seeds' scores. Thresholds fixed on validation are those of `home` for
    every dataset, as a network is used in practice.

    Parameters
    ----------
    tables : score tables by (dataset, seed), of each network by name
    evaluation : Evaluation
    home : dataset that differences are taken from
    variants : datasets by the variant's name; their stamps are twins of home's, judged on those that both have
    tests : other test datasets
    gains : pairs of networks, baseline first, whose difference is followed from dataset to dataset

    Returns
    -------
    DataFrame
        Columns `ROBUSTNESS`; metrics `auc`, `tpr_at_fpr`, `tpr_at_validation_fpr` and `realised_fpr`, and of gains
        `delta_auc` and `delta_tpr_at_fpr`. Rows of `home` itself have no difference.

    Raises
    ------
    EvaluationError
        Networks were not scored on the same stamps, a variant shares no stamp with home or disagrees on a label, or as `read_split`.
    """
    judge = _Judge(evaluation, _cuts(tables, home, evaluation), tuple(gains))
    base = _Stamps.of(tables, home)
    frames = [frame(judge.alone(base, home), ROBUSTNESS, test_dataset=home, variant="")]
    for variant, dataset in variants.items():
        twins = _twins(base, _Stamps.of(tables, dataset))
        frames.append(frame(judge.paired(*twins, f"{home} {dataset}"), ROBUSTNESS, test_dataset=dataset, variant=variant))
    for test in tests:
        if test != home:
            frames.append(frame(judge.apart(base, _Stamps.of(tables, test), f"{home} {test}"), ROBUSTNESS, test_dataset=test, variant=""))
    numbers = ["home_value", "difference", "difference_low", "difference_high"]
    return pd.concat([f.astype(dict.fromkeys(numbers, float)) for f in frames], ignore_index=True)


@dataclass(frozen=True, eq=False)
class _Stamps:
    """Test stamps of one dataset, with the scores of every network; `scored` holds labels and what makes clusters."""

    scored: Scored
    scores: dict[str, NDArray[np.float64]]

    @classmethod
    def of(cls, tables: Mapping[str, Mapping[tuple[str, object], pa.Table]], dataset: str) -> _Stamps:
        committees: dict[str, Scored] = {}
        for network, own in tables.items():
            seeds = load_seeds(own, dataset, "test")
            if not seeds:
                raise EvaluationError(f"{network} has no scores on the test split of {dataset}; score its test stamps")
            committees[network] = seeds[COMMITTEE]
        first = next(iter(committees.values()))
        need_both_classes(first)
        scores = {network: scored.score[match(first, scored)] for network, scored in committees.items()}
        return cls(replace(first, name=dataset), scores)

    def take(self, rows: NDArray, table: pa.Table) -> _Stamps:
        """Return some stamps; `table` is what makes their clusters."""
        some = Scored(self.scored.name, self.scored.score[rows], self.label[rows], table)
        return _Stamps(some, {n: s[rows] for n, s in self.scores.items()})

    @property
    def name(self) -> str:
        return self.scored.name

    @property
    def label(self) -> NDArray[np.bool_]:
        return self.scored.label

    @property
    def counts(self) -> tuple[int, int]:
        positives = int(self.label.sum())
        return positives, len(self.label) - positives


def _twins(home: _Stamps, other: _Stamps) -> tuple[_Stamps, _Stamps]:
    """Return the stamps that both have, row by row the same."""
    tables = home.scored.table, other.scored.table
    key = next(k for k in KEYS if all(k in table.column_names for table in tables))
    keys = [np.asarray(table[key].to_numpy()) for table in tables]
    _, a, b = np.intersect1d(*keys, assume_unique=True, return_indices=True)
    if not len(a):
        raise EvaluationError(f"{other.name} has no stamp of {home.name}: none of their `{key}` are the same; render and score both again")
    different = np.flatnonzero(home.label[a] != other.label[b])
    if len(different):
        raise EvaluationError(
            f"{home.name} and its variant {other.name} disagree on the label of {len(different)} stamps, first `{key}` {keys[0][a[different[0]]]}; "
            "their stamps were made from different manifests: make both again"
        )
    joined = _joined(*tables, a, b)
    return home.take(a, joined), other.take(b, joined)


def _joined(home: pa.Table, other: pa.Table, a: NDArray, b: NDArray) -> pa.Table:
    """Return what twins are of: home's galaxy, host or source, or the variant's where home's source has none."""
    both = [name for name in home.column_names if name in other.column_names and home[name].type == other[name].type]
    sides = [(table.select(both).take(pa.array(rows))) for table, rows in ((home, a), (other, b))]
    return pa.table({name: pc.coalesce(sides[0][name], sides[1][name]) for name in both})


def _cuts(tables: Mapping[str, Mapping], home: str, evaluation: Evaluation) -> dict[str, Cuts | None]:
    out: dict[str, Cuts | None] = {}
    for network, own in tables.items():
        seeds = load_seeds(own, home, "validation")
        out[network] = Cuts.fixed_on(seeds[COMMITTEE], evaluation.fprs) if seeds else None
    return out


@dataclass(frozen=True, eq=False)
class _Measured:
    """Rates of one network, or of one over another, on some stamps: estimates, those of every resample by its unit, and the number of units."""

    values: dict[Key, float]
    draws: dict[Key, dict[str, NDArray]]
    units: Mapping[str, int]

    def over(self, baseline: _Measured) -> _Measured:
        keys = [k for k in self.values if k[0] in ("auc", "tpr_at_fpr")]
        return _Measured(
            {(f"delta_{m}", at): self.values[m, at] - baseline.values[m, at] for m, at in keys},
            {(f"delta_{m}", at): _less(self.draws[m, at], baseline.draws[m, at]) for m, at in keys},
            self.units,
        )

    def interval(self, draws: Mapping[str, NDArray], value: float, limits: tuple[float, float], confidence: float) -> dict:
        """Return one interval for a value whose draws by unit are given."""
        return joined({unit: percentiles(d, confidence, self.units[unit]) for unit, d in draws.items()}, value, limits)[0]


def _less(a: Mapping[str, NDArray], b: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Return the differences of resamples, of every unit that both have."""
    return {unit: a[unit] - b[unit] for unit in a if unit in b}


#: Rates by baseline ("" for none) and network.
_Found = dict[tuple[str, str], _Measured]


@dataclass(frozen=True)
class _Judge:
    evaluation: Evaluation
    cuts: Mapping[str, Cuts | None]
    gains: tuple[tuple[str, str], ...]

    def alone(self, stamps: _Stamps, key: str) -> Iterator[Row]:
        yield from self._rows(stamps, self._measure(stamps, [stamps], key)[0], None, "")

    def paired(self, home: _Stamps, other: _Stamps, key: str) -> Iterator[Row]:
        found = self._measure(home, [home, other], key)
        yield from self._rows(other, found[1], found[0], f", {PAIRED}")

    def apart(self, home: _Stamps, other: _Stamps, key: str) -> Iterator[Row]:
        found = [self._measure(stamps, [stamps], f"{key} {stamps.name}")[0] for stamps in (home, other)]
        yield from self._rows(other, found[1], found[0], f", {APART}", home.counts)

    def _measure(self, drawn: _Stamps, sides: Sequence[_Stamps], key: str) -> list[_Found]:
        """Return the rates of all networks on each side; the resamples draw the same rows of all."""
        rows, settings = np.arange(len(drawn.label)), self.evaluation
        prepared = {
            (k, n): Resampled(s, side.label, rows, settings.fprs, (), self._values_of_cuts(n))
            for k, side in enumerate(sides)
            for n, s in side.scores.items()
        }
        weights, _ = units_of(drawn.scored, everything(drawn.scored), settings, key, "robustness")
        draws = {unit: resample_together(prepared, chunks) for unit, chunks in weights.items()}
        found = []
        for k, side in enumerate(sides):
            measured: _Found = {
                ("", n): self._network(n, side, {unit: of_unit[k, n] for unit, of_unit in draws.items()}) for n in side.scores
            }
            measured |= {(a, b): measured["", b].over(measured["", a]) for a, b in self.gains}
            found.append(measured)
        return found

    def _values_of_cuts(self, network: str) -> NDArray:
        cuts = self.cuts[network]
        return NO_DRAWS if cuts is None else cuts.values

    def _network(self, network: str, stamps: _Stamps, draws: Mapping[str, Draws]) -> _Measured:
        ranked, fprs = rank(stamps.scores[network], stamps.label), self.evaluation.fprs
        values: dict[Key, float] = {("auc", None): auc(ranked)}
        found: dict[Key, dict[str, NDArray]] = {("auc", None): {unit: d.auc for unit, d in draws.items()}}
        columns = {"tpr_at_fpr": (tpr_at_fpr(ranked, fprs), "tpr")}
        if self.cuts[network] is not None:
            cuts = self._values_of_cuts(network)
            columns["tpr_at_validation_fpr"] = share_above(ranked.positives, cuts), "passed_positives"
            columns["realised_fpr"] = share_above(ranked.negatives, cuts), "passed_negatives"
        for metric, (estimates, name) in columns.items():
            for i, f in enumerate(fprs):
                values[metric, f] = float(estimates[i])
                found[metric, f] = {unit: getattr(d, name)[:, i] for unit, d in draws.items()}
        return _Measured(values, found, {unit: d.units for unit, d in draws.items()})

    def _rows(
        self, stamps: _Stamps, found: _Found, home: _Found | None, paired: str, home_counts: tuple[int, int] | None = None
    ) -> Iterator[Row]:
        least = [min(n) for n in zip(stamps.counts, home_counts or stamps.counts, strict=True)]
        _, few = enough_clusters(stamps.scored, everything(stamps.scored), self.evaluation)
        for (baseline, network), measured in found.items():
            for (metric, at), value in measured.values.items():
                place = {"baseline": baseline, "detector": network, "metric": metric, "at": at}
                counts = dict(zip(("n_positives", "n_negatives"), stamps.counts, strict=True))
                needed, why = self._unresolved(metric, at, least, network)
                if why:
                    yield {**place, **counts, "resolved": False, "negatives_needed": needed, "interval": "", "unit": "", "note": why}
                    continue
                low, high, unit = self._interval(measured, (metric, at), stamps.counts)
                how = (BOTH_CLASSES if unit == STAMP else over(unit)) + paired
                line = {
                    **place,
                    **counts,
                    "value": value,
                    "low": low,
                    "high": high,
                    "resolved": True,
                    "interval": how,
                    "unit": unit,
                    "note": few,
                }
                if home is not None:
                    line |= self._difference(measured, home[baseline, network], (metric, at), few)
                yield line

    def _difference(self, measured: _Measured, home: _Measured, key: Key, note: str) -> Row:
        draws = _less(measured.draws[key], home.draws[key])
        value = measured.values[key] - home.values[key]
        ends = measured.interval(draws, value, DIFFERENCES, self.evaluation.confidence)
        if ends["low"] == ends["high"]:
            note = "; ".join(n for n in (note, "every resample gave the same difference: its interval says nothing") if n)
        return {
            "home_value": home.values[key],
            "difference": value,
            "difference_low": ends["low"],
            "difference_high": ends["high"],
            "note": note,
        }

    def _interval(self, measured: _Measured, key: Key, counts: tuple[int, int]) -> tuple[float, float, str]:
        (metric, _), value = key, measured.values[key]
        limits = DIFFERENCES if metric.startswith("delta_") else RATES
        ends = measured.interval(measured.draws[key], value, limits, self.evaluation.confidence)
        low, high = np.array([ends["low"]]), np.array([ends["high"]])
        if not metric.startswith("delta_") and metric != "auc":
            n = counts[1] if metric == "realised_fpr" else counts[0]
            low, high = edge_widened((low, high), np.rint([value * n]), n, self.evaluation.confidence)
        return float(low[0]), float(high[0]), ends["unit"]

    def _unresolved(self, metric: str, at: float | None, counts: Sequence[int], network: str) -> tuple[int | None, str]:
        """Return how many controls a rate would need, and why it is not resolved; nothing where it is."""
        if min(counts) < MIN_PER_CLASS:
            return None, f"fewer than {MIN_PER_CLASS} stamps of a class"
        if metric.endswith("auc"):
            return None, ""
        cuts = self.cuts[network]
        if metric in ("tpr_at_validation_fpr", "realised_fpr") and not resolves(cuts.n_negatives, at, self.evaluation):
            return needed_negatives(
                at, self.evaluation
            ), f"no threshold: {expected_note(cuts.n_negatives, at, 'validation controls', self.evaluation)}"
        if metric != "tpr_at_validation_fpr" and not resolves(counts[1], at, self.evaluation):
            return needed_negatives(at, self.evaluation), expected_note(counts[1], at, "controls", self.evaluation)
        return None, ""
