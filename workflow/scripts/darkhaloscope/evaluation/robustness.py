"""Networks × test datasets: what each network loses where the test stamps differ from those that it was made for.

A variant holds the same stamps under another PSF, noise or source: every resample draws the same stamps of both, so that
the difference is paired. Other test datasets share no stamps, and each side is resampled alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..config.experiment import Evaluation
from ..random import stable_hash, stream
from .evaluate import frame
from .intervals import edge_widened, percentiles
from .judging import GALAXIES, MIN_PER_CLASS, Cuts, Row, clusters_note, expected_note, needed_negatives, resolves
from .rates import EvaluationError, auc, rank, share_above, tpr_at_fpr
from .resampling import Draws, Resampled, galaxy_weights, row_weights
from .scored import COMMITTEE, GALAXY_COLUMNS, Scored, encode, load_seeds, match, need_both_classes

#: `variant` is empty for test datasets that are none; a row with a `baseline` is what the network has over it.
ROBUSTNESS = (
    "test_dataset", "variant", "baseline", "network", "metric", "at", "value", "low", "high", "resolved",
    "home_value", "difference", "difference_low", "difference_high", "n_positives", "n_negatives", "negatives_needed", "interval", "note",
)  # fmt: skip
#: Columns of a score table that are used: the first of `KEYS` that there is names a stamp and its twin in a variant.
KEYS = ("task_id", "number")
COLUMNS = ("dataset", "network", "seed", "stamp_id", "split", "label", "score", *KEYS, *GALAXY_COLUMNS)
PAIRED, APART = "paired", "each side resampled alone"
NO_DRAWS = np.empty(0)

#: Metric and the rate that it is at.
Key = tuple[str, float | None]


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
    """Test stamps of one dataset, with the scores of every network."""

    name: str
    label: NDArray[np.bool_]
    scores: dict[str, NDArray[np.float64]]
    galaxy: NDArray[np.int32]
    table: pa.Table

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
        return cls(dataset, first.label, scores, first.galaxy, first.table)

    def take(self, rows: NDArray, galaxy: NDArray[np.int32]) -> _Stamps:
        return _Stamps(self.name, self.label[rows], {n: s[rows] for n, s in self.scores.items()}, galaxy, self.table)

    @property
    def counts(self) -> tuple[int, int]:
        positives = int(self.label.sum())
        return positives, len(self.label) - positives

    @property
    def n_galaxies(self) -> int:
        """Galaxies behind the class that has fewer of them; 0 where no source is a galaxy."""
        found = [len(np.unique(g[g >= 0])) for g in (self.galaxy[self.label], self.galaxy[~self.label])]
        return min((n for n in found if n), default=0)


def _twins(home: _Stamps, other: _Stamps) -> tuple[_Stamps, _Stamps]:
    """Return the stamps that both have, row by row the same."""
    key = next(k for k in KEYS if k in home.table.column_names and k in other.table.column_names)
    keys = [np.asarray(stamps.table[key].to_numpy()) for stamps in (home, other)]
    _, a, b = np.intersect1d(*keys, assume_unique=True, return_indices=True)
    if not len(a):
        raise EvaluationError(f"{other.name} has no stamp of {home.name}: none of their `{key}` are the same; render and score both again")
    different = np.flatnonzero(home.label[a] != other.label[b])
    if len(different):
        raise EvaluationError(
            f"{home.name} and its variant {other.name} disagree on the label of {len(different)} stamps, first `{key}` {keys[0][a[different[0]]]}; "
            "their stamps were made from different manifests: make both again"
        )
    galaxy = _galaxies(home.table, other.table, a, b)
    return home.take(a, galaxy), other.take(b, galaxy)


def _galaxies(home: pa.Table, other: pa.Table, a: NDArray, b: NDArray) -> NDArray[np.int32]:
    """Return the galaxy of each pair of twins: home's, or the variant's where home's source is none."""
    for name in GALAXY_COLUMNS:
        if name in home.column_names and name in other.column_names:
            joined = pc.coalesce(home[name].combine_chunks().take(pa.array(a)), other[name].combine_chunks().take(pa.array(b)))
            if joined.null_count < len(joined):
                return encode(pa.chunked_array([joined]))[0]
    return np.full(len(a), -1, np.int32)


def _cuts(tables: Mapping[str, Mapping], home: str, evaluation: Evaluation) -> dict[str, Cuts | None]:
    out: dict[str, Cuts | None] = {}
    for network, own in tables.items():
        seeds = load_seeds(own, home, "validation")
        out[network] = Cuts.fixed_on(seeds[COMMITTEE], evaluation.fprs) if seeds else None
    return out


@dataclass(frozen=True, eq=False)
class _Measured:
    """Rates of one network, or of one over another, on some stamps: estimates, and those of every resample."""

    values: dict[Key, float]
    draws: dict[Key, NDArray]

    def over(self, baseline: _Measured) -> _Measured:
        keys = [k for k in self.values if k[0] in ("auc", "tpr_at_fpr")]
        return _Measured(
            {(f"delta_{m}", at): self.values[m, at] - baseline.values[m, at] for m, at in keys},
            {(f"delta_{m}", at): self.draws[m, at] - baseline.draws[m, at] for m, at in keys},
        )


#: Rates by baseline ("" for none) and network.
_Found = dict[tuple[str, str], _Measured]


@dataclass(frozen=True)
class _Judge:
    evaluation: Evaluation
    cuts: Mapping[str, Cuts | None]
    gains: tuple[tuple[str, str], ...]

    def alone(self, stamps: _Stamps, key: str) -> Iterator[Row]:
        how, note = self._how(stamps)
        yield from self._rows(stamps, self._measure(stamps, [stamps], key)[0], None, how, note)

    def paired(self, home: _Stamps, other: _Stamps, key: str) -> Iterator[Row]:
        found = self._measure(home, [home, other], key)
        how, note = self._how(home)
        yield from self._rows(other, found[1], found[0], f"{how}, {PAIRED}", note)

    def apart(self, home: _Stamps, other: _Stamps, key: str) -> Iterator[Row]:
        found = [self._measure(stamps, [stamps], f"{key} {stamps.name}")[0] for stamps in (home, other)]
        how, note = self._how(other)
        yield from self._rows(other, found[1], found[0], f"{how}, {APART}", note, home.counts)

    def _how(self, stamps: _Stamps) -> tuple[str, str]:
        whole = stamps.n_galaxies >= self.evaluation.min_clusters
        return (GALAXIES, "") if whole else ("bootstrap of both classes", clusters_note(stamps.n_galaxies, self.evaluation))

    def _measure(self, drawn: _Stamps, sides: Sequence[_Stamps], key: str) -> list[_Found]:
        """Return the rates of all networks on each side; the resamples draw the same rows of all."""
        rows, settings = np.arange(len(drawn.label)), self.evaluation
        prepared = [
            {n: Resampled(s, side.label, rows, settings.fprs, (), self._values_of_cuts(n)) for n, s in side.scores.items()}
            for side in sides
        ]
        rng = stream(0, stable_hash(key), "robustness")
        if drawn.n_galaxies >= settings.min_clusters:
            weights = galaxy_weights(drawn.label, drawn.galaxy, rng, settings.bootstrap)
        else:
            weights = row_weights(drawn.label, rng, settings.bootstrap)
        parts: list[dict[str, list[Draws]]] = [{n: [] for n in side} for side in prepared]
        for chunk in weights:
            for part, side in zip(parts, prepared, strict=True):
                for network, resampled in side.items():
                    part[network].append(resampled.rates(chunk))
        found = []
        for side, part in zip(sides, parts, strict=True):
            measured: _Found = {("", n): self._network(n, side, Draws.join(draws)) for n, draws in part.items()}
            measured |= {(a, b): measured["", b].over(measured["", a]) for a, b in self.gains}
            found.append(measured)
        return found

    def _values_of_cuts(self, network: str) -> NDArray:
        cuts = self.cuts[network]
        return NO_DRAWS if cuts is None else cuts.values

    def _network(self, network: str, stamps: _Stamps, draws: Draws) -> _Measured:
        ranked, fprs = rank(stamps.scores[network], stamps.label), self.evaluation.fprs
        values: dict[Key, float] = {("auc", None): auc(ranked)}
        found: dict[Key, NDArray] = {("auc", None): draws.auc}
        columns = {"tpr_at_fpr": (tpr_at_fpr(ranked, fprs), draws.tpr)}
        if self.cuts[network] is not None:
            cuts = self._values_of_cuts(network)
            columns["tpr_at_validation_fpr"] = share_above(ranked.positives, cuts), draws.passed_positives
            columns["realised_fpr"] = share_above(ranked.negatives, cuts), draws.passed_negatives
        for metric, (estimates, of_draws) in columns.items():
            for i, f in enumerate(fprs):
                values[metric, f], found[metric, f] = float(estimates[i]), of_draws[:, i]
        return _Measured(values, found)

    def _rows(
        self, stamps: _Stamps, found: _Found, home: _Found | None, how: str, note: str, home_counts: tuple[int, int] | None = None
    ) -> Iterator[Row]:
        least = [min(n) for n in zip(stamps.counts, home_counts or stamps.counts, strict=True)]
        for (baseline, network), measured in found.items():
            for (metric, at), value in measured.values.items():
                place = {"baseline": baseline, "network": network, "metric": metric, "at": at}
                counts = dict(zip(("n_positives", "n_negatives"), stamps.counts, strict=True))
                needed, why = self._unresolved(metric, at, least, network)
                if why:
                    yield {**place, **counts, "resolved": False, "negatives_needed": needed, "interval": "", "note": why}
                    continue
                low, high = self._interval(metric, value, measured.draws[metric, at], stamps.counts)
                line = {**place, **counts, "value": value, "low": low, "high": high, "resolved": True, "interval": how, "note": note}
                if home is not None:
                    line |= self._difference(measured, home[baseline, network], (metric, at), note)
                yield line

    def _difference(self, measured: _Measured, home: _Measured, key: Key, note: str) -> Row:
        low, high = percentiles(measured.draws[key] - home.draws[key], self.evaluation.confidence)
        if low == high:
            note = "; ".join(n for n in (note, "every resample gave the same difference: its interval says nothing") if n)
        return {
            "home_value": home.values[key],
            "difference": measured.values[key] - home.values[key],
            "difference_low": float(low),
            "difference_high": float(high),
            "note": note,
        }

    def _interval(self, metric: str, value: float, draws: NDArray, counts: tuple[int, int]) -> tuple[float, float]:
        low, high = (np.atleast_1d(v) for v in percentiles(draws, self.evaluation.confidence))
        if not metric.startswith("delta_") and metric != "auc":
            n = counts[1] if metric == "realised_fpr" else counts[0]
            low, high = edge_widened((low, high), np.rint([value * n]), n, self.evaluation.confidence)
        return float(low[0]), float(high[0])

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
