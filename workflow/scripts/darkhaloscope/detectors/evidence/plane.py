"""The source plane in units of the source: its middle and its size are where and what the lens makes them.

How large a source is, and where it lies, is not known before the lens is: a steeper or stronger lens makes a larger source of the same
image. With lengths in arcsec the prior of the source would prefer lenses by that alone (on a simulated lens the slope comes out as 2.56 ± 0.05 where it is
2.05). So source positions are taken from the middle of the bright light, in units of its size:

    β′ = (β − Σ wᵢ βᵢ)/S,   ln S = ½ Σ wᵢ ln(|βᵢ|² + ε²)  (β from the middle),

wᵢ the brightness of the image at ray i. The mean of the logarithm, and not of the square, since light of another origin far from the source then counts little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .pixels import Batch
from .prior import LensPrior

#: Pixels brighter than this, in units of the arcs' brightness, are images of the source.
BRIGHT = 0.3
#: and by this many standard deviations.
SURE = 3.0
#: ε [arcsec]: nothing smaller is told apart.
SHARPEST = 0.02


@dataclass(frozen=True)
class SourcePlane(LensPrior):
    """A lens whose source plane has its origin in the middle of the bright light and the size of that as its unit.

    `bright` (b, r), each row sums to 1: how much each ray of a stamp counts; one row may stand for lenses (n, q) of the same stamp.
    """

    bright: Tensor

    @classmethod
    def about(cls, prior: LensPrior, batch: Batch) -> SourcePlane:
        """Return a prior for the rays of a batch."""
        return cls(prior.profile, prior.names, prior.mean, prior.width, prior.fixed, brightness(batch))

    def of(self, row: int) -> SourcePlane:
        """Return the plane of one row."""
        return replace(self, bright=self.bright[[row]])

    @property
    def bare(self) -> LensPrior:
        """The lens alone, its source plane in arcsec."""
        return LensPrior(self.profile, self.names, self.mean, self.width, self.fixed)

    def angles(self, values: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Source positions (n, r, 2) [arcsec] of lenses of parameters (n, q), wherever they lie."""
        return torch.stack((x, y), -1) - self.raw(values, x, y)

    def raw(self, values: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Deflection (n, r, 2) [arcsec]."""
        return super().deflect(values, x, y)

    def raw_derivatives(self, values: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Deflection (n, r, 2) [arcsec] and its derivative (n, q, r, 2) by the parameters in widths."""
        return super().derivatives(values, x, y)

    def deflect(self, values: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """What is taken from positions (n, r) to come to the source plane in its own units, (n, r, 2)."""
        return torch.stack((x, y), -1) - self.place(self.angles(values, x, y))[0]

    def derivatives(self, values: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """As `LensPrior.derivatives`."""
        image = torch.stack((x, y), -1)
        deflection, pushed = self.raw_derivatives(values, x, y)
        at, scale = self.place(image - deflection)
        return image - at, self.carry(pushed, at[:, None], scale[:, None])

    def place(self, beta: Tensor) -> tuple[Tensor, Tensor]:
        """Return source positions (n, r, 2) [arcsec] in units of the source, and the size (n,) of that [arcsec]."""
        middle = beta - (self.bright[..., None] * beta).sum(-2, keepdim=True)
        size = torch.exp(0.5 * (self.bright * (middle.square().sum(-1) + SHARPEST**2).log()).sum(-1))
        return middle / size[:, None, None], size

    def carry(self, shift: Tensor, at: Tensor, size: Tensor) -> Tensor:
        """Return what shifts (…, k, r, 2) [arcsec] of rays at (…, 1, r, 2) do in units of a source of some size (…, 1), to first order.

        All shifts of a stamp are moved and grown back by products of matrices: there are thousands, and each pass over them costs.
        """
        at, size = at.to(shift.dtype)[..., 0, :, :], size.to(shift.dtype)[..., None, None, 0]
        weights = self.bright.to(shift.dtype).reshape(*self.bright.shape[: at.ndim - 2], -1, 1)
        pulled = weights * at / (at.square().sum(-1, keepdim=True) + (SHARPEST / size) ** 2)
        # In the order of x and y of each ray in turn: what all rays move by, (2 r, 2), and from it how much the source grows, (2 r, 1) …
        mean = torch.diag_embed(weights.expand(at.shape)).flatten(-3, -2)
        growth = pulled.flatten(-2)[..., None] - mean @ pulled.sum(-2)[..., None]
        # … and what either takes from each ray, (3, 2 r).
        both = torch.eye(2, dtype=at.dtype, device=at.device).repeat(1, at.shape[-2]).expand(*at.shape[:-2], 2, -1)
        taken = torch.cat((both, at.flatten(-2)[..., None, :]), -2)
        moved = shift.flatten(-2) / size
        return (moved - (moved @ torch.cat((mean, growth), -1)) @ taken).reshape(shift.shape)


def brightness(batch: Batch) -> Tensor:
    """Return how bright the image is at each ray, (b, r), where it is; sums to 1.

    Where nothing is sure, the whole image counts as it is.
    """
    bright = batch.data > BRIGHT
    sure = bright & (batch.data > SURE * batch.variance.sqrt())
    seen = torch.where(sure.any(1, keepdim=True), sure, batch.data > 0)
    weight = batch.project(torch.where(seen, batch.data.clamp(max=1.0), 0.0).float()[..., None])[..., 0].double()
    return weight / weight.sum(1, keepdim=True)
