"""Starting from weights that were trained on something else."""

from __future__ import annotations

import logging

import torch
from torch import nn

from ..config.network import HUB, Network
from .foreign import read_state
from .scaling import LearningError

log = logging.getLogger(__name__)

#: Least share of the feature extractor's parameters that a file must give.
LEAST = 0.5


def start_from_file(module: nn.Module, network: Network) -> None:
    """Load the tensors of `network.pretrained` that have a namesake of the same shape; the hub's are loaded already.

    The stem of a preset and the head seldom fit; they keep their random weights, and the log says so.

    Raises
    ------
    LearningError
        The file cannot be read, or gives less than half of the feature extractor.
    """
    if not network.pretrained or network.pretrained.startswith(HUB):
        return
    backbone = module.backbone if hasattr(module, "backbone") else module[0]
    own = backbone.state_dict()
    state = read_state(network.pretrained)
    fitting = {n: t.to(own[n].dtype) for n, t in state.items() if n in own and own[n].shape == t.shape}
    names = {n for n, _ in backbone.named_parameters()}
    share = sum(own[n].numel() for n in fitting if n in names) / sum(own[n].numel() for n in names)
    if share < LEAST:
        raise LearningError(
            f"{network.pretrained}: gives {share:.0%} of the parameters of `{network.architecture}` (names and shapes must agree; it has "
            f"{', '.join(list(state)[:3])} …, expected {', '.join(list(own)[:3])} …); give weights of that architecture"
        )
    with torch.no_grad():
        backbone.load_state_dict(fitting, strict=False)
    missing = sorted(names - set(fitting))
    log.info("%s gives %.1f%% of the feature extractor; new are: %s", network.pretrained, 100 * share, ", ".join(missing) or "none")
