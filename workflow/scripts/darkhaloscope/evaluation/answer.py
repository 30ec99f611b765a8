"""What an experiment's tables say: its main detector, the answer in numbers, the criterion, and the gates of its rates.

Everything is decided here, of tables that are finished; a report only says it in words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ..config.experiment import CRITERION_FPR, CRITERION_TPR, Experiment
from .information import SATURATED, d_prime, ideal_auc
from .observers import marginal_observer
from .tidy import ALL, is_number, number, overall, pick, quoted, rate_text

#: Both channels together may fall short of the better one alone by no more than this AUC.
LARGEST_LOSS = 0.01
#: Half-width of the band around 0.5 that an AUC must be shown to lie in before chance is believed.
CHANCE_BAND = 0.03
#: Tables of each detector that are judged.
TABLES = ("rates", "strata", "information", "resolved")
_RATE = ("value", "low", "high", "resolved", "n_positives", "n_negatives", "negatives_needed", "interval", "unit", "note")

Frames = Mapping[str, Mapping[str, pd.DataFrame]]


def judge_experiment(
    experiment: Experiment,
    dataset: Any,
    detectors: Mapping[str, Any],
    frames: Frames,
    comparison: pd.DataFrame,
    observers: pd.DataFrame,
) -> dict[str, Any]:
    """Decide what the tables of an experiment say on its first test dataset, at the seed that is quoted.

    Parameters
    ----------
    experiment : Experiment
    dataset : its training dataset's section of the config
    detectors : of each of its detectors what it sees: `channels`, `label_blind`, `shuffle_velocity`
    frames : `rates`, `strata`, `information` and `resolved` of each detector, as `evaluate_network` gives them
    comparison : as `compare_networks` gives it; empty where the experiment compares nothing
    observers : the marginal observer's d′ of some test stamps with their strata (`with_strata`); empty where it was not asked for

    Returns
    -------
    dict
        JSON-ready. `main_detector`; `test_dataset`; `saturated_d_prime`, above which an AUC says no more; `detectors`: of each its AUC, `outcome` against chance, the ideal observer's AUC and
        d′, the share of its d′ that is used, and the share of the marginal observer's; `comparisons`: of each the difference in AUC,
        its `outcome`, and the difference in TPR at the smallest FPR that is resolved; `strata`: the first comparison by stratum, beside
        the marginal observer; `criterion`: of each detector that can be held to it; `gates`: in the form of a dataset's checks.
    """
    tables = _Tables(experiment, frames, comparison)
    return {
        "test_dataset": tables.test,
        "main_detector": experiment.main_detector,
        "saturated_d_prime": SATURATED,
        "detectors": {name: _judge_detector(tables, name, detectors[name], observers) for name in experiment.detectors},
        "comparisons": [_judge_comparison(tables, *pair) for pair in experiment.comparisons],
        "strata": list(_by_stratum(tables, observers)),
        "criterion": {
            name: judge_criterion(frames[name]["resolved"], tables.test, experiment.evaluation.confidence) for name in experiment.detectors
        },
        "gates": list(_gates(tables, dataset, detectors)),
    }


def judge_criterion(resolved: pd.DataFrame, test: str, confidence: float) -> dict[str, Any] | None:
    """Return where a detector stands by the project's criterion: met, not met or undecided; None where no stamp says θ_E/PSF.

    `controls_needed` is the smallest number of controls that could show it met, none of them passing.
    """
    rows = resolved[resolved["test_dataset"] == test] if len(resolved) else resolved
    row = pick(quoted(rows), "criterion", CRITERION_TPR)
    if row is None:
        return None
    outcome = "not met" if row["low"] > CRITERION_FPR else "met" if row["high"] <= CRITERION_FPR else "undecided"
    # No control among n passes: the upper limit 1 − ((1 − confidence) / 2)^(1/n) must fall below the criterion.
    needed = math.ceil(math.log((1 - confidence) / 2) / math.log1p(-CRITERION_FPR))
    return {"outcome": outcome, "rate": _rate(row), "controls_needed": needed}


class _Tables:
    """The tables of an experiment on its first test dataset, at the seed that is quoted."""

    def __init__(self, experiment: Experiment, frames: Frames, comparison: pd.DataFrame) -> None:
        self.experiment, self.test = experiment, experiment.test_datasets[0]
        self._frames, self._comparison = frames, comparison

    def of(self, detector: str, name: str = "rates") -> pd.DataFrame:
        """Return one table of a detector."""
        table = self._frames[detector][name]
        return quoted(table[table["test_dataset"] == self.test]) if len(table) else table

    def auc(self, detector: str) -> pd.Series | None:
        """Return a detector's AUC over all stamps."""
        return pick(overall(self.of(detector)), "auc")

    def information(self, detector: str, metric: str) -> pd.Series | None:
        """Return a rate beside the ideal observer, over all stamps."""
        table = self.of(detector, "information")
        return pick(table[table["stratum"] == ALL] if len(table) else table, metric)

    def compared(self, baseline: str, detector: str) -> pd.DataFrame:
        """Return the paired comparison of two detectors."""
        table = self._comparison
        if not len(table):
            return table
        return quoted(table[(table["baseline"] == baseline) & (table["detector"] == detector) & (table["test_dataset"] == self.test)])


# --- detectors and comparisons -----------------------------------------------------------------


def _judge_detector(tables: _Tables, name: str, settings: Any, observers: pd.DataFrame) -> dict[str, Any]:
    auc, share = tables.auc(name), tables.information(name, "share")
    sees = settings.channels != "mask" and not settings.shuffle_velocity
    found = {"auc": _rate(auc), "outcome": _against_chance(auc), "share": _rate(share) if sees else None}
    found |= {key: _value(tables.information(name, key)) if sees else None for key in ("ideal_auc", "ideal_d_prime")}
    column = f"marginal_d_prime_{settings.channels}"
    if sees and column in observers and observers[column].notna().any() and found["outcome"] != "unresolved":
        d = observers[column].dropna().to_numpy()
        best = ideal_auc(d, d)[1]  # a control has the d′ of its phantom: both classes are drawn alike
        found["marginal_d_prime"] = best
        found["share_of_marginal"] = _plain(float(d_prime(auc["value"])) / best) if best > 0 else None
    return found


def _against_chance(row: pd.Series | None) -> str:
    if row is None or not row["resolved"]:
        return "unresolved"
    return "above chance" if row["low"] > 0.5 else "below chance" if row["high"] < 0.5 else "not told from chance"


def _judge_comparison(tables: _Tables, baseline: str, detector: str) -> dict[str, Any]:
    rows = tables.compared(baseline, detector)
    row, fpr = pick(overall(rows), "delta_auc"), _resolved_fpr(rows)
    return {
        "baseline": baseline,
        "detector": detector,
        "outcome": _of_difference(row),
        "delta_auc": _rate(row),
        "fpr": fpr,
        "delta_tpr": _rate(pick(overall(rows), "delta_tpr_at_fpr", fpr)) if fpr is not None else None,
    }


def _of_difference(row: pd.Series | None) -> str:
    if row is None or not row["resolved"] or not is_number(row["low"]):
        return "not compared"
    if row["low"] == row["high"]:
        return "the same in every resample"
    return "better" if row["low"] > 0 else "worse" if row["high"] < 0 else "no difference detected"


def first_column(rows: pd.DataFrame) -> str | None:
    """Return the column by which a comparison is shown first: the mass bin where there is one."""
    columns = [c for c in dict.fromkeys(rows["column"]) if c != ALL] if len(rows) else []
    return "mass_bin" if "mass_bin" in columns else columns[0] if columns else None


def _resolved_fpr(rows: pd.DataFrame) -> float | None:
    """Return the smallest FPR resolved in every stratum that is shown first, else the smallest resolved over all stamps."""
    changes = rows[rows["metric"] == "delta_tpr_at_fpr"] if len(rows) else rows
    if not len(changes):
        return None
    everywhere = changes[changes["column"].isin([ALL, first_column(rows)])].groupby("at")["resolved"].all()
    if everywhere.any():
        return float(everywhere[everywhere].index.min())
    resolved = overall(changes)[overall(changes)["resolved"]]
    return float(resolved["at"].min()) if len(resolved) else None


def _by_stratum(tables: _Tables, observers: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the first comparison over all stamps and by stratum, beside the marginal observer."""
    if not tables.experiment.comparisons:
        return
    baseline, detector = tables.experiment.comparisons[0]
    rows = tables.compared(baseline, detector)
    column, fpr = first_column(rows), _resolved_fpr(rows)
    strata = [] if column is None else list(dict.fromkeys(rows[rows["column"] == column]["stratum"]))
    for place in ((ALL, ALL), *((column, stratum) for stratum in strata)):
        own = rows[(rows["column"] == place[0]) & (rows["stratum"] == place[1])] if len(rows) else rows
        if place[0] == ALL:
            seen, aucs = observers, {name: tables.auc(name) for name in (baseline, detector)}
        else:
            seen = observers[observers[column].astype(str) == place[1]] if column in observers else observers[:0]
            aucs = {name: pick(tables.of(name, "strata"), "auc", column=column, stratum=place[1]) for name in (baseline, detector)}
        yield {
            "column": place[0],
            "stratum": place[1],
            "auc": {name: _rate(row) for name, row in aucs.items()},
            "delta_auc": _rate(pick(own, "delta_auc")),
            "delta_tpr": _rate(pick(own, "delta_tpr_at_fpr", fpr)) if fpr is not None else None,
            "marginal": marginal_observer(seen),
        }


# --- gates -------------------------------------------------------------------------------------


def _gates(tables: _Tables, dataset: Any, detectors: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the gates of the rates of flux and velocity; those of bands are the shortcut gates."""
    if dataset.kind != "subhalo":
        return
    # A mask cut from the observed flux tells velocity networks of the flux, and without noise d′ is no ceiling.
    blind = dataset.contrast != "lensed" and dataset.instrument.mask == "smooth"
    for name in tables.experiment.detectors:
        settings, row = detectors[name], tables.auc(name)
        if row is None or not row["resolved"]:
            continue
        if settings.channels == "flux" and dataset.contrast == "kinematics":
            yield _chance_gate(f"The flux (“{name}”), equal in both classes, knows nothing", row)
        if settings.channels == "mask" and blind and settings.label_blind:
            yield _chance_gate(f"The mask alone (“{name}”) knows nothing", row)
    if blind and dataset.instrument.noise.flux and dataset.instrument.noise.velocity:
        yield from _ideal_gate(tables, detectors)
    for baseline, detector in tables.experiment.comparisons:
        first, second = detectors[baseline], detectors[detector]
        row = pick(overall(tables.compared(baseline, detector)), "delta_auc")
        if row is None or not row["resolved"] or not is_number(row["low"]):
            continue
        found = f"ΔAUC {rate_text(row, sign=True)}"
        if second.channels == "both" and not second.shuffle_velocity and first.channels in ("flux", "velocity"):
            # Its maps are of the smooth lens without noise: beside the flux they would give the subhalo away.
            ahead = first.channels == "velocity" and first.label_blind and blind
            yield _gate(
                f"“{detector}” loses nothing against “{baseline}”",
                True if row["low"] > -LARGEST_LOSS else (False if row["high"] < -LARGEST_LOSS else None),
                f"{found}; “{baseline}” has label-blind maps, “{detector}” may not" if ahead else found,
                f"lower bound of ΔAUC above −{LARGEST_LOSS:g}",
            )
        if second.shuffle_velocity:
            yield _gate(
                f"Another stamp's velocity (“{detector}”) does not help “{baseline}”",
                False if row["low"] > 0 else (True if row["high"] < LARGEST_LOSS else None),
                found,
                f"fails above 0, passes with an upper bound below {LARGEST_LOSS:g}",
            )


def _gate(name: str, passed: bool | None, found: str, asked: str) -> dict[str, Any]:
    return {"name": name, "passed": None if passed is None else bool(passed), "found": found, "asked": asked}


def _chance_gate(name: str, row: pd.Series) -> dict[str, Any]:
    """Judge an AUC that should be 0.5.

    A 95% interval misses 0.5 for one faultless network in twenty, so failing takes an interval that stays
    clear of it by half its own half-width; passing takes one narrow enough to have seen a leak.
    """
    half = (row["high"] - row["low"]) / 2
    clear = row["low"] - 0.5 > half / 2 or 0.5 - row["high"] > half / 2
    narrow = abs(row["low"] - 0.5) < CHANCE_BAND and abs(row["high"] - 0.5) < CHANCE_BAND
    outcome = False if clear else (True if narrow and row["low"] <= 0.5 <= row["high"] else None)
    return _gate(name, outcome, f"AUC {rate_text(row)}", f"passes with an interval that holds 0.5 and lies within ±{CHANCE_BAND:g} of it")


def _ideal_gate(tables: _Tables, detectors: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A detector above the ideal observer has found something else than the subhalo."""
    above, n = [], 0
    for name in tables.experiment.detectors:
        if detectors[name].channels in ("velocity", "mask") and not detectors[name].label_blind:
            continue  # its mask tells of the flux, which the observer of velocity alone does not see
        row, ideal = tables.information(name, "auc"), _value(tables.information(name, "ideal_auc"))
        if row is None or ideal is None or not row["resolved"]:
            continue
        n += 1
        if row["low"] > ideal:
            above.append(f"{name}: AUC {rate_text(row)} above {number(ideal)}")
    if n:
        found = "; ".join(above) or f"{n} detector{'' if n == 1 else 's'} at or below it"
        yield _gate("No detector passes the ideal observer", not above, found, "AUC interval reaches down to it")


# --- JSON --------------------------------------------------------------------------------------


def _rate(row: pd.Series | None) -> dict[str, Any] | None:
    """Return a tidy row as JSON-ready values, None for what is missing."""
    return None if row is None else {name: _plain(row[name]) for name in _RATE}


def _value(row: pd.Series | None) -> float | None:
    return None if row is None else _plain(row["value"])


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, str | bool) or is_number(value) else None
