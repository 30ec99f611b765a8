"""A small U-Net whose output is a map of where a subhalo is, with the lens as a second output."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: Lens parameters of the second output, by the names that `detectors.evidence.prior` gives them; angles in arcsec.
LENS = ("theta_e", "slope", "e1", "e2", "x", "y", "gamma1", "gamma2")


class MapNetwork(nn.Module):
    """Image to a map over cells of 4 × 4 pixels, and from it to two logits.

    A cell's value h is ln of the likelihood ratio of a subhalo there; the margin is ln of their mean, logsumexp(h) − ln(cells), as the
    evidence over places is. Pixels are folded into channels (nothing is pooled away), then residual blocks at 1/2, 1/4 and 1/8 of the
    resolution, and back to 1/4. Images whose side is no multiple of 8 get empty pixels around.
    """

    #: Pixels on a side of a cell.
    cell = 4

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4 * channels, width, 5, padding=2)
        self.fine = _Residual(width, width)
        self.down = nn.ModuleList([nn.Conv2d(width, 2 * width, 2, 2), nn.Conv2d(2 * width, 4 * width, 2, 2)])
        self.middle, self.coarse = _Residual(2 * width, 2 * width), _Residual(4 * width, 4 * width)
        self.everywhere = nn.Linear(4 * width, 4 * width)
        self.up, self.joined = nn.Conv2d(4 * width, 2 * width, 1), _Residual(4 * width, 2 * width)
        self.head = nn.Conv2d(2 * width, 1, 1)
        self.lens: LensHead | None = None

    def add_lens(self) -> None:
        """Add the second output."""
        self.lens = LensHead(self.everywhere.in_features)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, (n, 2)."""
        return self.outputs(inputs)[0]

    def outputs(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return logits (n, 2), the map (n, h, w), and the lens (n, q) in widths of its population where it is an output."""
        margin = [-inputs.shape[-1] % 8, -inputs.shape[-2] % 8]
        padded = nn.functional.pad(inputs, [part for m in margin for part in (m // 2, m - m // 2)]) if any(margin) else inputs
        fine = self.fine(torch.relu(self.stem(nn.functional.pixel_unshuffle(padded, 2))))
        middle = self.middle(self.down[0](fine))
        coarse = self.coarse(self.down[1](middle))
        lens = None if self.lens is None else self.lens(coarse)
        coarse = coarse + self.everywhere(coarse.mean((2, 3)))[:, :, None, None]
        up = self.up(coarse)
        up = up[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).reshape(*up.shape[:2], 2 * up.shape[2], 2 * up.shape[3])
        found = self.head(self.joined(torch.cat([middle, up], 1)))[:, 0]
        margin_of_stamp = torch.logsumexp(found.flatten(1), 1) - math.log(found[0].numel())
        return torch.stack([-margin_of_stamp / 2, margin_of_stamp / 2], 1), found, lens


class LensHead(nn.Module):
    """Lens parameters `LENS` from the coarsest features; mean and width of their population go with the weights."""

    def __init__(self, features: int) -> None:
        super().__init__()
        # 6 × 6 cells are all that a stamp of 48 pixels has; others are averaged to as many.
        self.cells = nn.AdaptiveAvgPool2d(6)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(features * 36, 128), nn.ReLU(), nn.Linear(128, len(LENS)))
        self.register_buffer("mean", torch.zeros(len(LENS)))
        self.register_buffer("width", torch.ones(len(LENS)))

    def forward(self, features: Tensor) -> Tensor:
        """Return (n, q), in widths of the population from its mean."""
        return self.layers(self.cells(features))

    def values(self, found: Tensor) -> Tensor:
        """Return the parameters themselves."""
        return self.mean + self.width * found


class _Residual(nn.Module):
    """Two convolutions with batch norm beside a shortcut."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.shortcut(features) + self.convolutions(features))
