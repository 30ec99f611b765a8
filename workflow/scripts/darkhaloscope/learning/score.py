"""Scores of stamps by a trained network, the same bits whatever the shards and batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.tables import open_table
from ..tasks.subhalo.schema import MANIFEST, scalar_columns
from .data import StampData, read_stamps, stamp_size
from .device import find_device, repeatable_float32
from .networks import Classifier
from .scaling import LearningError
from .score_bands import score_bands
from .weights import load_network

#: Stamps per forward pass. Every pass has exactly this many rows, the last one padded.
BATCH = 64


def score_stamps(
    shard_paths: Sequence[str | Path],
    safetensors_path: str | Path,
    json_path: str | Path,
    *,
    dataset: str,
    detector: str,
    threads: int = 1,
    log: logging.Logger | None = None,
) -> dict[str, pa.Array]:
    """Score the stamps of one split.

    A stamp's score depends on the stamp alone (with `shuffle_velocity` also on which stamps the split
    holds, since velocity comes from another one), not on its shard, batch or neighbours, as long as the device is the same.

    Parameters
    ----------
    shard_paths : shards of one split
    safetensors_path, json_path : the network, as `save_network` wrote it
    dataset, detector : names, written into each row
    threads : CPU threads
    log : where progress goes

    Returns
    -------
    dict of column name to Arrow array
        `dataset`, `detector`, `seed`, `score` (float64, probability of being a positive), `calibrated` (the same
        after calibration, or again where none was fitted), then every scalar column of the stamps, in the order of the
        stamps' numbers. Stamps of bands that cannot be scored are left out and counted in the log.

    Raises
    ------
    TableError, LearningError, BadPixels
        As `read_stamps` and `load_network`; also when the stamps have another size than those trained on.
    """
    log = log or logging.getLogger(__name__)
    classifier = load_network(safetensors_path, json_path)
    if classifier.recognised:
        log.info("%s: weights trained elsewhere, taken for %s", safetensors_path, classifier.recognised)
    if classifier.network.channels == "bands":
        found = score_bands(shard_paths, classifier, threads, log)
        given = _given(dataset, detector, classifier, len(found.numbers))
        scalars = {name: found.table[name].combine_chunks() for name in found.table.column_names}
        return {**given, "score": pa.array(found.score), "calibrated": pa.array(found.calibrated), **scalars}
    size = stamp_size(shard_paths)
    if size != classifier.size:
        raise LearningError(
            f"{shard_paths[0]}: stamps of {size}×{size} pixels, but the network of {json_path} was trained on "
            f"{classifier.size}×{classifier.size}; score a dataset of that size, or train on this one"
        )
    # Shuffled velocities come from the whole split; all else is scored shard by shard, in little memory.
    groups = [list(shard_paths)] if classifier.network.shuffle_velocity else [[p] for p in shard_paths if _rows(p)]
    if not groups or not sum(map(_rows, shard_paths)):
        raise LearningError(f"no stamps: the {len(shard_paths)} shards given hold no rows; check the dataset's sizes and splits")
    names = [c.name for c in scalar_columns()]
    tables, scores = [], []
    started = time.monotonic()
    for group in groups:
        data = read_stamps(group, classifier.network, normalisation=classifier.normalisation)
        found = _scalars(group, names)
        tables.append(found.take(np.argsort(found["number"].to_numpy(), kind="stable")))
        scores.append(classify(classifier, data, threads))
        done = sum(map(len, scores))
        rate = done / max(time.monotonic() - started, 1e-9)
        log.info("%d stamps scored, %d of %d shards, %.0f stamps/s", done, len(tables), len(groups), rate)
    table = pa.concat_tables(tables)
    numbers = table["number"].to_numpy()
    order = np.argsort(numbers, kind="stable")
    if len(np.unique(numbers)) != len(numbers):
        raise LearningError(f"stamps come more than once in the {len(shard_paths)} shards given; give each shard of one split once")
    columns = {name: table[name].combine_chunks().take(order) for name in names}
    score = np.concatenate(scores)[order]
    with np.errstate(divide="ignore"):
        calibrated = classifier.calibration.apply(np.log(score) - np.log1p(-score)) if classifier.calibration else score
    given = _given(dataset, detector, classifier, len(order))
    return {**given, "score": pa.array(score), "calibrated": pa.array(calibrated), **columns}


def classify(classifier: Classifier, data: StampData, threads: int = 1) -> NDArray:
    """Return the probability of being a positive for each stamp, (n,) float64.

    The GPU is used where torch sees one. Every forward pass has the same shape, so that the kernels
    chosen, and with them the last bits, do not depend on how many stamps there are; another device gives
    other last bits.
    """
    before, device = torch.get_num_threads(), find_device()
    torch.set_num_threads(threads)
    module = classifier.module.to(device, memory_format=torch.channels_last).eval()
    scores = np.empty(len(data))
    batch = torch.zeros((BATCH, *data.inputs.shape[1:]), device=device)
    try:
        with torch.inference_mode(), repeatable_float32():
            for start in range(0, len(data), BATCH):
                some = data.inputs[start : start + BATCH]
                batch[: len(some)] = some
                scores[start : start + len(some)] = _probability(module(batch.permute(0, 3, 1, 2)))[: len(some)]
    finally:
        torch.set_num_threads(before)
        classifier.module.cpu()
    return scores


def _given(dataset: str, detector: str, classifier: Classifier, n: int) -> dict[str, pa.Array]:
    return {"dataset": pa.repeat(dataset, n), "detector": pa.repeat(detector, n), "seed": pa.repeat(classifier.seed, n)}


def _probability(logits: Tensor) -> NDArray:
    margin = (logits[:, 1].double() - logits[:, 0].double()).cpu().numpy()
    return 1 / (1 + np.exp(-np.clip(margin, -700, 700)))


def _rows(path: str | Path) -> int:
    return pq.read_metadata(path).num_rows


def _scalars(paths: Sequence[str | Path], names: list[str]) -> pa.Table:
    tables = []
    for path in paths:
        with open_table(path, MANIFEST) as file:
            tables.append(file.read(columns=names).replace_schema_metadata(None))
    return pa.concat_tables(tables)
