"""The survey protocol: what every source of cutouts gives, whatever its bands, pixels and file layout.

A member gives `Cutout`s: pixels, weights, good pixels and PSF sizes around a position, and says its bands, pixel
scale and zero point. Legacy Surveys' bricks (`surveys.legacysurvey.bricks`) and a folder of cutouts
(`surveys.folder`) are members. Stamps of another scale or zero point are made by `resampled`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Cutout:
    """Pixels around one object. x runs to the right and to the west, y up and to the north."""

    #: (bands, size, size), flux in the survey's zero point (nanomaggy at 22.5); 0 where missing or not finite.
    image: NDArray[np.float32]
    #: (bands, size, size), its inverse variance; 0 where missing or not finite. Of fluxes in erg/s/cm²/Hz it is no float32.
    invvar: NDArray[np.floating]
    #: (bands, size, size): covered, finite and clear of the configured bits.
    good: NDArray[np.bool_]
    #: PSF size per band at the object [arcsec], in the survey's sense; 0 where it is missing.
    psfsize: NDArray[np.float32]
    #: Share of bad pixels in each band.
    bad_fractions: NDArray[np.float32]
    #: Pixels of all bands that hold NaN or infinity.
    n_not_finite: int
    ok: bool
    #: Why it is not `ok`; empty where it is.
    reason: str
    #: The object, seen from the middle of the stamp (between its central pixels where the size is even) [arcsec].
    x_offset_arcsec: float
    y_offset_arcsec: float
    #: Pixel (0, 0) of the stamp in the image that it is cut from.
    x0: int
    y0: int
    pixel_scale_arcsec: float

    @property
    def bad_fraction(self) -> float:
        """Share of bad pixels in the worst band."""
        return float(self.bad_fractions.max())


class CutoutSource(Protocol):
    """What gives cutouts: an open brick, or a folder of files.

    Attributes
    ----------
    bands : names, in the order that cutouts have them.
    pixel_scale_arcsec : side of a pixel [arcsec].
    zero_point : AB magnitude of flux 1.
    """

    bands: tuple[str, ...]
    pixel_scale_arcsec: float
    zero_point: float

    def cutout(self, ra: float, dec: float, size: int) -> Cutout:
        """Return the stamp of `size` × `size` pixels around a position [deg]; what is wrong with it is told by `reason`."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


def resampled(cutout: Cutout, zero_point: float, new_scale_arcsec: float, new_zero_point: float, size: int) -> Cutout:
    """Return a cutout on other pixels and in another zero point, about the same middle.

    Surface brightness is averaged over the area of each new pixel: the flux in any region is that of the old
    pixels, and a constant stays constant. The PSF grows no sharper: its size is kept, as it is in arcsec.
    New pixels share old ones, and their noise is correlated. Variances are those of the flux in a region over its pixels, so that depths and
    signal-to-noise made of them as if pixels were independent are right; a single pixel scatters less.

    Parameters
    ----------
    cutout, zero_point : what there is.
    new_scale_arcsec, new_zero_point : what is wanted.
    size : pixels on a side.

    Returns
    -------
    Cutout
        A new pixel that the old ones do not cover, or that holds a bad one, is not good.
    """
    scale = cutout.pixel_scale_arcsec
    if np.isclose(scale, new_scale_arcsec, rtol=1e-3):
        # Less than a hundredth of a pixel at the edge of a stamp: cropping keeps the pixels as they are.
        new_scale_arcsec = scale
    rows, columns = (overlaps(n, scale, size, new_scale_arcsec) for n in cutout.image.shape[1:])
    factor = 10 ** (0.4 * (new_zero_point - zero_point))
    image = factor * (rows @ np.where(cutout.good, cutout.image, 0).astype(float) @ columns.T)
    with np.errstate(divide="ignore"):
        variance = np.where(cutout.good, 1 / cutout.invvar.astype(float), 0.0)
    variance = factor**2 * (rows @ variance @ columns.T)
    covered = rows @ cutout.good.astype(float) @ columns.T
    # An old pixel's share of a new one is measured in old pixels: a new one that is wholly covered has this many.
    good = covered > (new_scale_arcsec / scale) ** 2 * (1 - 1e-6)
    bad = 1 - good.mean((1, 2))
    with np.errstate(divide="ignore"):
        invvar = np.where(good & (variance > 0), 1 / variance, 0.0)
    return replace(
        cutout,
        image=np.where(good, image, 0.0).astype(np.float32),
        invvar=invvar.astype(np.float32),
        good=good,
        bad_fractions=bad.astype(np.float32),
        x0=0,
        y0=0,
        pixel_scale_arcsec=float(new_scale_arcsec),
    )


def overlaps(n: int, scale: float, size: int, new_scale: float) -> NDArray[np.float64]:
    """Return how much of each old pixel, as a share of itself, lies in each new one along an axis, (size, n).

    Both axes have the same middle.
    """
    old = (np.arange(n + 1) - n / 2) * scale
    new = (np.arange(size + 1) - size / 2) * new_scale
    shared = np.minimum(new[1:, None], old[None, 1:]) - np.maximum(new[:-1, None], old[None, :-1])
    return np.clip(shared, 0.0, None) / scale
