"""The section on robustness: networks on every test dataset, what each loses, and what velocity still adds."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..core.csv_tables import read_csv
from ..evaluation.tidy import count, is_number, pick, rate_text, tidy
from . import charts
from .context import ReportContext
from .frames import metric_name
from .grids import Cell, Grid, flat, interval_cell, sort_value


@dataclass(frozen=True)
class Robustness:
    """Networks × test datasets: the table, what each test dataset is, and which of them are variants."""

    grid: Grid
    notes: tuple[tuple[str, str], ...]
    several: bool
    variants: tuple[str, ...]
    home: str


def read_robustness(path: str | os.PathLike) -> pd.DataFrame:
    """Return a table of robustness, names as text whatever they look like."""
    frame = read_csv(path)
    # Rates are those of the committee; the readers of evaluation tables ask for a seed.
    return tidy(frame.assign(seed="committee")).drop(columns=["seed", "column", "stratum"])


def robustness_section(context: ReportContext) -> Robustness | None:
    """Return networks × test datasets with AUC and its change, and what the test datasets are; None for one dataset."""
    frame = context.robustness
    if not len(frame):
        return None
    tests, home, variants = names(frame), context.experiment.home, context.experiment.robustness
    of_training = " test stamps of the training dataset" if home == context.experiment.dataset else ""
    notes = {home: _counts(frame, home) + of_training}
    for variant, overlay in variants.items():
        changed = ", ".join(f"{key} = {text}" for key, text in flat(overlay))
        notes[variant] = f"{changed} ({_counts(frame, variant)} stamps)"
    for test in (t for t in tests if t not in notes):
        description = getattr(context.test_datasets.get(test), "description", "")
        notes[test] = f"{description or 'another test dataset'} ({_counts(frame, test)} stamps)"
    rows = tuple((who, *(_cell(part, test) for test in tests)) for who, part in _lines(frame))
    grid = Grid((f"AUC, and its change from {home}", *tests), rows, "robustness-table")
    return Robustness(grid, tuple(notes.items()), len(tests) > len(variants) + 1, tuple(variants), home)


def robustness_charts(frame: pd.DataFrame) -> dict[str, Figure]:
    """Return values with intervals over the test datasets, by what they show: rates, their changes, and gains over a baseline."""
    out: dict[str, Figure] = {}
    own, gains = frame[frame["baseline"] == ""], frame[frame["baseline"] != ""]
    for metric, at in (("auc", None), ("tpr_at_fpr", _common_fpr(own))):
        if metric == "auc" or at is not None:
            called = metric_name(metric, np.nan if at is None else at)
            out[called] = _chart(_of(own, metric, at), called, 0.5 if metric == "auc" else None)
            out[f"change of {called}"] = _chart(_changes(_of(own, metric, at)), f"change of {called}", 0.0)
    if len(gains):
        out["ΔAUC over the baseline"] = _chart(_of(gains, "delta_auc", None), "ΔAUC over the baseline", 0.0)
    return out


def names(frame: pd.DataFrame) -> list[str]:
    """Return what the test datasets are called, home first: a variant by its own name."""
    return list(dict.fromkeys(_name(frame)))


def _name(frame: pd.DataFrame) -> pd.Series:
    return frame["variant"].where(frame["variant"] != "", frame["test_dataset"])


def _lines(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    groups = frame[["baseline", "detector"]].drop_duplicates().itertuples(index=False)
    return [
        (f"{network} − {baseline}" if baseline else network, frame[(frame["baseline"] == baseline) & (frame["detector"] == network)])
        for baseline, network in groups
    ]


def _cell(part: pd.DataFrame, test: str) -> Cell:
    gain = bool((part["baseline"] != "").any())
    row = pick(part[_name(part) == test], "delta_auc" if gain else "auc")
    change = ""
    if row is not None and is_number(row["difference"]):
        change = f"; {interval_cell(row, 'difference', 'difference_low', 'difference_high', sign=True)[1]}"
    return sort_value(row), rate_text(row, sign=gain) + change


def _counts(frame: pd.DataFrame, test: str) -> str:
    row = frame[_name(frame) == test].iloc[0]
    return count(row["n_positives"] + row["n_negatives"])


def _of(frame: pd.DataFrame, metric: str, at: float | None) -> pd.DataFrame:
    rows = frame[frame["metric"] == metric]
    return rows if at is None else rows[np.isclose(rows["at"], at)]


def _changes(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows[rows["difference"].notna()]
    return rows.assign(value=rows["difference"], low=rows["difference_low"], high=rows["difference_high"])


def _common_fpr(frame: pd.DataFrame) -> float | None:
    """Return the smallest FPR that every test dataset resolves."""
    shares = frame[frame["metric"] == "tpr_at_fpr"].groupby("at")["resolved"].all()
    return float(shares.index[shares].min()) if shares.any() else None


def _chart(rows: pd.DataFrame, title: str, line: float | None) -> Figure:
    counts = [f"{count(p)} positives, {count(n)} negatives" for p, n in zip(rows["n_positives"], rows["n_negatives"], strict=True)]
    rows = rows.assign(category=_name(rows), said=counts)
    series = {who: part[part["resolved"]] for who, part in _lines(rows)}
    return charts.by_category(series, "", title, order=names(rows), line=line, width=1.4 * charts.ONE_COLUMN_INCH)
