"""What a network's margin for a stamp rests on: integrated gradients, input by input and pixel by pixel.

The integral of the margin's gradient along the straight path from a baseline, times the way (Sundararajan, Taly and
Yan 2017, ICML): attributions add up to the margin's difference, which is checked stamp by stamp. The baseline is empty sky:
no flux, no velocity, an empty mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray
from torch import Tensor

from ..config.experiment import Explanations
from .altered import sample_bands
from .networks import Classifier
from .scaling import BANDS, inputs_of
from .splits import read_split

#: Points of the path in one pass; how often the steps are doubled for a stamp that misses the tolerance.
PASS, DOUBLINGS = 128, 4


@dataclass(frozen=True)
class Attributions:
    """Attributions of the margin, the log-odds of being a positive.

    Attributes
    ----------
    values : (n, c, size, size) float32, in log-odds
    margin, baseline_margin : (n,) float64
    error : (n,) float64
        Sum of the attributions less the margins' difference.
    complete : (n,) bool
        Whether the error is within the tolerance.
    steps : (n,) int
    """

    values: NDArray[np.float32]
    margin: NDArray
    baseline_margin: NDArray
    error: NDArray
    complete: NDArray[np.bool_]
    steps: NDArray


@dataclass(frozen=True)
class Explained:
    """Attributions of some stamps by one network: `numbers` names the stamps, `inputs` the channels."""

    numbers: NDArray
    inputs: tuple[str, ...]
    attributions: Attributions


def explain_stamps(classifier: Classifier, path: str | Path, settings: Explanations) -> Explained:
    """Explain a network's margins for the stamps of one shard.

    Scalars beside an image (PSF, depth), and measures that a head sees beside features, stay the stamp's own along the path.

    Raises
    ------
    TableError, LearningError
        As `read_split`.
    """
    if classifier.network.channels == "bands":
        stamps, images = sample_bands([path], 2**31)
        module = classifier.module
        with torch.no_grad():
            inputs, empty = module.stretch(torch.from_numpy(images)), module.stretch(torch.zeros(1, *images.shape[1:]))
        scalars = torch.from_numpy(np.asarray(stamps.scalars, np.float32))
        if classifier.head:
            scalars = module.beside(torch.from_numpy(images), scalars)
        return Explained(stamps.numbers, BANDS, attribute(classifier.scoring(module.judge), inputs, empty, settings, scalars))
    split = read_split([path], classifier.network, normalisation=classifier.normalisation, workers=0)
    constants = classifier.normalisation
    empty = -torch.tensor(constants.offset) / torch.tensor(constants.scale)
    inputs = torch.from_numpy(split.images.take(np.arange(len(split)))).permute(0, 3, 1, 2).contiguous()
    names = inputs_of(classifier.network)
    return Explained(split.numbers, names, attribute(classifier.scoring(classifier.module), inputs, empty[None, :, None, None], settings))


def attribute(
    logits: Callable[..., Tensor], inputs: Tensor, baseline: Tensor, settings: Explanations, beside: Tensor | None = None
) -> Attributions:
    """Return the integrated gradients of the margin, logit 1 less logit 0.

    Parameters
    ----------
    logits : inputs (m, c, h, w), and what is beside them, to (m, 2)
    inputs : (n, c, h, w)
    baseline : (1, c, h, w), or what spreads to it
    settings : `steps` and `tolerance`
    beside : (n, k), held fixed along the path
    """

    def margin(some: Tensor, *more: Tensor) -> Tensor:
        found = logits(some, *more)
        return found[:, 1] - found[:, 0]

    method = IntegratedGradients(margin)
    baseline = baseline.expand(1, *inputs.shape[1:]).contiguous()
    rows = []
    for i in range(len(inputs)):
        one, more = inputs[i : i + 1], () if beside is None else (beside[i : i + 1],)
        with torch.no_grad():
            own, empty = (float(margin(x, *more)) for x in (one, baseline))
        for doubling in range(DOUBLINGS + 1):
            steps = settings.steps * 2**doubling
            found = method.attribute(one, baseline, additional_forward_args=more or None, n_steps=steps, internal_batch_size=PASS)
            error = float(found.double().sum()) - (own - empty)
            complete = abs(error) <= settings.tolerance * max(abs(own - empty), 1.0)
            if complete:
                break
        rows.append((found[0].detach().float().numpy(), own, empty, error, complete, steps))
    values, *columns = zip(*rows, strict=True)
    return Attributions(np.stack(values), *(np.array(c) for c in columns))
