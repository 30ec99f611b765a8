"""Lens parameters that something else found in a stamp, as starts of a fit: what a network regresses, for example."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .prior import REACH, LensPrior


def start_values(prior: LensPrior, estimates: Mapping[str, NDArray]) -> Tensor:
    """Return lens parameters (n, q) of the prior's names to start fits from, float64.

    A parameter that is not estimated, or not finite, starts at the prior's mean; one beyond its reach starts at the edge.
    A start is where a search begins: evidence and prior alone decide where it ends.

    Parameters
    ----------
    estimates : parameter by name, (n,) each, as `learning.lens_estimates.estimate_lenses` gives them

    Raises
    ------
    ValueError
        None of the prior's parameters is estimated, or the numbers of stamps differ.
    """
    known = [name for name in prior.names if name in estimates]
    if not known:
        raise ValueError(f"no estimate of {', '.join(prior.names)} among {', '.join(estimates) or 'none'}: nothing to start from")
    counts = {len(estimates[name]) for name in known}
    if len(counts) > 1:
        raise ValueError(f"estimates of {', '.join(known)} are of {' and '.join(map(str, sorted(counts)))} stamps: give one of each stamp")
    offset = np.zeros((counts.pop(), len(prior.names)))
    for name in known:
        k = prior.names.index(name)
        offset[:, k] = (np.asarray(estimates[name], float) - prior.mean[k]) / prior.width[k]
    return prior.values(torch.as_tensor(np.clip(np.nan_to_num(offset), -REACH, REACH)))
