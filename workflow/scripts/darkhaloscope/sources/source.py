"""What every kind of source gives: images on a grid with units, and the moment planes that are lensed.

Lensing is achromatic: flux and velocity follow the same map, and a PSF acts on F, F·v and F·(v² + σ²).
A source is therefore handed on as these three planes, in which velocities can be interpolated, lensed
and blurred without a masked spaxel counting as one at rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


class SourceError(ValueError):
    """A source cannot be made from what is given; the message names it and says what to do."""


@dataclass(frozen=True)
class Source:
    """A galaxy at the source redshift, before lensing.

    Pixel centres lie at ((j − (w − 1)/2), (i − (h − 1)/2)) pixel scales from the centre: x to the right
    along j, y up along i.

    Attributes
    ----------
    kind : str
        manga, disk or hybrid.
    flux : (h, w) float
        Surface brightness per arcsec², any one unit of flux.
    velocity : (h, w) float, km/s
        Line-of-sight velocity relative to the systemic one; meaningless where not valid.
    dispersion : (h, w) float, km/s
        Intrinsic velocity dispersion; meaningless where not valid.
    valid : (h, w) bool
        Where flux and velocity were measured.
    pixel_scale_arcsec : float
        Pixel size at the source redshift.
    provenance : dict
        Where the source comes from: galaxy, scaling, parameters.
    """

    kind: str
    flux: NDArray
    velocity: NDArray
    dispersion: NDArray
    valid: NDArray
    pixel_scale_arcsec: float
    provenance: dict = field(default_factory=dict)

    def planes(self) -> NDArray:
        """Return the moment planes F, F·v and F·(v² + σ²), (3, h, w) float64."""
        return moment_planes(self.flux, self.velocity, self.dispersion, self.valid)

    @property
    def total_flux(self) -> float:
        """Flux of the whole image."""
        return float(self.planes()[0].sum() * self.pixel_scale_arcsec**2)


def moment_planes(flux: NDArray, velocity: NDArray, dispersion: NDArray, valid: NDArray) -> NDArray:
    """Return F, F·v and F·(v² + σ²), zero where a pixel is not valid.

    Negative flux is measurement noise and would make flux-weighted velocities diverge: it counts as 0.

    Parameters
    ----------
    flux, velocity, dispersion : (h, w) float
        Surface brightness per arcsec², and km/s.
    valid : (h, w) bool

    Returns
    -------
    (3, h, w) float64
    """
    valid = np.asarray(valid, bool)
    light = np.where(valid, np.maximum(np.asarray(flux, np.float64), 0), 0)
    speed = np.where(valid, np.asarray(velocity, np.float64), 0)
    spread = np.where(valid, np.asarray(dispersion, np.float64), 0)
    return np.stack([light, light * speed, light * (speed**2 + spread**2)])


def turned(phi: float) -> NDArray:
    """Return the (2, 2) matrix that rotates a vector counter-clockwise by `phi` radians."""
    return np.array([[np.cos(phi), -np.sin(phi)], [np.sin(phi), np.cos(phi)]])
