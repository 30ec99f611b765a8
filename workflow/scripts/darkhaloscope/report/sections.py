"""The tables that the pages of all tasks share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..config.network import Network
from ..evaluation.tidy import count, overall, pick
from .answer import compared, rates_of
from .context import ReportContext
from .frames import column_name, metric_name
from .grids import Cell, Footnotes, Grid, number_cell, rate_cell, text_of

#: Metrics of the page's strata table; the CSV files hold all.
STRATA_METRICS = ("auc", "tpr_at_fpr", "fpr_at_tpr")


def rates_tables(context: ReportContext) -> list[tuple[str, Grid]]:
    """Return one table per test dataset: networks and seeds against metrics; those that no network resolves are told in a note."""
    out = []
    evaluation = context.experiment.evaluation
    metrics = [("auc", None), ("accuracy", None)] + [("tpr_at_fpr", f) for f in sorted(evaluation.fprs, reverse=True)]
    metrics += [("fpr_at_tpr", t) for t in evaluation.tprs]
    for i, test in enumerate(context.experiment.test_datasets):
        rows = []
        for name in context.experiment.detectors:
            frame = overall(context.frames[name]["rates"])
            frame = frame[frame["test_dataset"] == test]
            # The committee of one seed is that seed.
            for seed in list(dict.fromkeys(frame["seed"]))[: None if len(context.experiment.seeds) > 1 else 1]:
                of_seed = frame[frame["seed"] == seed]
                cells = [pick(of_seed, metric, at) for metric, at in metrics]
                known = next((c for c in cells if c is not None), None)
                counts = "–" if known is None else f"{count(known['n_positives'])} / {count(known['n_negatives'])}"
                rows.append((name, seed, counts, cells))
        kept = [k for k in range(len(metrics)) if any(c is not None and c["resolved"] for *_, cells in rows for c in cells[k : k + 1])]
        called = [metric_name(m, np.nan if a is None else a) for m, a in metrics]
        grid = Grid(
            ("Network", "Seed", "Positives / negatives", *(called[k] for k in kept)),
            tuple((name, seed, counts, *(rate_cell(cells[k]) for k in kept)) for name, seed, counts, cells in rows),
            f"rates-table-{i}",
            notes=tuple(_lost(called[k], [cells[k] for *_, cells in rows]) for k in range(len(metrics)) if k not in kept),
        )
        out.append((test, grid))
    return out


def _lost(name: str, cells: Iterable[pd.Series | None]) -> str:
    return f"{name}: {', '.join(dict.fromkeys(text_of(rate_cell(c)) for c in cells))}."


def strata_table(context: ReportContext) -> Grid:
    """Return every stratum of every network at the seed that is quoted, as a table to choose from."""
    notes, rows = Footnotes(), []
    for name in context.experiment.detectors:
        for test in context.experiment.test_datasets:
            part = rates_of(context, name, test, "strata")
            part = part[part["metric"].isin(STRATA_METRICS)] if len(part) else part
            rows += [(test, name, *_line(row, notes, sign=False)) for _, row in part.iterrows()]
    heads = ("Test dataset", "Network", "Column", "Stratum", "Metric", "Value [interval]", "Positives", "Negatives")
    start = {"Test dataset": context.experiment.test_datasets[0], "Metric": "AUC"}
    return Grid(heads, tuple(rows), "strata-table", ("Test dataset", "Network", "Column", "Metric"), start, notes.numbered())


def comparison_tables(context: ReportContext) -> list[tuple[str, str, Grid]]:
    """Return baseline, network and one table to choose from per comparison of the experiment."""
    out = []
    for i, (baseline, network) in enumerate(context.experiment.comparisons):
        notes, rows = Footnotes(), []
        for test in context.experiment.test_datasets:
            rows += [(test, *_line(row, notes, sign=True)) for _, row in compared(context, baseline, network, test).iterrows()]
        value = f"{network} − {baseline} [interval]"
        heads = ("Test dataset", "Column", "Stratum", "Metric", value, "Positives", "Negatives")
        start = {"Test dataset": context.experiment.test_datasets[0], "Metric": "ΔAUC"}
        choose = ("Test dataset", "Column", "Metric")
        out.append((baseline, network, Grid(heads, tuple(rows), f"comparison-table-{i}", choose, start, notes.numbered())))
    return out


def _line(row: pd.Series, notes: Footnotes, *, sign: bool) -> list[Cell]:
    """Return a row of the evaluation as cells; its note is told once, below the table."""
    counts = [number_cell(row[k], count(row[k])) for k in ("n_positives", "n_negatives")]
    value = rate_cell(row, sign=sign, mark=notes.mark(row["note"]) if row["resolved"] else "")
    return [column_name(row["column"]), row["stratum"], metric_name(row["metric"], row["at"]), value, *counts]


def network_table(context: ReportContext) -> Grid:
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
        how = f"as {network.body}; last layer fitted on real galaxies" if network.body else how
        rows.append(
            (
                name,
                network.channels
                + (", velocity shuffled" if network.shuffle_velocity else "")
                + ("" if network.label_blind or network.channels in ("flux", "both") else ", mask of the stamp's own flux"),
                *(
                    _size(network, context.sizes.get(name, {}), width)
                    if network.weights is None
                    else (f"as in {network.weights}", "–", "–", "–")
                ),
                how if network.weights is None else "elsewhere",
                network.description,
            )
        )
    heads = ("Name", "Sees", "Architecture", "Layers", "Parameters", "Multiply-adds per stamp", "Training", "What it is for")
    return Grid(heads, tuple(rows), "networks-table")


def _size(network: Network, told: Mapping[str, Any], width: str) -> tuple[str, str, str, str]:
    """Return a network's architecture, layers, parameters and cost."""
    cost = f"{told['multiply_adds'] / 1e6:.1f} million" if "multiply_adds" in told else "–"
    return network.architecture.replace("_", " ") + width, count(told.get("layers")), count(told.get("parameters")), cost
