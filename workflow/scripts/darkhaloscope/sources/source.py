"""What every kind of source is made from and gives: images on a grid with units, and the moment planes that are lensed.

Lensing is achromatic: flux and velocity follow the same map, and a PSF acts on F, F·v and F·(v² + σ²).
A source is therefore handed on as these three planes, in which velocities can be interpolated, lensed
and blurred without a masked spaxel counting as one at rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..config.cosmology import Cosmology


class SourceError(ValueError):
    """A source cannot be made from what is given; the message names it and says what to do."""


@dataclass(frozen=True)
class Supply:
    """What images are made from: the dataset's sources and seed, the bank of galaxies (None without one), the cosmology."""

    sources: Any
    seed: int
    bank: pa.Table | None
    cosmology: Cosmology


@dataclass(frozen=True)
class Source:
    """A galaxy at the source redshift, before lensing.

    Pixel centres lie at ((j − (w − 1)/2), (i − (h − 1)/2)) pixel scales from the centre: x to the right
    along j, y up along i.

    Attributes
    ----------
    kind : str
        Name of the kind of source.
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


@dataclass(frozen=True)
class Knots:
    """Bright star-forming knots of a disk, all arrays (k,).

    `x` and `y` are in the plane of the disk [arcsec], x along the kinematic major axis; a knot is seen at
    (x, y cos i). `share` is the knot's part of the disk's total light, `sigma` its Gaussian width on the
    sky [arcsec].
    """

    x: NDArray
    y: NDArray
    share: NDArray
    sigma: NDArray


@dataclass(frozen=True)
class Disk:
    """One analytic disk: lengths in arcsec, angles in radians, speeds in km/s, total flux 1.

    The light is an exponential disk, a round Sérsic bulge and round Gaussian knots. All light at a place
    moves with

        v = v_sys + sin i (1 − e^(−R/R_turn)) [v_max cos θ + v_r sin θ + A_bar e^(−R/2R_s) cos 2(θ − φ_bar) cos θ],

    R and θ being polar coordinates in the plane of the disk from the receding major axis, which `pa`
    points to, counter-clockwise from x.
    """

    scale_radius: float
    turnover: float
    v_max: float
    inclination: float
    dispersion: float
    knots: Knots
    pa: float = 0.0
    bulge_fraction: float = 0.0
    bulge_n: float = 2.0
    bulge_radius: float = 0.1
    bar_amplitude: float = 0.0
    bar_phi: float = 0.0
    radial_flow: float = 0.0
    v_sys: float = 0.0


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


def from_planes(kind: str, planes: NDArray, pixel_scale_arcsec: float) -> Source:
    """Return the source that moment planes (3, h, w) are of: what `moment_planes` does, undone; pixels without light are not valid."""
    flux, momentum, square = np.asarray(planes, np.float64)
    valid = flux > 0
    velocity, mean_square = (np.divide(plane, flux, out=np.zeros_like(flux), where=valid) for plane in (momentum, square))
    return Source(kind, flux, velocity, np.sqrt(np.maximum(mean_square - velocity**2, 0)), valid, pixel_scale_arcsec)


def turned(phi: float) -> NDArray:
    """Return the (2, 2) matrix that rotates a vector counter-clockwise by `phi` radians."""
    return np.array([[np.cos(phi), -np.sin(phi)], [np.sin(phi), np.cos(phi)]])
