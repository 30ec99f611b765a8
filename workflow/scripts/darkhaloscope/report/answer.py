"""The first screen in words: the answer with its interval, the gates, and what cannot be said; decided by the evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..evaluation.observers import marginal_observer
from ..evaluation.tidy import ALL, COMMITTEE, count, is_number, main_seed, number, overall, power, quoted, rate_text
from .context import Gate, ReportContext
from .frames import column_name

_CHANNELS = {"flux": "flux", "velocity": "velocity", "both": "flux and velocity", "mask": "the mask"}
_SHORT = {"better": "better than", "worse": "worse than"}
_AGAINST_CHANCE = {
    "above chance": "“{}” tells positives from controls: AUC = {}",
    "below chance": "“{}” ranks controls above positives: AUC = {}",
    "not told from chance": "“{}” is not told from chance: AUC = {}",
    "unresolved": "the AUC of “{}” is {}",
}


@dataclass(frozen=True)
class Table:
    """A small table of texts."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Answer:
    """What the experiment found: one sentence, more sentences, and a table by stratum."""

    headline: str
    more: tuple[str, ...]
    table: Table


def answer(context: ReportContext) -> Answer:
    """Return the answer to an experiment's question on its first test dataset, in words that its interval bears."""
    comparisons = context.decided["comparisons"]
    return _of_comparison(context, *comparisons) if comparisons and len(context.comparison) else _of_rates(context)


def gates(context: ReportContext) -> list[Gate]:
    """Return every gate, failed ones first, then undecided ones: those of the context, of the stamps (one line where all pass), and of the rates."""
    return failed_first([*context.gates, *stamp_gates(context.quality), *quality_gates(context.decided)])


def unsaid(context: ReportContext) -> list[str]:
    """Return what the experiment's numbers do not allow to be said, most serious first."""
    return [*context.notes, *_limits(context)]


def rates_of(context: ReportContext, network: str, test: str | None = None, name: str = "rates") -> pd.DataFrame:
    """Return one table of a network on a test dataset (the first by default), at the seed that is quoted."""
    frame = context.frames[network][name]
    test = test or context.experiment.test_datasets[0]
    return quoted(frame[(frame["test_dataset"] == test) & shown(context, frame)]) if len(frame) else frame


def compared(context: ReportContext, baseline: str, network: str, test: str | None = None) -> pd.DataFrame:
    """Return the paired comparison of two networks on a test dataset, at the seed that is quoted."""
    frame = context.comparison
    if not len(frame):
        return frame
    test = test or context.experiment.test_datasets[0]
    of_pair = (frame["baseline"] == baseline) & (frame["detector"] == network)
    return quoted(frame[of_pair & (frame["test_dataset"] == test) & shown(context, frame)])


def shown(context: ReportContext, frame: pd.DataFrame) -> pd.Series:
    """Return which rows of an evaluation table the page shows: all but strata that only repeat others."""
    if "column" not in frame or not context.one_psf:
        return pd.Series(True, index=frame.index)
    return frame["column"] != "theta_over_psf"


def verdict(found: Mapping[str, Any]) -> str:
    """Return what a judged comparison says: better, worse, or no difference detected."""
    baseline, detector, row = found["baseline"], found["detector"], found["delta_auc"]
    said = f"ΔAUC = {rate_text(row, sign=True)}"
    if found["outcome"] == "not compared":
        return f"“{detector}” and “{baseline}” could not be compared: ΔAUC is {rate_text(row, sign=True)}."
    if found["outcome"] == "the same in every resample":
        return f"“{detector}” against “{baseline}”: {said}, the same in every resample, so that the interval says nothing."
    stamps = f"On the same {count(row['n_positives'] + row['n_negatives'])} test stamps"
    if found["outcome"] in ("better", "worse"):
        return f"{stamps}, “{detector}” separates the classes {found['outcome']} than “{baseline}”: {said}."
    excluded = f"The interval excludes a gain above {number(row['high'])} and a loss above {number(-row['low'])}."
    return f"{stamps}, no difference between “{detector}” and “{baseline}” is detected: {said}. {excluded}"


def quality_gates(quality: Mapping[str, Any]) -> list[Gate]:
    """Return the gates of a report of checks, as stamp checks and evaluation write them; `passed` is None where a gate is undecided."""
    return [Gate(item["name"], item["passed"], item["found"], item["asked"], item.get("group", "")) for item in quality.get("gates", ())]


def stamp_gates(quality: Mapping[str, Any]) -> list[Gate]:
    """Return the gates of a dataset's quality report, as one where all pass."""
    stamps = quality_gates(quality)
    if stamps and all(g.passed for g in stamps):
        names = ", ".join(g.name for g in stamps)
        return [Gate(f"The stamps pass all {len(stamps)} checks" if len(stamps) > 1 else "The stamps pass their check", True, names, "")]
    return stamps


def failed_first(gates: Sequence[Gate]) -> list[Gate]:
    """Return gates in the order failed, undecided, passed."""
    return sorted(gates, key=lambda gate: (False, None, True).index(gate.passed))


def unresolved_words(rates: pd.DataFrame) -> Iterator[str]:
    """Say which FPRs the rates of all stamps do not resolve, and how many negatives each takes."""
    lost = rates[(rates["metric"] == "tpr_at_fpr") & ~rates["resolved"]].sort_values("at", ascending=False) if len(rates) else rates
    if len(lost):
        each = ", ".join(f"{power(f)} needs {count(n)}" for f, n in zip(lost["at"], lost["negatives_needed"], strict=True))
        which = power(lost["at"].iloc[0]) + (" and below" if len(lost) > 1 else "")
        yield f"Rates at FPR {which}: {count(lost['n_negatives'].iloc[0])} negatives do not resolve them ({each})."


def seed_words(context: ReportContext) -> Iterator[str]:
    """Say what the number of training seeds leaves open."""
    seeds = context.experiment.seeds
    if not context.learnt:
        return
    if len(seeds) == 1:
        yield "How much a retrained network would differ: one training seed was used."
    elif main_seed(context.frames[context.experiment.detectors[0]]["rates"]) == COMMITTEE:
        yield f"How one network does by itself: rates quoted are of the mean score of {len(seeds)} seeds; each seed's are in the tables."


def marginal_gain(observers: pd.DataFrame) -> str:
    """Return the medians of the marginal observer's d′ from flux and from both, and how much further both see."""
    return _gain(marginal_observer(observers))


# --- the answer ------------------------------------------------------------------------------


def _of_comparison(context: ReportContext, first: Mapping[str, Any], *others: Mapping[str, Any]) -> Answer:
    found, fpr = context.decided["detectors"], first["fpr"]
    headline = (
        _whether_velocity_helps(context, first) + verdict(first) + _of_marginal(first["detector"], found) + _independent(first["delta_auc"])
    )
    if context.learnt and len(context.experiment.seeds) == 1:
        headline += " One training seed each."
    aucs = " · ".join(f"{name} {rate_text(judged['auc'])}" for name, judged in found.items())
    gain = f" At FPR {power(fpr)}, ΔTPR = {rate_text(first['delta_tpr'], sign=True)}." if fpr is not None else ""
    more = [f"AUC: {aucs}.{gain}"]
    if all(_holds_chance(found[first[key]]["auc"]) for key in ("baseline", "detector")):
        more.append(
            f"Neither “{first['detector']}” nor “{first['baseline']}” is told from chance: the comparison does not say which channel holds more."
        )
    more += [_short(other) for other in others]
    return Answer(headline, (*more, *_ideal_words(context)), _comparison_table(context, first))


def _whether_velocity_helps(context: ReportContext, first: Mapping[str, Any]) -> str:
    """Return what a comparison of flux with flux and velocity says first; nothing of any other."""
    seen = [context.detectors[first[key]].channels for key in ("baseline", "detector")]
    said = {"better": "Velocity helps. ", "worse": "Velocity does harm. ", "no difference detected": "Whether velocity helps is not seen. "}
    return said.get(first["outcome"], "") if seen == ["flux", "both"] else ""


def _of_marginal(name: str, found: Mapping[str, Any]) -> str:
    """Say how near a detector comes to the marginal observer; nothing where it was not asked for."""
    share = found[name].get("share_of_marginal")
    if not is_number(share):
        return ""
    reached = f"{100 * share:.0f}%" if share >= 0.005 else "nothing"
    return f" “{name}” reaches {reached} of the d′ of the marginal observer, who must find out lens and source from the same pixels."


def _of_rates(context: ReportContext) -> Answer:
    found = context.decided["detectors"]
    text = "; ".join(_AGAINST_CHANCE[judged["outcome"]].format(name, rate_text(judged["auc"])) for name, judged in found.items())
    found_at = {}
    for name in found:
        rates = overall(rates_of(context, name))
        found_at[name] = rates[rates["metric"] == "tpr_at_fpr"].set_index("at") if len(rates) else rates
    fprs = sorted(context.experiment.evaluation.fprs, reverse=True)
    # What no network resolves is said once, in words, beside the gates.
    fprs = [f for f in fprs if any(f in rates.index and is_number(rates.loc[f, "value"]) for rates in found_at.values())] or fprs[:1]
    rows = [(name, *(rate_text(rates.loc[f] if f in rates.index else None) for f in fprs)) for name, rates in found_at.items()]
    return Answer(
        text[:1].upper() + text[1:] + "." + _independent(next(iter(found.values()))["auc"]),
        tuple(_ideal_words(context)),
        Table(("Network", *(f"TPR at FPR {power(f)}" for f in fprs)), tuple(rows)),
    )


def _independent(row: Mapping[str, Any] | None) -> str:
    """Say in short that an interval does not know how galaxies differ, where there were too few to resample."""
    found = re.search(r"(\w+ galax\w+), \d+ needed for a bootstrap over galaxies", "" if row is None else str(row["note"]))
    return f" The interval takes stamps of {found[1]} as independent." if found else ""


def _comparison_table(context: ReportContext, first: Mapping[str, Any]) -> Table:
    strata, fpr, names = context.decided["strata"], first["fpr"], (first["baseline"], first["detector"])
    observed = any(stratum["marginal"] for stratum in strata)
    column = next((s["column"] for s in strata if s["column"] != ALL), "")
    heads = ["log₁₀ mass" if column == "mass_bin" else column_name(column), *(f"AUC {name}" for name in names), "ΔAUC"]
    heads += [f"ΔTPR at FPR {power(fpr)}"] if fpr is not None else []
    heads += ["Marginal observer d′, flux → both"] if observed else []
    rows = []
    for stratum in strata:
        line = ["all stamps" if stratum["column"] == ALL else stratum["stratum"], *(_value(stratum["auc"][name]) for name in names)]
        line.append(rate_text(stratum["delta_auc"], sign=True))
        line += [rate_text(stratum["delta_tpr"], sign=True)] if fpr is not None else []
        line += [_gain(stratum["marginal"])] if observed else []
        rows.append(tuple(line))
    return Table(tuple(heads), tuple(rows))


def _value(row: Mapping[str, Any] | None) -> str:
    return "–" if row is None else number(row["value"]) if row["resolved"] else rate_text(row)


def _gain(found: Mapping[str, Any] | None) -> str:
    if not found:
        return "–"
    counted = f"{found['stamps']} stamp{'' if found['stamps'] == 1 else 's'}"
    gain = f" (×{found['gain']:.1f}, {counted})" if is_number(found["gain"]) else f" ({counted})"
    return f"{_two_digits(found['flux'])} → {_two_digits(found['both'])}{gain}"


def _two_digits(value: float) -> str:
    return f"{value:#.2g}".rstrip(".")


def _ideal_words(context: ReportContext) -> Iterator[str]:
    """Say the ideal observer's AUC on the channels of each network that sees something, and the share of its d′ that is used."""
    parts = []
    for name, found in context.decided["detectors"].items():
        share, used = found["share"], ""
        if not is_number(found["ideal_auc"]):
            continue
        if share is not None and share["resolved"] and is_number(share["value"]):
            least = "at least " if str(share["note"]).startswith("lower limit") else ""
            reached = f"{least}{100 * share['value']:.0f}%" if share["value"] >= 0.005 else "nothing"
            used = f" (“{name}” reaches {reached} of its d′)"
        parts.append(f"{number(found['ideal_auc'])} on {_CHANNELS[context.detectors[name].channels]}{used}")
    if parts:
        yield "The ideal observer, who knows lens and source, has AUC " + ", ".join(dict.fromkeys(parts)) + "."


def _short(found: Mapping[str, Any]) -> str:
    text = rate_text(found["delta_auc"], sign=True)
    if found["outcome"] == "not compared":
        return f"“{found['detector']}” against “{found['baseline']}”: ΔAUC {text}."
    return f"“{found['detector']}” is {_SHORT.get(found['outcome'], 'not told from')} “{found['baseline']}”: ΔAUC = {text}."


def _holds_chance(row: Mapping[str, Any] | None) -> bool:
    return row is not None and bool(row["resolved"]) and row["low"] <= 0.5 <= row["high"]


# --- what cannot be said ---------------------------------------------------------------------


def _limits(context: ReportContext) -> Iterator[str]:
    first = context.experiment.detectors[0]
    rates = overall(rates_of(context, first))
    yield from unresolved_words(rates)
    sought = "lenses" if context.dataset.contrast == "lensed" else "subhalos"
    yield f"How often real {sought} would be found: every stamp is simulated."
    few = [note for note in rates["note"] if "needed for a bootstrap over galaxies" in note] if len(rates) else []
    if few:
        yield f"How the rates vary from galaxy to galaxy: {few[0]}."
    yield from seed_words(context)
    limit = context.decided["saturated_d_prime"]
    if any(is_number(found["ideal_d_prime"]) and found["ideal_d_prime"] > limit for found in context.decided["detectors"].values()):
        yield f"What share of the information is used above an ideal d′ of {limit:g}: the AUC saturates, and shares are lower limits."
    if context.dataset.sources.galaxy_kinds:
        yield "What source structure below the resolution of MaNGA would do (2.5″ at z ≈ 0.03): a moved galaxy keeps it in kpc."
    if context.dataset.instrument.mask == "observed":
        yield "That velocity alone carries the signal: the velocity mask is cut from the observed flux, which knows the label."
