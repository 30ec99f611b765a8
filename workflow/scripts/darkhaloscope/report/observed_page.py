"""Observed lenses on one page: the sample's figures, and of each lens its fit, its maps and what was found."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..config.observed import Observed
from ..core.text import power_of_ten
from .html import render
from .pictures import data_uri

#: Titles and colours of the maps; limits None for those of the values.
PANELS = (
    ("data", "data less galaxy", "magma", (-0.1, 1.3)),
    ("model", "lensed source", "magma", (-0.1, 1.3)),
    ("residual", "residual [σ]", "RdBu_r", (-5, 5)),
    ("source", "source", "magma", (-0.1, None)),
    ("z", "z of a subhalo, linear", "viridis", (-3, 6)),
    ("limit", "least log₁₀ M promised", "cividis_r", (8.5, 10.5)),
)


def observed_page(lenses: pa.Table, sample: Mapping[str, object], settings: Observed, *, name: str) -> str:
    """Return the page of a table of observed lenses, in the order of their names, and a sample's figures."""
    cards = []
    for k in range(lenses.num_rows):
        row = lenses.slice(k, 1)
        maps = {panel[0]: row[panel[0]].combine_chunks().to_numpy_ndarray()[0] for panel in PANELS}
        values = row.drop_columns(list(maps)).to_pylist()[0]
        fitted = bool(np.isfinite(values["chi2"]))
        cards.append(
            {
                "name": values["lens"],
                "flags": values["flags"],
                "text": _text(values) if fitted else f"Not fitted. {values['missing']}.",
                "picture": data_uri(draw(values, maps, settings.shown_arcsec)) if fitted else "",
            }
        )
    title = f"Observed lenses of {name}"
    return render(
        "observed.html", title=title, sample=sample, figures=_figures(sample), threshold=f"{settings.subhalos.threshold:g}", cards=cards
    )


def draw(values: Mapping[str, object], maps: Mapping[str, NDArray], side: float) -> bytes:
    """Return the six maps of a lens as a PNG."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(PANELS), figsize=(17, 3.1), layout="constrained")
    for axis, (name, title, colours, (low, high)) in zip(axes, PANELS, strict=True):
        half = (values["source_arcsec"] if name == "source" else side) / 2
        shown = axis.imshow(
            maps[name], origin="lower", extent=(-half, half, -half, half), cmap=colours, vmin=low, vmax=high, interpolation="nearest"
        )
        axis.set(title=title, facecolor="0.85")
        axis.tick_params(labelsize=7)
        if name not in ("data", "model"):
            figure.colorbar(shown, ax=axis, shrink=0.8)
        if name != "source":
            lit = np.argwhere(np.isfinite(maps["data"]))
            if len(lit):
                reach = np.abs(lit / (len(maps["data"]) - 1) - 0.5).max() * side * 1.05
                axis.set(xlim=(-reach, reach), ylim=(-reach, reach))
        if name in ("z", "residual"):
            axis.plot(values["found_x_arcsec"], values["found_y_arcsec"], "+", color="black", markersize=10)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=70)
    plt.close(figure)
    return out.getvalue()


def _text(v: Mapping[str, float]) -> str:
    published = v["theta_e_published_arcsec"]
    beside = f" (published {published:.2f}″)" if np.isfinite(published) else ""
    mass = (
        f"The best halo, fitted with the lens: z = {v['z_max']:.1f}, {power_of_ten(v['found_log10_mass'])} M☉ at x = {v['found_x_arcsec']:.2f}″, y = {v['found_y_arcsec']:.2f}″; "
        f"of a negative mass {v['z_negative']:.1f}; share of controls above it {v['false_alarm']:.2f}"
    )
    limit = (
        f"; {power_of_ten(v['least_log10_mass'])} M☉ would be seen at the best place"
        if np.isfinite(v["least_log10_mass"])
        else "; no mapped mass would be seen"
    )
    return (
        f"θ_E {v['theta_e_effective_arcsec']:.3f}″{beside}, slope {v['fit_slope']:.2f} ± {v['fit_slope_error']:.2f}, q {v['q']:.2f}, shear {v['shear']:.3f}, "
        f"χ² per bin {v['chi2']:.2f} of {v['bins']:.0f} bins. {mass}{limit}."
    )


def _figures(sample: Mapping[str, object]) -> list[str]:
    """The sample in sentences."""
    theta, z = sample["theta_e"], sample["z"]
    out = []
    if theta["compared"]:
        out.append(
            f"θ_E against published values, {theta['compared']} lenses: median difference {theta['median_difference']:+.1%}, scatter {theta['scatter']:.1%} "
            f"(from the median absolute deviation); {theta['agree']} agree within 5%."
        )
    if sample["good"]:
        out.append(
            f"Greatest z of a fitted halo: median {z['observed_median']:.1f}, of a negative mass {z['negative_median']:.1f}, of controls {z['control_median']:.1f} "
            f"(95%: {z['control_95']:.1f})."
        )
    for found in sample["detections"].values():
        if found["threshold"] is None:
            continue
        share = ", ".join(f"{v['share']:.0%} of {power_of_ten(float(m))} M☉" for m, v in found["completeness"].items() if v["of"])
        out.append(
            f"Above z = {found['threshold']:.1f}: {', '.join(found['found']) or 'none'}; of negative masses {len(found['negative'])}. "
            f"Injections found there: {share or 'none made'}. Subhalos expected from the mass function: {found['expected']:.2g}."
        )
    could = ", ".join(f"{n} of {power_of_ten(float(m))}" for m, n in sample["could_show"].items())
    out.append(f"Lenses that promise z above the threshold somewhere: {could} M☉.")
    for lens, masses in sample["asked"].items():
        found = ", ".join(f"{round(v['share'] * v['of'])} of {v['of']} of {power_of_ten(float(m))}" for m, v in masses.items())
        out.append(f"{lens}, injected at the places that were asked about and found there: {found or 'none made'} M☉.")
    return out
