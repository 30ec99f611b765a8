"""Gates: what a dataset must pass before anything is trained on it. One registry, one runner, and the gates that all tasks share.

A gate is a function of what was read of the stamps that returns what is asked, what was found, and whether that passes:

    @gate("no bright sky", "lensfinder")
    def no_bright_sky(stamps):
        worst = max(piece["sky_sigma_r"].max() for _, piece in stamps.pieces())
        return "sky below 1 nanomaggy", f"{worst:.2g}", bool(worst < 1)

With kinds it holds for their datasets alone, in place of a shared gate of that name; without, for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from ..config.kinds import DATASET_KINDS
from ..config.subhalo import SPLITS
from .pieces import Piece, Stamps
from .shares import wrong_shares

#: Categories are merged until each is expected this often, or χ² means nothing.
LEAST_EXPECTED = 5.0
#: Up to this product of their sizes two samples are compared by the exact law of the Kolmogorov–Smirnov statistic.
EXACT = 10_000


class QualityError(ValueError):
    """A dataset failed a gate; the message has one line per failed gate."""


@dataclass(frozen=True)
class Gate:
    """One gate: what it asks, what was found, and whether that passes."""

    name: str
    asked: str
    found: str
    passed: bool


Verdict = tuple[str, str, bool]
_GATES: dict[str, dict[str, Callable[[Stamps], Verdict]]] = {}


def gate(name: str, *kinds: str) -> Callable[[Callable[[Stamps], Verdict]], Callable[[Stamps], Verdict]]:
    """Register a gate for some kinds of datasets, or for all.

    Raises
    ------
    ValueError
        A kind does not exist, so that the gate would never be asked; or it has a gate of that name, which would not be asked any more.
    """
    if strangers := [kind for kind in kinds if kind not in DATASET_KINDS]:
        raise ValueError(f"gate `{name}`: there is no kind of dataset `{strangers[0]}` (there is: {', '.join(DATASET_KINDS)})")

    def register(function: Callable[[Stamps], Verdict]) -> Callable[[Stamps], Verdict]:
        for kind in kinds or ("",):
            if other := _GATES.get(kind, {}).get(name):
                raise ValueError(f"gate `{name}` is registered twice, by {other.__module__} and {function.__module__}; rename one")
            _GATES.setdefault(kind, {})[name] = function
        return function

    return register


def run_gates(stamps: Stamps) -> list[Gate]:
    """Return the verdict of every gate that holds for a dataset: the shared ones, then its task's own."""
    chosen = {**_GATES.get("", {}), **_GATES.get(stamps.dataset.kind, {})}
    return [Gate(name, *function(stamps)) for name, function in chosen.items()]


def require(gates: Sequence[Gate]) -> None:
    """Raise `QualityError`, which names every failed gate, unless all have passed."""
    failed = [g for g in gates if not g.passed]
    if failed:
        lines = [f"  {g.name}: asked {g.asked}; found {g.found}" for g in failed]
        raise QualityError("\n".join([f"these stamps fail {len(failed)} of {len(gates)} gates and must not be trained on:", *lines]))


# --- gates that all tasks share ----------------------------------------------------------------


@gate("counts")
def counts(stamps: Stamps) -> Verdict:
    """As many stamps in each split as the config asks for; of tables made elsewhere, some."""
    found = {s: 0 for s in SPLITS} | stamps.rows
    size = getattr(stamps.dataset, "size", None)
    if size is None:
        asked = {s: stamps.dataset.shards(s) > 0 for s in SPLITS}
        return (
            words({s: f"{'some' if n else 'no'} stamps" for s, n in asked.items()}),
            words(found),
            asked == {s: n > 0 for s, n in found.items()},
        )
    asked = {s: getattr(size, s) for s in SPLITS}
    return words(asked), words(found), asked == found


@gate("balance")
def balance(stamps: Stamps) -> Verdict:
    """Half positives in each split; tables made elsewhere only need both classes."""
    positives = stamps.each(lambda t: int((t["label"] == 1).sum()))
    share = {split: positives[split] / count for split, count in stamps.rows.items()}
    made = hasattr(stamps.dataset, "size")
    fair = all(v == 0.5 if made else 0 < v < 1 for v in share.values())
    asked = "half positives in each split" if made else "both classes in each split"
    if "is_control" not in stamps.columns:
        return asked, words(share), fair
    wrong = sum(stamps.each(lambda t: int(((t["label"] == 1) == t["is_control"]).sum())).values())
    return f"{asked}, label the reverse of is_control", f"{words(share)}, {wrong} mislabelled", fair and not wrong


@gate("splits named")
def splits_named(stamps: Stamps) -> Verdict:
    """Every stamp in the shards of its own split."""
    wrong = dict.fromkeys(stamps.rows, 0)
    for split, piece in stamps.pieces():
        wrong[split] += int((piece["split"] != split).sum())
    return "every stamp in the shards of its own split", f"stamps elsewhere: {words(wrong)}", not any(wrong.values())


@gate("finite")
def finite(stamps: Stamps) -> Verdict:
    """No NaN or infinity in the images of a usable stamp."""
    bad = stamps.each(lambda t: int((~t["finite"]).sum()))
    return "no NaN or infinity in the images of usable stamps", f"stamps with some: {words(bad)}", not any(bad.values())


@gate("duplicates")
def duplicates(stamps: Stamps) -> Verdict:
    """No id, number or image twice."""
    usable = sum(stamps.each(lambda t: int(t["usable"].sum())).values())
    repeated = {}
    for name in ("stamp_id", "task_id", "number", "digest"):
        if name in stamps.columns:
            known = stamps.different(lambda split, t, name=name: {"all": t[name][t["usable"]] if name == "digest" else t[name]})
            count = usable if name == "digest" else sum(stamps.rows.values())
            repeated["image" if name == "digest" else name] = count - sum(len(part["all"]) for part in known)
    return "no id, number or image twice", f"repeated: {words(repeated)}", not any(repeated.values())


@gate("leaks")
def leaks(stamps: Stamps) -> Verdict:
    """Nothing that splits are made by is in two of them."""
    found = {what: _shared(stamps, key) for what, key in stamps.keys.items()}
    asked = f"no {', '.join(stamps.keys)} in two splits"
    return asked, f"shared: {words(found)}", all(v == "0" for v in found.values())


def _shared(stamps: Stamps, key: str | Callable[[Piece], pd.Series]) -> str:
    """Say how many values of a key are in two splits, and the first of them with its splits."""
    shared, first = 0, []
    for splits in stamps.different(lambda split, t: {split: t[key] if isinstance(key, str) else key(t)}):
        values = np.concatenate(list(splits.values()))
        values.sort()
        both = np.unique(values[1:][values[1:] == values[:-1]])
        shared += len(both)
        first += [(value, [s for s, known in splits.items() if value in known]) for value in both[:1]]
    if not shared:
        return "0"
    value, where = min(first)
    return f"{shared} ({value} in {' and '.join(where)})"


# --- what gates are made of --------------------------------------------------------------------


def shares(found: Mapping[str, float], asked: Mapping[str, float], tolerance: float) -> Verdict:
    """Return the verdict on realised shares of the splits, both given up to a factor."""
    normal = [{s: v / sum(shares.values()) for s, v in shares.items()} for shares in (asked, found)]
    passed = not wrong_shares(normal[1], normal[0], tolerance)
    return f"{words(normal[0])}, each ± {tolerance:g}", words(normal[1]), passed


def of_sample(stamps: Stamps, verdict: Verdict) -> Verdict:
    """Return a verdict on `stamps.samples`, with how many stamps it is of where that is not all."""
    asked, found, passed = verdict
    return asked, f"{found}; of {stamps.sampled}" if stamps.sampled else found, passed


def same_in_both_classes(tables: Iterable[tuple[str, pd.DataFrame]], columns: Sequence[str], false_alarm: float) -> Verdict:
    """Return the verdict on columns that must not tell the classes apart, `false_alarm` being the chance of one alarm over all tests."""
    tests = pd.concat([class_differences(table, columns).assign(split=split) for split, table in tables], ignore_index=True)
    limit = false_alarm / max(len(tests), 1)
    failed = tests[tests["p_value"] < limit].sort_values("p_value")
    asked = f"p above {limit:.1e} in each of {len(tests)} tests (false-alarm rate {false_alarm:g} over all)"
    if len(failed):
        found = ", ".join(f"{r.column} in {r.split} ({r.test} p = {r.p_value:.1e})" for r in failed.itertuples())
        return asked, f"{found} tell positives from controls", False
    least = tests.loc[tests["p_value"].idxmin()] if len(tests) else None
    return asked, "no test" if least is None else f"smallest p = {least['p_value']:.2g} ({least['column']}, {least['split']})", True


def class_differences(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return, for each column, the p-value of positives and controls coming from one distribution.

    Numbers by the two-sample Kolmogorov–Smirnov test: exact for few stamps, whose complete separation has
    p = 0 by the asymptotic law, which others have (conservative for tied samples). Categories by χ² on the table of
    counts, rare ones merged. Constant columns are left out.

    Parameters
    ----------
    table : DataFrame with `label`
    columns : names to test

    Returns
    -------
    DataFrame
        column, test, statistic, p_value.
    """
    positive = (table["label"] == 1).to_numpy()
    out = []
    for name in columns:
        values = table[name]
        if values.nunique(dropna=True) < 2:
            continue
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            known = values.notna().to_numpy()
            a, b = values[positive & known], values[~positive & known]
            if len(a) and len(b):
                result = stats.ks_2samp(a, b, method="exact" if len(a) * len(b) <= EXACT else "asymp")
                out.append((name, "KS", float(result.statistic), float(result.pvalue)))
        else:
            found = _merged(pd.crosstab(values.astype(str), positive).to_numpy())
            if found.shape[0] > 1 and found.shape[1] > 1:
                result = stats.chi2_contingency(found)
                out.append((name, "χ²", float(result.statistic), float(result.pvalue)))
    return pd.DataFrame(out, columns=["column", "test", "statistic", "p_value"])


def words(values: Mapping[str, object]) -> str:
    """Return counts or shares as words."""
    return ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()) or "none"


def _merged(counts: NDArray) -> NDArray:
    """Merge the rarest categories until every expected count is large enough for χ²."""
    counts = counts[np.argsort(-counts.sum(axis=1), kind="stable")]
    rarer = counts.sum(axis=0).min() / max(counts.sum(), 1)
    while len(counts) > 1 and counts[-1].sum() * rarer < LEAST_EXPECTED:
        counts = np.vstack([counts[:-2], counts[-2:].sum(axis=0)])
        counts = counts[np.argsort(-counts.sum(axis=1), kind="stable")]
    return counts
