"""Scores of known lenses."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .bands import IMAGE
from .networks import Classifier
from .scaling import LearningError
from .score_bands import score_bands


def score_known_lenses(
    path: str | Path, networks: Sequence[Classifier], *, unseen_sky: bool, threads: int = 1, log: logging.Logger | None = None
) -> tuple[pd.DataFrame, dict[str, NDArray]]:
    """Return known lenses without their images, and their scores by training seed.

    Parameters
    ----------
    path : stamps of known lenses
    networks : one network trained with several seeds
    unseen_sky : leave out lenses of the training and validation sky: for networks that learnt from known lenses

    Returns
    -------
    lenses, scores
        Scores are (n,), NaN where a lens has no usable cutout.

    Raises
    ------
    TableError, LearningError
        As `score_bands`; also when there are no lenses.
    """
    with pq.ParquetFile(path) as file:
        lenses = file.read(columns=[n for n in file.schema_arrow.names if n != IMAGE]).to_pandas()
    keep = (lenses["split"] == "test").to_numpy() if unseen_sky else np.ones(len(lenses), bool)
    if not keep.any():
        where = " in the test sky" if unseen_sky else ""
        raise LearningError(
            f"{path}: no known lenses{where}; take more sky, or take the catalogue of known lenses out of the survey's config"
        )
    scores = {}
    usable = bool(lenses["cutout_ok"].any())
    for network in networks:
        score = np.full(len(lenses), np.nan)
        if usable:
            found = score_bands([path], network, threads, log)
            score[np.searchsorted(lenses["number"].to_numpy(), found.numbers)] = found.score
        scores[str(network.seed)] = score[keep]
    return lenses[keep].reset_index(drop=True), scores
