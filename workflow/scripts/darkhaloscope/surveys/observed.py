"""Observed lenses: a folder for each, with image, noise and PSF as FITS files; no simulation and no label.

A lens is `NAME/image.fits` with `noise.fits` (standard deviation) or `weight.fits` (inverse variance) and `psf.fits`; `mask.fits` where there is one (not 0:
not used). The first image of each file is read. Redshifts come from a table of the sample. Velocity maps of the arcs, `velocity.fits` (km/s) with
`velocity_error.fits`, are read where a lens has them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..archive.checks import ArchiveError, check_fits
from ..config.observed import Observed
from ..core.kernels import CENTRED, off_middle
from ..core.reading import readable
from .observed_names import IMAGE, ObservedError
from .said import as_number
from .text_tables import TextTableError, read_text_table

NOISE, WEIGHT, PSF, MASK, VELOCITY, VELOCITY_ERROR = (
    f"{name}.fits" for name in ("noise", "weight", "psf", "mask", "velocity", "velocity_error")
)
#: Noise above this many times the image's median noise means that a pixel was masked by giving it no weight.
MASKED = 1e3
#: Least side of an image [pixels].
MIN_SIDE = 32
#: How tables write that they do not know a number.
UNKNOWN = ("", "nan", "na", "n/a", "none", "null", "-", "--", "---", "...")
#: A PSF sums to 1 within this before it is normalised.
PSF_SUM = 0.1


@dataclass(frozen=True)
class ObservedLens:
    """One lens as observed, in the unit of its image.

    `image`, `noise` (h, w), `good` (h, w) bool; `psf` (k, k), k odd, sum 1; `scale` in arcsec per pixel; redshifts NaN where unknown;
    `velocity`, `velocity_error` (h, w) in km/s or None. `missing` says in words what is not there.
    """

    name: str
    image: NDArray
    noise: NDArray
    good: NDArray
    psf: NDArray
    scale: float
    z_lens: float
    z_source: float
    velocity: NDArray | None
    velocity_error: NDArray | None
    missing: tuple[str, ...]


def read_lens(folder: str | os.PathLike, settings: Observed) -> ObservedLens:
    """Return one observed lens.

    Parameters
    ----------
    folder : the lens' own folder, whose name is the lens'
    settings : pixel scale and, where the config names one, the table of redshifts

    Raises
    ------
    ObservedError
        A file is missing or damaged, shapes differ, noise is not positive, or the PSF is none.
    """
    folder = Path(folder)
    missing = []
    image = _image(folder / IMAGE, "the image")
    if min(image.shape) < MIN_SIDE:
        raise ObservedError(f"{folder / IMAGE}: expected at least {MIN_SIDE} pixels on a side, found {image.shape}; cut a larger image")
    if _given(folder / NOISE):
        noise = _image(folder / NOISE, "the standard deviation of each pixel", image.shape)
    elif _given(folder / WEIGHT):
        weight = _image(folder / WEIGHT, "the inverse variance of each pixel", image.shape)
        noise = np.where(weight > 0, 1 / np.sqrt(np.where(weight > 0, weight, 1)), np.inf)
    else:
        raise ObservedError(
            f"{folder}: expected {NOISE} (standard deviation) or {WEIGHT} (inverse variance), found neither; write one of them there"
        )
    # NaN pixels are as good as masked ones: what matters is that enough are left.
    good = np.isfinite(image) & np.isfinite(noise) & (noise > 0)
    if not good.any():
        raise ObservedError(
            f"{folder / IMAGE}: expected pixels with a finite value and a positive noise, found none; check image and noise"
        )
    good &= noise < MASKED * np.median(noise[good])
    if _given(folder / MASK):
        good &= _image(folder / MASK, "0 where pixels are used", image.shape) == 0
    else:
        missing.append("no mask file: pixels of very large noise are left out, and neighbours are looked for in the image")
    if good.mean() < 0.2:
        raise ObservedError(f"{folder}: {good.mean():.0%} of the pixels are usable, expected 20% or more; check noise and mask")
    psf = _psf(folder / PSF)
    z_lens, z_source = _redshifts(folder.name, settings)
    if not np.isfinite(z_lens + z_source):
        missing.append("no redshifts of a lens before its source: masses are those for the config's redshifts")
    velocity = velocity_error = None
    if _given(folder / VELOCITY):
        velocity = _image(folder / VELOCITY, "velocities in km/s", image.shape)
        velocity_error = _image(folder / VELOCITY_ERROR, "the errors of the velocities in km/s", image.shape)
    else:
        missing.append("no velocity map: flux alone")
    floor = float(np.median(noise[good]))
    return ObservedLens(
        name=folder.name,
        image=np.where(good, image, 0.0),
        noise=np.where(good, noise, floor * MASKED),
        good=good,
        psf=psf,
        scale=settings.pixel_scale_arcsec,
        z_lens=z_lens,
        z_source=z_source,
        velocity=velocity,
        velocity_error=velocity_error,
        missing=tuple(missing),
    )


def _image(path: Path, expected: str, shape: tuple[int, ...] | None = None) -> NDArray:
    """Return the first image of a FITS file as float64."""
    if not path.is_file():
        raise ObservedError(
            f"{path}: expected {expected} as a FITS image, but there is no such file; write it there, or take the folder away"
        )
    with (
        readable(path, f"{expected} as a FITS image", "fetch or write the file again", ObservedError),
        _whole(path) as hdus,
    ):
        found = next((hdu.data for hdu in hdus if hdu.is_image and hdu.data is not None), None)
        if found is None:
            raise ValueError("it holds no image")
        values = np.asarray(found, dtype=float)
    if values.ndim != 2:
        raise ObservedError(f"{path}: expected {expected} as one image, found an array of shape {values.shape}; write one plane")
    if shape is not None and values.shape != shape:
        raise ObservedError(f"{path}: expected {expected} with the shape of the image, {shape}, found {values.shape}; cut both alike")
    return values


def _given(path: Path) -> bool:
    """Whether something has a file's name: a link to nowhere is a file that was lost, and not one that the lens never had."""
    return os.path.lexists(path)


def _whole(path: Path) -> fits.HDUList:
    """Open a FITS file of whole blocks: of one that was cut or transferred as text, astropy reads what is there."""
    try:
        check_fits(path)
    except ArchiveError as error:
        raise ObservedError(str(error)) from None
    return fits.open(path, memmap=False)


def _psf(path: Path) -> NDArray:
    psf = _image(path, "the PSF")
    if not np.isfinite(psf).all() or psf.shape[0] % 2 == 0 or psf.shape[1] % 2 == 0:
        raise ObservedError(f"{path}: expected a finite PSF with odd sides, found shape {psf.shape}; write it cut about its peak")
    if abs(psf.sum() - 1) > PSF_SUM or np.unravel_index(psf.argmax(), psf.shape) != tuple(s // 2 for s in psf.shape):
        raise ObservedError(
            f"{path}: expected a PSF that sums to 1 and peaks in its middle pixel, found sum {psf.sum():.3g} and peak at "
            f"{tuple(int(k) for k in np.unravel_index(psf.argmax(), psf.shape))} of {psf.shape}; write it normalised and centred"
        )
    if (off := off_middle(psf)) > CENTRED:
        raise ObservedError(
            f"{path}: expected a PSF whose light is about the middle of its middle pixel, within {CENTRED:g} pixels, found it {off:.2f} beside it; "
            "shift it there (one with even sides that was padded is half a pixel off)"
        )
    return psf / psf.sum()


def _redshifts(name: str, settings: Observed) -> tuple[float, float]:
    row = published(name, settings)
    values = [float(row.get(key, np.nan)) for key in ("z_lens", "z_source")]
    # A table with a lens behind its source, or with none of the two, says nothing.
    return (values[0], values[1]) if 0 < values[0] < values[1] else (np.nan, np.nan)


def published(name: str, settings: Observed) -> dict[str, float]:
    """Return what the sample's table says of a lens: z_lens, z_source, theta_e where it has them; nothing without a table or row.

    Raises
    ------
    ObservedError
        The table is missing, damaged, has no column of names, words in place of a number, or the lens twice with other numbers.
    """
    if settings.table is None:
        return {}
    path = Path(settings.table)
    if not path.is_file():
        raise ObservedError(f"{path}: expected the table of the sample (observed.table), but there is no such file; give yours, or none")
    try:
        frame = read_text_table(path)
    except TextTableError as error:
        raise ObservedError(str(error)) from None
    if settings.name_column not in frame.columns:
        raise ObservedError(
            f"{path}: expected the names of lenses in column {settings.name_column} (observed.name_column), found columns {', '.join(map(str, frame.columns[:12]))}"
        )
    if frame.empty:
        raise ObservedError(f"{path}: expected a row for each lens, found a header alone; fetch the table again, or give none")
    names = frame[settings.name_column].str.strip(' "').str.removeprefix(settings.name_prefix)
    keys = [key for key in ("z_lens", "z_source", "theta_e") if key in frame.columns]
    rows = [{key: _number(text, path, name, key) for key, text in row.items()} for row in frame.loc[names == name, keys].to_dict("records")]
    # Redshifts and radii are above zero; tables write −99 and the like where they know none.
    rows = [{key: value for key, value in row.items() if np.isfinite(value) and value > 0} for row in rows]
    if any(row != rows[0] for row in rows):
        raise ObservedError(f"{path}: expected one row for {name}, found {len(rows)} with different numbers; keep the right one")
    return rows[0] if rows else {}


def _number(text: str, path: Path, name: str, key: str) -> float:
    text = text.strip(' "')
    try:
        return np.nan if text.lower() in UNKNOWN else as_number(text)
    except ValueError:
        raise ObservedError(f"{path}: expected a number in column {key} of {name}, found {text!r}; correct it, or leave it empty") from None
