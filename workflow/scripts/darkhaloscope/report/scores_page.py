"""The page of a table of scores made elsewhere: its AUC in one sentence, its curve, its rates and strata."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ..evaluation.tidy import count, overall, pick, rate_text
from . import charts
from .context import ReportError
from .frames import column_name, metric_name
from .grids import Footnotes, Grid, rate_cell
from .html import render
from .pictures import data_uri

#: What the table of strata holds; the CSV file holds all.
METRICS = ("auc", "tpr_at_fpr")


def scores_page(
    name: str,
    table: str,
    frames: Mapping[str, pd.DataFrame],
    least_expected: float,
    picture: str | os.PathLike | None = None,
    files: Mapping[str, str] | None = None,
) -> str:
    """Return the page of a table of scores.

    Parameters
    ----------
    name, table : name of its results, and the table's own
    frames : `rates`, `strata` and `roc`, as `evaluate_table` gives them
    least_expected : false positives that a rate must be expected to rest on, to be resolved
    picture : completeness over two columns, PNG
    files : addresses of the tables, by what they hold

    Raises
    ------
    ReportError
        The rates have no AUC.
    """
    rates = overall(frames["rates"])
    auc = pick(rates, "auc")
    if auc is None:
        raise ReportError(f"the rates of {table} have no AUC; make them again with rule evaluate_table")
    strata = frames["strata"]
    rows = [(metric_name(r["metric"], r["at"]), rate_cell(r)) for _, r in rates[rates["metric"].isin(METRICS)].iterrows()]
    limit = min(1.0, least_expected / max(1.0, auc["n_negatives"]))
    drawn = {"roc": [_shown("ROC", charts.roc({name: frames["roc"]}, limit))]}
    if len(strata):
        columns = charts.strata_columns({name: strata})
        drawn["strata"] = [_shown(column_name(c), charts.strata({name: strata}, c, "auc", None)) for c in columns]
    return render(
        "scores.html",
        title=f"Scores {name}",
        said=f"AUC = {rate_text(auc)} of {count(auc['n_positives'])} positives and {count(auc['n_negatives'])} controls in {table}.",
        charts=drawn,
        rates=Grid(("Rate", "Value [interval]"), tuple(rows), "rates"),
        strata=_strata(strata),
        picture=data_uri(Path(picture).read_bytes()) if picture is not None else "",
        files=dict(files or {}),
    )


def _shown(label: str, figure) -> dict[str, str]:
    charts.settle(figure)
    return {"label": label, "svg": charts.svg(figure, f"{label} of the scores"), "pdf": ""}


def _strata(strata: pd.DataFrame) -> Grid | None:
    rows, notes = [], Footnotes()
    for _, row in strata[strata["metric"].isin(METRICS)].iterrows() if len(strata) else ():
        at = np.nan if pd.isna(row["at"]) else row["at"]
        value = rate_cell(row, mark=notes.mark(row["note"]) if not row["resolved"] else "")
        counts = [(int(row[n]), count(row[n])) for n in ("n_positives", "n_negatives")]
        rows.append((column_name(row["column"]), str(row["stratum"]), metric_name(row["metric"], at), value, *counts))
    heads = ("Column", "Stratum", "Metric", "Value [interval]", "Positives", "Negatives")
    return Grid(heads, tuple(rows), "strata-table", ("Column", "Metric"), {"Metric": "AUC"}, notes.numbered()) if rows else None
