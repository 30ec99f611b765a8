"""Rates of cutouts that the user brings, where labels are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from ..config.experiment import Evaluation
from .any_table import DEFAULT_SKY
from .evaluate import evaluate_network
from .tidy import COMMITTEE, TIDY, frame

#: Columns of the rates, in order.
RATES = ("detector", *TIDY)


def evaluate_cutouts(scored: pd.DataFrame, detectors: Sequence[str], evaluation: Evaluation, name: str) -> pd.DataFrame:
    """Return the rates of each detector on the cutouts whose label says lens or control, less those that it learnt from.

    Parameters
    ----------
    scored : table of `learning.cutouts`
    detectors : their names
    evaluation : which rates, of the experiment; strata and surfaces need columns that cutouts do not have
    name : what the cutouts are called: the test dataset

    Returns
    -------
    DataFrame
        Columns `RATES`, no rows where no cutout has a label. Where all labelled ones are of one class, a row that says so.
    """
    known = scored[scored["label"].notna() & scored["ok"]]
    tables = [pd.DataFrame(columns=list(RATES))]
    for detector in detectors:
        judged = known[known[f"score_{detector}"].notna()]
        if f"learnt_{detector}" in judged:
            judged = judged[~judged[f"learnt_{detector}"].astype(bool)]
        positives, controls = (int((judged["label"] == k).sum()) for k in (1, 0))
        if positives and controls:
            rates = _rates(judged, detector, evaluation, name)
        elif positives or controls:
            rates = _one_class(positives, controls, name)
        else:
            continue
        tables.append(rates.assign(detector=detector))
    filled = [table for table in tables if len(table)] or tables
    return pd.concat(filled, ignore_index=True)[list(RATES)]


def _rates(judged: pd.DataFrame, detector: str, evaluation: Evaluation, name: str) -> pd.DataFrame:
    places = judged[["ra", "dec"]].notna().all(axis=None)
    table = pa.table(
        {
            "stamp_id": pa.array(judged["stamp_id"].astype(str)),
            "label": judged["label"].to_numpy(np.int8),
            "score": judged[f"score_{detector}"].to_numpy(float),
            "split": pa.array(["test"] * len(judged)),
            **({key: judged[key].to_numpy(float) for key in ("ra", "dec")} if places else {}),
        }
    )
    asked = evaluation.model_copy(update={"strata": {}, "surfaces": (), "pairs": (), "clusters": (DEFAULT_SKY,) if places else ()})
    rates = evaluate_network({(name, 0): table}, asked, channels="bands")["rates"]
    return rates[rates["seed"] == COMMITTEE]


def _one_class(positives: int, controls: int, name: str) -> pd.DataFrame:
    lacks = "control" if positives else "lens"
    row = {
        "column": "all",
        "stratum": "all",
        "metric": "auc",
        "at": np.nan,
        "value": np.nan,
        "low": np.nan,
        "high": np.nan,
        "resolved": False,
    }
    row |= {"n_positives": positives, "n_negatives": controls, "negatives_needed": None, "interval": "", "unit": ""}
    return frame([row | {"note": f"no {lacks} among the labelled cutouts; rates need both classes"}], test_dataset=name, seed=COMMITTEE)
