"""A classifier of g, r, z stamps in nanomaggies: its stretch and its scalars' scaling are part of its weights."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ..config.network import HUB, Network, Scaling
from .backbones import build_backbone
from .foreign import Recognised, build_foreign
from .relative import relative_to_core
from .scaling import BANDS, SCALARS, Normalisation

#: Features of the hidden layers of the scalars' own branch.
BRANCH = 16


def build_band_network(network: Network, own: dict) -> nn.Module:
    """Return a band network with random weights, or with those of the hub that `pretrained` names.

    Parameters
    ----------
    network : channels must be `bands`
    own : architectures of this project by name, as in `networks.ARCHITECTURES`
    """
    inputs = BANDS + (SCALARS if network.scalars == "early" else ())
    if network.architecture in own:
        whole = own[network.architecture](inputs, network.width)
        backbone, features = whole[:-1], whole[-1].in_features
    else:
        hub = network.pretrained if (network.pretrained or "").startswith(HUB) else None
        backbone, features = build_backbone(network.architecture, len(inputs), network.width, hub)
    return BandNetwork(backbone, features, network.scaling, network.scalars)


class Stretch(nn.Module):
    """Flux in nanomaggies to network inputs, band by band.

    `asinh`: (asinh(x/s) − offset)/scale with the softening s of the band (Lupton et al. 1999); `linear`: the same of x/s;
    `stamp`: (x − median)/(1.4826 MAD) of the stamp itself, which needs no constants. Where the config says so, bands are brought
    to one flux of the stamp's core first.
    """

    def __init__(self, scaling: Scaling, bands: int = len(BANDS)) -> None:
        super().__init__()
        self.kind, self.relative = scaling.bands, scaling.relative_to_core
        for name, value in (("softening", 1.0), ("offset", 0.0), ("scale", 1.0)):
            self.register_buffer(name, torch.full((bands,), value))

    def set_normalisation(self, normalisation: Normalisation) -> None:
        """Take over the constants of the bands."""
        if self.kind == "stamp":
            return
        n = len(BANDS)
        with torch.no_grad():
            self.softening.copy_(torch.tensor(normalisation.softening))
            self.offset.copy_(torch.tensor(normalisation.offset[:n]))
            self.scale.copy_(torch.tensor(normalisation.scale[:n]))

    def forward(self, images: Tensor) -> Tensor:
        """Return stretched images, (n, bands, size, size)."""
        if self.kind == "stamp":
            flat = images.flatten(2)
            median = flat.median(2, keepdim=True).values
            mad = (flat - median).abs().median(2, keepdim=True).values
            return ((flat - median) / (1.4826 * mad).clamp_min(1e-12)).view_as(images)
        if self.relative:
            images = relative_to_core(images)
        ratio = images / self.softening[:, None, None]
        if self.kind == "asinh":
            ratio = torch.asinh(ratio)
        return (ratio - self.offset[:, None, None]) / self.scale[:, None, None]


class RowLinear(nn.Linear):
    """A linear layer whose bits for one row do not depend on its place in the batch, as a matrix product's may."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, outputs)."""
        return (inputs[:, None, :] * self.weight).sum(2) + self.bias


class BandNetwork(nn.Module):
    """Stretch, features of the image, PSF and depth joined as `scalars` says, and two logits."""

    def __init__(self, backbone: nn.Module, features: int, scaling: Scaling, scalars: Literal["none", "early", "late", "branch"]) -> None:
        super().__init__()
        self.stretch = Stretch(scaling)
        self.scalars = scalars
        self.backbone = backbone
        joined = {"late": len(SCALARS), "branch": BRANCH}.get(scalars, 0)
        if scalars != "none":
            self.register_buffer("scalar_offset", torch.zeros(len(SCALARS)))
            self.register_buffer("scalar_scale", torch.ones(len(SCALARS)))
        if scalars == "branch":
            self.branch = nn.Sequential(RowLinear(len(SCALARS), BRANCH), nn.ReLU(), RowLinear(BRANCH, BRANCH), nn.ReLU())
        self.head = RowLinear(features + joined, 2)

    def set_normalisation(self, normalisation: Normalisation) -> None:
        """Take over the constants measured on training stamps, as `Normalisation` holds them: bands, then scalars."""
        n = len(BANDS)
        self.stretch.set_normalisation(normalisation)
        with torch.no_grad():
            if self.scalars != "none":
                self.scalar_offset.copy_(torch.tensor(normalisation.offset[n:]))
                self.scalar_scale.copy_(torch.tensor(normalisation.scale[n:]))

    def forward(self, images: Tensor, scalars: Tensor | None = None) -> Tensor:
        """Return the logits, (n, 2), of images (n, 3, size, size) in nanomaggies and scalars (n, 6).

        A scalar that is not finite, or not given, counts as the mean of the training stamps.
        """
        return self.judge(self.stretch(images), scalars)

    def judge(self, inputs: Tensor, scalars: Tensor | None = None) -> Tensor:
        """Return the logits, (n, 2), of images that are stretched already."""
        return self.head(self.describe(inputs, scalars))

    def features(self, images: Tensor, scalars: Tensor | None = None) -> Tensor:
        """Return what the last layer sees, (n, f); arguments as `forward`."""
        return self.describe(self.stretch(images), scalars)

    def describe(self, inputs: Tensor, scalars: Tensor | None = None) -> Tensor:
        """Return what the last layer sees, (n, f), of images that are stretched already."""
        if self.scalars == "none":
            return self.backbone(inputs)
        if scalars is None:
            scalars = self.scalar_offset.expand(len(inputs), -1)
        values = torch.nan_to_num((scalars - self.scalar_offset) / self.scalar_scale, 0.0, 0.0, 0.0)
        if self.scalars == "early":
            planes = values[:, :, None, None].expand(-1, -1, *inputs.shape[2:])
            return self.backbone(torch.cat([inputs, planes], 1))
        joined = self.branch(values) if self.scalars == "branch" else values
        return torch.cat([self.backbone(inputs), joined], 1)


class ForeignNetwork(nn.Module):
    """A classifier trained elsewhere behind this project's stretch; one logit becomes two, that of controls 0."""

    def __init__(self, taken: Recognised, scaling: Scaling) -> None:
        super().__init__()
        self.stretch = Stretch(scaling)
        self.foreign = build_foreign(taken)

    def set_normalisation(self, normalisation: Normalisation) -> None:
        """Take over the constants of the bands."""
        self.stretch.set_normalisation(normalisation)

    def forward(self, images: Tensor, scalars: Tensor | None = None) -> Tensor:
        """Return the logits, (n, 2), of images (n, 3, size, size) in nanomaggies."""
        return self.judge(self.stretch(images))

    def judge(self, inputs: Tensor, scalars: Tensor | None = None) -> Tensor:
        """Return the logits, (n, 2), of images that are stretched already."""
        logits = self.foreign(inputs)
        return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits

    def features(self, images: Tensor, scalars: Tensor | None = None) -> Tensor:
        """Return what the last linear layer sees, (n, f): libraries do not agree on a method for that."""
        last = [layer for layer in self.foreign.modules() if isinstance(layer, nn.Linear)][-1]
        seen: list[Tensor] = []
        hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self.foreign(self.stretch(images))
        finally:
            hook.remove()
        return seen[0].flatten(1)
