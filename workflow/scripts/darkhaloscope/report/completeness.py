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
from ..evaluation.tidy import power
from .frames import column_name

#: An edge at or above this stands for infinity and is drawn at the axis' end.
UNBOUNDED = 1e8
#: Share of the axis below which a cell has no room for its numbers.
_NARROW = 0.06


def draw_completeness(cells: pd.DataFrame, selections: Sequence[Selection]) -> Figure:
    """Return one row of pictures per surface, at the lowest FPR that is resolved: cells, number of positives in each; the fit.

    A third column has a row of pictures for each of its cells, which the title names; the fit is that at its middle.

    Parameters
    ----------
    cells : `map_completeness`'s
    selections : its smooth fits
    """
    drawn = cells.dropna(subset=["fpr"])
    rows = [
        ((dataset, surface, part["fpr"].min()), cells)
        for (dataset, surface), part in drawn.groupby(["test_dataset", "surface"], sort=False)
        for cells in _slices(part[part["fpr"] == part["fpr"].min()])
    ]
    figure, axes = plt.subplots(max(len(rows), 1), 2, figsize=(9, 3.8 * max(len(rows), 1)), squeeze=False, layout="constrained")
    if not rows:
        notes = "\n".join(f"{row.surface}: {row.note}" for row in cells.itertuples())
        axes[0, 0].text(0.5, 0.5, notes or "no columns to map completeness over", ha="center")
    for ((dataset, surface, fpr), part), (left, right) in zip(rows, axes, strict=False):
        fit = next(
            (s for s in selections if (s.about["test_dataset"], s.about["surface"], s.about["fpr"]) == (dataset, surface, fpr)), None
        )
        third = part["z"].iloc[0]
        within = [] if pd.isna(third) else _ends(part["z_low"].iloc[0], part["z_high"].iloc[0])
        title = f"\n{column_name(third)} {within[0]:.4g}–{within[1]:.4g}" if within else ""
        _draw_cells(left, part, f"{dataset}, FPR {power(fpr)}{title}")
        _draw_fit(right, fit, left, {third: float(np.mean(within))} if within else {})
    return figure


def _slices(part: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the cells of a surface, those of each cell of a third column apart."""
    if part["z"].isna().all():
        return [part]
    return [cells for _, cells in part.groupby("z_low")]


def _draw_cells(axis, part: pd.DataFrame, title: str) -> None:
    """Draw the cells of a surface with what they hold; narrow ones by colour alone, whose numbers would overlap."""
    ends = [_ends(low, high) for low, high in zip(part["x_low"], part["x_high"], strict=True)]
    across = max(high for _, high in ends) - min(low for low, _ in ends)
    for cell in part.itertuples():
        x, y = (_ends(getattr(cell, f"{k}_low"), getattr(cell, f"{k}_high")) for k in "xy")
        colour = plt.get_cmap("viridis")(cell.completeness) if cell.n else "0.9"
        axis.fill_between(x, y[0], y[1], color=colour, lw=0)
        narrow = x[1] - x[0] < _NARROW * across
        if cell.n and not narrow:
            axis.text(np.mean(x), np.mean(y), f"{cell.completeness:.2f}\n{cell.n}", ha="center", va="center", fontsize=6,
                      color="white" if cell.completeness < 0.6 else "black")  # fmt: skip
    axis.set(xlabel=column_name(part["x"].iloc[0]), ylabel=column_name(part["y"].iloc[0]), title=title)
    axis.margins(0)


def _draw_fit(axis, fit: Selection | None, beside, at: dict[str, float]) -> None:
    axis.set(xlabel=beside.get_xlabel(), ylabel=beside.get_ylabel(), xlim=beside.get_xlim(), ylim=beside.get_ylim(), title="smooth fit")
    if fit is None:
        axis.text(0.5, 0.5, "too few positives for a fit", ha="center", transform=axis.transAxes)
        return
    x, y = np.linspace(*axis.get_xlim(), 80), np.linspace(*axis.get_ylim(), 80)
    grid = np.meshgrid(x, y)
    catalogue = {a.name: np.full(grid[0].size, np.median(a.knots)) for a in fit.axes}
    catalogue |= {name: np.full(grid[0].size, value) for name, value in at.items()}
    catalogue |= {a.name: g.ravel() for a, g in zip(fit.axes, grid, strict=False)}
    shown = np.where(fit.within(catalogue), fit.completeness(catalogue), np.nan).reshape(grid[0].shape)
    image = axis.pcolormesh(x, y, shown, cmap="viridis", vmin=0, vmax=1, rasterized=True)
    axis.figure.colorbar(image, ax=axis, label="completeness")


def _ends(low: float, high: float) -> tuple[float, float]:
    return low, high if high < UNBOUNDED else low + max(abs(low), 1.0)
