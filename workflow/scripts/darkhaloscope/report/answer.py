"""The first screen in words: the answer with its interval, the gates, and what cannot be said."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .context import Gate, ReportContext
from .frames import COMMITTEE, OVERALL, count, is_number, main_seed, number, overall, pick, power, quoted, rate_text

#: Both channels together may fall short of the better one alone by no more than this AUC.
LARGEST_LOSS = 0.01
#: Half-width of the band around 0.5 that an AUC must be shown to lie in before chance is believed.
CHANCE_BAND = 0.03
#: Above this d′ a sample cannot tell one AUC from another.
SATURATED = 5.0
_CHANNELS = {"flux": "flux", "velocity": "velocity", "both": "flux and velocity", "mask": "the mask"}


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
    if context.experiment.comparisons and len(context.comparison):
        return _of_comparison(context)
    return _of_rates(context)


def gates(context: ReportContext) -> list[Gate]:
    """Return every gate, failed ones first, then undecided ones: those of the context, of the stamps (one line where all pass), and of the rates."""
    return failed_first([*context.gates, *stamp_gates(context.quality), *_rate_gates(context)])


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
    of_pair = (frame["baseline"] == baseline) & (frame["network"] == network)
    return quoted(frame[of_pair & (frame["test_dataset"] == test) & shown(context, frame)])


def shown(context: ReportContext, frame: pd.DataFrame) -> pd.Series:
    """Return which rows of an evaluation table the page shows: all but strata that only repeat others."""
    if "column" not in frame or not context.one_psf:
        return pd.Series(True, index=frame.index)
    return frame["column"] != "theta_over_psf"


def verdict(row: pd.Series | None, baseline: str, network: str) -> str:
    """Return what a difference in AUC and its interval say: better, worse, or no difference detected."""
    if row is None or not row["resolved"] or not is_number(row["low"]):
        return f"“{network}” and “{baseline}” could not be compared: ΔAUC is {rate_text(row, sign=True)}."
    said = f"ΔAUC = {rate_text(row, sign=True)}"
    if row["low"] == row["high"]:
        return f"“{network}” against “{baseline}”: {said}, the same in every resample, so that the interval says nothing."
    stamps = f"On the same {count(row['n_positives'] + row['n_negatives'])} test stamps"
    if row["low"] > 0:
        return f"{stamps}, “{network}” separates the classes better than “{baseline}”: {said}."
    if row["high"] < 0:
        return f"{stamps}, “{network}” separates the classes worse than “{baseline}”: {said}."
    excluded = f"The interval excludes a gain above {number(row['high'])} and a loss above {number(-row['low'])}."
    return f"{stamps}, no difference between “{network}” and “{baseline}” is detected: {said}. {excluded}"


def quality_gates(quality: Mapping[str, Any]) -> list[Gate]:
    """Return the gates of a dataset's quality report, as the stamp checks write them; `passed` is None where a gate is undecided."""
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
    if len(seeds) == 1:
        yield "How much a retrained network would differ: one training seed was used."
    elif main_seed(context.frames[context.experiment.detectors[0]]["rates"]) == COMMITTEE:
        yield f"How one network does by itself: rates quoted are of the mean score of {len(seeds)} seeds; each seed's are in the tables."


# --- the answer ------------------------------------------------------------------------------


def _of_comparison(context: ReportContext) -> Answer:
    (baseline, network), *others = context.experiment.comparisons
    rows = compared(context, baseline, network)
    headline = verdict(pick(overall(rows), "delta_auc"), baseline, network)
    headline += _independent(pick(overall(rows), "delta_auc"))
    if len(context.experiment.seeds) == 1:
        headline += " One training seed each."
    fpr = _resolved_fpr(rows)
    more = [
        _aucs(context)
        + (f" At FPR {power(fpr)}, ΔTPR = {rate_text(pick(overall(rows), 'delta_tpr_at_fpr', fpr), sign=True)}." if fpr is not None else "")
    ]
    if _at_chance(context, baseline) and _at_chance(context, network):
        more.append(f"Neither “{network}” nor “{baseline}” is told from chance: the comparison does not say which channel holds more.")
    more += [_short(pick(overall(compared(context, a, b)), "delta_auc"), a, b) for a, b in others]
    more += list(_ideal_words(context))
    return Answer(headline, tuple(more), _comparison_table(context, baseline, network, rows, fpr))


def _of_rates(context: ReportContext) -> Answer:
    names = context.experiment.detectors
    parts = []
    for name in names:
        row = pick(overall(rates_of(context, name)), "auc")
        if row is None or not row["resolved"]:
            parts.append(f"the AUC of “{name}” is {rate_text(row)}")
        elif row["low"] > 0.5:
            parts.append(f"“{name}” tells positives from controls: AUC = {rate_text(row)}")
        elif row["high"] < 0.5:
            parts.append(f"“{name}” ranks controls above positives: AUC = {rate_text(row)}")
        else:
            parts.append(f"“{name}” is not told from chance: AUC = {rate_text(row)}")
    text = "; ".join(parts)
    fprs = sorted(context.experiment.evaluation.fprs, reverse=True)
    rows = tuple((name, *(rate_text(pick(overall(rates_of(context, name)), "tpr_at_fpr", f)) for f in fprs)) for name in names)
    return Answer(
        text[:1].upper() + text[1:] + "." + _independent(pick(overall(rates_of(context, names[0])), "auc")),
        tuple(_ideal_words(context)),
        Table(("Network", *(f"TPR at FPR {power(f)}" for f in fprs)), rows),
    )


def _independent(row: pd.Series | None) -> str:
    """Say in short that an interval does not know how galaxies differ, where there were too few to resample."""
    found = re.search(r"(\w+ galax\w+), \d+ needed for a bootstrap over galaxies", "" if row is None else str(row["note"]))
    return f" The interval takes stamps of {found[1]} as independent." if found else ""


def _comparison_table(context: ReportContext, baseline: str, network: str, rows: pd.DataFrame, fpr: float | None) -> Table:
    column = by_column(rows)
    strata = [OVERALL] if column is None else [OVERALL, *dict.fromkeys(rows[rows["column"] == column]["stratum"])]
    observers = context.observers.get(context.experiment.test_datasets[0], pd.DataFrame())
    has_observer = "marginal_d_prime_flux" in observers
    head = {"mass_bin": "log₁₀ mass", None: ""}.get(column, str(column).replace("_", " "))
    heads = [head, f"AUC {baseline}", f"AUC {network}", "ΔAUC"]
    heads += [f"ΔTPR at FPR {power(fpr)}"] if fpr is not None else []
    heads += ["Marginal observer d′, flux → both"] if has_observer else []
    out = []
    for stratum in strata:
        here = overall(rows) if stratum == OVERALL else rows[(rows["column"] == column) & (rows["stratum"] == stratum)]
        line = ["all stamps" if stratum == OVERALL else stratum]
        line += [_auc_of(context, name, None if stratum == OVERALL else column, stratum) for name in (baseline, network)]
        line.append(rate_text(pick(here, "delta_auc"), sign=True))
        if fpr is not None:
            line.append(rate_text(pick(here, "delta_tpr_at_fpr", fpr), sign=True))
        if has_observer:
            line.append(
                marginal_gain(
                    observers
                    if stratum == OVERALL
                    else observers[observers[column].astype(str) == stratum]
                    if column in observers
                    else observers[:0]
                )
            )
        out.append(tuple(line))
    return Table(tuple(heads), tuple(out))


def by_column(rows: pd.DataFrame) -> str | None:
    """Return the column by which a comparison is shown first: the mass bin where there is one."""
    columns = [c for c in dict.fromkeys(rows["column"]) if c != OVERALL] if len(rows) else []
    return "mass_bin" if "mass_bin" in columns else columns[0] if columns else None


def _auc_of(context: ReportContext, network: str, column: str | None, stratum: str) -> str:
    if column is None:
        row = pick(overall(rates_of(context, network)), "auc")
    else:
        row = pick(rates_of(context, network, name="strata"), "auc", column=column, stratum=stratum)
    return "–" if row is None else number(row["value"]) if row["resolved"] else rate_text(row)


def marginal_gain(observers: pd.DataFrame) -> str:
    """Return the medians of the marginal observer's d′ from flux and from both, and how much further both see."""
    flux, both = (observers[f"marginal_d_prime_{c}"].dropna() for c in ("flux", "both"))
    if not len(flux):
        return "–"
    ratio = (observers["marginal_d_prime_both"] / observers["marginal_d_prime_flux"].replace(0, np.nan)).median()
    counted = f"{len(flux)} stamp{'' if len(flux) == 1 else 's'}"
    gain = f" (×{ratio:.1f}, {counted})" if is_number(ratio) else f" ({counted})"
    return f"{flux.median():.2g} → {both.median():.2g}{gain}"


def _ideal_words(context: ReportContext) -> Iterator[str]:
    """Say the ideal observer's AUC on the channels of each network that sees something, and the share of its d′ that is used."""
    parts = []
    for name in context.experiment.detectors:
        if context.detectors[name].channels == "mask" or context.detectors[name].shuffle_velocity:
            continue
        ideal, share = (pick(_all_information(context, name), metric) for metric in ("ideal_auc", "share"))
        if ideal is None or not is_number(ideal["value"]):
            continue
        used = ""
        if share is not None and share["resolved"] and is_number(share["value"]):
            least = "at least " if str(share["note"]).startswith("lower limit") else ""
            reached = f"{least}{100 * share['value']:.0f}%" if share["value"] >= 0.005 else "nothing"
            used = f" (“{name}” reaches {reached} of its d′)"
        parts.append(f"{number(ideal['value'])} on {_CHANNELS[context.detectors[name].channels]}{used}")
    if parts:
        yield "The ideal observer, who knows lens and source, has AUC " + ", ".join(dict.fromkeys(parts)) + "."


def _all_information(context: ReportContext, network: str) -> pd.DataFrame:
    frame = rates_of(context, network, name="information")
    return frame[frame["stratum"] == OVERALL] if len(frame) else frame


def _aucs(context: ReportContext) -> str:
    parts = [f"{name} {rate_text(pick(overall(rates_of(context, name)), 'auc'))}" for name in context.experiment.detectors]
    return "AUC: " + " · ".join(parts) + "."


def _short(row: pd.Series | None, baseline: str, network: str) -> str:
    if row is not None and row["resolved"] and is_number(row["low"]):
        said = "better than" if row["low"] > 0 else "worse than" if row["high"] < 0 else "not told from"
        return f"“{network}” is {said} “{baseline}”: ΔAUC = {rate_text(row, sign=True)}."
    return f"“{network}” against “{baseline}”: ΔAUC {rate_text(row, sign=True)}."


def _at_chance(context: ReportContext, network: str) -> bool:
    row = pick(overall(rates_of(context, network)), "auc")
    return row is not None and bool(row["resolved"]) and _holds_chance(row)


def _holds_chance(row: pd.Series) -> bool:
    return bool(row["low"] <= 0.5 <= row["high"])


def _resolved_fpr(rows: pd.DataFrame) -> float | None:
    """Return the smallest FPR resolved in every stratum that is shown, else the smallest resolved overall."""
    changes = rows[rows["metric"] == "delta_tpr_at_fpr"] if len(rows) else rows
    if not len(changes):
        return None
    shown = changes[changes["column"].isin([OVERALL, by_column(rows)])]
    everywhere = shown.groupby("at")["resolved"].all()
    if everywhere.any():
        return float(everywhere[everywhere].index.min())
    resolved = overall(changes)[overall(changes)["resolved"]]
    return float(resolved["at"].min()) if len(resolved) else None


# --- gates -----------------------------------------------------------------------------------


def _rate_gates(context: ReportContext) -> Iterator[Gate]:
    blind = context.dataset.contrast != "lensed" and context.dataset.instrument.mask == "smooth"
    for name in context.experiment.detectors:
        network = context.detectors[name]
        row = pick(overall(rates_of(context, name)), "auc")
        if row is None or not row["resolved"]:
            continue
        if network.channels == "flux" and context.dataset.contrast == "kinematics":
            yield Gate(
                f"The flux (“{name}”), equal in both classes, knows nothing",
                *_chance(row),
            )
        if network.channels == "mask" and blind and network.label_blind:
            yield Gate(
                f"The mask alone (“{name}”) knows nothing",
                *_chance(row),
            )
    noise = context.dataset.instrument.noise
    # A mask cut from the observed flux tells velocity networks of the flux, and without noise d′ is no ceiling.
    if blind and noise.flux and noise.velocity:
        yield from _ideal_gate(context)
    for baseline, network in context.experiment.comparisons:
        first, second = context.detectors[baseline], context.detectors[network]
        row = pick(overall(compared(context, baseline, network)), "delta_auc")
        if row is None or not row["resolved"] or not is_number(row["low"]):
            continue
        if second.channels == "both" and not second.shuffle_velocity and first.channels in ("flux", "velocity"):
            limit = f"lower bound of ΔAUC above −{LARGEST_LOSS:g}"
            # Its maps are of the smooth lens without noise: beside the flux they would give the subhalo away.
            ahead = (
                f"; “{baseline}” has label-blind maps, “{network}” may not"
                if first.channels == "velocity" and first.label_blind and blind
                else ""
            )
            yield Gate(
                f"“{network}” loses nothing against “{baseline}”",
                True if row["low"] > -LARGEST_LOSS else (False if row["high"] < -LARGEST_LOSS else None),
                f"ΔAUC {rate_text(row, sign=True)}{ahead}",
                limit,
            )
        if second.shuffle_velocity:
            yield Gate(
                f"Another stamp's velocity (“{network}”) does not help “{baseline}”",
                False if row["low"] > 0 else (True if row["high"] < LARGEST_LOSS else None),
                f"ΔAUC {rate_text(row, sign=True)}",
                f"fails above 0, passes with an upper bound below {LARGEST_LOSS:g}",
            )


def _chance(row: pd.Series) -> tuple[bool | None, str, str]:
    """Judge an AUC that should be 0.5: a gate's outcome, what was found, and the limit.

    A 95% interval misses 0.5 for one faultless network in twenty, so failing takes an interval that stays
    clear of it by half its own half-width; passing takes one narrow enough to have seen a leak.
    """
    half = (row["high"] - row["low"]) / 2
    clear = row["low"] - 0.5 > half / 2 or 0.5 - row["high"] > half / 2
    narrow = abs(row["low"] - 0.5) < CHANCE_BAND and abs(row["high"] - 0.5) < CHANCE_BAND
    outcome = False if clear else (True if narrow and _holds_chance(row) else None)
    return outcome, f"AUC {rate_text(row)}", f"passes with an interval that holds 0.5 and lies within ±{CHANCE_BAND:g} of it"


def _ideal_gate(context: ReportContext) -> Iterator[Gate]:
    """A network above the ideal observer has found something else than the subhalo."""
    above, n = [], 0
    for name in context.experiment.detectors:
        if context.detectors[name].channels in ("velocity", "mask") and not context.detectors[name].label_blind:
            continue  # its mask tells of the flux, which the observer of velocity alone does not see
        row, ideal = pick(_all_information(context, name), "auc"), pick(_all_information(context, name), "ideal_auc")
        if row is None or ideal is None or not row["resolved"] or not is_number(ideal["value"]):
            continue
        n += 1
        if row["low"] > ideal["value"]:
            above.append(f"{name}: AUC {rate_text(row)} above {number(ideal['value'])}")
    if n:
        yield Gate(
            "No network passes the ideal observer",
            not above,
            "; ".join(above) or f"{n} network{'' if n == 1 else 's'} at or below it",
            "AUC interval reaches down to it",
        )


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
    ideal = [pick(_all_information(context, n), "ideal_d_prime") for n in context.experiment.detectors]
    if any(r is not None and is_number(r["value"]) and r["value"] > SATURATED for r in ideal):
        yield f"What share of the information is used above an ideal d′ of {SATURATED:g}: the AUC saturates, and shares are lower limits."
    if any(context.dataset.sources.mix.get(kind, 0) > 0 for kind in ("manga", "hybrid")):
        yield "What source structure below the resolution of MaNGA would do (2.5″ at z ≈ 0.03): a moved galaxy keeps it in kpc."
    if context.dataset.instrument.mask == "observed":
        yield "That velocity alone carries the signal: the velocity mask is cut from the observed flux, which knows the label."
