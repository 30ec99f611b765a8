"""The charts of the pages, each drawn once: one matplotlib figure is the SVG in the page and the PDF and PNG beside it.

matplotlib rather than a library of interactive charts, because one definition then serves page and print: nothing is drawn
by script, so that charts print, and a page needs no 5 MB of it. Points say their values where the pointer rests on them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..evaluation.tidy import is_number, number, quoted
from .frames import column_name, metric_name

#: Okabe and Ito's colours that have contrast on white, then their darker shades.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#B58900", "#7A4A9E")
LINES = ("-", "--", ":", "-.", (0, (8, 3)), (0, (8, 3, 2, 3)), "-", "--")
MARKERS = ("o", "s", "D", "^", "X", "P", "*", "h")
#: Widths of a journal's columns.
ONE_COLUMN_INCH, TWO_COLUMNS_INCH = 88 / 25.4, 180 / 25.4
DPI = 300
SIZE = 7
_SOFT = "0.35"
#: What `_tip` writes before the text that a point shows, as the id of its group in the SVG.
_TIP = "tip: "


def styles(names: Iterable[str]) -> dict[str, dict]:
    """Return each name's colour, line and marker: never colour alone."""
    looks = zip(COLOURS, LINES, MARKERS, strict=True)
    cycle = [{"color": c, "ls": line, "marker": m} for c, line, m in looks]
    return {name: cycle[i % len(cycle)] for i, name in enumerate(names)}


# --- charts ----------------------------------------------------------------------------------


def roc(curves: Mapping[str, pd.DataFrame], limit: float) -> Figure:
    """Return ROC curves on a logarithmic FPR axis.

    Parameters
    ----------
    curves : mapping of network to DataFrame with `fpr` and `tpr`
    limit : float
        Smallest FPR that the sample resolves; the curves end there, and the axis is shaded below it.
    """
    figure, axes = _axes("False-positive rate", "True-positive rate")
    for name, look in styles(curves).items():
        curve = curves[name]
        seen = curve[curve["fpr"] >= limit * (1 - 1e-9)].sort_values(["fpr", "tpr"])
        (line,) = axes.step(seen["fpr"], seen["tpr"], where="post", color=look["color"], ls=look["ls"], lw=1.3, label=name)
        _tip(line, name)
    chance = np.geomspace(limit / 10, 1, 50)
    axes.plot(chance, chance, color="0.4", lw=0.7, ls=":", label="chance")
    axes.axvspan(limit / 10, limit, color="0.9", lw=0)
    axes.text(limit / 10**0.5, 0.98, "not resolved", rotation=90, va="top", ha="center", size=SIZE - 0.5, color=_SOFT)
    axes.set(xscale="log", xlim=(limit / 10, 1), ylim=(0, 1.02))
    _legend(figure, axes)
    return figure


def history(histories: Mapping[tuple[str, int], pd.DataFrame], quantity: str) -> Figure:
    """Return training curves: `quantity` is `loss`, `auc` or `accuracy`; validation is drawn solid, training dotted."""
    figure, axes = _axes("Epoch", {"loss": "Loss", "auc": "AUC", "accuracy": "Accuracy"}[quantity])
    looks = styles(dict.fromkeys(network for network, _ in histories))
    met: set[str] = set()
    for (network, seed), epochs in histories.items():
        for split, line, width in (("val", "-", 1.3), ("train", ":", 0.9)):
            if f"{split}_{quantity}" in epochs:
                label = network if split == "val" and network not in met else None
                look = {**looks[network], "ls": line}
                (drawn,) = axes.plot(epochs["epoch"], epochs[f"{split}_{quantity}"], **look, lw=width, ms=2.5, label=label)
                _tip(drawn, f"{network}, seed {seed}, {'validation' if split == 'val' else 'training'}")
        met.add(network)
    _legend(figure, axes)
    return figure


def strata(frames: Mapping[str, pd.DataFrame], column: str, metric: str, at: float | None) -> Figure:
    """Return one metric of every network per stratum of a column, with intervals; unresolved rates are left out and said so."""
    rows = {name: _of(frame, column, metric, at) for name, frame in frames.items()}
    order = list(dict.fromkeys(s for part in rows.values() for s in part["stratum"]))
    missing = sum(int((~part["resolved"]).sum()) for part in rows.values())
    figure = by_category(
        {name: part[part["resolved"]].rename(columns={"stratum": "category"}) for name, part in rows.items()},
        column_name(column),
        metric_name(metric, at if at is not None else np.nan),
        order=order,
        line=0.5 if metric == "auc" else None,
        note=f"{missing} unresolved rate{'' if missing == 1 else 's'} not drawn" if missing else "",
    )
    if metric != "auc":
        figure.axes[0].set_ylim(0, 1.02)
    return figure


def by_category(
    series: Mapping[str, pd.DataFrame],
    x: str,
    y: str,
    *,
    order: Sequence[str],
    line: float | None = None,
    note: str = "",
    width: float = ONE_COLUMN_INCH,
) -> Figure:
    """Return values with intervals beside one another in categories.

    Parameters
    ----------
    series : mapping of name to DataFrame
        `category`, `value`, `low`, `high`; `ideal` is drawn as a bar where there is one, `said` is shown at a point.
    x, y : titles of the axes
    order : categories as they stand on the axis
    line : value that is marked by a dotted line
    note : a line within the chart
    """
    figure, axes = _axes(x, y, width)
    for i, (name, look) in enumerate(styles(series).items()):
        rows = series[name][series[name]["value"].notna()]
        places = np.array([order.index(c) for c in rows["category"]]) + (i - (len(series) - 1) / 2) * 0.6 / max(1, len(series))
        _intervals(axes, places, rows, look, name)
        if "ideal" in rows:
            axes.scatter(places, rows["ideal"], marker="_", s=42, lw=1.4, color=look["color"])
    if line is not None:
        axes.axhline(line, color="0.4", lw=0.7, ls=":")
    if note:
        axes.text(0.02, 0.02, note, transform=axes.transAxes, size=SIZE - 1, color=_SOFT)
    long = len("".join(order)) > 40 * width / ONE_COLUMN_INCH
    axes.set_xticks(range(len(order)), order, rotation=30 if long else 0, ha="right" if long else "center")
    axes.set_xlim(-0.5, max(len(order), 1) - 0.5)
    _legend(figure, axes)
    return figure


def comparison(rows: pd.DataFrame, baseline: str, network: str) -> Figure:
    """Return paired differences of one metric by stratum as a forest plot, zero marked."""
    rows = rows[rows["resolved"] & rows["value"].notna()]
    name = metric_name(rows["metric"].iloc[0], rows["at"].iloc[0]) if len(rows) else "difference"
    figure, axes = _axes(f"{name}: {network} − {baseline}", "", height=0.7 + 0.14 * max(4, len(rows)))
    labels = [c if c == "all stamps" else f"{c}: {s}" for c, s in zip(rows["column"].map(column_name), rows["stratum"], strict=True)]
    axes.axvline(0, color="0.2", lw=0.8)
    _intervals(axes, np.arange(len(rows)), rows.assign(category=labels), styles([network])[network], None, across=True)
    axes.set_yticks(np.arange(len(rows)), labels, fontsize=SIZE - 1)
    axes.invert_yaxis()
    return figure


def rounds(frame: pd.DataFrame) -> Figure:
    """Return the false-positive rate against completeness of every round: `round`, `completeness`, `value`, `low`, `high`."""
    figure, axes = _axes("Completeness", "False-positive rate")
    looks = styles(f"round {which}" for which in dict.fromkeys(frame["round"]))
    for (which, rows), (name, look) in zip(frame.groupby("round"), looks.items(), strict=True):
        axes.plot(rows["completeness"], rows["value"], color=look["color"], ls=look["ls"], lw=0.9)
        _intervals(axes, rows["completeness"].to_numpy(), rows.assign(category=f"round {which}"), look, name)
    axes.set_yscale("log")
    _legend(figure, axes)
    return figure


def histogram(groups: Mapping[str, np.ndarray], label: str) -> Figure:
    """Return the distribution of one column by group, as shares of each group's stamps in common bins."""
    figure, axes = _axes(label, "Share of stamps", height=0.6 * ONE_COLUMN_INCH)
    values = np.concatenate([v for v in groups.values()]) if groups else np.zeros(0)
    span = np.percentile(values, [0.5, 99.5]) if len(values) else (0.0, 1.0)
    edges = np.linspace(*span, 25) if span[1] > span[0] else np.array([span[0] - 0.5, span[0] + 0.5])
    if span[0] > 0 and span[1] > 30 * span[0]:
        edges = np.geomspace(*span, 25)
        axes.set_xscale("log")
    for name, look in styles(groups).items():
        if len(groups[name]):
            shares = np.full(len(groups[name]), 1 / len(groups[name]))
            kept = np.clip(groups[name], edges[0], edges[-1])
            axes.hist(kept, edges, weights=shares, histtype="step", color=look["color"], ls=look["ls"], lw=1.2, label=name)
    _legend(figure, axes)
    return figure


def strata_columns(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the columns that strata were made of, in their order."""
    return list(dict.fromkeys(c for frame in frames.values() for c in quoted(frame)["column"]))


# --- files -----------------------------------------------------------------------------------


def settle(figure: Figure) -> None:
    """Lay a figure out once: it is written in three formats, and laying out takes most of the time."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as `name.pdf` and `name.png`; the same figure gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    figure.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})


def png(figure: Figure, dpi: int = 150) -> bytes:
    """Return a figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure, name: str) -> str:
    """Return a figure as an SVG element for a page: text as text, and what `_tip` says of a point at that point.

    `name` tells its definitions from those of the page's other charts.
    """
    buffer = io.StringIO()
    # The ids of clipping paths and markers are hashes with this salt: the same name gives the same bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(rf'<g id="{_TIP}([^"]*)">', r"<g><title>\1</title>", text[text.index("<svg") :])
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1)
    # Markers are defined once and used by reference; other ids serve nothing and would stand on a page more than once.
    used = set(re.findall(r'#([\w-]+)["\)]', text))
    return re.sub(r' id="([\w-]+)"', lambda found: found[0] if found[1] in used else "", text)


def figure_of(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


# --- helpers ---------------------------------------------------------------------------------


def _axes(x: str, y: str, width: float = ONE_COLUMN_INCH, height: float = 0.74 * ONE_COLUMN_INCH):
    figure = figure_of(width, height)
    axes = figure.subplots()
    axes.tick_params(direction="in", top=True, right=True, labelsize=SIZE - 0.5, which="both")
    axes.set_xlabel(x, fontsize=SIZE)
    axes.set_ylabel(y, fontsize=SIZE)
    return figure, axes


def _legend(figure: Figure, axes) -> None:
    labels = axes.get_legend_handles_labels()[1]
    if labels:
        place = {"loc": "outside upper left", "ncols": min(4, len(labels)), "columnspacing": 1.2}
        figure.legend(*axes.get_legend_handles_labels(), **place, frameon=False, fontsize=SIZE - 0.5)


def _of(frame: pd.DataFrame, column: str, metric: str, at: float | None) -> pd.DataFrame:
    rows = frame[(frame["column"] == column) & (frame["metric"] == metric)]
    return rows if at is None else rows[np.isclose(rows["at"], at)]


def _intervals(axes, places: np.ndarray, rows: pd.DataFrame, look: Mapping, label: str | None, *, across: bool = False) -> None:
    """Draw values with their intervals at `places`, each point with its text; `across` lays the values along x."""
    values = rows["value"].to_numpy(float)
    errors = np.clip(np.nan_to_num(np.array([values - rows["low"], rows["high"] - values], float)), 0, None)
    marker = {"color": look["color"], "marker": look["marker"], "ls": "", "ms": 3.2}
    place, bars = ((values, places), {"xerr": errors}) if across else ((places, values), {"yerr": errors})
    axes.errorbar(*place, **bars, fmt="none", lw=0.9, color=look["color"])
    for x, y, (_, row) in zip(*place, rows.iterrows(), strict=True):
        (point,) = axes.plot([x], [y], **marker)
        ends = [number(row[k], sign=across) if is_number(row[k]) else "–" for k in ("low", "high")]
        said = f", {row['said']}" if "said" in rows else ""
        _tip(point, f"{label + ', ' if label else ''}{row['category']}: {number(row['value'], sign=across)} [{ends[0]}, {ends[1]}]{said}")
    if label:
        axes.plot([], [], **marker, label=label)


def _tip(artist, text: str) -> None:
    artist.set_gid(_TIP + text)
