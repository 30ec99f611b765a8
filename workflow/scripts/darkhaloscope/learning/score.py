"""Scores of stamps by trained networks, the same bits whatever the shards and batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from ..core.tables import parquet_errors
from .device import find_device, repeatable_float32
from .head import Objects, folds_or_all, objects_of
from .index import Stamps, index_stamps
from .networks import Classifier
from .pixels import IMAGE, pixels_of
from .scaling import LearningError
from .sky import OBJECT_ARCSEC, seen, trained_sky
from .splits import read_split
from .weights import load_network

log = logging.getLogger(__name__)

#: Stamps per forward pass. Every pass has exactly this many rows, the last one padded.
BATCH = 64


@dataclass(frozen=True)
class Scores:
    """Scored stamps in the order of their numbers.

    Attributes
    ----------
    numbers, margins, score, calibrated : (n,); margins are logit differences, `calibrated` is `score` where nothing was fitted
    table : (n,) rows with every column of the shards that is not an image
    dropped : stamps left out, by reason
    """

    numbers: NDArray
    margins: NDArray
    score: NDArray
    calibrated: NDArray
    table: pa.Table
    dropped: dict[str, int]


def score_stamps(
    shard_paths: Sequence[str | Path],
    safetensors_path: str | Path,
    json_path: str | Path,
    *,
    dataset: str,
    detector: str,
    trained_on: Sequence[str | Path] = (),
    threads: int = 1,
) -> dict[str, pa.Array]:
    """Score the stamps of one split.

    A stamp's score depends on the stamp alone (with `shuffle_velocity` also on which stamps the split
    holds, since velocity comes from another one), not on its shard, batch or neighbours, as long as the device is the same.

    Parameters
    ----------
    shard_paths : shards of one split
    safetensors_path, json_path : the network, as `save_network` wrote it
    dataset, detector : names, written into each row
    trained_on : for stamps of another dataset than the network's own: training shards and tables of known lenses that it learnt from.
        Stamps of objects that are in them are left out and counted in the log
    threads : CPU threads

    Returns
    -------
    dict of column name to Arrow array
        `dataset`, `detector`, `seed`, `score` (float64, probability of being a positive), `calibrated` (the same
        after calibration, or again where none was fitted), then every scalar column of the stamps, in the order of the
        stamps' numbers. Stamps of bands that cannot be scored are left out and counted in the log.

    Raises
    ------
    TableError, LearningError, BadPixels
        As `score_split` and `load_network`; also when all stamps show objects that the network was trained on.
    """
    classifier = load_network(safetensors_path, json_path)
    if classifier.recognised:
        log.info("%s: weights trained elsewhere, taken for %s", safetensors_path, classifier.recognised)
    found = score_split(shard_paths, classifier, threads)
    if trained_on:
        found = _unseen(found, trained_on, f"{shard_paths[0]} and others")
    n = len(found.numbers)
    given = {"dataset": pa.repeat(dataset, n), "detector": pa.repeat(detector, n), "seed": pa.repeat(classifier.seed, n)}
    scalars = {name: found.table[name].combine_chunks() for name in found.table.column_names}
    return {**given, "score": pa.array(found.score), "calibrated": pa.array(found.calibrated), **scalars}


def _unseen(found: Scores, trained_on: Sequence[str | Path], where: str) -> Scores:
    """Return the scores of stamps whose objects are not among those that training saw."""
    sky, silent = trained_sky(trained_on)
    if silent or not {"ra", "dec"} <= set(found.table.column_names):
        without = silent[0] if silent else where
        log.warning(
            "%s: no columns ra and dec, so that nobody knows whether the network was trained on objects that it is tested on", without
        )
    known = seen(found.table, sky)
    if known.all():
        raise LearningError(
            f"{where}: all {len(known)} stamps lie within {OBJECT_ARCSEC:g} arcsec of stamps that the network was trained on, so that they test "
            "nothing; take a test set of another piece of sky"
        )
    if not known.any():
        return found
    log.warning(
        "%s: %d of %d stamps left out: within %g arcsec of stamps that the network was trained on",
        where,
        known.sum(),
        len(known),
        OBJECT_ARCSEC,
    )
    rows = {name: getattr(found, name)[~known] for name in ("numbers", "margins", "score", "calibrated")}
    return replace(found, **rows, table=found.table.filter(pa.array(~known)), dropped={**found.dropped, "trained on": int(known.sum())})


def score_split(paths: Sequence[str | Path], classifier: Classifier, threads: int = 1, controls_only: bool = False) -> Scores:
    """Score the stamps of shards, one row group in memory at a time (with `shuffle_velocity` the whole split).

    Stamps of bands whose `cutout_ok` is false, or with pixels that are not finite, get no score and are counted. A stamp of an object
    that a head was fitted on is judged by the head of its fold.

    Parameters
    ----------
    controls_only : score controls alone, for mining

    Raises
    ------
    TableError, LearningError
        As `index_stamps`; also when the stamps have another size than those trained on, or none can be scored.
    BadPixels
        Rendered stamps hold pixels that are NaN or infinite.
    """
    stamps = index_stamps(paths, pixels_of(classifier.network, classifier.normalisation))
    if stamps.size != classifier.size:
        raise LearningError(
            f"{paths[0]}: stamps of {stamps.size}×{stamps.size} pixels, but the network was trained on {classifier.size}×{classifier.size}; "
            "score a dataset of that size, or train on this one"
        )
    if controls_only:
        stamps = stamps.without(stamps.labels == 1, "positives")
    margins = np.full(len(stamps), np.nan)
    bad = np.zeros(len(stamps), bool)
    objects = objects_of(_table(stamps)) if classifier.head else None
    started = told = time.monotonic()
    for done, rows, images in _parts(stamps, paths, classifier, threads):
        good = np.isfinite(images.sum((1, 2, 3), dtype=np.float64))
        bad[rows] = ~good
        some = objects.at(rows[good]) if objects else None
        margins[rows[good]] = margins_of(classifier, images[good], stamps.scalars[rows[good]], threads, some)
        if time.monotonic() - told > 15:
            told = time.monotonic()
            log.info("%d of %d stamps scored, %.0f per second", done, len(stamps), done / (told - started))
    log.info("%d stamps scored, %.0f per second", len(stamps), len(stamps) / max(time.monotonic() - started, 1e-9))
    stamps.refuse_or_count(bad, "")
    good = np.isfinite(margins)
    dropped = {**stamps.dropped, **({"with pixels or scores that are not finite": int((~good).sum())} if not good.all() else {})}
    for reason, count in dropped.items():
        log.info("%d stamps not scored: %s", count, reason)
    if not good.any():
        raise LearningError(f"none of the {len(stamps)} stamps of {paths[0]} and others can be scored: their pixels are not finite")
    margins, score = margins[good], expit(margins[good])
    calibrated = classifier.calibration.apply(margins) if classifier.calibration else score
    return Scores(stamps.numbers[good], margins, score, calibrated, _table(stamps).filter(pa.array(good)), dropped)


def score_known_lenses(
    path: str | Path, networks: Sequence[Classifier], *, unseen_sky: bool, threads: int = 1
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
        As `score_split`; also when there are no lenses.
    """
    with parquet_errors(path), pq.ParquetFile(path) as file:
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
            found = score_split([path], network, threads)
            score[np.searchsorted(lenses["number"].to_numpy(), found.numbers)] = found.score
        scores[str(network.seed)] = score[keep]
    return lenses[keep].reset_index(drop=True), scores


def margins_of(classifier: Classifier, images: NDArray, scalars: NDArray, threads: int = 1, objects: Objects | None = None) -> NDArray:
    """Return the margins of images in the layout of their `Pixels`, of bands with scalars (n, 6), (n,) float64.

    A head that was fitted on real galaxies judges those of `objects` that are among them by a fold which has not seen them.
    """
    if classifier.head is not None:
        every = outputs_of(classifier, classifier.module.heads, images, scalars, threads)
        return every[np.arange(len(every)), folds_or_all(classifier.head, objects, len(every))]
    logits = outputs_of(classifier, classifier.scoring(classifier.module), images, scalars, threads)
    return logits[:, 1] - logits[:, 0]


def features_of(classifier: Classifier, images: NDArray, scalars: NDArray, threads: int = 1) -> NDArray:
    """Return what the last layer of a network of bands sees of stamps, (n, f) float64; arguments as `margins_of`."""
    return outputs_of(classifier, classifier.module.features, images, scalars, threads)


def outputs_of(classifier: Classifier, part: Callable[..., Tensor], images: NDArray, scalars: NDArray, threads: int) -> NDArray:
    """Return what a part of a network gives for stamps, (n, outputs) float64.

    Every forward pass has the same shape, so that the kernels chosen, and with them the last bits, do not depend on
    how many stamps there are; another device gives other last bits.
    """
    before, device = torch.get_num_threads(), find_device()
    torch.set_num_threads(threads)
    classifier.module.to(device=device, memory_format=torch.channels_last).eval()
    bands = classifier.network.channels == "bands"
    outputs = []
    batch = torch.zeros((BATCH, *images.shape[1:]))
    beside = torch.zeros((BATCH, scalars.shape[1]))
    try:
        with torch.inference_mode(), repeatable_float32():
            for start in range(0, max(len(images), 1), BATCH):
                n = len(images[start : start + BATCH])
                batch[:n], beside[:n] = torch.from_numpy(images[start : start + n]), torch.from_numpy(scalars[start : start + n])
                inputs = batch if bands else batch.permute(0, 3, 1, 2)
                inputs = inputs.to(device, memory_format=torch.channels_last)
                found = part(inputs, beside.to(device)) if bands else part(inputs)
                outputs.append(found.double().cpu().numpy()[:n])
    finally:
        torch.set_num_threads(before)
        classifier.module.cpu()
    return np.concatenate(outputs)


def _parts(stamps: Stamps, paths: Sequence[str | Path], classifier: Classifier, threads: int) -> Iterator[tuple[int, NDArray, NDArray]]:
    """Give how many stamps are read, rows, and their images."""
    done = 0
    if classifier.network.shuffle_velocity:
        split = read_split(paths, classifier.network, normalisation=classifier.normalisation, workers=threads)
        for rows, images in split.images.in_order():
            done += len(rows)
            yield done, rows, images
        return
    for group, rows in stamps.rows_by_group():
        done += len(rows)
        yield done, rows, stamps.decode(group)[stamps.row[rows]]


def _table(stamps: Stamps) -> pa.Table:
    """Return every column of the shards that is not an image, in the order of the stamps."""
    tables, found = [], []
    for group, rows in stamps.rows_by_group():
        path, number = stamps.groups[group]
        with parquet_errors(path), pq.ParquetFile(path, metadata=stamps.files[path]) as file:
            names = [field.name for field in file.schema_arrow if not _image(field.type)]
            table: Any = file.read_row_group(number, columns=names, use_threads=False).replace_schema_metadata(None)
        tables.append(table.take(stamps.row[rows]))
        found.append(rows)
    return pa.concat_tables(tables).take(np.argsort(np.concatenate(found), kind="stable"))


def _image(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.FixedShapeTensorType)
