"""What the lens finder's page holds beyond the shared sections: completeness, contaminants, rounds, known lenses, its data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..config.lensfinder import PIXEL_SCALE_ARCSEC, ImportedDataset, LensFinderDataset
from ..core.csv_tables import TEXT, read_csv
from .answer import rates_of
from .context import LensContext
from .figures import COLOURS, DASHES, SYMBOLS, Figure, errors, plain_layout, strata_figure
from .frames import count, is_number, number, power, quoted
from .lens_finder import resolved_fprs

#: Columns of positives by which completeness is shown, where the experiment has strata of them.
COMPLETENESS = ("theta_e_arcsec", "theta_over_psf", "arc_snr")


def completeness_figures(context: LensContext) -> dict[str, Any]:
    """Return completeness by each column of `COMPLETENESS`, one variant for each FPR that is resolved, smallest first."""
    strata = {n: rates_of(context, n, name="strata") for n in context.experiment.detectors}
    fprs = sorted({f for name in context.experiment.detectors for f in resolved_fprs(context, name)})
    out = {}
    for column in completeness_columns(context):
        variants = {}
        for fpr in fprs:
            variants[f"FPR {power(fpr)}"] = strata_figure(strata, column, "tpr_at_fpr", fpr)
        if variants:
            out[f"completeness-{column}"] = {"variants": variants}
    return out


def completeness_columns(context: LensContext) -> list[str]:
    """Return the columns by which completeness is shown."""
    return [c for c in COMPLETENESS if c in context.experiment.evaluation.strata]


def contaminant_figure(context: LensContext) -> dict[str, Any]:
    """Return the share of each class of controls that passes, one variant for each FPR that validation resolves, smallest first."""
    fprs = sorted({float(f) for frame in context.contaminants.values() for f in frame["at"]})
    return {"variants": {f"FPR {power(f)}": _contaminants_at(context, f) for f in fprs}} if fprs else {}


def contaminant_table(context: LensContext) -> dict[str, Any] | None:
    """Return controls and false positives of each class, by network and FPR; None where no class is known."""
    rows = []
    for name, frame in context.contaminants.items():
        for row in frame.to_dict("records"):
            share = f"{number(row['fpr'])} [{number(row['low'])}, {number(row['high'])}]"
            cells = [(row["n_negatives"], count(row["n_negatives"])), (row["passed"], count(row["passed"])), (row["fpr"], share)]
            rows.append({"network": name, "fpr": (row["at"], power(row["at"])), "kind": row["contaminant_class"], "cells": cells})
    return {"rows": rows} if rows else None


def round_tables(context: LensContext) -> list[dict[str, Any]]:
    """Return, per network of several rounds, FPR at each completeness by round, and its change since the first."""
    out = []
    for name, frame in context.rounds.items():
        frame = quoted(frame[frame["test_dataset"] == context.experiment.test_datasets[0]])
        rows = []
        for row in frame.sort_values(["completeness", "round"]).to_dict("records"):
            few = isinstance(row["note"], str) and row["note"] != ""
            fpr = row["note"] if few else f"{number(row['fpr'])} [{number(row['low'])}, {number(row['high'])}]"
            change = "–"
            if is_number(row["change"]) and not few:
                change = " ".join([number(row["change"], sign=True), _signed(row["change_low"], row["change_high"])])
            cells = [
                (row["round"], str(row["round"])),
                ("" if few else row["fpr"], fpr),
                (row["change"] if is_number(row["change"]) else "", change),
            ]
            rows.append({"completeness": (row["completeness"], power(row["completeness"])), "cells": cells})
        out.append({"network": name, "rounds": int(frame["round"].max()), "rows": rows, "n_negatives": count(frame["n_negatives"].iloc[0])})
    return out


def round_figure(context: LensContext) -> dict[str, Any]:
    """Return FPR against completeness of every round, one variant for each network of several rounds."""
    variants = {}
    for name, frame in context.rounds.items():
        frame = quoted(frame[frame["test_dataset"] == context.experiment.test_datasets[0]])
        traces = []
        for k, (which, rows) in enumerate(frame.groupby("round")):
            # Zero has no place on a logarithmic axis, and rates that few false positives speak for are words in the table.
            rows = rows[rows["note"].isna() | (rows["note"] == "")]
            said = [f"{number(v)} [{number(a)}, {number(b)}]" for v, a, b in zip(rows["fpr"], rows["low"], rows["high"], strict=True)]
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": f"round {which}",
                    "x": rows["completeness"].tolist(),
                    "y": rows["fpr"].tolist(),
                    "error_y": errors(rows.rename(columns={"fpr": "value"})),
                    "line": {"color": COLOURS[k % len(COLOURS)], "dash": DASHES[k % len(DASHES)], "width": 1.5},
                    "marker": {"symbol": SYMBOLS[k % len(SYMBOLS)], "size": 7},
                    "text": said,
                    "hovertemplate": f"round {which}<br>completeness %{{x}}<br>FPR %{{text}}<extra></extra>",
                }
            )
        plan = plain_layout("Completeness", "False-positive rate")
        plan["yaxis"] |= {"type": "log", "exponentformat": "power", "dtick": 1}
        variants[name] = {"data": traces, "layout": plan}
    return {"variants": variants} if variants else {}


def known_tables(context: LensContext) -> list[dict[str, Any]]:
    """Return, per network, the recall of known lenses by FPR, θ_E and grade, and how many had no usable cutout."""
    out = []
    for name, frame in context.known_lenses.items():
        frame = quoted(frame)
        lost = frame[frame["stratum"] == "not scored"]
        rows = []
        for row in frame[(frame["stratum"] != "not scored") & frame["resolved"]].to_dict("records"):
            words = {"all": "all", "theta_e_arcsec": f"θ_E {row['value']}″", "grade": f"grade {row['value']}"}[row["stratum"]]
            recall = f"{number(row['recall'])} [{number(row['low'])}, {number(row['high'])}]" if is_number(row["recall"]) else "–"
            cells = [
                (row["n"], count(row["n"])),
                (row["found"], count(row["found"])),
                (row["recall"] if is_number(row["recall"]) else "", recall),
            ]
            rows.append({"fpr": (row["fpr"], power(row["fpr"])), "lenses": words, "cells": cells})
        unresolved = sorted({float(f) for f in frame.loc[~frame["resolved"].astype(bool), "fpr"]}, reverse=True)
        notes = frame.loc[~frame["resolved"].astype(bool) & frame["note"].notna(), ["fpr", "note"]].drop_duplicates()
        words = (
            "; ".join(f"FPR {power(f)} {n}" for f, n in notes.sort_values("fpr", ascending=False).itertuples(index=False))
            if unresolved
            else ""
        )
        out.append({"network": name, "rows": rows, "lost": int(lost["n"].iloc[0]) if len(lost) else 0, "unresolved": words})
    return out


def dataset_facts(context: LensContext) -> list[tuple[str, str]]:
    """Return what the training dataset is made of, in pairs of name and text."""
    dataset = context.dataset
    if isinstance(dataset, ImportedDataset):
        return [("table", dataset.table), ("stamp", _stamp(dataset.stamp_size))]
    assert isinstance(dataset, LensFinderDataset)
    priors, camera, hosts = dataset.injection, dataset.camera, dataset.hosts
    mix = ", ".join(f"{100 * share:g}% {kind}" for kind, share in dataset.sources.mix.items() if share > 0)
    gain = ", ".join(f"{v:g} in {b}" for b, v in camera.electrons_per_nanomaggy.items())
    shape = {"moffat": f"Moffat, β = {camera.beta:g}", "gaussian": "Gaussian"}[camera.psf]
    return [
        ("survey", dataset.survey),
        ("stamp", _stamp(camera.stamp_size)),
        ("hosts", f"luminous red galaxies, psfsize in r {hosts.psfsize_r_arcsec[0]:g}–{hosts.psfsize_r_arcsec[1]:g}″"),
        ("injections per host", str(hosts.replicates)),
        (
            "controls",
            {"unpaired": "other galaxies, matched in PSF, depth and magnitude", "paired": "the same galaxies without an arc"}[
                dataset.controls
            ],
        ),
        ("sources", mix),
        ("θ_E", f"{_span(priors.theta_e_arcsec)}″"),
        ("source fainter than host by", f"{_span(priors.src_dmag)} mag, unlensed, in r"),
        ("lens", f"SIE + shear, ellipticity {_span(priors.lens_e)}, shear {_span(priors.shear)}"),
        ("PSF of the arcs", f"{shape}, FWHM from psfsize"),
        ("arcs' own noise", f"Poisson, electrons per nanomaggy {gain} (assumed)" if camera.poisson else "none"),
    ]


def dataset_counts(context: LensContext) -> dict[str, Any]:
    """Return stamps, hosts, sources and contaminants per split, as the quality report counted them."""
    rows = []
    for name, split in (context.quality.get("splits") or {}).items():
        kinds = ", ".join(f"{count(n)} {kind}" for kind, n in split["source_kinds"].items()) or "–"
        classes = ", ".join(f"{count(n)} {kind}" for kind, n in split["contaminants"].items()) or "–"
        resolved = f"{100 * split['resolved']:.0f}%" if is_number(split["resolved"]) else "–"
        numbers = [count(split[k]) for k in ("stamps", "positives", "cutout_ok", "hosts", "regions", "sources")]
        rows.append((name, *numbers, resolved, kinds, classes, f"{split['bytes'] / 1e6:.1f}"))
    heads = ("Split", "Stamps", "Positives", "Good cutouts", "Galaxies", "Sky regions", "Source galaxies", "Resolved lenses")
    return {"heads": (*heads, "Sources", "Known contaminants", "MB"), "rows": rows}


def _contaminants_at(context: LensContext, fpr: float) -> Figure:
    traces = []
    order: list[str] = []
    for k, (name, frame) in enumerate(context.contaminants.items()):
        rows = frame[np.isclose(frame["at"], fpr)].rename(columns={"fpr": "value"})
        order += [c for c in rows["contaminant_class"] if c not in order]
        said = [
            f"{p} of {n}: {number(v)} [{number(a)}, {number(b)}]"
            for p, n, v, a, b in rows[["passed", "n_negatives", "value", "low", "high"]].itertuples(index=False)
        ]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": rows["contaminant_class"].tolist(),
                "y": rows["value"].tolist(),
                "error_y": errors(rows),
                "marker": {"color": COLOURS[k % len(COLOURS)], "symbol": SYMBOLS[k % len(SYMBOLS)], "size": 8},
                "offsetgroup": str(k),
                "text": said,
                "hovertemplate": f"{name}<br>%{{x}}<br>%{{text}}<extra></extra>",
            }
        )
    plan = plain_layout("Class of control", "Share that passes")
    plan["xaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": order}
    plan["yaxis"] |= {"rangemode": "tozero"}
    plan["scattermode"], plan["scattergap"] = "group", 0.4
    plan["shapes"] = [
        {
            "type": "line",
            "xref": "paper",
            "yref": "y",
            "x0": 0,
            "x1": 1,
            "y0": fpr,
            "y1": fpr,
            "line": {"color": "#57606a", "width": 1, "dash": "dot"},
        }
    ]
    return {"data": traces, "layout": plan}


def _signed(low: float, high: float) -> str:
    return f"[{number(low, sign=True)}, {number(high, sign=True)}]"


def _stamp(size: int) -> str:
    return f"{size} × {size} pixels of {PIXEL_SCALE_ARCSEC:g}″ in g, r, z"


def _span(distribution: Any) -> str:
    low, high = distribution.bounds
    return f"{low:g}" if low == high else f"{low:g}–{high:g}"


def read_table(path: str) -> pd.DataFrame:
    """Return a table of rounds or of recall, seeds as text."""
    frame = read_csv(path, (*TEXT, "value"))
    return frame.assign(resolved=frame["resolved"].map(lambda v: str(v).lower() == "true")) if "resolved" in frame else frame
