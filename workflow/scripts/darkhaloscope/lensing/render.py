"""Ray shooting with a fixed number of rays per pixel: the plain renderer, differentiable throughout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .batching import in_blocks
from .lens import MacroLens, Subhalos, deflection


class Light(Protocol):
    """Anything with surface brightness planes; see `light`."""

    def moments(self, bx: Tensor, by: Tensor) -> Tensor:
        """Planes (n, c, …) per arcsec² at source positions (n, …)."""
        ...


@dataclass(frozen=True)
class Grid:
    """Square stamp of `size` pixels of `pixel_scale` arcsec, centred on the origin.

    Row 0 is at the bottom (lowest y), column 0 at the left (lowest x).
    """

    size: int
    pixel_scale: float

    def coordinates(self, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Positions (x, y) of the pixel centres, (size, size) each, arcsec."""
        axis = (torch.arange(self.size, dtype=dtype, device=device) - (self.size - 1) / 2) * self.pixel_scale
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        return x, y


def render(light: Light, lens: MacroLens | None, subhalos: Subhalos | None, grid: Grid, supersampling: int) -> Tensor:
    """Image of lensed light, before any PSF.

    Parameters
    ----------
    light : light of n rows; its tensors' dtype and device are those of the computation
    lens : MacroLens of n rows, or None for the unlensed source
    subhalos : Subhalos of n rows, or None
    grid : Grid
    supersampling : int
        Rays on a side of each pixel, on a regular grid of subpixel centres.

    Returns
    -------
    (n, c, size, size) tensor
        Flux per pixel (surface brightness times pixel area) of every plane of the light. On a CPU rows
        are computed in blocks by one thread: the same bits in any company (see `batching`).
    """
    n = light.x.shape[0]
    if light.x.device.type == "cpu":
        return in_blocks(lambda *rows: _render(*rows, grid, supersampling), n, light, lens, subhalos)
    return _render(light, lens, subhalos, grid, supersampling)


def _render(light: Light, lens: MacroLens | None, subhalos: Subhalos | None, grid: Grid, supersampling: int) -> Tensor:
    like = light.x
    x, y = grid.coordinates(like.dtype, like.device)
    n = like.shape[0]
    total = None
    for i in range(supersampling):
        for j in range(supersampling):
            # One ray per pixel at a time: memory does not grow with supersampling.
            sx = (x + ((j + 0.5) / supersampling - 0.5) * grid.pixel_scale).expand(n, -1, -1)
            sy = (y + ((i + 0.5) / supersampling - 0.5) * grid.pixel_scale).expand(n, -1, -1)
            if lens is not None:
                ax, ay = deflection(lens, subhalos, sx, sy)
                sx, sy = sx - ax, sy - ay
            planes = light.moments(sx, sy)
            total = planes if total is None else total + planes
    return total * (grid.pixel_scale / supersampling) ** 2
