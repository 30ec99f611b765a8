"""Pictures of completeness surfaces: cells with counts beside the smooth fit."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..evaluation.selection import Selection
from .frames import column_name, power

#: An edge at or above this stands for infinity and is drawn at the axis' end.
UNBOUNDED = 1e8


def draw_completeness(cells: pd.DataFrame, selections: Sequence[Selection]) -> Figure:
    """Return one row of pictures per surface, at the lowest FPR that is resolved: cells, number of positives in each; the fit.

    A third column is shown by its middle cell, which the title names.

    Parameters
    ----------
    cells : `map_completeness`'s
    selections : its smooth fits
    """
    drawn = cells.dropna(subset=["fpr"])
    keys = [(d, s, part["fpr"].min()) for (d, s), part in drawn.groupby(["test_dataset", "surface"], sort=False)]
    figure, axes = plt.subplots(max(len(keys), 1), 2, figsize=(9, 3.8 * max(len(keys), 1)), squeeze=False, layout="constrained")
    if not keys:
        axes[0, 0].text(0.5, 0.5, "no threshold is resolved", ha="center")
    for (dataset, surface, fpr), (left, right) in zip(keys, axes, strict=False):
        part = drawn[(drawn["test_dataset"] == dataset) & (drawn["surface"] == surface) & (drawn["fpr"] == fpr)]
        fit = next(
            (s for s in selections if (s.about["test_dataset"], s.about["surface"], s.about["fpr"]) == (dataset, surface, fpr)), None
        )
        _draw_cells(left, part, f"{dataset}, FPR {power(fpr)}")
        _draw_fit(right, fit, left)
    return figure


def _draw_cells(axis, part: pd.DataFrame, title: str) -> None:
    if part["z"].notna().any():
        lows = np.unique(part["z_low"])
        part = part[part["z_low"] == lows[len(lows) // 2]]
        title += f"\n{column_name(part['z'].iloc[0])} {part['z_low'].iloc[0]:.4g}–{part['z_high'].iloc[0]:.4g}"
    for cell in part.itertuples():
        x, y = (_ends(getattr(cell, f"{k}_low"), getattr(cell, f"{k}_high")) for k in "xy")
        colour = plt.get_cmap("viridis")(cell.completeness) if cell.n else "0.9"
        axis.fill_between(x, y[0], y[1], color=colour, lw=0)
        if cell.n:
            axis.text(np.mean(x), np.mean(y), f"{cell.completeness:.2f}\n{cell.n}", ha="center", va="center", fontsize=6,
                      color="white" if cell.completeness < 0.6 else "black")  # fmt: skip
    axis.set(xlabel=column_name(part["x"].iloc[0]), ylabel=column_name(part["y"].iloc[0]), title=title)
    axis.margins(0)


def _draw_fit(axis, fit: Selection | None, beside) -> None:
    axis.set(xlabel=beside.get_xlabel(), ylabel=beside.get_ylabel(), xlim=beside.get_xlim(), ylim=beside.get_ylim(), title="smooth fit")
    if fit is None:
        axis.text(0.5, 0.5, "too few positives for a fit", ha="center", transform=axis.transAxes)
        return
    x, y = np.linspace(*axis.get_xlim(), 80), np.linspace(*axis.get_ylim(), 80)
    grid = np.meshgrid(x, y)
    catalogue = {a.name: np.full(grid[0].size, np.median(a.knots)) for a in fit.axes}
    catalogue |= {a.name: g.ravel() for a, g in zip(fit.axes, grid, strict=False)}
    shown = np.where(fit.within(catalogue), fit.completeness(catalogue), np.nan).reshape(grid[0].shape)
    image = axis.pcolormesh(x, y, shown, cmap="viridis", vmin=0, vmax=1, rasterized=True)
    axis.figure.colorbar(image, ax=axis, label="completeness")


def _ends(low: float, high: float) -> tuple[float, float]:
    return low, high if high < UNBOUNDED else low + max(abs(low), 1.0)
