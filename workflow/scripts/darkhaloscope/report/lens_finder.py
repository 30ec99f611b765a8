"""The first screen of the lens finder in words: completeness at each FPR, the criterion, the gates, and what cannot be said."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ..config.experiment import CRITERION_FPR, CRITERION_TPR, RESOLVED
from ..config.lensfinder import LensFinderDataset
from ..core.rates import ROUNDING
from ..evaluation.shortcuts import NEVER_MET
from ..evaluation.tidy import count, is_number, number, overall, pick, power, quoted, rate_text
from .answer import Answer, Table, failed_first, quality_gates, rates_of, seed_words, stamp_gates, unresolved_words
from .context import Gate, LensContext

#: The lens finder's aim, in words.
CRITERION = f"FPR ≤ {power(CRITERION_FPR)} at ≥ {100 * CRITERION_TPR:g}% completeness on resolved lenses (θ_E/PSF ≥ {RESOLVED:g})"
#: One galaxy in this many is taken for a lens where the purity of a list of candidates is said.
GALAXIES_PER_LENS = 1000
#: The gate whose outcome is said even where it passes: what the centre of a stamp alone gives away.
CORE_GATE = "central pixels"


def answer(context: LensContext) -> Answer:
    """Return completeness at the smallest FPR that the sample resolves, the criterion, and a table over all FPRs that are resolved.

    The first detector is the experiment's answer; the others follow in one line each of these.
    """
    first, *others = context.experiment.detectors
    more = [*_real(context), f"Criterion, {CRITERION}: {criterion(context, first)}"]
    if others:
        more.append(f"The criterion by others: {'; '.join(_stands(context, name) for name in others)}.")
    more += [*_known(context), *(line for name in context.experiment.detectors for line in _rounds(context, name))]
    return Answer(_headline(context, first), tuple(more), _table(context))


def gates(context: LensContext) -> list[Gate]:
    """Return every gate, failed ones first: those of the networks and of the stamps (passed ones in one line), and that of the central pixels."""
    stamps = stamp_gates(context.quality)
    core = [g for g in quality_gates(context.quality) if g.name == CORE_GATE]
    if len(stamps) == 1 and core and stamps[0].passed:
        stamps += [Gate("The central pixels alone say little", *(getattr(core[0], k) for k in ("passed", "found", "limit")))]
    return failed_first([*_passed_together(context.gates), *stamps])


def _passed_together(gates: Sequence[Gate]) -> list[Gate]:
    """Put the passed shortcut gates of a network on a test dataset into one line: value and limit of each."""
    groups: dict[str, list[Gate]] = {}
    for gate in gates:
        groups.setdefault(gate.group if gate.passed and gate.group else gate.name, []).append(gate)
    out = []
    for group, members in groups.items():
        if len(members) == 1:
            out += members
            continue
        values = (f"{g.name.removeprefix(f'{group}: ')} {g.found.split(' ')[0]} ≤ {g.limit.rsplit(' ', 1)[-1]}" for g in members)
        out.append(Gate(f"{group}: {len(members)} gates find none", True, "; ".join(values), ""))
    return out


def unsaid(context: LensContext) -> list[str]:
    """Return what the experiment's numbers do not allow to be said, most serious first."""
    return [*context.notes, *_limits(context)]


def smallest_fpr(context: LensContext, network: str) -> float | None:
    """Return the smallest FPR at which a network's completeness over all lenses is resolved."""
    fprs = resolved_fprs(context, network)
    return fprs[-1] if fprs else None


def resolved_fprs(context: LensContext, network: str) -> list[float]:
    """Return the FPRs at which a network's completeness over all lenses is resolved, largest first."""
    rates = overall(rates_of(context, network))
    rows = rates[(rates["metric"] == "tpr_at_fpr") & rates["resolved"]] if len(rates) else rates
    return sorted((float(f) for f in rows["at"]), reverse=True) if len(rows) else []


def resolved_row(context: LensContext, network: str, metric: str, at: float) -> pd.Series | None:
    """Return a rate of the resolved lenses."""
    frame = context.resolved.get(network, pd.DataFrame())
    frame = frame[frame["test_dataset"] == context.experiment.test_datasets[0]] if len(frame) else frame
    return pick(quoted(frame), metric, at) if len(frame) else None


def criterion(context: LensContext, network: str) -> str:
    """Say where a network stands by the project's criterion."""
    found = context.decided["criterion"][network]
    if found is None:
        return f"“{network}” cannot be held to it, no stamp says θ_E/PSF."
    row, outcome = found["rate"], found["outcome"]
    few = row["interval"] == "Clopper–Pearson"
    passed = f"{count(round(row['value'] * row['n_negatives']))} of {count(row['n_negatives'])} controls pass"
    fpr = f"FPR between {number(row['low'])} and {number(row['high'])} ({passed})" if few else f"FPR {rate_text(row)}"
    stands = f"“{network}” has {fpr} at {100 * CRITERION_TPR:g}% of {count(row['n_positives'])} resolved lenses"
    if outcome == "not met" and not few:
        return f"not met, {stands}, {count(round(row['value'] / CRITERION_FPR))} times the limit."
    if outcome == "undecided":
        # A threshold at this completeness is known where about as many lenses are missed as a rate needs false positives.
        lenses = math.ceil(context.experiment.evaluation.min_expected_fp / (1 - CRITERION_TPR) - ROUNDING)
        more = f", and some {count(lenses)} lenses" if row["n_positives"] < lenses else ""
        return f"undecided, {stands}; to show it met takes at least {count(found['controls_needed'])} controls, of which none passes{more}."
    return f"{outcome}, {stands}."


def _stands(context: LensContext, network: str) -> str:
    """Say where a network stands by the criterion, in short."""
    found = context.decided["criterion"][network]
    if found is None:
        return f"“{network}” unknown"
    row = found["rate"]
    return f"“{network}” {found['outcome']}, FPR {number(row['value'])} [{number(row['low'])}, {number(row['high'])}]"


def _real(context: LensContext) -> Iterator[str]:
    """Say how well each network tells real lenses from real galaxies that look like some."""
    found = {name: context.real[name] for name in context.experiment.detectors if name in context.real}
    if found:
        # A head is judged by all of them, a network that learnt from some by the others.
        of = {name: f"{count(r['lenses'])} real lenses against {count(r['lookalikes'])} real galaxies" for name, r in found.items()}
        auc = {name: f"{number(r['auc'])} [{number(r['low'])}, {number(r['high'])}] by “{name}”" for name, r in found.items()}
        if len(set(of.values())) == 1:
            yield f"AUC of {next(iter(of.values()))} that look like some: {', '.join(auc.values())}."
        else:
            each = "; ".join(f"of {of[name]}, {auc[name]}" for name in found)
            yield f"AUC of real lenses against real galaxies that look like some: {each}."


def _headline(context: LensContext, network: str) -> str:
    at = smallest_fpr(context, network)
    if at is None:
        row = pick(overall(rates_of(context, network)), "auc")
        return f"“{network}”: no FPR is resolved by this sample; AUC = {rate_text(row)}."
    row, resolved = pick(overall(rates_of(context, network)), "tpr_at_fpr", at), resolved_row(context, network, "tpr_at_fpr", at)
    ring = f", and {rate_text(resolved)} of the resolved ones (θ_E/PSF ≥ {RESOLVED:g})" if resolved is not None else ""
    return f"At FPR {power(at)}, “{network}” finds {rate_text(row)} of the {count(row['n_positives'])} lenses{ring}."


def _table(context: LensContext) -> Table:
    """Return completeness by FPR: all FPRs that some network resolves, and the criterion's."""
    names = context.experiment.detectors
    fprs = {f for name in names for f in resolved_fprs(context, name)}
    fprs |= {f for f in context.experiment.evaluation.fprs if math.isclose(f, CRITERION_FPR)}
    heads = ["Network"] if len(names) > 1 else []
    heads += ["FPR", "Completeness, all lenses", "Resolved lenses", "Validation's threshold: all", "Resolved", "FPR realised"]
    rows = []
    for name in names:
        rates = overall(rates_of(context, name))
        for f in sorted(fprs, reverse=True):
            asked = ("tpr_at_validation_fpr", "realised_fpr")
            whole = [pick(rates, metric, f) for metric in ("tpr_at_fpr", *asked)]
            part = [resolved_row(context, name, metric, f) for metric in ("tpr_at_fpr", asked[0])]
            cells = [rate_text(whole[0]), *map(_short, (part[0], whole[1], part[1], whole[2]))]
            rows.append((*([name] if len(names) > 1 else []), power(f), *cells))
    return Table(tuple(heads), tuple(rows))


def _short(row: pd.Series | None) -> str:
    """Return a rate of which another cell of its line says what it would need."""
    return rate_text(row) if row is not None and row["resolved"] else "–"


def _known(context: LensContext) -> Iterator[str]:
    """Say which of the known lenses each network finds, at the smallest FPR at which that is known of all."""
    found = {}
    for name in context.experiment.detectors:
        frame = quoted(context.known_lenses.get(name, pd.DataFrame()))
        rows = frame[(frame["stratum"] == "all") & frame["resolved"]] if len(frame) else frame
        if len(rows):
            found[name] = rows.sort_values("fpr").iloc[0]
    if not found:
        return
    fprs = {row["fpr"] for row in found.values()}
    at = {name: f" at FPR {power(row['fpr'])}" if len(fprs) > 1 else "" for name, row in found.items()}
    each = ", ".join(f"“{name}” {count(row['found'])} of {count(row['n'])}{_share(row)}{at[name]}" for name, row in found.items())
    threshold = f"the threshold for FPR {power(fprs.pop())}" if len(fprs) == 1 else "the smallest FPR that each resolves"
    yield f"Known lenses found at {threshold}: {each}."


def _share(row: pd.Series) -> str:
    return f", {number(row['recall'])} [{number(row['low'])}, {number(row['high'])}]" if is_number(row["recall"]) else ""


def _rounds(context: LensContext, network: str) -> Iterator[str]:
    frame = quoted(context.rounds.get(network, pd.DataFrame()))
    if not len(frame):
        return
    frame = frame[frame["test_dataset"] == context.experiment.test_datasets[0]]
    last = frame["round"].max()
    rows = frame[(frame["round"] == last) & np.isclose(frame["completeness"], CRITERION_TPR)]
    if len(rows):
        row = rows.iloc[0]
        change = f"{number(row['change'], sign=True)} [{number(row['change_low'], sign=True)}, {number(row['change_high'], sign=True)}]"
        said = "fewer" if row["change_high"] < 0 else "more" if row["change_low"] > 0 else "no detected change in"
        yield f"Hard negatives of “{network}” (round {last} against round 1): {said} false positives at {100 * CRITERION_TPR:g}% completeness, ΔFPR {change}."


def _limits(context: LensContext) -> Iterator[str]:
    first = context.experiment.detectors[0]
    rates = overall(rates_of(context, first))
    yield from unresolved_words(rates)
    if any(gate.found == NEVER_MET for gate in context.gates):
        yield f"Anything of real lenses: “{first}” {NEVER_MET}; name some with labels in the dataset's `real_sky`."
    asked = max((r["lenses"] for r in context.real.values()), default=0)
    what = f" beyond the {count(asked)} that were asked: all others" if asked else ": the lenses"
    yield f"How often real lenses would be found{what} are simulated, and simulated lenses have flattered networks many times over."
    at = smallest_fpr(context, first)
    row = pick(rates, "tpr_at_fpr", at) if at is not None else None
    if row is not None:
        pure = row["value"] / (row["value"] + at * (GALAXIES_PER_LENS - 1))
        yield (
            f"How pure a list of candidates would be: half of these stamps are lenses. Were one galaxy in {count(GALAXIES_PER_LENS)} "
            f"a lens, {100 * pure:.2g}% of what passes FPR {power(at)} would be lenses."
        )
    if isinstance(context.dataset, LensFinderDataset):
        yield "How other galaxies would fare: hosts and controls are luminous red galaxies of the parent sample, within its bounds of seeing."
        yield "What colours that change along an arc would do: a source has one morphology in all bands, and colours from a prior."
    yield from seed_words(context)
