"""Angles and lengths through the cosmology."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..config.cosmology import Cosmology

ARCSEC_PER_RADIAN = 180 * 3600 / np.pi


def kpc_per_arcsec(redshift: ArrayLike, cosmology: Cosmology) -> NDArray:
    """Return the transverse length that one arcsec spans at each redshift, kpc/arcsec.

    From the angular diameter distance of a flat ΛCDM universe; each redshift is computed once.
    """
    from astropy.cosmology import FlatLambdaCDM  # most jobs need no distance, and importing it takes a second

    redshift = np.asarray(redshift, float)
    different, where = np.unique(redshift, return_inverse=True)
    universe = FlatLambdaCDM(H0=cosmology.h0, Om0=cosmology.om0)
    distance_kpc = universe.angular_diameter_distance(different).to_value("kpc")
    return (distance_kpc / ARCSEC_PER_RADIAN)[where].reshape(redshift.shape)
