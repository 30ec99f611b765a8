"""The section on robustness: networks on every test dataset, what each loses, and what velocity still adds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import NullLocator

from ..core.csv_tables import read_csv
from . import print_figures as printing
from .context import ReportContext
from .figures import Figure, chance_line, interval_trace, plain_layout, style
from .frames import count, is_number, metric_name, number, pick, rate_text, tidy
from .sections import flat, sort_value


def read_robustness(path: str | os.PathLike) -> pd.DataFrame:
    """Return a table of robustness, names as text whatever they look like."""
    frame = read_csv(path)
    # Rates are those of the committee; the readers of evaluation tables ask for a seed.
    return tidy(frame.assign(seed="committee")).drop(columns=["seed", "column", "stratum"])


def robustness_section(context: ReportContext) -> dict[str, Any] | None:
    """Return networks × test datasets with AUC and its change, and what the test datasets are; None for one dataset."""
    frame = context.robustness
    if not len(frame):
        return None
    tests, home = names(frame), context.experiment.home
    rows = [{"name": who, "cells": [_cell(part, test) for test in tests]} for who, part in _lines(frame)]
    notes = [
        (
            home,
            f"{_counts(frame, home)} test stamps of the training dataset" if home == context.experiment.dataset else _counts(frame, home),
        )
    ]
    for variant, overlay in context.experiment.robustness.items():
        changed = ", ".join(f"{key} = {text}" for key, text in flat(overlay))
        notes.append((variant, f"{changed} ({_counts(frame, variant)} stamps)"))
    for test in tests:
        if test not in dict(notes):
            description = getattr(context.test_datasets.get(test), "description", "")
            notes.append((test, f"{description or 'another test dataset'} ({_counts(frame, test)} stamps)"))
    return {"tests": tests, "home": home, "rows": rows, "notes": notes, "variants": list(context.experiment.robustness)}


def robustness_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Return dot plots with intervals over the test datasets, by what they show: rates, their changes, and gains over a baseline."""
    out: dict[str, Figure] = {}
    own, gains = frame[frame["baseline"] == ""], frame[frame["baseline"] != ""]
    for metric, at in (("auc", None), ("tpr_at_fpr", _common_fpr(own))):
        if metric == "auc" or at is not None:
            called = metric_name(metric, np.nan if at is None else at)
            out[called] = _dots(_of(own, metric, at), called, metric == "auc")
            out[f"change of {called}"] = _dots(_changes(_of(own, metric, at)), f"change of {called}", zero=True)
    if len(gains):
        out["ΔAUC over the baseline"] = _dots(_of(gains, "delta_auc", None), "ΔAUC over the baseline", zero=True)
    return out


def print_robustness(frame: pd.DataFrame) -> Drawing:
    """Return AUC and its change on every test dataset, at journal width."""
    order = names(frame)
    width = printing.TWO_COLUMNS_INCH
    figure = printing.figure_of(width, 0.42 * width)
    own = _of(frame[frame["baseline"] == ""], "auc", None)
    for axes, rows, label in zip(figure.subplots(1, 2), (own, _changes(own)), ("AUC", "Change of AUC"), strict=True):
        looks = style(dict.fromkeys(own["network"]))
        for i, network in enumerate(looks):
            part = rows[(rows["network"] == network) & rows["resolved"]]
            x = [order.index(name) + (i - (len(looks) - 1) / 2) * 0.6 / len(looks) for name in _name(part)]
            printing.draw_intervals(axes, x, part, looks[network]["colour"], printing.MARKERS[i % len(printing.MARKERS)], network)
        axes.axhline(0.5 if label == "AUC" else 0, color="0.4", lw=0.7, ls=":")
        axes.set(ylabel=label)
        printing.finish(axes)
        axes.set_xlim(-0.5, len(order) - 0.5)
        axes.set_xticks(range(len(order)), order, rotation=30, ha="right")
        axes.xaxis.set_minor_locator(NullLocator())
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(6, len(labels)), frameon=False, fontsize=6.5, columnspacing=1.2)
    return figure


def names(frame: pd.DataFrame) -> list[str]:
    """Return what the test datasets are called, home first: a variant by its own name."""
    return list(dict.fromkeys(_name(frame)))


def _name(frame: pd.DataFrame) -> pd.Series:
    return frame["variant"].where(frame["variant"] != "", frame["test_dataset"])


def _lines(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    groups = frame[["baseline", "network"]].drop_duplicates().itertuples(index=False)
    return [
        (f"{network} − {baseline}" if baseline else network, frame[(frame["baseline"] == baseline) & (frame["network"] == network)])
        for baseline, network in groups
    ]


def _cell(part: pd.DataFrame, test: str) -> tuple[float | str, str, str]:
    gain = bool((part["baseline"] != "").any())
    row = pick(part[_name(part) == test], "delta_auc" if gain else "auc")
    change = ""
    if row is not None and is_number(row["difference"]):
        change = f"{number(row['difference'], sign=True)} [{number(row['difference_low'], sign=True)}, {number(row['difference_high'], sign=True)}]"
    return sort_value(row), rate_text(row, sign=gain), change


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


def _dots(rows: pd.DataFrame, title: str, chance: bool = False, *, zero: bool = False) -> Figure:
    traces, looks = [], style(dict.fromkeys(who for who, _ in _lines(rows)))
    for i, (who, part) in enumerate(_lines(rows)):
        part = part[part["resolved"]]
        said = [f"{test}; {_said(row)}" for test, row in zip(_name(part), part.to_dict("records"), strict=True)]
        traces.append(interval_trace(part, _name(part).tolist(), who, looks[who], said) | {"offsetgroup": str(i)})
    layout = plain_layout("", title)
    layout["xaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": names(rows)}
    layout["scattermode"], layout["scattergap"] = "group", 0.4
    if zero:
        layout["yaxis"] |= {"zeroline": True, "zerolinewidth": 2, "zerolinecolor": "#1b1f24"}
    if chance:
        layout["shapes"] = [chance_line()]
        layout["yaxis"]["range"] = [max(0.0, rows["low"].min(skipna=True) - 0.03) if len(rows) else 0.0, 1.02]
    return {"data": traces, "layout": layout}


def _said(row: Mapping[str, Any]) -> str:
    return f"{count(row['n_positives'])} positives, {count(row['n_negatives'])} negatives"
