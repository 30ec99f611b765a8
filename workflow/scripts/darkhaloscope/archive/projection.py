"""The tangent-plane projection of a survey's images, from the header cards that describe it (astropy.wcs).

Images are TAN without distortion, north up and east to the left: x grows to the west. Pixels are counted from 0
here, with pixel (0, 0) centred at (0, 0).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from numpy.typing import ArrayLike, NDArray

KINDS = ("RA---TAN", "DEC--TAN")
#: The matrix from pixels to degrees: CD alone, or CDELT with PC or, in older files, CROTA (FITS WCS paper I, Greisen & Calabretta
#: 2002, A&A 395, 1061).
CD, CDELT = ("CD1_1", "CD1_2", "CD2_1", "CD2_2"), ("CDELT1", "CDELT2")
PC, CROTA = ("PC1_1", "PC1_2", "PC2_1", "PC2_2"), ("CROTA2",)
PLACE = ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")


class WcsError(ValueError):
    """A header does not hold the projection that a survey's images have."""


@dataclass(frozen=True)
class Projection:
    """A TAN projection and the shape (ny, nx) of the image that it belongs to."""

    wcs: WCS
    shape: tuple[int, int]

    @property
    def pixel_scale_arcsec(self) -> float:
        """Side of a square pixel of the same area [arcsec]."""
        return math.sqrt(abs(np.linalg.det(self.wcs.pixel_scale_matrix))) * 3600

    @property
    def place(self) -> tuple[float, ...]:
        """What two images of the same pixels share: reference position, reference pixel and matrix."""
        return (*map(float, self.wcs.wcs.crval), *map(float, self.wcs.wcs.crpix), *map(float, self.wcs.pixel_scale_matrix.ravel()))

    def pixel(self, ra: ArrayLike, dec: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return x and y of sky positions [deg]; NaN for the far half of the sky."""
        return tuple(self.wcs.wcs_world2pix(np.asarray(ra, float), np.asarray(dec, float), 0))  # type: ignore[return-value]

    def sky(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return right ascension and declination [deg] of pixels."""
        return tuple(self.wcs.wcs_pix2world(np.asarray(x, float), np.asarray(y, float), 0))  # type: ignore[return-value]


def read_projection(header: Mapping[str, Any], where: str) -> Projection:
    """Return the projection that an image's header describes, compressed image or not.

    Raises
    ------
    WcsError
        A card is missing, or the projection is not TAN; `where` names the file.
    """
    try:
        shape = int(_first(header, "ZNAXIS2", "NAXIS2")), int(_first(header, "ZNAXIS1", "NAXIS1"))
        cards = {name: header[name] for name in PLACE}
        matrix = CDELT if CDELT[0] in header and CD[0] not in header else CD
        cards |= {name: float(header[name]) for name in matrix}
        if matrix is CDELT:
            turned = PC if any(name in header for name in PC) else CROTA
            cards |= {name: float(header[name]) for name in turned if name in header}
    except KeyError as error:
        raise WcsError(f"{where} has no card {_name(error)} in its header; fetch the file again") from None
    kinds = str(cards["CTYPE1"]).strip(), str(cards["CTYPE2"]).strip()
    if kinds != KINDS:
        raise WcsError(f"{where} is projected as {', '.join(kinds)}, expected {', '.join(KINDS)}; is it an image of the survey?")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        return Projection(WCS(fits.Header(cards), naxis=2), shape)


def _first(header: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if name in header:
            return header[name]
    raise KeyError(names[-1])


def _name(error: KeyError) -> str:
    """Return the card of a KeyError; readers of FITS put words around it."""
    words = str(error.args[0]).replace("'", " ").split()
    return next((w for w in words if w in (*PLACE, *CD, *CDELT, "NAXIS1", "NAXIS2")), words[-1] if words else "?")
