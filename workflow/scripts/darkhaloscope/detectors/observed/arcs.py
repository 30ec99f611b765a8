"""Where the arcs are: what is left when the galaxy's light is taken out, and the annulus that holds it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label

from ...surveys.observed import ObservedLens
from .light import Galaxy, coordinates, excess_over, unsure

#: The mean of 3 × 3 pixels is light of an arc above this many of its standard deviations.
ARC_SIGMA = 4.0
#: Least number of pixels in one piece.
PIECE = 12
#: Radii between which arcs are looked for [arcsec]: within, the centre's errors are as bright; beyond, galaxies do not lens so far.
INNER, OUTER = 0.35, 3.2
#: Nor within this share of the arcs' radius: what the galaxy's model leaves in its middle, taken for light of the source, drives the
#: mass towards slopes at which it comes to lie on the source.
CORE = 0.5
#: The arcs' radius is known when it changes the radius within which none are looked for by less than this [arcsec], or after so many looks.
SETTLED, LOOKS = 0.01, 6
#: The annulus that is used begins so far within that radius [arcsec].
BORDER = 0.05
#: The annulus ends where this share of the light, brightness capped, lies within, and so much further.
SHARE, MARGIN = 0.93, 1.25
#: Pixels around an arc that belong to it: the PSF's wings, and light below the threshold.
AROUND = 3
#: Fewest pixels of arcs that say anything about a lens.
MIN_PIXELS = 60
#: A side of the galaxy has light of arcs where it has at least this share of it.
SIDE = 0.05


class NoArcs(ValueError):
    """An image in which no arcs are found; the message says what was looked for."""


@dataclass(frozen=True)
class Arcs:
    """`light` (h, w) bool, pixels of arcs with their surroundings; `inner`, `outer` radius of the annulus [arcsec]; `brightness` of the arcs;
    `radius` about which they lie [arcsec], near θ_E; `two_sided`, whether they lie on two sides of the galaxy: else their radius says less.
    """

    light: NDArray
    inner: float
    outer: float
    brightness: float
    radius: float
    two_sided: bool

    def within(self, outer: float) -> Arcs:
        """Return the arcs with a smaller annulus."""
        return replace(self, outer=min(self.outer, outer))


def find_arcs(lens: ObservedLens, galaxy: Galaxy) -> Arcs:
    """Return the arcs of a lens whose galaxy is known.

    Raises
    ------
    NoArcs
        Hardly any light beside the galaxy's.
    """
    x, y = coordinates(lens.image.shape, lens.scale)
    x, y = x - galaxy.x, y - galaxy.y
    radius = np.hypot(x, y)
    excess = excess_over(lens, galaxy.model, unsure(radius))
    inner = INNER
    for _ in range(LOOKS):
        kept = _pieces((excess > ARC_SIGMA) & (radius > inner) & (radius < OUTER) & lens.good)
        if kept.sum() < MIN_PIXELS:
            raise NoArcs(
                f"{lens.name}: {int(kept.sum())} pixels of light beside the galaxy's between {inner:.2f}″ and {OUTER}″, at least {MIN_PIXELS} needed; "
                "a deeper image, or one of another band, may show the arcs"
            )
        rest = (lens.image - galaxy.model)[kept]
        brightness = float(np.percentile(rest, 90))
        weight = np.clip(rest, 0, brightness)
        middle, two_sided = radius_of(x[kept], y[kept], weight)
        before, inner = inner, max(INNER, CORE * middle)
        if abs(inner - before) < SETTLED:
            break
    order = np.argsort(radius[kept])
    share = np.cumsum(weight[order]) / weight.sum()
    outer = float(np.clip(MARGIN * radius[kept][order][np.searchsorted(share, SHARE)], 1.0, OUTER))
    return Arcs(binary_dilation(kept, iterations=AROUND), inner - BORDER, outer, brightness, middle, two_sided)


def _pieces(bright: NDArray) -> NDArray:
    """Return the pixels of those pieces of some that are large enough."""
    pieces, _ = label(bright, np.ones((3, 3)))
    size = np.bincount(pieces.ravel())
    size[0] = 0
    return size[pieces] >= PIECE


def radius_of(x: NDArray, y: NDArray, weight: NDArray) -> tuple[float, bool]:
    """Return the radius of a lens by its images at (n,) places from the galaxy, and whether they are on two sides of it.

    An image at θ_E + β on one side has its counterpart at θ_E − β: the mean of the median radii on the brighter side and opposite.
    """
    middle = np.array([(weight * x).sum(), (weight * y).sum()])
    along, radius = x * middle[0] + y * middle[1] > 0, np.hypot(x, y)
    sides = [side for side in (along, ~along) if weight[side].sum() > SIDE * weight.sum()]
    return float(np.mean([_weighted_median(radius[side], weight[side]) for side in sides])), len(sides) == 2


def _weighted_median(values: NDArray, weight: NDArray) -> float:
    order = np.argsort(values)
    share = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(share, share[-1] / 2)])
