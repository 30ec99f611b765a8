"""Still images of source galaxies: light without velocities, total 1, for the lens finder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .source import SourceError

#: Sides of the frames that images are put into [pixels]: few and fixed, so that a row's bits depend on its own image alone.
FRAMES = (65, 97, 129, 193, 257, 385, 513)


@dataclass(frozen=True)
class StillImage:
    """A galaxy's surface brightness per arcsec², total flux 1, in a square frame of odd side with the galaxy at its centre.

    Rows go up, columns to the right.
    """

    light: NDArray[np.float64]
    pixel_scale_arcsec: float

    @property
    def size(self) -> int:
        """Pixels on a side."""
        return self.light.shape[0]


def still_image(flux: NDArray, pixel_scale_arcsec: float, name: str) -> StillImage:
    """Return flux per pixel, of odd sides and centred, as an image of total 1 in the smallest frame that holds it.

    Parameters
    ----------
    flux : (h, w) float
        Flux per pixel, any unit.
    pixel_scale_arcsec : float
    name : str
        What messages call it.

    Raises
    ------
    SourceError
        Values that are not finite, no light, sides that are even or larger than the largest frame.
    """
    flux = np.asarray(flux, np.float64)
    if flux.ndim != 2 or not (flux.shape[0] % 2 and flux.shape[1] % 2) or max(flux.shape) > FRAMES[-1]:
        raise SourceError(f"the image of {name} has shape {flux.shape}; both sides must be odd and at most {FRAMES[-1]}")
    total = flux.sum()
    if not np.isfinite(flux).all() or not total > 0:
        raise SourceError(f"the image of {name} has pixels that are not finite, or no light (sum {total:g}); leave this galaxy out")
    size = next(f for f in FRAMES if f >= max(flux.shape))
    light = np.zeros((size, size))
    top, left = (size - flux.shape[0]) // 2, (size - flux.shape[1]) // 2
    light[top : top + flux.shape[0], left : left + flux.shape[1]] = flux / (total * pixel_scale_arcsec**2)
    return StillImage(light, pixel_scale_arcsec)
