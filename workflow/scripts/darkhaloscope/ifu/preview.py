"""Pictures of a galaxy's maps."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from .maps import FLUX_UNIT

#: Colour of what is masked.
MASKED = "0.85"


def draw_preview(path: str | os.PathLike, flux_per_arcsec2: NDArray, velocity: NDArray, valid: NDArray, sidecar: Mapping) -> None:
    """Draw flux and velocity of a source tensor side by side, with a scale bar and the resolution.

    Parameters
    ----------
    path : PNG to write.
    flux_per_arcsec2, velocity, valid : (size, size), of `SourceTensor`
    sidecar : of the same galaxy.
    """
    pixel, size = sidecar["pixel_scale_arcsec"], sidecar["size"]
    x0, y0 = (-(sidecar[f"centre_{axis}_pix"] + 0.5) * pixel for axis in "xy")
    extent = (x0, x0 + size * pixel, y0, y0 + size * pixel)
    figure = Figure(figsize=(7.2, 4.3), dpi=200, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    shown = np.ma.masked_where(~valid, flux_per_arcsec2)
    draw_map(
        figure, left, shown, extent, "magma", flux_norm(shown), f"{sidecar['line']} flux [{unit_shown(sidecar['flux_unit'])} arcsec⁻²]"
    )
    systemic = sidecar["velocity_median_kms"]
    bound = float(np.abs(velocity[valid] - systemic).max())
    shown = np.ma.masked_where(~valid, velocity - systemic)
    label = f"{sidecar['kinematics'].capitalize()} velocity [km s⁻¹]"
    draw_map(figure, right, shown, extent, "RdBu_r", Normalize(-bound, bound), label)
    left.set_ylabel("north of the centre [arcsec]", fontsize=8)
    for axes in (left, right):
        axes.set_xlabel("west of the centre [arcsec]", fontsize=8)
    _scale_bar(left, extent, sidecar["kpc_per_arcsec"])
    _beam(left, extent, sidecar["psf_fwhm_arcsec"])
    figure.suptitle(
        f"{sidecar['instrument']} {sidecar['galaxy_id']} ({sidecar['physical_id']}), z = {sidecar['z']:.4f}, i = {sidecar['inclination_deg']:.0f}°",
        fontsize=10,
    )
    # Without the version of the drawing library the same galaxy gives the same bytes.
    figure.savefig(path, format="png", metadata={"Software": None})


def draw_reason(path: str | os.PathLike, title: str, reason: str) -> None:
    """Draw, in place of a preview, why there is none."""
    figure = Figure(figsize=(7.2, 4.3), dpi=200)
    figure.suptitle(title, fontsize=10)
    figure.text(0.5, 0.5, "\n".join(textwrap.wrap(reason, 80)), ha="center", va="center", fontsize=9)
    figure.savefig(path, format="png", metadata={"Software": None})


def unit_shown(unit: str) -> str:
    """Return a unit of flux as it stands in a figure."""
    return "10⁻¹⁷ erg s⁻¹ cm⁻²" if unit == FLUX_UNIT else unit


def draw_map(figure: Figure, axes: Axes, image: NDArray, extent: tuple | None, colours: str, norm: Normalize, label: str) -> None:
    """Draw one map with its colour bar; masked pixels are grey."""
    axes.set_facecolor(MASKED)
    drawn = axes.imshow(image, origin="lower", extent=extent, cmap=colours, norm=norm, interpolation="nearest")
    bar = figure.colorbar(drawn, ax=axes, location="bottom", fraction=0.05, pad=0.03)
    bar.set_label(label, fontsize=8)
    if isinstance(norm, AsinhNorm):
        steps = [s * 10.0**p for p in range(-6, 9) for s in (1, 2, 5)]
        bar.set_ticks([0, *(s for s in steps if norm.vmax / 25 <= s <= norm.vmax)])
        bar.ax.minorticks_off()
        bar.formatter = FuncFormatter(lambda value, _: f"{value:g}")
    bar.ax.tick_params(labelsize=7)
    axes.tick_params(labelsize=7)


def flux_norm(image: NDArray) -> AsinhNorm:
    """Return a stretch that shows both faint and bright flux."""
    values = np.ma.compressed(image)
    top = float(values.max()) if values.size and values.max() > 0 else 1.0
    return AsinhNorm(linear_width=top / 10, vmin=0, vmax=top)


def _scale_bar(axes: Axes, extent: tuple, kpc_per_arcsec: float) -> None:
    """Draw a bar of a round number of kpc, about a quarter of the field wide."""
    width = extent[1] - extent[0]
    kpc = max((k for k in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if k <= width / 4 * kpc_per_arcsec), default=0.1)
    length, x, y = kpc / kpc_per_arcsec, extent[0] + 0.04 * width, extent[2] + 0.05 * width
    axes.plot([x, x + length], [y, y], color="black", lw=1.5)
    axes.text(x + length / 2, y + 0.015 * width, f"{kpc:g} kpc", ha="center", va="bottom", fontsize=7)


def _beam(axes: Axes, extent: tuple, fwhm: float) -> None:
    """Draw the resolution as a circle of its full width at half maximum."""
    width, angle = extent[1] - extent[0], np.linspace(0, 2 * np.pi, 60)
    x, y = extent[1] - 0.04 * width - fwhm / 2, extent[2] + 0.04 * width + fwhm / 2
    axes.plot(x + fwhm / 2 * np.cos(angle), y + fwhm / 2 * np.sin(angle), color="black", lw=1)
    axes.text(x, y + fwhm / 2 + 0.015 * width, "PSF", ha="center", va="bottom", fontsize=7)
