"""The renderers behind one interface: images of a row's source, with and without its subhalo, and unlensed.

`RENDERERS` names the ways to compute them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from ...config.subhalo import Rendering
from ...lensing.engine import render_accurate, render_together
from ...lensing.lens import MacroLens, Subhalos, join
from ...lensing.light import DiskLight, PixelLight
from ...lensing.render import Grid

Light = PixelLight | DiskLight

#: Accuracy of an image that only says where light is.
ROUGH = 1e-2


class Renderer(Protocol):
    """Images of n rows before the PSF, moment planes (n, 3, size, size) in flux per pixel.

    The smooth lens includes the background clumps, where there are any.
    """

    def rough(self) -> Tensor:
        """Through the smooth lens, to see where light is."""
        ...

    def smooth(self) -> Tensor:
        """Through the smooth lens."""
        ...

    def pair(self, subhalos: Subhalos) -> tuple[Tensor, Tensor]:
        """Through the smooth lens, and through it and subhalos, with the same rays."""
        ...

    def unlensed(self) -> Tensor:
        """The source itself."""
        ...


class Engine:
    """This package's engine: to the accuracy that is asked for, with rays where the image needs them."""

    def __init__(self, light: Light, lens: MacroLens, clumps: Subhalos | None, grid: Grid, kernel: Tensor, rendering: Rendering):
        self.light, self.lens, self.clumps, self.grid, self.accuracy = light, lens, clumps, grid, rendering.accuracy
        self.kernel = kernel if kernel.numel() > 1 else None

    def rough(self) -> Tensor:
        """Through the smooth lens, to see where light is."""
        return render_accurate(self.light, self.lens, self.clumps, self.grid, max(self.accuracy, ROUGH), self.kernel)

    def smooth(self) -> Tensor:
        """Through the smooth lens."""
        return render_accurate(self.light, self.lens, self.clumps, self.grid, self.accuracy, self.kernel)

    def pair(self, subhalos: Subhalos) -> tuple[Tensor, Tensor]:
        """Through the smooth lens, and through it and subhalos, with the same rays."""
        lensings = [(self.lens, self.clumps), (self.lens, join(self.clumps, subhalos))]
        smooth, perturbed = render_together(self.light, lensings, self.grid, self.accuracy, self.kernel)
        return smooth, perturbed

    def unlensed(self) -> Tensor:
        """The source itself."""
        return render_accurate(self.light, None, None, self.grid, self.accuracy, self.kernel)


class Lenstronomy:
    """The slow reference: lenstronomy's ray shooting, row by row, with `supersampling` rays on a side of each pixel."""

    def __init__(self, light: Light, lens: MacroLens, clumps: Subhalos | None, grid: Grid, kernel: Tensor, rendering: Rendering):
        self.light, self.lens, self.clumps, self.grid, self.supersampling = light, lens, clumps, grid, rendering.supersampling
        self._smooth: Tensor | None = None

    def rough(self) -> Tensor:
        """Through the smooth lens."""
        return self.smooth()

    def smooth(self) -> Tensor:
        """Through the smooth lens, rendered once."""
        if self._smooth is None:
            self._smooth = self._render(self.lens, self.clumps)
        return self._smooth

    def pair(self, subhalos: Subhalos) -> tuple[Tensor, Tensor]:
        """Through the smooth lens, and through it and subhalos."""
        return self.smooth(), self._render(self.lens, join(self.clumps, subhalos))

    def unlensed(self) -> Tensor:
        """The source itself."""
        return self._render(None, None)

    def _render(self, lens: MacroLens | None, subhalos: Subhalos | None) -> Tensor:
        # Here, since every job would wait for lenstronomy's import otherwise.
        from ...lensing.reference import render_with_lenstronomy

        return render_with_lenstronomy(self.light, lens, subhalos, self.grid, self.supersampling)


RENDERERS: dict[str, Callable[[Light, MacroLens, Subhalos | None, Grid, Tensor, Rendering], Renderer]] = {
    "torch": Engine,
    "lenstronomy": Lenstronomy,
}
