"""Scores of g, r, z stamps, the same bits whatever the shards and batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from .bands import IMAGE, BandStamps, index_bands
from .calibration import logistic
from .device import find_device, repeatable_float32
from .networks import Classifier
from .scaling import LearningError

#: Stamps per forward pass. Every pass has exactly this many rows, the last one padded.
BATCH = 64


@dataclass(frozen=True)
class BandScores:
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


def score_bands(
    paths: Sequence[str | Path], classifier: Classifier, threads: int = 1, log: logging.Logger | None = None, controls_only: bool = False
) -> BandScores:
    """Score the stamps of shards, one row group in memory at a time.

    Stamps whose `cutout_ok` is false, or with pixels that are not finite, get no score and are counted.

    Parameters
    ----------
    controls_only : score controls alone, for mining

    Raises
    ------
    TableError, LearningError
        As `index_bands`; also when the stamps have another size than those trained on, or none can be scored.
    """
    log = log or logging.getLogger(__name__)
    stamps = index_bands(paths)
    if stamps.size != classifier.size:
        raise LearningError(
            f"{paths[0]}: stamps of {stamps.size}×{stamps.size} pixels, but the network was trained on {classifier.size}×{classifier.size}; "
            "score a dataset of that size, or train on this one"
        )
    if controls_only:
        stamps = stamps.without(stamps.labels == 1, "positives")
    margins = np.full(len(stamps), np.nan)
    tables, found = [], []
    started = told = time.monotonic()
    for group in np.unique(stamps.group):
        rows = np.flatnonzero(stamps.group == group)
        images = stamps.decode(int(group))[stamps.row[rows]]
        good = np.isfinite(images.sum((1, 2, 3), dtype=np.float64))
        margins[rows[good]] = margins_of(classifier, images[good], stamps.scalars[rows[good]], threads)
        tables.append(_scalars(stamps, int(group)).take(stamps.row[rows]))
        found.append(rows)
        if time.monotonic() - told > 15:
            told = time.monotonic()
            done = sum(map(len, found))
            log.info("%d of %d stamps scored, %.0f per second", done, len(stamps), done / (told - started))
    table = pa.concat_tables(tables).take(np.argsort(np.concatenate(found), kind="stable"))
    good = np.isfinite(margins)
    dropped = {**stamps.dropped, **({"with pixels or scores that are not finite": int((~good).sum())} if not good.all() else {})}
    for reason, count in dropped.items():
        log.info("%d stamps not scored: %s", count, reason)
    if not good.any():
        raise LearningError(f"none of the {len(stamps)} stamps of {paths[0]} and others can be scored: their pixels are not finite")
    margins, score = margins[good], logistic(margins[good])
    calibrated = classifier.calibration.apply(margins) if classifier.calibration else score
    return BandScores(stamps.numbers[good], margins, score, calibrated, table.filter(pa.array(good)), dropped)


def margins_of(classifier: Classifier, images: NDArray, scalars: NDArray, threads: int = 1) -> NDArray:
    """Return the margins of images (n, 3, size, size) in nanomaggies with scalars (n, 6), (n,) float64."""
    logits = _outputs(classifier, classifier.module, images, scalars, threads)
    return logits[:, 1] - logits[:, 0]


def features_of(classifier: Classifier, images: NDArray, scalars: NDArray, threads: int = 1) -> NDArray:
    """Return what the network's last layer sees of stamps, (n, f) float64; arguments as `margins_of`."""
    return _outputs(classifier, classifier.module.features, images, scalars, threads)


def _outputs(classifier: Classifier, part: Callable[[Tensor, Tensor], Tensor], images: NDArray, scalars: NDArray, threads: int) -> NDArray:
    """Return what a part of a network gives for stamps, (n, outputs) float64.

    Every forward pass has the same shape, so that the kernels chosen, and with them the last bits, do not depend on
    how many stamps there are.
    """
    before, device = torch.get_num_threads(), find_device()
    torch.set_num_threads(threads)
    classifier.module.to(device=device, memory_format=torch.channels_last).eval()
    outputs = []
    batch = torch.zeros((BATCH, *images.shape[1:]))
    beside = torch.zeros((BATCH, scalars.shape[1]))
    try:
        with torch.inference_mode(), repeatable_float32():
            for start in range(0, max(len(images), 1), BATCH):
                n = len(images[start : start + BATCH])
                batch[:n], beside[:n] = torch.from_numpy(images[start : start + n]), torch.from_numpy(scalars[start : start + n])
                found = part(batch.to(device, memory_format=torch.channels_last), beside.to(device))
                outputs.append(found.double().cpu().numpy()[:n])
    finally:
        torch.set_num_threads(before)
        classifier.module.cpu()
    return np.concatenate(outputs)


def _scalars(stamps: BandStamps, group: int) -> pa.Table:
    path, number = stamps.groups[group]
    with pq.ParquetFile(path, metadata=stamps.files[path]) as file:
        names = [n for n in file.schema_arrow.names if n != IMAGE]
        return file.read_row_group(number, columns=names, use_threads=False).replace_schema_metadata(None)
