"""Pictures of sources and stamps as figures: what the first screens and the examples show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from .charts import SIZE, TWO_COLUMNS_INCH, figure_of
from .context import EvidenceShown, Pairs, Sources
from .pictures import flux_colours, stretch_flux, velocity_colours, velocity_limit


def overview(pairs: Pairs, without: str, within: str, pixel_arcsec: float, evidence: EvidenceShown | None = None) -> Figure:
    """Return the first of some pairs in four panels: the two noiseless images, their difference, the velocity; what is sought is marked.

    With `evidence` a second row: a stamp as observed, flux and velocity, where the model-based detector suspects a subhalo in it, and the least
    mass that it would have seen; a cross marks the greatest z.
    """
    n = 1 if evidence is None else 2
    figure = figure_of(TWO_COLUMNS_INCH, n * (TWO_COLUMNS_INCH / 4 + 0.2))
    rows = figure.subplots(n, 4, squeeze=False)
    if evidence is not None:
        _evidence(rows[1], evidence, pixel_arcsec)
    panels = rows[0]
    smooth, perturbed = pairs.smooth_flux[0], pairs.perturbed_flux[0]
    peak = max(float(np.nanmax(smooth)), 1e-30)
    change = (perturbed - smooth) / peak
    most = max(float(np.nanmax(np.abs(change))), 1e-12)
    masked = np.ma.masked_where(~pairs.mask[0].astype(bool), pairs.perturbed_velocity[0])
    limit = velocity_limit(pairs.perturbed_velocity[0], pairs.mask[0])
    for panel, image in zip(panels, (smooth, perturbed), strict=False):
        panel.imshow(stretch_flux(image / peak), origin="lower", cmap=flux_colours, vmin=0, vmax=1)
    panels[2].imshow(change, origin="lower", cmap=velocity_colours, vmin=-most, vmax=most)
    panels[3].imshow(masked, origin="lower", cmap=velocity_colours, vmin=-limit, vmax=limit)
    heads = (without, within, f"difference, {_of_peak(most)}", f"velocity, ±{limit:.0f} km/s")
    for panel, head in zip(panels, heads, strict=True):
        panel.set(xticks=[], yticks=[])
        panel.set_title(head, fontsize=SIZE + 2, pad=3)
    if pairs.places is not None and np.isfinite(pairs.places[0]).all():
        for panel in panels[1:]:
            mark(panel, pairs.places[0], 0.06 * smooth.shape[0] * pixel_arcsec, smooth.shape[0], pixel_arcsec)
    return figure


def _evidence(panels, shown: EvidenceShown, pixel_arcsec: float) -> None:
    size = shown.flux.shape[0]
    peak = max(float(np.nanmax(shown.flux)), 1e-30)
    known = np.isfinite(shown.velocity)
    limit = velocity_limit(np.nan_to_num(shown.velocity), known)
    panels[0].imshow(stretch_flux(shown.flux / peak), origin="lower", cmap=flux_colours, vmin=0, vmax=1)
    panels[1].imshow(np.ma.masked_where(~known, shown.velocity), origin="lower", cmap=velocity_colours, vmin=-limit, vmax=limit)
    for panel, values, colours in ((panels[2], shown.z, "magma"), (panels[3], shown.limit, "cividis_r")):
        panel.imshow(np.ma.masked_invalid(values), origin="lower", cmap=colours)
        panel.set_facecolor("0.88")
    masses = shown.limit[np.isfinite(shown.limit)]
    seen = f"10$^{{{masses.min():.1f}}}$–10$^{{{masses.max():.1f}}}$ M$_☉$" if len(masses) else "none"
    heads = ("as observed", f"observed, ±{limit:.0f} km/s", f"z of a subhalo, ≤ {np.nanmax(shown.z):.1f}", f"least mass seen, {seen}")
    for panel, head in zip(panels, heads, strict=True):
        panel.set(xticks=[], yticks=[])
        panel.set_title(head, fontsize=SIZE + (2 if len(head) < 26 else 0.5), pad=3)
    for panel in panels[2:]:
        mark(panel, shown.place[0], 0.06 * size * pixel_arcsec, size, pixel_arcsec)
        x, y = (v / pixel_arcsec + (size - 1) / 2 for v in shown.found[0])
        for colour, width in (("white", 2.2), ("black", 0.9)):
            panel.plot(x, y, "+", color=colour, ms=6, mew=width)


def _of_peak(share: float) -> str:
    """Return the range of a difference in words; below a millionth of the peak there is none."""
    if share <= 1e-6:
        return "none"
    return f"±{100 * share:.0f}% of peak" if share >= 0.1 else f"±{100 * share:.2g}% of peak"


def sources(examples: Sources) -> Figure:
    """Return source galaxies, flux above velocity."""
    n = max(len(examples.captions), 4)
    figure = figure_of(TWO_COLUMNS_INCH, TWO_COLUMNS_INCH / n * 2.35)
    axes = figure.subplots(2, n, squeeze=False)
    for panel in axes.ravel():
        panel.set_axis_off()
    for i, caption in enumerate(examples.captions):
        valid = examples.valid[i].astype(bool)
        flux, velocity = examples.flux[i], np.where(valid, examples.velocity[i], np.nan)
        velocity = velocity - np.nanmedian(velocity) if valid.any() else velocity
        limit = velocity_limit(np.nan_to_num(velocity), valid)
        peak = np.nanpercentile(flux[valid], 99.5) if valid.any() else 1.0
        axes[0, i].imshow(stretch_flux(flux / max(peak, 1e-30)), origin="lower", cmap=flux_colours, vmin=0, vmax=1)
        axes[1, i].imshow(np.ma.masked_invalid(velocity), origin="lower", cmap=velocity_colours, vmin=-limit, vmax=limit)
        axes[0, i].set_title(caption.replace(" · ", "\n"), fontsize=SIZE - 1, pad=2)
        axes[1, i].set_title(f"±{limit:.0f} km/s", fontsize=SIZE - 1, pad=2)
    return figure


def pairs(examples: Pairs, without: str, within: str) -> Figure:
    """Return each stamp `without` and `within` what is looked for, their difference, and as observed, in flux and velocity."""
    n, width = len(examples.captions), TWO_COLUMNS_INCH / 8
    figure = figure_of(TWO_COLUMNS_INCH, n * (width + 0.28) + 0.15)
    rows = figure.subfigures(n, 1, squeeze=False, height_ratios=[width + 0.43, *[width + 0.28] * (n - 1)])[:, 0]
    heads = [f"{what}, {which}" for what in ("flux", "velocity") for which in (without, within, "difference", "observed")]
    for i, row in enumerate(rows):
        axes = row.subplots(1, 8)
        valid = examples.mask[i].astype(bool)
        change = examples.perturbed_flux[i] - examples.smooth_flux[i]
        turn = np.ma.masked_where(~valid, examples.perturbed_velocity[i] - examples.smooth_velocity[i])
        peak = max(float(np.nanmax(examples.smooth_flux[i])), 1e-30)
        limit = velocity_limit(examples.smooth_velocity[i], valid)
        most = max(float(np.nanmax(np.abs(change))) / peak, 1e-12)
        swing = max(float(np.abs(turn).max()), 1e-12) if valid.any() else 1.0
        fluxes = {0: examples.smooth_flux[i], 1: examples.perturbed_flux[i], 3: examples.flux[i]}
        speeds = {4: examples.smooth_velocity[i], 5: examples.perturbed_velocity[i], 7: examples.velocity[i]}
        for j, image in fluxes.items():
            axes[j].imshow(stretch_flux(image / peak), origin="lower", cmap=flux_colours, vmin=0, vmax=1)
        for j, image in speeds.items():
            _panel(axes[j], np.ma.masked_where(~valid, image), limit, f"±{limit:.0f} km/s" if j == 4 else "")
        _panel(axes[2], change / peak, most, _of_peak(most))
        _panel(axes[6], turn, swing, f"±{swing:.2g} km/s" if swing > 1e-6 else "none")
        row.suptitle(examples.captions[i], fontsize=SIZE - 1.5, x=0.012, ha="left")
        for panel, head in zip(axes, heads, strict=True):
            panel.set(xticks=[], yticks=[])
            if i == 0:
                panel.set_title(head, fontsize=SIZE - 1.5, pad=3)
    return figure


def composites(groups: Sequence[tuple[str, Sequence[np.ndarray], Sequence[str]]]) -> Figure:
    """Return colour pictures of stamps, (size, size, 3) uint8 with north up, one row for each group's title, pictures and captions."""
    most = max(len(pictures) for _, pictures, _ in groups)
    side = TWO_COLUMNS_INCH / most
    figure = figure_of(TWO_COLUMNS_INCH, len(groups) * (side + 0.58))
    for row, (title, pictures, captions) in zip(figure.subfigures(len(groups), 1, squeeze=False)[:, 0], groups, strict=True):
        for panel in row.subplots(1, most, squeeze=False)[0]:
            panel.set_axis_off()
        lines = max(caption.count(", ") for _, _, several in groups for caption in several)
        for panel, picture, caption in zip(row.axes, pictures, captions, strict=False):
            panel.imshow(picture)
            # As many lines everywhere, so that all pictures are of one size.
            panel.set_title(caption.replace(", ", "\n") + "\n" * (lines - caption.count(", ")), fontsize=SIZE + 0.5, pad=2)
        row.suptitle(title, fontsize=SIZE + 2, x=0.012, ha="left")
    return figure


def mark(panel, place: Sequence[float], radius_arcsec: float, size: int, pixel_arcsec: float, line: str = "-") -> None:
    """Draw a circle about a place in arcsec from the middle of a stamp of `size` pixels."""
    centre = [v / pixel_arcsec + (size - 1) / 2 for v in place]
    for colour, width, style in (("white", 1.4, "-"), ("black", 0.6, line)):
        panel.add_patch(Circle(centre, radius_arcsec / pixel_arcsec, fill=False, ec=colour, lw=width, ls=style))


def _panel(axes, image: np.ndarray, limit: float, said: str) -> None:
    axes.imshow(image, origin="lower", cmap=velocity_colours, vmin=-limit, vmax=limit)
    axes.set_xlabel(said, fontsize=SIZE - 2, labelpad=2)
