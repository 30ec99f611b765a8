"""Scores of cutouts that the user brings, by the networks of an experiment: no label is asked for, and nothing is trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.special import expit

from ..core.tables import images, parquet_errors, read_columns
from .head import objects_of
from .index import scalars_of
from .networks import Classifier
from .scaling import SCALARS, LearningError
from .score import margins_of
from .sky import OBJECT_ARCSEC, near, vectors

log = logging.getLogger(__name__)

IMAGE = "image"


def score_cutouts(
    path: str | Path,
    networks: Mapping[str, Sequence[Classifier]],
    threads: int = 1,
    trained_on: Mapping[str, Sequence[str | Path]] | None = None,
    judged_on: Mapping[str, Sequence[str | Path]] | None = None,
) -> pd.DataFrame:
    """Score cutouts by detectors, each the mean of its training seeds.

    Objects that a head was fitted on are judged by the head of their fold: it has not learnt from them.

    Parameters
    ----------
    path : table of `surveys.prepared`, one row per cutout
    networks : networks of every seed by detector, the main detector first
    threads : CPU threads
    trained_on : tables of real galaxies (`surveys.real_sky`) that a detector learnt from, of which those of split `train` count
    judged_on : tables of scores that the seeds of a detector gave the stamps of its dataset, of which the test controls count

    Returns
    -------
    DataFrame
        `rank` by the first detector (equal scores by name), the table's columns but images, PSF and depth, and for each detector
        `score_‹detector›` and `calibrated_‹detector›`, NaN where a cutout cannot be scored, and `learnt_‹detector›`: whether it learnt
        from this very object, known by position or name; no rate counts it. Detectors of `judged_on` have `passing_‹detector›`, the share
        of the `controls_‹detector›` test controls that score as high. Sorted by rank, those without a score last.

    Raises
    ------
    LearningError
        Networks were trained on stamps of another size than the table's.
    """
    parts = []
    with parquet_errors(path), pq.ParquetFile(path) as file:
        size = file.schema_arrow.field(IMAGE).type.shape[-1]
        for name, members in networks.items():
            if other := next((m.size for m in members if m.size != size), None):
                raise LearningError(
                    f"{path}: stamps of {size}×{size} pixels, but {name} was trained on {other}×{other}; make the table again"
                )
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, use_threads=False)
            parts.append(_scored(table, networks, threads))
    frame = pd.concat(parts, ignore_index=True)
    for name in networks:
        frame[f"learnt_{name}"] = _learnt(frame, (trained_on or {}).get(name, ()))
        if frame[f"learnt_{name}"].any():
            log.info("%d of %d cutouts show objects that %s learnt from", frame[f"learnt_{name}"].sum(), len(frame), name)
    for name, tables in (judged_on or {}).items():
        controls = control_scores(tables)
        frame[f"passing_{name}"] = _as_high(controls, frame[f"score_{name}"].to_numpy(float))
        frame[f"controls_{name}"] = len(controls)
    main = f"score_{next(iter(networks))}"
    frame = frame.sort_values([main, "stamp_id"], ascending=[False, True], ignore_index=True, na_position="last")
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    log.info("%d of %d cutouts scored by %s", frame[main].notna().sum(), len(frame), ", ".join(networks))
    return frame


def control_scores(paths: Sequence[str | Path]) -> NDArray[np.float64]:
    """Return the scores of the test controls of one table or several seeds' tables, their mean, in rising order (n,)."""
    seeds = []
    for path in paths:
        table = read_columns(path, ["stamp_id", "split", "label", "score"]).to_pandas()
        seeds.append(table.query("split == 'test' and label == 0").set_index("stamp_id")["score"])
    return np.sort(pd.concat(seeds, axis=1, join="inner").mean(axis=1).to_numpy(float))


def best_stamps(path: str | Path, scored: pd.DataFrame, detectors: Sequence[str], shown: int) -> pa.Table:
    """Return `stamp_id` and `image` of the stamps that some detector scores among its `shown` highest, so that the others need not be kept.

    Parameters
    ----------
    path : table that was scored
    scored : what `score_cutouts` returned of it
    detectors : names
    shown : stamps of each detector
    """
    columns = [f"score_{detector}" for detector in detectors]
    names = {name for column in columns for name in scored[scored[column].notna()].nlargest(shown, column, keep="all")["stamp_id"]}
    with parquet_errors(path), pq.ParquetFile(path) as file:
        groups = (file.read_row_group(g, columns=["stamp_id", IMAGE], use_threads=False) for g in range(file.num_row_groups))
        return pa.concat_tables([g.filter(pa.array([i in names for i in g["stamp_id"].to_pylist()])) for g in groups])


def _scored(table: pa.Table, networks: Mapping[str, Sequence[Classifier]], threads: int) -> pd.DataFrame:
    frame = table.drop_columns([IMAGE, *SCALARS]).to_pandas()
    pixels = images(table, IMAGE)
    scalars = scalars_of({name: _numbers(table[name]) for name in SCALARS})
    objects = objects_of(table)
    use = frame["ok"].to_numpy(bool) & np.isfinite(pixels.sum((1, 2, 3), dtype=np.float64))
    for name, members in networks.items():
        found = {key: np.full((len(members), len(frame)), np.nan) for key in ("score", "calibrated")}
        for k, classifier in enumerate(members):
            margins = margins_of(classifier, pixels[use], scalars[use], threads, objects.at(use)) if use.any() else np.empty(0)
            found["score"][k, use] = expit(margins)
            found["calibrated"][k, use] = classifier.calibration.apply(margins) if classifier.calibration else expit(margins)
        for key, values in found.items():
            frame[f"{key}_{name}"] = values.mean(0)
    return frame


def _as_high(controls: NDArray, scores: NDArray) -> NDArray[np.float64]:
    """Return the share of controls, in rising order, with at least each score, (n,); NaN without controls or score."""
    if not len(controls):
        return np.full(len(scores), np.nan)
    return np.where(np.isnan(scores), np.nan, 1 - np.searchsorted(controls, scores, "left") / len(controls))


def _learnt(frame: pd.DataFrame, tables: Sequence[str | Path]) -> NDArray[np.bool_]:
    """Return which cutouts show objects of the training part of some tables of real galaxies."""
    found = np.zeros(len(frame), bool)
    for path in tables:
        known = read_columns(path, ["stamp_id", "ra", "dec", "split"]).to_pandas().query("split == 'train'")
        found |= frame["stamp_id"].isin(known["stamp_id"]).to_numpy()
        placed = frame[["ra", "dec"]].notna().all(axis=1).to_numpy()
        there = known.dropna(subset=["ra", "dec"])
        sky = [vectors(t["ra"].to_numpy(float), t["dec"].to_numpy(float)) for t in (frame[placed], there)]
        found[placed] |= near(*sky, OBJECT_ARCSEC)
    return found


def _numbers(column: pa.ChunkedArray) -> NDArray:
    return column.cast(pa.float64()).to_numpy()
