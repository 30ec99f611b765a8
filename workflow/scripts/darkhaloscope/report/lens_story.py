"""The page of an experiment on the lens finder's stamps: completeness, contaminants, rounds, known lenses, colour composites."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..config.lensfinder import PIXEL_SCALE_ARCSEC
from . import print_figures as printing
from .answer import rates_of
from .composites import enlarged, three_colours, write_colour_sheets
from .context import LensContext, ReportContext
from .examples import collect_examples
from .frames import number
from .lens_finder import answer, gates, smallest_fpr, unsaid
from .lens_sections import (
    completeness_columns,
    completeness_figures,
    contaminant_figure,
    contaminant_table,
    dataset_counts,
    dataset_facts,
    known_tables,
    round_figure,
    round_tables,
)
from .pictures import data_uri
from .story import Story

#: Groups of example stamps: what they are called, and whether they are positives.
GROUPS = {
    "Lenses, drawn at random": ("random", 1),
    "Lenses with the lowest scores": ("lowest-scored positives", 1),
    "Controls, drawn at random": ("random", 0),
    "Controls with the highest scores": ("highest-scored controls", 0),
}


def _values(context: LensContext) -> dict[str, Any]:
    return {
        "facts": dataset_facts(context),
        "counts": dataset_counts(context),
        "columns": completeness_columns(context),
        "contaminants": contaminant_table(context),
        "rounds": round_tables(context),
        "known": known_tables(context),
        "pages": context.pages,
        "gallery": [(title, [(_png(image), caption) for image, caption in stamps]) for title, stamps in _gallery(context)],
    }


def _figures(context: LensContext) -> dict[str, Any]:
    found = {**completeness_figures(context), "contaminants": contaminant_figure(context), "rounds": round_figure(context)}
    return {name: figure for name, figure in found.items() if figure}


def _tables(context: LensContext) -> dict[str, pd.DataFrame]:
    parts = {
        "resolved": context.resolved,
        "contaminants": context.contaminants,
        "rounds": context.rounds,
        "known-lenses": context.known_lenses,
    }
    return {f"{network}-{name}": frame for name, frames in parts.items() for network, frame in frames.items()}


def _pictures(context: LensContext, folder: Path) -> dict[str, str]:
    network = context.main_detector
    strata = {n: rates_of(context, n, name="strata") for n in context.experiment.detectors}
    at = smallest_fpr(context, network)
    for column in completeness_columns(context) if at is not None else ():
        printing.save(printing.print_strata(strata, column, "tpr_at_fpr", at), folder, f"completeness-by-{column}")
    gallery = _gallery(context)
    if gallery:
        groups = [(title, [three_colours(image) for image, _ in stamps], [caption for _, caption in stamps]) for title, stamps in gallery]
        printing.save(printing.print_composites(groups), folder, "stamps")
    return {}


def _gallery(context: LensContext) -> list[tuple[str, list[tuple[np.ndarray, str]]]]:
    """Return example stamps of the browser by group, with captions."""
    if context.browser is None or not len(context.browser.rows):
        return []
    rows, score = context.browser.rows, f"score_{context.main_detector}"
    out = []
    for title, (group, label) in GROUPS.items():
        of_class = rows[rows["label"] == label]
        wanted = collect_examples(of_class, of_class[score], context.settings.composites)[group]
        places = rows.index[rows["stamp_id"].isin(wanted)]
        chosen = rows.loc[places].set_index("stamp_id").assign(place=places).loc[wanted]
        out.append((title, [(context.browser.image[row["place"]], _caption(row, row[score])) for _, row in chosen.iterrows()]))
    return [(title, stamps) for title, stamps in out if stamps]


def _caption(row: pd.Series, score: float) -> str:
    said = f"score {number(score)}"
    if row["label"] == 1:
        known = [(name, row.get(key)) for name, key in (("θ_E {:.2f}″", "theta_e_arcsec"), ("arc S/N {:.1f}", "arc_snr"))]
        return ", ".join([said, *(name.format(v) for name, v in known if v is not None and v == v)])
    kind = row.get("contaminant_class")
    return f"{said}, {kind}" if isinstance(kind, str) else said


def _png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    enlarged(image).save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue())


def _sheets(context: LensContext, folder: Path) -> dict[str, Any]:
    return {
        "panels": ["g, r, z as blue, green, red"],
        "mark": {"name": "the Einstein radius", "x": None, "y": None, "radius": "theta_e_arcsec", "panels": [0]},
        "pixel_scale": PIXEL_SCALE_ARCSEC,
        "widths": {"card": 192, "panel": 512},
        "sheets": write_colour_sheets(folder, context.browser.image, context.settings.sheet_stamps),
    }


def _hides(context: ReportContext, column: str) -> bool:
    return False


STORY = Story("lens_finder.html", answer, gates, unsaid, _values, _figures, _tables, _pictures, _sheets, _hides)
