"""What the page tells differently of the tasks: each is one `Story`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..evaluation.tidy import overall, pick
from . import charts
from .answer import Answer, compared, rates_of
from .context import Gate, ReportContext, ReportError
from .frames import column_name, metric_name
from .robustness import robustness_charts


@dataclass(frozen=True)
class Chart:
    """A chart of a page: what it is chosen by, the name of its files, and what is drawn."""

    label: str
    file: str
    figure: Figure


Charts = Mapping[str, Sequence[Chart]]


@dataclass(frozen=True)
class Story:
    """The parts of a page that depend on what its stamps are.

    Attributes
    ----------
    template : str
        Page, an extension of `report.html`.
    answer, gates, unsaid : callable
        The first screen.
    overview : callable
        The picture of the first screen; None where there is nothing to be seen.
    values : callable
        What the template shows beside the shared sections.
    charts, tables : callable
        Further charts, and further tables for the folder.
    pictures : callable
        Further figures of stamps, by the names of their files.
    sheets : callable
        Writes the stamp browser's pictures into a folder; returns what shows them: panels, mark, sheets, pixel scale, width of a card.
    hides : callable
        Whether the stamp browser leaves a column out.
    """

    template: str
    answer: Callable[[Any], Answer]
    gates: Callable[[Any], list[Gate]]
    unsaid: Callable[[Any], list[str]]
    overview: Callable[[Any], Figure | None]
    values: Callable[[Any], dict[str, Any]]
    charts: Callable[[Any], dict[str, list[Chart]]]
    tables: Callable[[Any], dict[str, pd.DataFrame]]
    pictures: Callable[[Any], dict[str, Figure]]
    sheets: Callable[[Any, Path], dict[str, Any]]
    hides: Callable[[ReportContext, str], bool]


def shared_charts(context: ReportContext) -> dict[str, list[Chart]]:
    """Return the charts that the pages of all tasks share, by their places in the page."""
    found: dict[str, list[Chart]] = {}
    tests = context.experiment.test_datasets
    found["roc"] = [Chart(test, "roc" if i == 0 else f"roc-{test}", charts.roc(*_curves(context, test))) for i, test in enumerate(tests)]
    kinds = [q for q in ("loss", "auc", "accuracy") if any(f"val_{q}" in h for h in context.histories.values())]
    found["history"] = [Chart(q, f"training-{q}", charts.history(context.histories, q)) for q in kinds]
    strata = {n: rates_of(context, n, name="strata") for n in context.experiment.detectors}
    columns = charts.strata_columns(strata)
    found["strata"] = [Chart(column_name(c), f"auc-by-{c}", charts.strata(strata, c, "auc", None)) for c in columns]
    fpr = _common_fpr(strata)
    if fpr is not None:
        found["strata-tpr"] = [Chart(column_name(c), f"tpr-by-{c}", charts.strata(strata, c, "tpr_at_fpr", fpr)) for c in columns]
    for i, (baseline, network) in enumerate(context.experiment.comparisons):
        found[f"comparison-{i}"] = list(_comparisons(compared(context, baseline, network), baseline, network))
    if len(context.robustness):
        drawn = robustness_charts(context.robustness)
        found["robustness"] = [Chart(label, f"robustness-{i}" if i else "robustness", f) for i, (label, f) in enumerate(drawn.items())]
    return {name: several for name, several in found.items() if several}


def _comparisons(rows: pd.DataFrame, baseline: str, network: str):
    for metric, at in _metrics(rows, ("delta_auc", "delta_tpr_at_fpr")):
        part = rows[(rows["metric"] == metric) & (rows["at"].isna() if at is None else np.isclose(rows["at"], at or 0))]
        if part["resolved"].any():
            file = f"comparison-{baseline}-{network}" + ("" if at is None else f"-fpr-{at:g}")
            label = metric_name(metric, np.nan if at is None else at)
            yield Chart(label, file, charts.comparison(part, baseline, network))


def _curves(context: ReportContext, test: str) -> tuple[dict[str, pd.DataFrame], float]:
    curves = {name: rates_of(context, name, test, "roc") for name in context.experiment.detectors}
    row = pick(overall(rates_of(context, context.experiment.detectors[0], test)), "auc")
    if row is None:
        raise ReportError(
            f"the rates of network {context.experiment.detectors[0]} have no AUC on {test}; make them again with rule evaluate_scores"
        )
    # The smallest FPR that so many negatives resolve.
    return curves, min(1.0, context.experiment.evaluation.min_expected_fp / max(1.0, row["n_negatives"]))


def _common_fpr(strata: Mapping[str, pd.DataFrame]) -> float | None:
    """Return the smallest FPR that most strata resolve."""
    rows = pd.concat([f[f["metric"] == "tpr_at_fpr"] for f in strata.values()])
    shares = rows.groupby("at")["resolved"].mean() if len(rows) else pd.Series(dtype=float)
    good = shares[shares > 0.5]
    return float(good.index.min()) if len(good) else None


def _metrics(rows: pd.DataFrame, wanted: Sequence[str]) -> list[tuple[str, float | None]]:
    if not len(rows):
        return []
    pairs = rows.loc[rows["metric"].isin(wanted), ["metric", "at"]].drop_duplicates()
    found = [(m, None if pd.isna(a) else float(a)) for m, a in pairs.itertuples(index=False)]
    return sorted(found, key=lambda p: (wanted.index(p[0]), -(p[1] or 0)))
