"""The page of an experiment on the lens finder's stamps: completeness, contaminants, rounds, known lenses, colour composites."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..config.lensfinder import PIXEL_SCALE_ARCSEC
from ..core.csv_tables import TEXT, read_csv
from ..evaluation.tidy import count, is_number, number, power, quoted
from . import charts, panels
from .answer import rates_of
from .composites import enlarged, three_colours, write_colour_sheets
from .context import LensContext, ReportContext
from .examples import collect_examples
from .grids import Cell, Footnotes, Grid, interval_cell, number_cell
from .lens_finder import answer, gates, resolved_fprs, unsaid
from .pictures import data_uri
from .story import Chart, Story

#: Columns of positives by which completeness is shown, where the experiment has strata of them.
COMPLETENESS = ("theta_e_arcsec", "theta_over_psf", "arc_snr")
#: Groups of example stamps: what they are called, and whether they are positives.
GROUPS = {
    "Lenses, drawn at random": ("random", 1),
    "Lenses with the lowest scores": ("lowest-scored positives", 1),
    "Controls, drawn at random": ("random", 0),
    "Controls with the highest scores": ("highest-scored controls", 0),
}
#: Those of the first screen, and how many stamps of each.
_FIRST, _FIRST_STAMPS = ("Lenses, drawn at random", "Controls with the highest scores"), 6

Stamps = list[tuple[np.ndarray, str]]


def completeness_columns(context: LensContext) -> list[str]:
    """Return the columns by which completeness is shown."""
    return [c for c in COMPLETENESS if c in context.experiment.evaluation.strata]


def contaminant_table(context: LensContext) -> Grid | None:
    """Return controls and false positives of each class, by network and FPR; None where no class is known."""
    rows = []
    for name, frame in context.contaminants.items():
        for row in frame.to_dict("records"):
            counts = [(row[k], count(row[k])) for k in ("n_negatives", "passed")]
            share = interval_cell(row, "fpr", "low", "high")
            rows.append((name, (row["at"], power(row["at"])), row["contaminant_class"], *counts, share))
    heads = ("Network", "Threshold for FPR", "Class", "Controls", "Pass", "Share [interval]")
    return Grid(heads, tuple(rows), "contaminant-table") if rows else None


def round_tables(context: LensContext) -> dict[str, tuple[str, Grid]]:
    """Return, per network of several rounds, how many controls, and FPR at each completeness by round with its change since the first."""
    out = {}
    for i, (name, frame) in enumerate(_rounds(context).items()):
        notes, rows = Footnotes(), []
        for row in frame.sort_values(["completeness", "round"]).to_dict("records"):
            fpr = interval_cell(row, "fpr", "low", "high")
            change = interval_cell(row, "change", "change_low", "change_high", sign=True)
            place: Cell = (row["completeness"], power(row["completeness"]))
            rows.append((place, (row["round"], str(row["round"])), (fpr[0], fpr[1] + notes.mark(row["note"])), change))
        heads = ("Completeness", "Round", "FPR [interval]", "Change since round 1 [interval]")
        out[name] = count(frame["n_negatives"].iloc[0]), Grid(heads, tuple(rows), f"rounds-table-{i}", notes=notes.numbered())
    return out


def known_tables(context: LensContext) -> dict[str, tuple[int, Grid]]:
    """Return, per network, how many known lenses had no usable cutout, and the recall of the others by FPR, θ_E and grade."""
    out = {}
    for i, (name, frame) in enumerate(context.known_lenses.items()):
        frame = quoted(frame)
        lost, scored = frame[frame["stratum"] == "not scored"], frame[frame["stratum"] != "not scored"]
        rows = []
        for row in scored[scored["resolved"]].to_dict("records"):
            words = {"all": "all", "theta_e_arcsec": f"θ_E {row['value']}″", "grade": f"grade {row['value']}"}[row["stratum"]]
            counts = [number_cell(row[k], count(row[k])) for k in ("n", "found")]
            rows.append(((row["fpr"], power(row["fpr"])), words, *counts, interval_cell(row, "recall", "low", "high")))
        unresolved = frame.loc[~frame["resolved"].astype(bool) & frame["note"].notna(), ["fpr", "note"]].drop_duplicates()
        notes = [f"FPR {power(f)}: {n}." for f, n in unresolved.sort_values("fpr", ascending=False).itertuples(index=False)]
        heads = ("Threshold for FPR", "Lenses", "Number", "Found", "Recall [interval]")
        out[name] = int(lost["n"].iloc[0]) if len(lost) else 0, Grid(heads, tuple(rows), f"known-table-{i}", notes=tuple(notes))
    return out


def read_table(path: str) -> pd.DataFrame:
    """Return a table of rounds or of recall, seeds as text."""
    frame = read_csv(path, (*TEXT, "value"))
    return frame.assign(resolved=frame["resolved"].map(lambda v: str(v).lower() == "true")) if "resolved" in frame else frame


def _rounds(context: LensContext) -> dict[str, pd.DataFrame]:
    """Return the rates of the rounds on the first test dataset, at the seed that is quoted, by network."""
    first = context.experiment.test_datasets[0]
    return {name: quoted(frame[frame["test_dataset"] == first]) for name, frame in context.rounds.items()}


# --- charts ----------------------------------------------------------------------------------


def _charts(context: LensContext) -> dict[str, list[Chart]]:
    found = {f"completeness-{column}": _completeness(context, column) for column in completeness_columns(context)}
    fprs = sorted({float(f) for frame in context.contaminants.values() for f in frame["at"]})
    found["contaminants"] = [Chart(f"FPR {power(f)}", f"contaminants-fpr-{f:g}", _contaminants(context, f)) for f in fprs]
    found["rounds"] = []
    for name, frame in _rounds(context).items():
        # Zero has no place on a logarithmic axis.
        drawn = frame[frame["fpr"].notna() & (frame["fpr"] > 0)].rename(columns={"fpr": "value"})
        if len(drawn):
            found["rounds"].append(Chart(name, f"rounds-{name}", charts.rounds(drawn)))
    return {name: several for name, several in found.items() if several}


def _completeness(context: LensContext, column: str) -> list[Chart]:
    """Return completeness by a column, for each FPR that is resolved, smallest first."""
    strata = {n: rates_of(context, n, name="strata") for n in context.experiment.detectors}
    fprs = sorted({f for name in context.experiment.detectors for f in resolved_fprs(context, name)})
    files = [f"completeness-by-{column}" + (f"-fpr-{f:g}" if i else "") for i, f in enumerate(fprs)]
    return [Chart(f"FPR {power(f)}", file, charts.strata(strata, column, "tpr_at_fpr", f)) for f, file in zip(fprs, files, strict=True)]


def _contaminants(context: LensContext, fpr: float) -> Figure:
    series = {}
    for name, frame in context.contaminants.items():
        rows = frame[np.isclose(frame["at"], fpr)].rename(columns={"fpr": "value", "contaminant_class": "category"})
        series[name] = rows.assign(said=[f"{p} of {n}" for p, n in zip(rows["passed"], rows["n_negatives"], strict=True)])
    order = list(dict.fromkeys(c for rows in series.values() for c in rows["category"]))
    return charts.by_category(series, "Class of control", "Share that passes", order=order, line=fpr)


# --- stamps ----------------------------------------------------------------------------------


def _gallery(context: LensContext, n: int) -> list[tuple[str, Stamps]]:
    """Return `n` example stamps of the browser by group, with captions."""
    if context.browser is None or not len(context.browser.rows):
        return []
    rows, score = context.browser.rows, f"score_{context.main_detector}"
    out = []
    for title, (group, label) in GROUPS.items():
        of_class = rows[rows["label"] == label]
        wanted = collect_examples(of_class, of_class[score], n)[group]
        places = rows.index[rows["stamp_id"].isin(wanted)]
        chosen = rows.loc[places].set_index("stamp_id").assign(place=places).loc[wanted]
        out.append((title, [(context.browser.image[row["place"]], _caption(row, row[score])) for _, row in chosen.iterrows()]))
    return [(title, stamps) for title, stamps in out if stamps]


def _caption(row: pd.Series, score: float) -> str:
    said = f"score {number(score)}"
    if row["label"] == 1:
        known = [(name, row.get(key)) for name, key in (("θ_E {:.2f}″", "theta_e_arcsec"), ("arc S/N {:.1f}", "arc_snr"))]
        return ", ".join([said, *(name.format(v) for name, v in known if is_number(v))])
    kind = row.get("contaminant_class")
    return f"{said}, {kind}" if isinstance(kind, str) else said


def _composites(groups: list[tuple[str, Stamps]]) -> Figure | None:
    drawn = [(title, [three_colours(image) for image, _ in stamps], [caption for _, caption in stamps]) for title, stamps in groups]
    return panels.composites(drawn) if drawn else None


def _overview(context: LensContext) -> Figure | None:
    return _composites([(title, stamps) for title, stamps in _gallery(context, _FIRST_STAMPS) if title in _FIRST])


def _pictures(context: LensContext) -> dict[str, Figure]:
    drawn = _composites(_gallery(context, context.settings.composites))
    return {} if drawn is None else {"stamps": drawn}


def _png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    enlarged(image).save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue())


def _values(context: LensContext) -> dict[str, Any]:
    gallery = _gallery(context, context.settings.composites)
    return {
        "columns": completeness_columns(context),
        "contaminants": contaminant_table(context),
        "rounds": round_tables(context),
        "known": known_tables(context),
        "gallery": [(title, [(_png(image), caption) for image, caption in stamps]) for title, stamps in gallery],
    }


def _tables(context: LensContext) -> dict[str, pd.DataFrame]:
    parts = {
        "resolved": context.resolved,
        "contaminants": context.contaminants,
        "rounds": context.rounds,
        "known-lenses": context.known_lenses,
    }
    return {f"{network}-{name}": frame for name, frames in parts.items() for network, frame in frames.items()}


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


STORY = Story("lens_finder.html", answer, gates, unsaid, _overview, _values, _charts, _tables, _pictures, _sheets, _hides)
