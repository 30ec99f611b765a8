"""Positions on the sky that are numbers in another unit than degrees: they look like degrees, and match nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

#: A few positions may lie near each other anywhere.
LEAST = 10
#: What is logged, with a file and a unit.
SUSPECTED = "%s: all of its positions would fit into %s; they are taken as degrees: convert them where they are not"


def other_unit(ra: ArrayLike, dec: ArrayLike) -> str:
    """Return the unit that positions seem to be in, empty where that is degrees.

    Hours fill 0 to 24, radians 0 to 2π, and a part of the sky in degrees that fills the same is rare: right ascensions must span more than half of
    it, and declinations in hours more than 24°, since a strip along the equator may lie so.

    Parameters
    ----------
    ra, dec : (n,) numbers within 0 to 360 and −90 to 90; those that are not finite do not count
    """
    ra, dec = np.asarray(ra, float), np.asarray(dec, float)
    known = np.isfinite(ra) & np.isfinite(dec)
    ra, dec = ra[known], dec[known]
    if len(ra) < LEAST:
        return ""
    if ra.max() <= 2 * np.pi and np.ptp(ra) > np.pi and abs(dec).max() <= np.pi / 2:
        return "radians"
    return "hours and degrees" if ra.max() <= 24 and np.ptp(ra) > 12 and np.ptp(dec) > 24 else ""
