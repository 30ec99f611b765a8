"""The lens of each stamp as a network regresses it, its second output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from .index import index_stamps
from .map_network import LENS
from .networks import Classifier
from .pixels import pixels_of
from .scaling import LearningError
from .score import outputs_of


def estimate_lenses(paths: Sequence[str | Path], classifier: Classifier, threads: int = 1) -> dict[str, NDArray]:
    """Return the lens parameters that a network regresses of stamps, by name, (n,) float64 each, and `number`, in the order of the numbers.

    Parameters
    ----------
    paths : shards of one split
    classifier : trained with `training.pairs.lens_weight`

    Raises
    ------
    LearningError
        The network has no such output, or the stamps another size.
    TableError
        As `index_stamps`.
    """
    if not classifier.network.regresses_lens:
        raise LearningError(
            "this network does not regress the lens: train one with architecture unet and training.pairs.lens_weight above 0"
        )
    stamps = index_stamps(paths, pixels_of(classifier.network, classifier.normalisation))
    if stamps.size != classifier.size:
        raise LearningError(f"{paths[0]}: stamps of {stamps.size} pixels, but the network was trained on {classifier.size}")
    found = np.empty((len(stamps), len(LENS)))
    module = classifier.module

    def lens(inputs: torch.Tensor) -> torch.Tensor:
        return module.lens.values(module.outputs(inputs)[2])

    for group, rows in stamps.rows_by_group():
        found[rows] = outputs_of(classifier, lens, stamps.decode(group)[stamps.row[rows]], stamps.scalars[rows], threads)
    return {"number": stamps.numbers, **dict(zip(LENS, found.T, strict=True))}
