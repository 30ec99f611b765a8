"""The tangent-plane projection of bricks: sky to pixel and back, with numpy alone.

Bricks are TAN images without distortion or rotation, north up and east to the left: x grows to the west.
Pixels are counted from 0 here, with pixel (0, 0) centred at (0, 0).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Pixel scale of the coadds.
PIXEL_SCALE_ARCSEC = 0.262


class WcsError(ValueError):
    """A header does not hold the projection that bricks have."""


@dataclass(frozen=True)
class BrickWcs:
    """Gnomonic projection (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3) with a linear matrix.

    Angles in degrees; `crpix` counted from 1 as in FITS; `cd` is the 2 × 2 matrix from pixels to degrees.
    """

    crval: tuple[float, float]
    crpix: tuple[float, float]
    cd: tuple[tuple[float, float], tuple[float, float]]
    shape: tuple[int, int]

    @property
    def pixel_scale_arcsec(self) -> float:
        """Side of a square pixel of the same area [arcsec]."""
        return math.sqrt(abs(np.linalg.det(self.cd))) * 3600

    def pixel(self, ra: ArrayLike, dec: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return x and y of sky positions [deg]; NaN for the far half of the sky."""
        ra0, dec0 = np.radians(self.crval)
        a, d = np.radians(np.asarray(ra, float)) - ra0, np.radians(np.asarray(dec, float))
        cosine = np.sin(dec0) * np.sin(d) + np.cos(dec0) * np.cos(d) * np.cos(a)
        cosine = np.where(cosine > 0, cosine, np.nan)
        xi = np.degrees(np.cos(d) * np.sin(a) / cosine)
        eta = np.degrees((np.cos(dec0) * np.sin(d) - np.sin(dec0) * np.cos(d) * np.cos(a)) / cosine)
        (a11, a12), (a21, a22) = np.linalg.inv(self.cd)
        return a11 * xi + a12 * eta + self.crpix[0] - 1, a21 * xi + a22 * eta + self.crpix[1] - 1

    def sky(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return right ascension and declination [deg] of pixels."""
        u, v = np.asarray(x, float) + 1 - self.crpix[0], np.asarray(y, float) + 1 - self.crpix[1]
        (c11, c12), (c21, c22) = self.cd
        xi, eta = np.radians(c11 * u + c12 * v), np.radians(c21 * u + c22 * v)
        ra0, dec0 = np.radians(self.crval)
        depth = np.cos(dec0) - eta * np.sin(dec0)
        ra = ra0 + np.arctan2(xi, depth)
        dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, depth))
        return np.degrees(ra) % 360, np.degrees(dec)


def read_wcs(header: Mapping[str, Any], where: str) -> BrickWcs:
    """Return the projection that a coadd's header describes.

    Raises
    ------
    WcsError
        A card is missing, or the projection is not TAN.
    """
    try:
        kinds = str(header["CTYPE1"]).strip(), str(header["CTYPE2"]).strip()
        shape = int(_first(header, "ZNAXIS2", "NAXIS2")), int(_first(header, "ZNAXIS1", "NAXIS1"))
        numbers = [float(header[k]) for k in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")]
    except KeyError as error:
        raise WcsError(f"{where} has no card {error.args[0]} in its header; fetch the file again") from None
    if kinds != ("RA---TAN", "DEC--TAN"):
        raise WcsError(f"{where} is projected as {', '.join(kinds)}, expected RA---TAN, DEC--TAN; is it a Legacy Survey coadd?")
    ra, dec, x, y, *cd = numbers
    return BrickWcs((ra, dec), (x, y), ((cd[0], cd[1]), (cd[2], cd[3])), shape)


def _first(header: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if name in header:
            return header[name]
    raise KeyError(names[-1])
