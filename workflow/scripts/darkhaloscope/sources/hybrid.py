"""Hybrid sources: an analytic disk with the size, inclination and rotation speed of a MaNGA galaxy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..config.cosmology import Cosmology
from .scaling import kpc_per_arcsec

#: Half-light radius of an exponential disk over its scale radius: the root of (1 + x) e^(−x) = ½.
HALF_LIGHT_PER_SCALE_RADIUS = 1.6783469900166605


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
