"""The renderers behind one interface: rays of a smooth lens, shot once and used for every image of a row.

A stamp needs its source through the smooth lens, through the lens with its (phantom) subhalo, and for
some contrasts unlensed. `RENDERERS` names the ways to compute them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from ..lensing.lens import MacroLens, Subhalos, macro_deflection, subhalo_deflection
from ..lensing.light import DiskLight, PixelLight
from ..lensing.reference import render_with_lenstronomy
from ..lensing.render import Grid

Light = PixelLight | DiskLight


class Rays(Protocol):
    """Images of n rows before the PSF, moment planes (n, 3, size, size) in flux per pixel."""

    def smooth(self) -> Tensor:
        """Through the smooth lens."""
        ...

    def perturbed(self, subhalos: Subhalos) -> Tensor:
        """Through lens and subhalos."""
        ...

    def unlensed(self) -> Tensor:
        """The source itself."""
        ...


class TorchRays:
    """Batched rays in torch: the smooth deflection is computed once, a subhalo's is added to it."""

    def __init__(self, light: Light, lens: MacroLens, grid: Grid, supersampling: int):
        self.light, self.lens, self.grid, self.supersampling = light, lens, grid, supersampling
        n = light.x.shape[0]
        x, y = grid.coordinates(light.x.dtype, light.x.device)
        steps = [((k + 0.5) / supersampling - 0.5) * grid.pixel_scale for k in range(supersampling)]
        # One ray per pixel at a time keeps the working set in the processor's cache.
        self.rays = [((x + sx).expand(n, -1, -1), (y + sy).expand(n, -1, -1)) for sy in steps for sx in steps]
        self.bent = [macro_deflection(lens, x, y) for x, y in self.rays]

    def smooth(self) -> Tensor:
        """Through the smooth lens."""
        return self._sum((x - ax, y - ay) for (x, y), (ax, ay) in zip(self.rays, self.bent, strict=True))

    def perturbed(self, subhalos: Subhalos) -> Tensor:
        """Through lens and subhalos."""

        def places():
            for (x, y), (ax, ay) in zip(self.rays, self.bent, strict=True):
                dx, dy = subhalo_deflection(subhalos, x, y)
                yield x - (ax + dx), y - (ay + dy)

        return self._sum(places())

    def unlensed(self) -> Tensor:
        """The source itself."""
        return self._sum(self.rays)

    def _sum(self, places) -> Tensor:
        total = None
        for bx, by in places:
            planes = self.light.moments(bx, by)
            total = planes if total is None else total + planes
        return total * (self.grid.pixel_scale / self.supersampling) ** 2


class LenstronomyRays:
    """The slow reference: lenstronomy's ray shooting, row by row."""

    def __init__(self, light: Light, lens: MacroLens, grid: Grid, supersampling: int):
        self.light, self.lens, self.grid, self.supersampling = light, lens, grid, supersampling

    def smooth(self) -> Tensor:
        """Through the smooth lens."""
        return self._render(self.lens, None)

    def perturbed(self, subhalos: Subhalos) -> Tensor:
        """Through lens and subhalos."""
        return self._render(self.lens, subhalos)

    def unlensed(self) -> Tensor:
        """The source itself."""
        return self._render(None, None)

    def _render(self, lens: MacroLens | None, subhalos: Subhalos | None) -> Tensor:
        return render_with_lenstronomy(self.light, lens, subhalos, self.grid, self.supersampling)


RENDERERS: dict[str, Callable[[Light, MacroLens, Grid, int], Rays]] = {"torch": TorchRays, "lenstronomy": LenstronomyRays}
