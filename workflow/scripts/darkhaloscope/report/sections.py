"""What the page's tables hold, as texts with the values that they are sorted by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..config.network import Network
from ..learning.networks import describe_network
from .answer import compared, marginal_gain, rates_of
from .context import ReportContext
from .figures import plain
from .frames import OVERALL, column_name, count, is_number, metric_name, overall, pick, rate_text

#: Metrics of the page's strata table; the CSV files hold all.
STRATA_METRICS = ("auc", "tpr_at_fpr", "fpr_at_tpr")


def rates_tables(context: ReportContext) -> list[dict[str, Any]]:
    """Return one table per test dataset: networks and seeds against metrics."""
    out = []
    evaluation = context.experiment.evaluation
    heads = [("auc", None), ("accuracy", None)] + [("tpr_at_fpr", f) for f in sorted(evaluation.fprs, reverse=True)]
    heads += [("fpr_at_tpr", t) for t in evaluation.tprs]
    for test in context.experiment.test_datasets:
        rows = []
        for name in context.experiment.detectors:
            frame = overall(context.frames[name]["rates"])
            frame = frame[frame["test_dataset"] == test]
            # The committee of one seed is that seed.
            for seed in list(dict.fromkeys(frame["seed"]))[: None if len(context.experiment.seeds) > 1 else 1]:
                of_seed = frame[frame["seed"] == seed]
                cells = [pick(of_seed, metric, at) for metric, at in heads]
                known = next((c for c in cells if c is not None), None)
                counts = "–" if known is None else f"{count(known['n_positives'])} / {count(known['n_negatives'])}"
                rows.append({"network": name, "seed": seed, "counts": counts, "cells": [(sort_value(c), rate_text(c)) for c in cells]})
        out.append({"test": test, "heads": [metric_name(m, np.nan if a is None else a) for m, a in heads], "rows": rows})
    return out


def strata_table(context: ReportContext) -> dict[str, Any]:
    """Return every stratum of every network at the seed that is quoted, as a table to choose from."""
    rows = []
    for name in context.experiment.detectors:
        for test in context.experiment.test_datasets:
            part = rates_of(context, name, test, "strata")
            part = part[part["metric"].isin(STRATA_METRICS)] if len(part) else part
            for row in part.to_dict("records"):
                row = pd.Series(row)
                rows.append([test, name, *_line(row, sign=False)])
    columns = [
        {"name": "Test dataset", "choose": True, "start": context.experiment.test_datasets[0]},
        {"name": "Network", "choose": True},
        {"name": "Column", "choose": True},
        {"name": "Stratum"},
        {"name": "Metric", "choose": True, "start": "AUC"},
        {"name": "Value [interval]"},
        {"name": "Positives"},
        {"name": "Negatives"},
        {"name": "Note"},
    ]
    return plain({"columns": columns, "rows": rows})


def comparison_tables(context: ReportContext) -> list[dict[str, Any]]:
    """Return one table to choose from per comparison of the experiment."""
    out = []
    for i, (baseline, network) in enumerate(context.experiment.comparisons):
        rows = []
        for test in context.experiment.test_datasets:
            for _, row in compared(context, baseline, network, test).iterrows():
                rows.append([test, *_line(row, sign=True)])
        columns = [
            {"name": "Test dataset", "choose": True, "start": context.experiment.test_datasets[0]},
            {"name": "Column", "choose": True},
            {"name": "Stratum"},
            {"name": "Metric", "choose": True, "start": "ΔAUC"},
            {"name": f"{network} − {baseline} [interval]"},
            {"name": "Positives"},
            {"name": "Negatives"},
            {"name": "Note"},
        ]
        out.append({"id": i, "baseline": baseline, "network": network, "table": plain({"columns": columns, "rows": rows})})
    return out


def information_bins(context: ReportContext) -> pd.DataFrame:
    """Return AUC of network and ideal observer by bin of the ideal d′, lowest bin first; empty without ideal observers."""
    parts = []
    for name in context.experiment.detectors:
        if context.detectors[name].channels == "mask":
            continue
        frame = rates_of(context, name, name="information")
        frame = frame[frame["stratum"] != OVERALL] if len(frame) else frame
        if len(frame):
            ideal = frame[frame["metric"] == "ideal_auc"].set_index("stratum")["value"]
            own = frame[(frame["metric"] == "auc") & frame["resolved"]]
            parts.append(own.assign(network=name, ideal=own["stratum"].map(ideal)))
    if not parts:
        return pd.DataFrame()
    bins = pd.concat(parts, ignore_index=True)
    # Networks with fewer bins must not decide the order of the axis.
    return bins.assign(first=[_leading_number(s) for s in bins["stratum"]]).sort_values("first", kind="stable", ignore_index=True)


def information_table(context: ReportContext) -> list[dict[str, Any]]:
    """Return AUC and d′ of network and ideal observer and the share reached, over all stamps and by bin."""
    rows = []
    for name in context.experiment.detectors:
        frame = rates_of(context, name, name="information")
        for stratum in dict.fromkeys(frame["stratum"]) if len(frame) else ():
            part = frame[frame["stratum"] == stratum]
            cells = [pick(part, metric) for metric in ("auc", "ideal_auc", "d_prime", "ideal_d_prime", "share")]
            first = cells[0] if cells[0] is not None else part.iloc[0]
            rows.append(
                {
                    "network": name,
                    "column": column_name(part["column"].iloc[0]),
                    "stratum": "all" if stratum == OVERALL else stratum,
                    "order": -1.0 if stratum == OVERALL else _leading_number(stratum),
                    "cells": [(sort_value(c), rate_text(c)) for c in cells],
                    "counts": f"{count(first['n_positives'])} / {count(first['n_negatives'])}",
                }
            )
    return rows


def observer_tables(context: ReportContext) -> dict[str, dict[str, Any]]:
    """Return, per test dataset, the medians of the ideal and the marginal observer, over all stamps and by mass bin."""
    out = {}
    for test, frame in context.observers.items():
        if not len(frame):
            continue
        groups = [("all stamps", frame)]
        if "mass_bin" in frame:
            groups += [(str(name), part) for name, part in frame.groupby("mass_bin", sort=True)]
        rows = []
        for name, part in groups:
            medians = [f"{part[f'{who}_d_prime_{c}'].median():.2g}" for who in ("ideal", "marginal") for c in ("flux", "velocity", "both")]
            rows.append((name, count(len(part)), *medians, marginal_gain(part)))
        heads = (
            "log₁₀ mass",
            "Stamps",
            *(f"{who} d′, {c}" for who in ("Ideal", "Marginal") for c in ("flux", "velocity", "both")),
            "Marginal, flux → both",
        )
        out[test] = {"n": count(len(frame)), "heads": heads, "rows": rows}
    return out


def dataset_counts(context: ReportContext) -> dict[str, Any]:
    """Return stamps, positives, galaxies and source kinds per split: as counted, or as asked for where nothing was counted."""
    splits = context.quality.get("splits")
    if not splits:
        size = context.dataset.size
        return {"heads": ("Split", "Stamps asked for"), "rows": [(s, count(getattr(size, s))) for s in ("train", "validation", "test")]}
    rows = []
    for name, split in splits.items():
        kinds = ", ".join(f"{count(n)} {kind}" for kind, n in split["source_kinds"].items())
        rows.append((name, *(count(split[k]) for k in ("stamps", "positives", "galaxies")), kinds, f"{split['bytes'] / 1e6:.1f}"))
    return {"heads": ("Split", "Stamps", "Positives", "Galaxies", "Sources", "MB"), "rows": rows}


def distributions(context: ReportContext) -> dict[str, Any] | None:
    """Return what the stamps' columns hold per split and class, as a table to choose from; None where it was not measured."""
    found = context.quality.get("distributions") or []
    if not found:
        return None
    keys = list(dict.fromkeys(k for row in found for k in row))
    columns = [{"name": key, "choose": key in ("split", "label", "column")} for key in keys]
    rows = []
    for row in found:
        cells = {**row, "label": {0: "control", 1: "positive"}.get(row.get("label"), row.get("label"))}
        if "column" in cells:
            cells["column"] = column_name(str(cells["column"]))
        rows.append([[cells.get(k), f"{cells[k]:.4g}"] if is_number(cells.get(k)) else cells.get(k) for k in keys])
    return plain({"columns": columns, "rows": rows})


def network_table(context: ReportContext) -> dict[str, Any]:
    """Return what each network sees, how large it is, and how it was trained."""
    rows, seeds = [], len(context.experiment.seeds)
    for name in context.experiment.detectors:
        network = context.detectors[name]
        if network.kind != "network":
            made = f"fusion of {', '.join(network.of)}" if network.kind == "fusion" else network.kind
            rows.append((name, network.channels, made, "–", "–", "–", "–", network.description))
            continue
        training = network.training
        width = f", width {network.width}" if network.architecture.startswith("deep") or network.architecture == "slim" else ""
        how = f"{training.epochs} epochs, {training.optimizer}, {seeds} seed{'' if seeds == 1 else 's'}"
        how += f", {network.rounds} rounds" if network.rounds > 1 else ""
        rows.append(
            (
                name,
                network.channels
                + (", velocity shuffled" if network.shuffle_velocity else "")
                + ("" if network.label_blind or network.channels in ("flux", "both") else ", mask of the stamp's own flux"),
                *(_size(network, context.stamp_size, width) if network.weights is None else (f"as in {network.weights}", "–", "–", "–")),
                how if network.weights is None else "elsewhere",
                network.description,
            )
        )
    heads = ("Name", "Sees", "Architecture", "Layers", "Parameters", "Multiply-adds per stamp", "Training", "What it is for")
    return {"heads": heads, "rows": rows}


def _size(network: Network, size: int, width: str) -> tuple[str, str, str, str]:
    """Return a network's architecture, layers, parameters and cost; weights to start from do not matter, nor are they fetched."""
    told = describe_network(network.model_copy(update={"pretrained": None}), size)
    cost = f"{told['multiply_adds'] / 1e6:.1f} million"
    return network.architecture.replace("_", " ") + width, count(told["layers"]), count(told["parameters"]), cost


def dataset_facts(context: ReportContext) -> list[tuple[str, str]]:
    """Return what the training dataset is made of, in pairs of name and text."""
    lens, subhalo, instrument = context.dataset.lens, context.dataset.subhalo, context.dataset.instrument
    psf = {"none": "none", "kernel": "pixel kernel"}.get(
        instrument.psf.kind, f"{instrument.psf.kind}, FWHM {instrument.psf.fwhm_arcsec:g}″"
    )
    noise, places = (
        instrument.noise,
        {"arc": "on the arc, by brightness", "annulus": "annulus about θ_E", "critical": "near the critical curve"},
    )
    speed = f"σ_v = {noise.line_fwhm_kms:g}/(2.355 S/N), at least {noise.velocity_floor_kms:g} km/s"
    mix = ", ".join(f"{100 * share:g}% {kind}" for kind, share in context.dataset.sources.mix.items() if share > 0)
    sample = f", galaxies of sample {context.dataset.sources.sample}" if context.dataset.sources.sample else ""
    bins = ", ".join(f"{a:g}–{b:g}" for a, b in subhalo.log10_mass_msun)
    strengths = [f"SIS: {_span(subhalo.theta_e_factor)} θ_E"] if subhalo.profiles.get("sis") else []
    strengths += [f"log₁₀ M/M☉: {bins}"] if subhalo.profiles.get("nfw") or subhalo.profiles.get("tnfw") else []
    profiles = ", ".join(f"{100 * share:g}% {kind.upper()}" for kind, share in subhalo.profiles.items() if share > 0)
    facts = [
        ("sources", mix + sample),
        ("stamp", f"{instrument.stamp_size} × {instrument.stamp_size} pixels of {instrument.pixel_scale_arcsec:g}″"),
        ("PSF", psf),
        ("peak S/N", _span(noise.peak_snr) if noise.flux else "no noise on flux"),
        ("velocity noise", speed if noise.velocity else "none"),
        ("velocity mask from", {"smooth": "the smooth lens, label-blind", "observed": "the observed flux"}[instrument.mask]),
        ("lens", f"{lens.profile.upper()} + shear, θ_E {_span(lens.theta_e_arcsec)}″, z {_span(lens.redshift)}"),
        ("source redshift", _span(context.dataset.sources.redshift)),
    ]
    if context.dataset.contrast != "lensed":
        facts += [("subhalos", profiles), ("subhalo strength", " · ".join(strengths)), ("placement", places[subhalo.placement])]
    return facts


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as pairs of dotted key and text."""
    if isinstance(value, Mapping):
        return [line for k, v in value.items() for line in flat(v, f"{prefix}.{k}" if prefix else str(k))]
    return [(prefix, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))]


def _line(row: pd.Series, *, sign: bool) -> list[Any]:
    """Return a row of the evaluation as cells: a text, or a pair of what it is sorted by and its text."""
    counts = [[row[k], count(row[k])] for k in ("n_positives", "n_negatives")]
    place = [column_name(row["column"]), row["stratum"], metric_name(row["metric"], row["at"])]
    return [*place, [sort_value(row), rate_text(row, sign=sign)], *counts, row["note"]]


def sort_value(row: pd.Series | None) -> float | str:
    """Return what a cell with a rate is sorted by: nothing where it is not resolved."""
    return float(row["value"]) if row is not None and row["resolved"] and is_number(row["value"]) else ""


def _leading_number(stratum: str) -> float:
    text = stratum.split("–")[0].split()[0] if stratum.strip() else ""
    try:
        return float(text)
    except ValueError:
        return float("inf")


def _span(distribution: Any) -> str:
    low, high = distribution.bounds
    return f"{low:g}" if low == high else f"{low:g}–{high:g}"
