"""The page of an experiment on flux and velocity: ideal and marginal observers, smooth and perturbed lenses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from . import print_figures as printing
from .answer import answer, gates, unsaid
from .context import ReportContext
from .figures import information_figure
from .pictures import Sheets, colour_bar, data_uri, velocity_limit, write_sheets
from .sections import dataset_counts, dataset_facts, information_bins, information_table, observer_tables
from .story import Story

#: What the two lenses of an example are called, by the dataset's contrast.
CONTRASTS = {"subhalo": ("smooth", "perturbed"), "kinematics": ("smooth", "perturbed"), "lensed": ("unlensed", "lensed")}


def _values(context: ReportContext) -> dict[str, Any]:
    return {
        "facts": dataset_facts(context),
        "counts": dataset_counts(context),
        "information": information_table(context),
        "observers": observer_tables(context),
        "bars": {name: data_uri(colour_bar(name)) for name in ("flux", "velocity")},
    }


def _figures(context: ReportContext) -> dict[str, Any]:
    bins = information_bins(context)
    return {"information": {"variants": {"auc": information_figure(bins)}}} if len(bins) else {}


def _tables(context: ReportContext) -> dict[str, pd.DataFrame]:
    return {f"observers-{test}": frame for test, frame in context.observers.items()}


def _pictures(context: ReportContext, folder: Path) -> dict[str, str]:
    pictures = {}
    bins = information_bins(context)
    if len(bins):
        printing.save(printing.print_information(bins), folder, "information")
    examples = context.examples
    if examples.sources is not None and examples.sources.captions:
        figure = printing.print_sources(examples.sources)
        printing.save(figure, folder, "sources")
        pictures["sources"] = data_uri(printing.png(figure))
    if examples.pairs is not None and examples.pairs.captions:
        figure = printing.print_pairs(examples.pairs, *CONTRASTS[context.dataset.contrast])
        printing.save(figure, folder, "stamps")
        pictures["pairs"] = data_uri(printing.png(figure, dpi=200))
    return pictures


def _sheets(context: ReportContext, folder: Path) -> dict[str, Any]:
    browser = context.browser
    limit = velocity_limit(browser.velocity, browser.mask)
    sheets: Sheets = write_sheets(folder, browser.flux, browser.velocity, browser.mask, limit, context.settings.sheet_stamps)
    first = context.test_datasets.get(context.experiment.test_datasets[0], context.dataset)
    # Where the label is the lens itself, there is no subhalo to be marked.
    mark = {"name": "the subhalo", "x": "subhalo_x_arcsec", "y": "subhalo_y_arcsec", "radius": None, "panels": [0, 1]}
    return {
        "panels": ["flux", "velocity", "mask"],
        "mark": None if context.dataset.contrast == "lensed" else mark,
        "velocity_limit": limit,
        "pixel_scale": first.instrument.pixel_scale_arcsec,
        "widths": {"card": 208, "panel": 264},
        "sheets": sheets,
    }


def _hides(context: ReportContext, column: str) -> bool:
    # Where the label is the lens itself, the phantom subhalos of the manifest mean nothing.
    return context.dataset.contrast == "lensed" and (column.startswith("subhalo_") or column in ("mass_bin", "log10_mass_msun"))


STORY = Story("subhalo.html", answer, gates, unsaid, _values, _figures, _tables, _pictures, _sheets, _hides)
