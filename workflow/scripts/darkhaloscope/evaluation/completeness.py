"""Completeness surfaces of one network: cells with intervals, and smooth fits as selection functions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import pandas as pd
import pyarrow as pa

from ..config.experiment import Evaluation, ScoresTable
from ..core.random import stable_hash, stream
from ..core.rates import EvaluationError
from .any_table import open_settings
from .evaluate import tested
from .scored import load_seeds, need_both_classes
from .selection import Selection, fit_selection
from .surfaces import CELLS, completeness_cells, edges_of, positives_by, thresholds
from .tidy import COMMITTEE

log = logging.getLogger("darkhaloscope")


def map_completeness(
    tables: Mapping[tuple[str, object], pa.Table],
    evaluation: Evaluation,
    units: Mapping[str, str],
    *,
    validation: str | None = None,
    tests: Sequence[str] | None = None,
    network: str = "",
) -> tuple[pd.DataFrame, list[Selection]]:
    """Return the completeness over every surface at every resolved FPR, for the committee of the seeds.

    Parameters
    ----------
    tables, validation, tests : as for `evaluate_network`
    evaluation : `surfaces`, `surface_bins`, `fprs`, `confidence`
    units : mapping
        Unit of each column, for the selection functions.
    network : str
        Its name, for the selection functions.

    Returns
    -------
    cells : DataFrame
        Columns `CELLS`. A surface without a cell or fit says why in `note` of a row of its own.
    selections : list of Selection
        One per dataset, surface and FPR, where there are positives enough.

    Raises
    ------
    EvaluationError
        As `evaluate_network`.
    """
    cells, selections = [pd.DataFrame(columns=list(CELLS))], []
    for dataset in tested(tables, tests):
        scored = load_seeds(tables, dataset, "test")[COMMITTEE]
        need_both_classes(scored)
        fixing = load_seeds(tables, validation or dataset, "validation") or load_seeds(tables, dataset, "validation")
        cuts = thresholds(scored, fixing.get(COMMITTEE), evaluation)
        for columns in evaluation.surfaces:
            surface = positives_by(scored, columns)
            place = {"test_dataset": dataset, "seed": COMMITTEE}
            if not len(surface.score) or not cuts:
                why = "no positive has a value of each column" if cuts else "too few controls to fix a threshold at any FPR"
                cells.append(pd.DataFrame([{**place, "surface": surface.name, "note": why}]))
                continue
            edges = edges_of(surface, evaluation)
            for fpr, cut, note in cuts:
                at = {**place, "fpr": fpr, "threshold": cut}
                cells.append(completeness_cells(surface, edges, cut, evaluation.confidence).assign(**at, note=note))
                rng = stream(0, stable_hash(f"{dataset}\x1f{surface.name}"), "selection")
                about = {"network": network, "test_dataset": dataset, "surface": surface.name, "fpr": fpr}
                try:
                    selections.append(fit_selection(surface, cut, units, rng, about))
                except EvaluationError as error:
                    log.info("%s, FPR %g: no smooth fit: %s", dataset, fpr, error)
    return pd.concat(cells, ignore_index=True)[list(CELLS)], selections


def map_table(settings: ScoresTable, units: Mapping[str, str]) -> tuple[pd.DataFrame, list[Selection]]:
    """Return the completeness of scores made elsewhere, as `map_completeness` does.

    Parameters
    ----------
    settings : ScoresTable
        Its file, the names of its columns, and the surfaces; without these, those of both chains that the table has.
    units : mapping
        Unit of each column; a column that it does not name has none.

    Raises
    ------
    EvaluationError
        As `open_settings` and `map_completeness`.
    """
    table, evaluation = open_settings(settings)
    return map_completeness({(settings.folder, 0): table}, evaluation, units, network=settings.folder)
