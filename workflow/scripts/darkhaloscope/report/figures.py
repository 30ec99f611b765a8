"""The interactive figures, as plotly specifications: plain dictionaries that the page hands to plotly.js."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from .frames import column_name, is_number, metric_name, number, quoted

#: Okabe and Ito's colours that have contrast on white, then their darker shades.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#B58900", "#7A4A9E")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "hexagon")
UNRESOLVED = "rgba(158, 158, 158, 0.22)"

Figure = dict[str, Any]


def style(networks: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return each network's colour, dash and symbol: never colour alone."""
    return {
        name: {"colour": COLOURS[i % len(COLOURS)], "dash": DASHES[i % len(DASHES)], "symbol": SYMBOLS[i % len(SYMBOLS)]}
        for i, name in enumerate(networks)
    }


def roc_figure(curves: Mapping[str, pd.DataFrame], limit: float) -> Figure:
    """Return ROC curves on a logarithmic FPR axis.

    Parameters
    ----------
    curves : mapping of network to DataFrame with `fpr` and `tpr`
    limit : float
        Smallest FPR that the sample resolves; the curves end there, and the axis is shaded below it.
    """
    looks = style(curves)
    lowest = np.log10(limit) - 1
    traces = []
    for name, curve in curves.items():
        seen = curve[curve["fpr"] >= limit * (1 - 1e-9)].sort_values(["fpr", "tpr"])
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": seen["fpr"].tolist(),
                "y": seen["tpr"].tolist(),
                "line": {"color": looks[name]["colour"], "dash": looks[name]["dash"], "width": 2, "shape": "hv"},
                "hovertemplate": f"{name}<br>FPR %{{x:.2e}}<br>TPR %{{y:.3f}}<extra></extra>",
            }
        )
    chance = np.geomspace(10**lowest, 1, 60)
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "chance",
            "x": chance.tolist(),
            "y": chance.tolist(),
            "line": {"color": "#57606a", "width": 1, "dash": "dot"},
            "hoverinfo": "skip",
        }
    )
    layout = plain_layout("False-positive rate", "True-positive rate")
    layout["xaxis"] |= {"type": "log", "range": [lowest, 0], "exponentformat": "power", "dtick": 1}
    layout["yaxis"] |= {"range": [0, 1.02]}
    layout["shapes"] = [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": 10**lowest,
            "x1": limit,
            "y0": 0,
            "y1": 1,
            "fillcolor": UNRESOLVED,
            "line": {"width": 0},
        }
    ]
    layout["annotations"] = [_note("not resolved by this sample", x=(lowest + np.log10(limit)) / 2, y=0.97, textangle=-90, yanchor="top")]
    return {"data": traces, "layout": layout}


def history_figure(histories: Mapping[tuple[str, int], pd.DataFrame], quantity: str) -> Figure:
    """Return training curves: `quantity` is `loss`, `auc` or `accuracy`; validation is drawn solid, training dotted."""
    looks = style(dict.fromkeys(network for network, _ in histories))
    traces, met = [], set()
    for (network, seed), history in histories.items():
        for split, dash, width in (("val", "solid", 2), ("train", "dot", 1.2)):
            column = f"{split}_{quantity}"
            if column not in history:
                continue
            group = f"{network}, {'validation' if split == 'val' else 'training'}"
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": group,
                    "legendgroup": group,
                    "showlegend": group not in met,
                    "x": history["epoch"].tolist(),
                    "y": history[column].tolist(),
                    "line": {"color": looks[network]["colour"], "dash": dash, "width": width},
                    "marker": {"symbol": looks[network]["symbol"], "size": 5},
                    "hovertemplate": f"{group}, seed {seed}<br>epoch %{{x}}<br>%{{y:.4f}}<extra></extra>",
                }
            )
            met.add(group)
    layout = plain_layout("Epoch", {"loss": "Loss", "auc": "ROC AUC", "accuracy": "Accuracy"}[quantity])
    return {"data": traces, "layout": layout}


def strata_figure(strata: Mapping[str, pd.DataFrame], column: str, metric: str, at: float | None) -> Figure:
    """Return one metric of every network per stratum of a column, with intervals; unresolved rates are left out and said so."""
    looks = style(strata)
    traces, order, missing = [], [], 0
    for i, (name, frame) in enumerate(strata.items()):
        rows = frame[(frame["column"] == column) & (frame["metric"] == metric)]
        if at is not None:
            rows = rows[np.isclose(rows["at"], at)]
        order += [s for s in rows["stratum"] if s not in order]
        missing += int((~rows["resolved"]).sum())
        rows = rows[rows["resolved"] & rows["value"].notna()]
        traces.append(interval_trace(rows, rows["stratum"].tolist(), name, looks[name], rows["stratum"].tolist()))
        traces[-1]["offsetgroup"] = str(i)
    layout = plain_layout(column_name(column), metric_name(metric, at if at is not None else np.nan))
    layout["xaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": order}
    layout["scattermode"], layout["scattergap"] = "group", 0.4
    drawn = [v for t in traces for v in t["y"]]
    reach = [v - e for t in traces for v, e in zip(t["y"], t["error_y"]["arrayminus"], strict=True)] + [0.45]
    layout["yaxis"]["range"] = [max(0.0, min(reach) - 0.03), 1.02] if metric == "auc" and drawn else [0, 1.02]
    if missing:
        layout["annotations"] = [
            _note(f"{missing} unresolved rates are not drawn", x=0.01, y=0.99, xref="paper", yref="paper", xanchor="left", yanchor="top")
        ]
    if metric == "auc":
        layout["shapes"] = [chance_line()]
    return {"data": traces, "layout": layout}


def comparison_figure(rows: pd.DataFrame, baseline: str, network: str) -> Figure:
    """Return paired differences of one metric by stratum as a forest plot, zero marked."""
    rows = rows[rows["resolved"] & rows["value"].notna()]
    labels = [
        "all stamps" if c == "all stamps" else f"{c}: {s}" for c, s in zip(rows["column"].map(column_name), rows["stratum"], strict=True)
    ]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": rows["value"].tolist(),
        "y": labels,
        "error_x": errors(rows),
        "marker": {"color": COLOURS[0], "size": 7, "symbol": ["diamond" if label == "all stamps" else "circle" for label in labels]},
        "customdata": [
            [number(v, sign=True), number(a, sign=True) if is_number(a) else "–", number(b, sign=True) if is_number(b) else "–"]
            for v, a, b in zip(rows["value"], rows["low"], rows["high"], strict=True)
        ],
        "hovertemplate": "%{y}<br>%{customdata[0]} [%{customdata[1]}, %{customdata[2]}]<extra></extra>",
    }
    name = metric_name(rows["metric"].iloc[0], rows["at"].iloc[0]) if len(rows) else "difference"
    layout = plain_layout(f"{name}: {network} minus {baseline}", "")
    layout["yaxis"] |= {"type": "category", "autorange": "reversed", "automargin": True}
    layout["xaxis"] |= {"zeroline": True, "zerolinewidth": 2, "zerolinecolor": "#1b1f24"}
    layout["showlegend"] = False
    layout["height"] = 120 + 24 * max(4, len(labels))
    return {"data": [trace], "layout": layout}


def information_figure(bins: pd.DataFrame) -> Figure:
    """Return every network's AUC beside the ideal observer's, by bin of the ideal d′.

    Parameters
    ----------
    bins : DataFrame
        `network`, `stratum`, `value`, `low`, `high` of the network's AUC and `ideal`, the ideal observer's.
    """
    networks = list(dict.fromkeys(bins["network"]))
    looks = style(networks)
    order = list(dict.fromkeys(bins["stratum"]))
    traces = []
    for i, name in enumerate(networks):
        rows = bins[bins["network"] == name]
        trace = interval_trace(
            rows,
            rows["stratum"].tolist(),
            name,
            looks[name],
            [f"{s}; ideal observer {number(v) if is_number(v) else '–'}" for s, v in zip(rows["stratum"], rows["ideal"], strict=True)],
        )
        trace |= {"offsetgroup": str(i), "legendgroup": name}
        traces.append(trace)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"ideal observer of {name}",
                "legendgroup": name,
                "showlegend": False,
                "offsetgroup": str(i),
                "x": rows["stratum"].tolist(),
                "y": rows["ideal"].tolist(),
                "marker": {
                    "symbol": "line-ew-open",
                    "size": 15,
                    "line": {"width": 2.5, "color": looks[name]["colour"]},
                    "color": looks[name]["colour"],
                },
                "hovertemplate": f"ideal observer on the channels of {name}<br>%{{x}}<br>AUC %{{y:.4f}}<extra></extra>",
            }
        )
    layout = plain_layout("Ideal observer's d′ in the network's channels", "AUC")
    layout["xaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": order}
    layout["yaxis"] |= {"range": [0.4, 1.03]}
    layout["scattermode"], layout["scattergap"] = "group", 0.4
    layout["shapes"] = [chance_line()]
    return {"data": traces, "layout": layout}


def strata_columns(strata: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the columns that strata were made of, in their order."""
    return list(dict.fromkeys(c for frame in strata.values() for c in quoted(frame)["column"]))


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: numpy scalars as Python ones, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if value is pd.NA or value is pd.NaT:
        return None
    return value


def interval_trace(rows: pd.DataFrame, x: list[str], name: str, look: Mapping[str, str], said: list[str]) -> Figure:
    """Return values with intervals as one trace, with what is said of each."""
    shown = [
        f"{s}<br>{number(v)} [{number(a) if is_number(a) else '–'}, {number(b) if is_number(b) else '–'}]"
        for s, v, a, b in zip(said, rows["value"], rows["low"], rows["high"], strict=True)
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x,
        "y": rows["value"].tolist(),
        "error_y": errors(rows),
        "marker": {"color": look["colour"], "symbol": look["symbol"], "size": 8},
        "text": shown,
        "hovertemplate": f"{name}<br>%{{text}}<extra></extra>",
    }


def errors(rows: pd.DataFrame) -> Figure:
    """Return the error bars of rows with `value`, `low` and `high`."""
    above, below = (rows["high"] - rows["value"]).clip(lower=0), (rows["value"] - rows["low"]).clip(lower=0)
    return {"type": "data", "symmetric": False, "array": above.tolist(), "arrayminus": below.tolist(), "thickness": 1.4, "width": 3}


def chance_line() -> Figure:
    """Return the line of an AUC of one half."""
    return {
        "type": "line",
        "xref": "paper",
        "yref": "y",
        "x0": 0,
        "x1": 1,
        "y0": 0.5,
        "y1": 0.5,
        "line": {"color": "#57606a", "width": 1, "dash": "dot"},
    }


def _note(text: str, **place: Any) -> Figure:
    return {"text": text, "showarrow": False, "font": {"size": 11, "color": "#57606a"}, "xref": "x", "yref": "paper", **place}


def plain_layout(x: str, y: str) -> Figure:
    """Return the layout that all figures share, with the titles of both axes."""
    axis = {"gridcolor": "#e6e9ed", "linecolor": "#57606a", "ticks": "outside", "zeroline": False, "automargin": True}
    return {
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1b1f24"},
        "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        "margin": {"l": 60, "r": 20, "t": 30, "b": 50},
        "xaxis": {**axis, "title": {"text": x}},
        "yaxis": {**axis, "title": {"text": y}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hoverlabel": {"bgcolor": "#fff", "bordercolor": "#57606a", "font": {"color": "#1b1f24"}},
    }


def fpr_limit(n_negatives: float, min_expected_fp: float) -> float:
    """Return the smallest FPR that a number of negatives resolves."""
    return min(1.0, min_expected_fp / max(1.0, n_negatives))
