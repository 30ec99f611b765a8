"""What a network is fitted to: labels, and of pairs the place of the subhalo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config.network import Training


@dataclass(frozen=True)
class StampLosses:
    """Logits (n, 2) and the loss of each stamp (n,)."""

    logits: Tensor
    each: Tensor


def stamp_losses(logits: Tensor, labels: Tensor, training: Training) -> StampLosses:
    """Cross entropy, or the focal loss (1 − p)^γ times it (Lin et al. 2017, arXiv:1708.02002), of each stamp."""
    each = nn.functional.cross_entropy(logits, labels, reduction="none")
    if training.loss == "focal":
        each = (1 - torch.exp(-each)) ** training.focal_gamma * each
    return StampLosses(logits, each)


def place_loss(found: Tensor, places: Tensor, labels: Tensor, shape: Sequence[int], cell: int) -> Tensor:
    """Return the cross entropy of the positives' maps, as shares of all cells, against a blot at the subhalo's place.

    Parameters
    ----------
    found : (n, h, w) ln of the likelihood ratio of a subhalo in each cell, the image's middle in the map's middle
    places : (n, 2) pixels from the middle, to the right and to higher rows
    labels : (n,)
    shape : rows and columns of the image
    cell : pixels on a side of a cell; the blot's σ is 0.6 of it
    """
    positive = labels > 0
    if not bool(positive.any()):
        return found.sum() * 0
    # An odd number of pixels is filled up on the far side by one more than on the near side.
    rows, columns = (
        (torch.arange(n, device=found.device) - (n - 1) / 2) * cell + ((-m % 8) % 2) / 2
        for n, m in zip(found.shape[1:], shape, strict=True)
    )
    x, y = places[positive].unbind(1)
    away = (columns[None, None] - x[:, None, None]) ** 2 + (rows[None, :, None] - y[:, None, None]) ** 2
    wanted = torch.softmax(-away.flatten(1) / (2 * (0.6 * cell) ** 2), 1)
    return -(wanted * torch.log_softmax(found[positive].flatten(1), 1)).sum(1).mean()
