"""Feature extractors: an image (n, c, size, size) to features (n, f), by the name that the config gives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..config.network import HUB, TIMM
from .scaling import LearningError


def build_backbone(architecture: str, channels: int, width: int, hub: str | None = None) -> tuple[nn.Module, int]:
    """Return a preset or an architecture of the timm library without its classifier, and its number of features.

    Parameters
    ----------
    architecture : a key of `PRESETS`, or `timm:name`
    channels : input channels
    width : channels of the first block, used by `slim` alone
    hub : name of pretrained weights on timm's hub, or None for random weights

    Raises
    ------
    LearningError
        timm knows no such architecture, or the hub's weights cannot be had.
    """
    if architecture in PRESETS:
        return PRESETS[architecture](channels, width, hub)
    name = architecture.removeprefix(TIMM)
    backbone = _timm(name, channels, hub)
    return backbone, backbone.num_features


def slim(channels: int, width: int, hub: str | None = None) -> tuple[nn.Module, int]:
    """Build a stride-2 stem and three residual blocks of w, 2w, 4w channels; mean and maximum over the image.

    12 million multiply-adds for three bands of 64×64 pixels at width 16: trains on one CPU core.
    """
    layers: list[nn.Module] = [_conv(channels, width, 2), Residual(width, width, 1), Residual(width, 2 * width, 2)]
    return nn.Sequential(*layers, Residual(2 * width, 4 * width, 2), MeanAndMax()), 8 * width


def resnet18(channels: int, width: int, hub: str | None = None) -> tuple[nn.Module, int]:
    """Build ResNet-18 with a 3×3 stem of stride 1 and no max-pool: 64-pixel stamps reach the last stage as 8×8."""
    backbone = _timm("resnet18", channels, hub)
    backbone.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
    backbone.maxpool = nn.Identity()
    return backbone, backbone.num_features


def convnext_tiny(channels: int, width: int, hub: str | None = None) -> tuple[nn.Module, int]:
    """Build ConvNeXt-Tiny with a 2×2 patch stem: 64-pixel stamps reach the last stage as 4×4."""
    backbone = _timm("convnext_tiny", channels, hub)
    backbone.stem[0] = nn.Conv2d(channels, backbone.stem[0].out_channels, 2, stride=2)
    nn.init.trunc_normal_(backbone.stem[0].weight, std=0.02)
    nn.init.zeros_(backbone.stem[0].bias)
    return backbone, backbone.num_features


def efficientnet_b0(channels: int, width: int, hub: str | None = None) -> tuple[nn.Module, int]:
    """Build EfficientNet-B0 with a stem of stride 1: 64-pixel stamps reach the last stage as 4×4."""
    backbone = _timm("efficientnet_b0", channels, hub)
    backbone.conv_stem.stride = (1, 1)
    return backbone, backbone.num_features


#: Presets for stamps of 64 pixels: (channels, width, hub name) to a module and its number of features.
PRESETS: dict[str, Callable[..., tuple[nn.Module, int]]] = {
    "slim": slim,
    "resnet18": resnet18,
    "convnext_tiny": convnext_tiny,
    "efficientnet_b0": efficientnet_b0,
}


class Residual(nn.Module):
    """Two 3×3 convolutions with batch norm beside a shortcut (He et al. 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(before, after, stride)
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after))
        same = before == after and stride == 1
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the block's features."""
        return torch.relu(self.second(self.first(inputs)) + self.shortcut(inputs))


class MeanAndMax(nn.Module):
    """Mean and greatest value over the whole image, (n, c, h, w) to (n, 2c): an arc is seen in one place."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the pooled features."""
        return torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)


def _conv(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True))


def _timm(name: str, channels: int, hub: str | None) -> nn.Module:
    import timm  # takes seconds to import, and most networks do without it

    wanted = hub.removeprefix(HUB) if hub else name
    try:
        return timm.create_model(wanted, pretrained=hub is not None, in_chans=channels, num_classes=0)
    except (OSError, ConnectionError) as error:
        raise LearningError(
            f"pretrained `{HUB}{wanted}` cannot be fetched from timm's hub ({str(error).splitlines()[0]}); download the weights where "
            "there is a network, and give their file as `pretrained`"
        ) from error
    except RuntimeError as error:
        if "Unknown model" not in str(error):
            raise
        close = timm.list_models(f"*{wanted}*")[:5]
        raise LearningError(
            f"the timm library ({timm.__version__}) has no architecture `{wanted}`; {'near it: ' + ', '.join(close) if close else 'see timm.list_models()'}"
        ) from error
