"""Network architectures, registered in `ARCHITECTURES`: inputs (n, c, size, size) to two class logits (n, 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config.network import HUB, Network
from .augment import over_orientations
from .backbones import build_backbone
from .band_network import build_band_network
from .calibration import Calibration
from .foreign import Recognised
from .head import HeadFit
from .map_network import MapNetwork
from .scaling import BANDS, Normalisation, inputs_of

#: Names of input channels, in order.
Inputs = tuple[str, ...]

#: Columns of the history, one row per epoch.
HISTORY = ("epoch", "train_loss", "train_accuracy", "train_auc", "val_loss", "val_accuracy", "val_auc", "learning_rate")


@dataclass(frozen=True)
class Classifier:
    """A trained network with all that scoring needs.

    Attributes
    ----------
    module : in evaluation mode, float32, on the CPU
    network : the section of the config that it was built from
    normalisation : constants of its input scaling
    size : pixels on a side of the stamps it was trained on
    seed : training seed
    calibration : how margins become probabilities, where that was fitted
    recognised : what weights trained elsewhere were taken for
    bands : what its stamps held in the places of g, r and z, of networks that see bands
    head : what its last layer was fitted on, where that was real galaxies; `module` is a `HeadedNetwork` then
    """

    module: nn.Module
    network: Network
    normalisation: Normalisation
    size: int
    seed: int
    calibration: Calibration | None = None
    recognised: Recognised | None = None
    bands: tuple[str, ...] = BANDS
    head: HeadFit | None = None

    def scoring(self, part: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return a part of the network, from images to logits, as scores take it: over all orientations where its config says so."""
        # A head takes means of features, by a key of its own.
        return over_orientations(part) if self.network.turned and self.head is None else part


@dataclass(frozen=True)
class Trained:
    """What training gives: the classifier of the best epoch, and how it went.

    Attributes
    ----------
    classifier : Classifier, weights of the epoch with the best validation AUC (ties: the lowest loss)
    history : one dict per epoch with the keys `HISTORY`
    best_epoch : counted from 1
    counts : number of training and validation stamps used
    """

    classifier: Classifier
    history: list[dict[str, float]]
    best_epoch: int
    counts: dict[str, int]


def build_network(network: Network) -> nn.Module:
    """Return a network with random weights from torch's current generator, or the hub's where `pretrained` names them.

    Any stamp of 16×16 pixels or more fits, since every architecture ends in a pooling over the whole image
    (of the timm library: those that do).
    """
    if network.channels == "bands":
        return build_band_network(network, ARCHITECTURES).to(memory_format=torch.channels_last)
    inputs = inputs_of(network)
    if network.architecture in ARCHITECTURES:
        module = ARCHITECTURES[network.architecture](inputs, network.width)
        if network.regresses_lens:
            module.add_lens()
        return module.to(memory_format=torch.channels_last)
    hub = network.pretrained if (network.pretrained or "").startswith(HUB) else None
    backbone, features = build_backbone(network.architecture, len(inputs), network.width, hub)
    return nn.Sequential(backbone, nn.Linear(features, 2)).to(memory_format=torch.channels_last)


def describe_network(network: Network, size: int = 48) -> dict[str, int]:
    """Return how large a network is: its convolutions and linear layers, its parameters and its cost.

    `multiply_adds` counts those of convolutions and linear layers for one stamp of `size` × `size` pixels.
    """
    with torch.random.fork_rng(devices=[]):
        module = build_network(network).eval()
    counts = []

    def add(layer: nn.Module, _: object, output: Tensor) -> None:
        counts.append(layer.weight[0].numel() * output[0].numel())

    hooks = [m.register_forward_hook(add) for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.inference_mode():
        module(torch.zeros(1, len(inputs_of(network)), size, size))
    for hook in hooks:
        hook.remove()
    return {"layers": len(counts), "parameters": sum(p.numel() for p in module.parameters()), "multiply_adds": sum(counts)}


def toy(inputs: Inputs, width: int) -> nn.Module:
    """Build two convolutions and a global average pool: the least that can learn."""
    return nn.Sequential(*_conv(len(inputs), 16), nn.MaxPool2d(2), *_conv(16, 32), GlobalAverage(), nn.Linear(32, 2))


def flux_baseline(inputs: Inputs, width: int) -> nn.Module:
    """Build three convolutions (16, 32, 64) with max-pools between, global average pool, 64→32→2."""
    return nn.Sequential(_plain_branch(len(inputs)), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))


def dual_stream(inputs: Inputs, width: int) -> nn.Module:
    """Build a stream of `flux_baseline` for flux and one for the rest, concatenated, 128→64→2 (64→64→2 where one stream is left out)."""
    flux, rest = (_plain_branch(n) if n else None for n in _streams(inputs))
    head = nn.Sequential(nn.Linear(64 * _present(flux, rest), 64), nn.ReLU(), nn.Linear(64, 2))
    return DualStream(flux, rest, head)


def deep_baseline(inputs: Inputs, width: int) -> nn.Module:
    """Build four convolution blocks with batch norm, global max pool, linear."""
    return nn.Sequential(_deep_branch(len(inputs), width), nn.Linear(4 * width, 2))


def deep_dual_stream(inputs: Inputs, width: int) -> nn.Module:
    """Build a stream of `deep_baseline` for flux and one for the rest, joined by a hidden layer."""
    flux, rest = (_deep_branch(n, width) if n else None for n in _streams(inputs))
    head = nn.Sequential(nn.Linear(4 * width * _present(flux, rest), 4 * width), nn.ReLU(), nn.Linear(4 * width, 2))
    return DualStream(flux, rest, head)


def unet(inputs: Inputs, width: int) -> nn.Module:
    """Build a small U-Net that ends in a map of where a subhalo is; the score is the mean likelihood ratio over its cells."""
    return MapNetwork(len(inputs), width)


#: Architectures by the name that the config gives them: (names of the input channels, width) to a module.
ARCHITECTURES: dict[str, Callable[[Inputs, int], nn.Module]] = {
    "toy": toy,
    "flux_baseline": flux_baseline,
    "dual_stream": dual_stream,
    "deep_baseline": deep_baseline,
    "deep_dual_stream": deep_dual_stream,
    "unet": unet,
}


class DualStream(nn.Module):
    """One stream sees the flux, the other the remaining channels (velocity, mask, 1/σ_v); a head joins their features.

    A stream without channels is left out (None): with `flux` the second stream sees the mask and 1/σ_v that
    follow from the flux, so that `both` adds the velocity alone; `velocity` and `mask` have no first stream.
    """

    def __init__(self, flux: nn.Module | None, velocity: nn.Module | None, head: nn.Module) -> None:
        super().__init__()
        self.flux = flux
        self.velocity = velocity
        self.head = head

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, (n, 2)."""
        first = 0 if self.flux is None else 1
        parts = [] if self.flux is None else [self.flux(inputs[:, :first])]
        parts += [] if self.velocity is None else [self.velocity(inputs[:, first:])]
        return self.head(torch.cat(parts, 1))


class GlobalAverage(nn.Module):
    """Mean over the whole image, (n, c, h, w) to (n, c)."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the pooled features."""
        return features.mean((2, 3))


class GlobalMax(nn.Module):
    """Greatest value over the whole image, (n, c, h, w) to (n, c): a subhalo is seen in one place."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the pooled features; amax has a deterministic gradient on every device."""
        return features.amax((2, 3))


def _streams(inputs: Inputs) -> tuple[int, int]:
    """Return the number of channels of the flux stream and of the other one; flux comes first among the inputs."""
    flux = int(inputs[0] == "flux")
    return flux, len(inputs) - flux


def _present(*streams: nn.Module | None) -> int:
    return sum(stream is not None for stream in streams)


def _conv(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True)]


def _plain_branch(channels: int) -> nn.Module:
    return nn.Sequential(*_conv(channels, 16), nn.MaxPool2d(2), *_conv(16, 32), nn.MaxPool2d(2), *_conv(32, 64), GlobalAverage())


def _deep_branch(channels: int, width: int) -> nn.Module:
    """Build blocks of 1, 2, 2, 2 convolutions with w, 2w, 4w, 4w channels, halved in size three times.

    The single convolution at full resolution and the max-pool ahead of batch norm and ReLU (which
    it commutes with for rising scales) keep the time per step at two thirds of that of plain double blocks.
    """
    layers: list[nn.Module] = []
    before = channels
    for block, after in enumerate((width, 2 * width, 4 * width, 4 * width)):
        if block:
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
            before = after
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False)]
        if block < 3:
            layers += [nn.MaxPool2d(2)]
        layers += [nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        before = after
    return nn.Sequential(*layers, GlobalMax())
