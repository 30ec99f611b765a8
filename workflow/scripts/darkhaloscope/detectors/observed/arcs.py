"""Where the arcs are: what is left when the galaxy's light is taken out, and the annulus that holds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label

from ...surveys.observed import ObservedLens
from .light import Galaxy, coordinates, excess_over

#: The mean of 3 × 3 pixels is light of an arc above this many of its standard deviations.
ARC_SIGMA = 4.0
#: Least number of pixels in one piece.
PIECE = 12
#: Radii between which arcs are looked for [arcsec]: within, the centre's errors are as bright; beyond, galaxies do not lens so far.
INNER, OUTER = 0.35, 3.2
#: The annulus ends where this share of the light, brightness capped, lies within, and so much further.
SHARE, MARGIN = 0.93, 1.25
#: Pixels around an arc that belong to it: the PSF's wings, and light below the threshold.
AROUND = 3
#: Fewest pixels of arcs that say anything about a lens.
MIN_PIXELS = 60


class NoArcs(ValueError):
    """An image in which no arcs are found; the message says what was looked for."""


@dataclass(frozen=True)
class Arcs:
    """`light` (h, w) bool, pixels of arcs with their surroundings; `inner`, `outer` radius of the annulus [arcsec]; `brightness` of the arcs."""

    light: NDArray
    inner: float
    outer: float
    brightness: float

    def within(self, outer: float) -> Arcs:
        """Return the arcs with a smaller annulus."""
        return Arcs(self.light, self.inner, min(self.outer, outer), self.brightness)


def find_arcs(lens: ObservedLens, galaxy: Galaxy) -> Arcs:
    """Return the arcs of a lens whose galaxy is known.

    Raises
    ------
    NoArcs
        Hardly any light beside the galaxy's.
    """
    x, y = coordinates(lens.image.shape, lens.scale)
    radius = np.hypot(x - galaxy.x, y - galaxy.y)
    bright = (excess_over(lens, galaxy.model) > ARC_SIGMA) & (radius > INNER) & (radius < OUTER) & lens.good
    pieces, _ = label(bright, np.ones((3, 3)))
    size = np.bincount(pieces.ravel())
    size[0] = 0
    kept = size[pieces] >= PIECE
    if kept.sum() < MIN_PIXELS:
        raise NoArcs(
            f"{lens.name}: {int(kept.sum())} pixels of light beside the galaxy's between {INNER}″ and {OUTER}″, at least {MIN_PIXELS} needed; "
            "a deeper image, or one of another band, may show the arcs"
        )
    rest = lens.image - galaxy.model
    brightness = float(np.percentile(rest[kept], 90))
    weight = np.clip(rest[kept], 0, brightness)
    order = np.argsort(radius[kept])
    share = np.cumsum(weight[order]) / weight.sum()
    outer = float(np.clip(MARGIN * radius[kept][order][np.searchsorted(share, SHARE)], 1.0, OUTER))
    return Arcs(binary_dilation(kept, iterations=AROUND), INNER - 0.05, outer, brightness)
