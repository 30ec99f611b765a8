"""Cutouts of bricks: image, inverse variance, good pixels and PSF size of a few dozen pixels around an object.

Nothing that a brick lacks or has damaged stops a run: a cutout says in words why it cannot be used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import fitsio
import numpy as np
from numpy.typing import NDArray

from ...archive.fits_files import UNREADABLE, forget_messages, open_fits
from ...archive.projection import Projection, WcsError, read_projection
from ...config.legacysurvey import PIXEL_SCALE_ARCSEC, ZERO_POINT
from ..cutouts import Cutout

#: What each band has; a brick has one more image, maskbits.
BAND_PRODUCTS = ("image", "invvar", "psfsize")


def coadd_name(brickname: str, product: str, band: str = "") -> str:
    """Return the name of a coadd file; without a band where the product has none."""
    return f"legacysurvey-{brickname}-{product}{f'-{band}' if band else ''}.fits.fz"


def open_brick(
    folder: str | Path,
    brickname: str,
    bands: Sequence[str],
    bits: Sequence[int],
    *,
    max_bad_fraction: float = 0.2,
    psfsize: Mapping[str, float] | None = None,
) -> Brick:
    """Open the coadds of one brick.

    Parameters
    ----------
    folder : path
        Folder that holds `legacysurvey-{brickname}-image-g.fits.fz` and so on.
    brickname : str
    bands : names, in the order that cutouts have them
    bits : bits of MASKBITS that make a pixel bad; where there are none, maskbits is not read
    max_bad_fraction : float
        A cutout is not `ok` above this share of bad pixels in any one band.
    psfsize : mapping of band to arcsec, or None
        PSF sizes for bands whose psfsize image is missing (releases before DR7 have none), such as a brick table's.

    Returns
    -------
    Brick
        Whatever is missing or damaged is told by its cutouts.
    """
    return Brick(Path(folder), brickname, tuple(bands), tuple(bits), max_bad_fraction, psfsize or {})


class Brick:
    """The open coadds of one brick, as the survey protocol has them; a context manager that closes them."""

    zero_point = ZERO_POINT

    def __init__(
        self,
        folder: Path,
        brickname: str,
        bands: tuple[str, ...],
        bits: tuple[int, ...],
        max_bad_fraction: float,
        psfsize: Mapping[str, float],
    ) -> None:
        self.brickname = brickname
        self.bands = bands
        #: The projection; None where no file of the brick could be read.
        self.wcs: Projection | None = None
        self._folder = folder
        self._bits = sum(1 << bit for bit in set(bits))
        self._max_bad_fraction = max_bad_fraction
        self._typical_psfsize = {band: size for band, size in psfsize.items() if size > 0}
        self._files: list[fitsio.FITS] = []
        self._images: dict[str, fitsio.hdu.ImageHDU] = {}
        #: What is wrong with a file, by its name.
        self._problems: dict[str, str] = {}
        for name in [coadd_name(brickname, p, b) for b in bands for p in BAND_PRODUCTS]:
            self._open(name)
        if bits:
            self._open(coadd_name(brickname, "maskbits"))

    def __enter__(self) -> Brick:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        while self._files:
            self._files.pop().close()
        self._images.clear()

    @property
    def pixel_scale_arcsec(self) -> float:
        """Side of a pixel [arcsec]; the survey's own where no file could be read."""
        return self.wcs.pixel_scale_arcsec if self.wcs else PIXEL_SCALE_ARCSEC

    def cutout(self, ra: float, dec: float, size: int) -> Cutout:
        """Return the stamp of `size` × `size` pixels whose middle is within half a pixel of a position [deg]."""
        x, y = (float(v) for v in self.wcs.pixel(ra, dec)) if self.wcs else (np.nan, np.nan)
        stamp = _Stamp(self.bands, size, self.wcs, x, y)
        if self.wcs is None:
            stamp.reasons += list(self._problems.values())[:1]
        elif not stamp.fits:
            height, width = self.wcs.shape
            stamp.reasons.append(
                f"a stamp of {size} × {size} pixels at {ra:.5f}, {dec:.5f} leaves brick {self.brickname} of {width} × {height} pixels"
            )
        else:
            self._fill(stamp)
        return stamp.finish(self._max_bad_fraction)

    def _fill(self, stamp: _Stamp) -> None:
        clear = np.ones((stamp.size, stamp.size), bool)
        if self._bits:
            bits = self._read("maskbits", "", stamp.window, stamp.reasons)
            clear = np.zeros_like(clear) if bits is None else (bits.astype(np.int64) & self._bits) == 0
        for i, band in enumerate(self.bands):
            image = self._read("image", band, stamp.window, stamp.reasons)
            invvar = self._read("invvar", band, stamp.window, stamp.reasons)
            if image is not None and invvar is not None:
                finite = np.isfinite(image) & np.isfinite(invvar)
                stamp.n_not_finite += int(np.count_nonzero(~finite))
                stamp.image[i], stamp.invvar[i] = np.where(finite, image, 0), np.where(finite, invvar, 0)
                stamp.good[i] = finite & (invvar > 0) & clear
            stamp.psfsize[i] = self._psfsize(band, stamp)

    def _psfsize(self, band: str, stamp: _Stamp) -> float:
        name = coadd_name(self.brickname, "psfsize", band)
        if name not in self._images and band in self._typical_psfsize:
            return self._typical_psfsize[band]
        found = self._read("psfsize", band, stamp.centre, stamp.reasons)
        if found is None:
            return 0.0
        value = float(found[0, 0])
        if np.isfinite(value) and value > 0:
            return value
        stamp.reasons.append(f"{name} holds {value:g} at the object")
        return 0.0

    def _open(self, name: str) -> None:
        path = self._folder / name
        if not path.is_file():
            self._problems[name] = f"{name} is missing"
            return
        try:
            file = open_fits(path)
            self._files.append(file)
            image = next((hdu for hdu in file if hdu.get_exttype() == "IMAGE_HDU" and len(hdu.get_dims()) == 2), None)
            if image is None:
                raise ValueError("it holds no image")
            wcs = read_projection(image.read_header(), name)
            if self.wcs is not None and wcs.shape != self.wcs.shape:
                raise ValueError(
                    f"it has {wcs.shape[1]} × {wcs.shape[0]} pixels, others of the brick {self.wcs.shape[1]} × {self.wcs.shape[0]}"
                )
        except (*UNREADABLE, WcsError) as error:
            self._problems[name] = _unreadable(name, error)
            return
        self.wcs = self.wcs or wcs
        self._images[name] = image

    def _read(self, product: str, band: str, window: tuple[slice, slice], reasons: list[str]) -> NDArray | None:
        """Return a section of a file, or None and the reason why there is none."""
        name = coadd_name(self.brickname, product, band)
        if name in self._images:
            try:
                return self._images[name][window]
            except UNREADABLE as error:
                del self._images[name]
                self._problems[name] = _unreadable(name, error)
        reasons.append(self._problems[name])
        return None


class _Stamp:
    """A cutout in the making."""

    def __init__(self, bands: tuple[str, ...], size: int, wcs: Projection | None, x: float, y: float) -> None:
        n = len(bands)
        self.bands, self.size = bands, size
        self.image, self.invvar = np.zeros((n, size, size), np.float32), np.zeros((n, size, size), np.float32)
        self.good, self.psfsize = np.zeros((n, size, size), bool), np.zeros(n, np.float32)
        self.n_not_finite = 0
        self.reasons: list[str] = []
        self.scale = wcs.pixel_scale_arcsec if wcs else PIXEL_SCALE_ARCSEC
        on_sky = np.isfinite(x) and np.isfinite(y)
        middle = (size - 1) / 2
        self.x0, self.y0 = (round(x - middle), round(y - middle)) if on_sky else (0, 0)
        self.dx, self.dy = (x - self.x0 - middle, y - self.y0 - middle) if on_sky else (0.0, 0.0)
        self.fits = bool(
            on_sky and wcs and self.x0 >= 0 and self.y0 >= 0 and self.x0 + size <= wcs.shape[1] and self.y0 + size <= wcs.shape[0]
        )
        self.window = (slice(self.y0, self.y0 + size), slice(self.x0, self.x0 + size))
        column, row = (round(x), round(y)) if on_sky else (0, 0)
        self.centre = (slice(row, row + 1), slice(column, column + 1))

    def finish(self, max_bad_fraction: float) -> Cutout:
        bad = 1 - self.good.mean((1, 2), dtype=np.float64).astype(np.float32)
        if not self.reasons:
            if self.n_not_finite:
                self.reasons.append(f"{self.n_not_finite} pixels are not finite")
            self.reasons += [
                f"{share:.1%} of the pixels in {band} are bad, more than {max_bad_fraction:.1%}"
                for band, share in zip(self.bands, bad, strict=True)
                if share > max_bad_fraction
            ]
        return Cutout(
            image=self.image,
            invvar=self.invvar,
            good=self.good,
            psfsize=self.psfsize,
            bad_fractions=bad,
            n_not_finite=self.n_not_finite,
            ok=not self.reasons,
            reason="; ".join(self.reasons),
            x_offset_arcsec=self.dx * self.scale,
            y_offset_arcsec=self.dy * self.scale,
            x0=self.x0,
            y0=self.y0,
            pixel_scale_arcsec=self.scale,
        )


def _unreadable(name: str, error: Exception) -> str:
    forget_messages()
    return f"{name} cannot be read ({' '.join(str(error).split())})"
