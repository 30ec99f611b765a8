"""The figures at journal width, as PDF and PNG: 88 mm for one column, 180 mm for two."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from .context import Pairs, Sources
from .figures import COLOURS, style
from .frames import column_name, metric_name
from .pictures import flux_colours, stretch_flux, velocity_colours, velocity_limit

ONE_COLUMN_INCH = 88 / 25.4
TWO_COLUMNS_INCH = 180 / 25.4
DPI = 300
_SIZE = 7
#: matplotlib's line styles, in the order of the interactive figures' dashes.
_LINES = ("-", "--", ":", "-.", (0, (8, 3)), (0, (8, 3, 2, 3)), "-", "--")
MARKERS = ("o", "s", "D", "^", "x", "+", "*", "h")


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


def print_roc(curves: Mapping[str, pd.DataFrame], limit: float) -> Figure:
    """Return the ROC curves down to the smallest FPR that the sample resolves."""
    figure, axes = _one(ONE_COLUMN_INCH, 0.82 * ONE_COLUMN_INCH)
    for i, (name, curve) in enumerate(curves.items()):
        seen = curve[curve["fpr"] >= limit * (1 - 1e-9)].sort_values(["fpr", "tpr"])
        axes.step(
            seen["fpr"], seen["tpr"], where="post", color=style(curves)[name]["colour"], ls=_LINES[i % len(_LINES)], lw=1.2, label=name
        )
    chance = np.geomspace(limit / 10, 1, 50)
    axes.plot(chance, chance, color="0.4", lw=0.7, ls=":", label="chance")
    axes.axvspan(limit / 10, limit, color="0.88", lw=0)
    axes.text(limit / 10**0.5, 0.98, "not resolved", rotation=90, va="top", ha="center", size=_SIZE - 1, color="0.35")
    axes.set(xscale="log", xlim=(limit / 10, 1), ylim=(0, 1.02), xlabel="False-positive rate", ylabel="True-positive rate")
    axes.legend(frameon=False, fontsize=_SIZE - 0.5)
    return figure


def print_histories(histories: Mapping[tuple[str, int], pd.DataFrame]) -> Figure:
    """Return loss and AUC per epoch; validation solid, training dotted."""
    figure = figure_of(TWO_COLUMNS_INCH, 0.36 * TWO_COLUMNS_INCH)
    left, right = figure.subplots(1, 2)
    looks = style(dict.fromkeys(network for network, _ in histories))
    markers = dict(zip(looks, MARKERS * len(looks), strict=False))
    for axes, quantity, label in ((left, "loss", "Loss"), (right, "auc", "ROC AUC")):
        met: set[str] = set()
        for (network, _), history in histories.items():
            for split, line, width in (("val", "-", 1.2), ("train", ":", 0.9)):
                if f"{split}_{quantity}" in history:
                    name = network if split == "val" and network not in met else None
                    axes.plot(
                        history["epoch"],
                        history[f"{split}_{quantity}"],
                        color=looks[network]["colour"],
                        ls=line,
                        lw=width,
                        marker=markers[network],
                        ms=2.5,
                        label=name,
                    )
            met.add(network)
        axes.set(xlabel="Epoch", ylabel=label)
        finish(axes)
    left.legend(frameon=False, fontsize=_SIZE - 0.5, title="validation (training dotted)", title_fontsize=_SIZE - 0.5)
    return figure


def print_strata(strata: Mapping[str, pd.DataFrame], column: str, metric: str, at: float | None) -> Figure:
    """Return one metric per stratum of a column; unresolved rates are left out."""
    figure, axes = _one(ONE_COLUMN_INCH, 0.78 * ONE_COLUMN_INCH)
    looks = style(strata)
    order: list[str] = []
    for i, (name, frame) in enumerate(strata.items()):
        rows = frame[(frame["column"] == column) & (frame["metric"] == metric)]
        if at is not None:
            rows = rows[np.isclose(rows["at"], at)]
        order += [s for s in rows["stratum"] if s not in order]
        rows = rows[rows["resolved"] & rows["value"].notna()]
        x = [order.index(s) + (i - (len(strata) - 1) / 2) * 0.6 / max(1, len(strata)) for s in rows["stratum"]]
        draw_intervals(axes, x, rows, looks[name]["colour"], MARKERS[i % len(MARKERS)], name)
    if metric == "auc":
        axes.axhline(0.5, color="0.4", lw=0.7, ls=":")
    axes.set_xticks(
        range(len(order)), order, rotation=30 if len("".join(order)) > 40 else 0, ha="right" if len("".join(order)) > 40 else "center"
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel=column_name(column), ylabel=metric_name(metric, at if at is not None else np.nan))
    figure.legend(loc="outside upper center", ncols=min(4, max(1, len(strata))), frameon=False, fontsize=_SIZE - 0.5, columnspacing=1.2)
    return figure


def print_comparison(rows: pd.DataFrame, baseline: str, network: str) -> Figure:
    """Return paired differences by stratum as a forest plot."""
    rows = rows[rows["resolved"] & rows["value"].notna()]
    figure, axes = _one(ONE_COLUMN_INCH, 0.7 + 0.13 * max(4, len(rows)))
    y = np.arange(len(rows))
    values = rows["value"].to_numpy(float)
    errors = np.clip(np.array([values - rows["low"], rows["high"] - values], float), 0, None)
    axes.axvline(0, color="0.2", lw=0.8)
    axes.errorbar(values, y, xerr=errors, fmt="o", ms=2.5, lw=0.9, color=COLOURS[0])
    labels = [c if c == "all stamps" else f"{c}: {s}" for c, s in zip(rows["column"].map(column_name), rows["stratum"], strict=True)]
    axes.set_yticks(y, labels, fontsize=_SIZE - 1.5)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.invert_yaxis()
    name = metric_name(rows["metric"].iloc[0], rows["at"].iloc[0]) if len(rows) else "difference"
    axes.set_xlabel(f"{name}: {network} − {baseline}")
    return figure


def print_information(bins: pd.DataFrame) -> Figure:
    """Return every network's AUC by bin of the ideal d′, and the ideal observer's as a bar."""
    figure, axes = _one(ONE_COLUMN_INCH, 0.78 * ONE_COLUMN_INCH)
    networks, order = list(dict.fromkeys(bins["network"])), list(dict.fromkeys(bins["stratum"]))
    looks = style(networks)
    for i, name in enumerate(networks):
        rows = bins[bins["network"] == name]
        x = np.array([order.index(s) + (i - (len(networks) - 1) / 2) * 0.6 / max(1, len(networks)) for s in rows["stratum"]])
        draw_intervals(axes, x, rows, looks[name]["colour"], MARKERS[i % len(MARKERS)], name)
        axes.scatter(x, rows["ideal"], marker="_", s=42, lw=1.4, color=looks[name]["colour"])
    axes.axhline(0.5, color="0.4", lw=0.7, ls=":")
    axes.set_xticks(range(len(order)), order, rotation=30, ha="right")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="Ideal observer's d′ (bars: its AUC)", ylabel="AUC", ylim=(0.4, 1.03))
    figure.legend(loc="outside upper center", ncols=min(4, max(1, len(networks))), frameon=False, fontsize=_SIZE - 0.5, columnspacing=1.2)
    return figure


def print_sources(sources: Sources) -> Figure:
    """Return source galaxies, flux above velocity."""
    n = len(sources.captions)
    figure = figure_of(TWO_COLUMNS_INCH, TWO_COLUMNS_INCH / max(n, 4) * 2.35)
    axes = figure.subplots(2, max(n, 4), squeeze=False)
    for i in range(max(n, 4)):
        for row in (0, 1):
            axes[row, i].set_axis_off()
        if i >= n:
            continue
        valid = sources.valid[i].astype(bool)
        flux, velocity = sources.flux[i], np.where(valid, sources.velocity[i], np.nan)
        limit = velocity_limit(sources.velocity[i] - np.nanmedian(velocity), valid) if valid.any() else 100.0
        peak = np.nanpercentile(flux[valid], 99.5) if valid.any() else 1.0
        axes[0, i].imshow(stretch_flux(flux / max(peak, 1e-30)), origin="lower", cmap=flux_colours, vmin=0, vmax=1)
        axes[1, i].imshow(
            np.ma.masked_invalid(velocity - np.nanmedian(velocity)), origin="lower", cmap=velocity_colours, vmin=-limit, vmax=limit
        )
        axes[0, i].set_title(sources.captions[i].replace(" · ", "\n"), fontsize=_SIZE - 1, pad=2)
        axes[1, i].set_title(f"±{limit:.0f} km/s", fontsize=_SIZE - 1, pad=2)
    return figure


def print_pairs(pairs: Pairs, without: str, within: str) -> Figure:
    """Return each stamp `without` and `within` what is looked for, their difference, and as observed, in flux and velocity."""
    n = len(pairs.captions)
    width = TWO_COLUMNS_INCH / 8
    figure = figure_of(TWO_COLUMNS_INCH, n * (width + 0.28) + 0.15)
    rows = figure.subfigures(n, 1, squeeze=False, height_ratios=[width + 0.43, *[width + 0.28] * (n - 1)])[:, 0]
    axes = np.array([row.subplots(1, 8) for row in rows])
    heads = [f"flux, {without}", f"flux, {within}", "difference", "observed"]
    heads += [f"velocity, {without}", f"velocity, {within}", "difference", "observed"]
    for i in range(n):
        valid = pairs.mask[i].astype(bool)
        shown = valid.any()
        change = pairs.perturbed_flux[i] - pairs.smooth_flux[i]
        turn = np.ma.masked_where(~valid, pairs.perturbed_velocity[i] - pairs.smooth_velocity[i])
        peak = max(float(np.nanmax(pairs.smooth_flux[i])), 1e-30)
        limit = velocity_limit(pairs.smooth_velocity[i], valid)
        most, swing = max(float(np.nanmax(np.abs(change))) / peak, 1e-12), max(float(np.abs(turn).max()), 1e-12) if shown else 1.0
        fluxes = (pairs.smooth_flux[i], pairs.perturbed_flux[i], None, pairs.flux[i])
        speeds = (pairs.smooth_velocity[i], pairs.perturbed_velocity[i], None, pairs.velocity[i])
        for j in range(4):
            if j == 2:
                _panel(axes[i, 2], change / peak, velocity_colours, most, f"±{100 * most:.2g}% of peak" if most > 1e-6 else "none")
                _panel(axes[i, 6], turn, velocity_colours, swing, f"±{swing:.2g} km/s" if swing > 1e-6 else "none")
                continue
            axes[i, j].imshow(stretch_flux(fluxes[j] / peak), origin="lower", cmap=flux_colours, vmin=0, vmax=1)
            _panel(axes[i, 4 + j], np.ma.masked_where(~valid, speeds[j]), velocity_colours, limit, f"±{limit:.0f} km/s" if j == 0 else "")
        rows[i].suptitle(pairs.captions[i], fontsize=_SIZE - 1.5, x=0.012, ha="left")
        for j in range(8):
            axes[i, j].set(xticks=[], yticks=[])
            axes[i, j].minorticks_off()
            if i == 0:
                axes[i, j].set_title(heads[j], fontsize=_SIZE - 1.5, pad=3)
    return figure


def print_composites(groups: Sequence[tuple[str, Sequence[np.ndarray], Sequence[str]]]) -> Figure:
    """Return colour pictures of stamps, (size, size, 3) uint8 with north up, one row for each group's title, pictures and captions."""
    most = max(len(pictures) for _, pictures, _ in groups)
    side = TWO_COLUMNS_INCH / most
    figure = figure_of(TWO_COLUMNS_INCH, len(groups) * (side + 0.38))
    for row, (title, pictures, captions) in zip(figure.subfigures(len(groups), 1, squeeze=False)[:, 0], groups, strict=True):
        axes = row.subplots(1, most, squeeze=False)[0]
        for place, panel in enumerate(axes):
            panel.set_axis_off()
            if place < len(pictures):
                panel.imshow(pictures[place])
                panel.set_title(captions[place].replace(", ", "\n"), fontsize=_SIZE - 2.5, pad=2)
        row.suptitle(title, fontsize=_SIZE - 0.5, x=0.012, ha="left")
    return figure


def _panel(axes, image: np.ndarray, colours, limit: float, said: str) -> None:
    axes.imshow(image, origin="lower", cmap=colours, vmin=-limit, vmax=limit)
    axes.set_xlabel(said, fontsize=_SIZE - 2, labelpad=2)


def draw_intervals(axes, x, rows: pd.DataFrame, colour: str, marker: str, label: str) -> None:
    """Draw values with their intervals at the places `x`."""
    values = rows["value"].to_numpy(float)
    errors = np.clip(np.nan_to_num(np.array([values - rows["low"], rows["high"] - values], float)), 0, None)
    axes.errorbar(x, values, yerr=errors, fmt=marker, ms=3, lw=0.9, color=colour, label=label)


def _one(width: float, height: float):
    figure = figure_of(width, height)
    axes = figure.subplots()
    finish(axes)
    return figure, axes


def figure_of(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def finish(axes) -> None:
    """Give axes the ticks and type sizes that all figures share."""
    axes.tick_params(direction="in", top=True, right=True, labelsize=_SIZE - 0.5, which="both")
    axes.minorticks_on()
    axes.xaxis.label.set_size(_SIZE)
    axes.yaxis.label.set_size(_SIZE)
