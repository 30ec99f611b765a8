"""Hybrid sources: an analytic disk with the size, inclination and rotation speed of a MaNGA galaxy. A kind of source with velocities."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..config.cosmology import Cosmology
from ..core.random import quantile
from .disk import disk_columns, most_knots, row_disk
from .kinds import Draws, Moving
from .scaling import kpc_per_arcsec

#: Half-light radius of an exponential disk over its scale radius: the root of (1 + x) e^(−x) = ½.
HALF_LIGHT_PER_SCALE_RADIUS = 1.6783469900166605
#: A thin disk has no image edge-on: hybrids of steeper galaxies are tilted back to this, the bound that the config sets for disks.
STEEPEST_INCLINATION = math.radians(85)


def fitted_scale_radius(half_light_kpc: ArrayLike, src_scale: ArrayLike, z_source: ArrayLike, cosmology: Cosmology) -> NDArray:
    """Return the scale radius of the disk that has a galaxy's half-light radius, moved to the source redshift.

    Parameters
    ----------
    half_light_kpc : half-light semi-major axis of the galaxy
    src_scale : factor on the physical size
    z_source : source redshift

    Returns
    -------
    array, arcsec
    """
    return np.asarray(half_light_kpc) * src_scale / kpc_per_arcsec(z_source, cosmology) / HALF_LIGHT_PER_SCALE_RADIUS


def _draw(draws: Draws) -> dict[str, NDArray]:
    galaxy, scale = draws.galaxy, quantile(draws.sources.scale, draws.u["scale"])
    radius = fitted_scale_radius(galaxy["half_light_radius_kpc"], scale, draws.z_source, draws.cosmology)
    inclination = np.minimum(galaxy["inclination_rad"], STEEPEST_INCLINATION)
    names = {k: galaxy[k] for k in ("galaxy_id", "physical_id")}
    return {**names, "src_scale": scale, **disk_columns(draws, radius, galaxy["v_peak_kms"], inclination)}


MOVING = Moving(draw=_draw, disk=row_disk, most_knots=most_knots, positive=("half_light_radius_kpc", "v_peak_kms"))
