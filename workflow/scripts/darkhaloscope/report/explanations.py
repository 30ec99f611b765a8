"""The section on explanations: what scores of chosen stamps rest on, drawn beside the stamps with what is looked for marked."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..config.lensfinder import PIXEL_SCALE_ARCSEC
from ..config.subhalo import SubhaloDataset
from ..core.csv_tables import read_csv
from ..core.tables import Schema, images, read_table
from ..detectors.schema import maps_schema
from ..evaluation.tidy import is_number, number
from . import charts
from .composites import three_colours
from .context import Explained, ReportContext
from .grids import Grid, interval_cell, number_cell
from .panels import mark
from .pictures import flux_colours, stretch_flux, velocity_colours, velocity_limit

#: Stamps of each group that are drawn; the table has them all.
DRAWN = 2
_SIZE = 6


def read_explanations(paths: Sequence[str | os.PathLike]) -> Explained:
    """Return the explanations of an experiment from its three files: stamps, their summary, maps."""
    table, summary = (read_csv(path) for path in paths[:2])
    any_size = Schema("explanations", maps_schema(1).columns[:3])
    rows = read_table(paths[2], any_size)
    found = images(rows, "map")
    pixels: dict[tuple[str, str], np.ndarray] = {}
    maps: dict[tuple[str, str], np.ndarray] = {}
    for stamp, network, name, image in zip(*(rows[c].to_pylist() for c in ("stamp_id", "network", "input")), found, strict=True):
        if network:
            maps[stamp, network] = maps.get((stamp, network), 0) + image
        else:
            pixels[stamp, name] = image
    return Explained(table, summary, pixels, maps)


def explanations_table(context: ReportContext) -> Grid | None:
    """Return the shares by network and group; None without explanations."""
    if context.explanations is None:
        return None
    rows = []
    for row in context.explanations.summary.to_dict("records"):
        shares = [number_cell(row[k]) for k in ("share_of_area", "share_of_flux")]
        complete = (row["complete"], f"{row['complete']} of {row['stamps']}")
        near = interval_cell(row, "share_near", "low", "high")
        rows.append((row["network"], row["group"], near, *shares, complete, (row["largest_error"], f"{row['largest_error']:.2g}")))
    heads = ("Network", "Stamps", "Share near [interval]", "Share of area", "Share of light", "Complete", "Largest error")
    return Grid(heads, tuple(rows), "explanations-table")


def draw_explanations(context: ReportContext) -> Figure:
    """Return some stamps of each group and, beside them, every network's attributions."""
    explained = context.explanations
    networks = list(dict.fromkeys(explained.table["network"]))
    first = context.test_datasets.get(context.experiment.test_datasets[0], context.dataset)
    subhalo = isinstance(first, SubhaloDataset)
    heads = [*(("flux", "velocity") if subhalo else ("three bands",)), *(f"seen by {n}" for n in networks)]
    stamps = explained.table[explained.table["network"] == networks[0]].groupby("group", sort=False).head(DRAWN)
    side = min(charts.TWO_COLUMNS_INCH / len(heads), 1.1)
    figure = charts.figure_of(charts.TWO_COLUMNS_INCH, len(stamps) * (side + 0.2) + 0.2)
    pixel = first.instrument.pixel_scale_arcsec if subhalo else PIXEL_SCALE_ARCSEC
    for i, (part, row) in enumerate(zip(figure.subfigures(len(stamps), 1, squeeze=False)[:, 0], stamps.to_dict("records"), strict=True)):
        axes = part.subplots(1, len(heads), squeeze=False)[0]
        own = {name: image for (stamp, name), image in explained.pixels.items() if stamp == row["stamp_id"]}
        _draw_stamp(axes, own, subhalo)
        for panel, network in zip(axes[-len(networks) :], networks, strict=True):
            image = explained.maps[row["stamp_id"], network]
            most = max(float(np.percentile(np.abs(image), 99.8)), 1e-12)
            panel.imshow(image, origin="lower", cmap=velocity_colours, vmin=-most, vmax=most)
        for panel, head in zip(axes, heads, strict=True):
            if is_number(row["x_arcsec"]):
                place, radius = (row["x_arcsec"], row["y_arcsec"]), row["mark_radius_arcsec"]
                mark(panel, place, radius, image.shape[0], pixel, "-" if row["label"] == 1 else ":")
            panel.set(xticks=[], yticks=[])
            if i == 0:
                panel.set_title(head, fontsize=_SIZE, pad=2)
        said = f"{row['group']}: score {number(row['score'])} of {context.main_detector}"
        part.suptitle(said, fontsize=_SIZE, x=0.012, ha="left")
    return figure


def _draw_stamp(axes, own: dict[str, np.ndarray], subhalo: bool) -> None:
    if not subhalo:
        # Composites are drawn with north up, as pictures are; here rows go upwards as those of the maps.
        axes[0].imshow(three_colours(np.stack([own[band] for band in "grz"]))[::-1], origin="lower")
        return
    mask = own["mask"] > 0
    limit = velocity_limit(own["velocity"], mask)
    axes[0].imshow(stretch_flux(own["flux"] / max(float(own["flux"].max()), 1e-30)), origin="lower", cmap=flux_colours, vmin=0, vmax=1)
    axes[1].imshow(np.ma.masked_where(~mask, own["velocity"]), origin="lower", cmap=velocity_colours, vmin=-limit, vmax=limit)
