"""What files of cutouts say of themselves: bands, pixel scale, zero point and position, held against the config.

Cards of FITS headers, and arrays or columns beside the images of NPZ files and Parquet tables, under the names that are
usual. What contradicts the config is refused, as fluxes and pixels would be taken for others than they are.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from ..config.cutouts import CutoutFolder
from ..config.legacysurvey import ZERO_POINT
from ..core.reading import UNREADABLE
from ..core.truths import truth

BAND_KEYS = ("BANDS", "FILTERS")
#: Keys that say other things, too: they name the images where each word is a band's; numbered from 0 or 1, one for each image.
BAND_WORDS = ("BAND", "FILTER")
SCALE_KEYS = ("PIXSCALE", "PIXEL_SCALE", "PIXEL_SCALE_ARCSEC", "SECPIX")
ZERO_POINT_KEYS = (
    "MAGZERO",
    "MAGZPT",
    "MAGZP",
    "ZEROPNT",
    "ZEROPOINT",
    "ZERO_POINT",
    "ZPT",
    "PHOTZP",
    "ZP",
    "ABZP",
    "MAG_ZP",
    "MAG_ZERO",
    "MAGZEROP",
    "ZEROPOIN",
    "SEXMGZPT",
)
UNIT_KEYS = ("BUNIT", "FLUX_UNIT")
SAID = ("RA", "DEC", *BAND_KEYS, *BAND_WORDS, *SCALE_KEYS, *ZERO_POINT_KEYS, *UNIT_KEYS, "FLUXMAG0")
#: AB magnitude of flux 1 in units that say it.
ZERO_POINTS = {"Jy": 8.9, "mJy": 16.4, "uJy": 23.9, "µJy": 23.9, "microJy": 23.9, "nJy": 31.4}
NANOMAGGIES = ("nanomaggy", "nanomaggies", "nmgy", "nmaggy")
#: A unit per square arcsecond, in its several spellings.
PER_ARCSEC2 = re.compile(r"(.+?)(?:/arcsec(?:\^|\*\*)?2|[.*]?arcsec(?:\^|\*\*)?-2)")
#: What stands for nothing in tables, as text and as numbers.
NO_LABEL = ("", "nan", "none", "null", "na", "n/a", "<na>", "-", "--")
NO_MEASUREMENT = (-99, -999, -9999)
#: Square arcseconds of a steradian.
STERADIAN_ARCSEC2 = (180 * 3600 / math.pi) ** 2
#: Pixel scales (a share) and zero points [mag] that differ by more contradict each other.
SCALE_TOLERANCE, ZERO_POINT_TOLERANCE = 0.02, 0.02


class CutoutError(ValueError):
    """A file of cutouts cannot be used; the message names it and what was expected."""


def as_text(value: object) -> str:
    """Return a value as text; numpy and older writers of Parquet have text as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def as_number(value: object) -> float:
    """Return a number, or what text says of one; `ValueError` for what Python alone takes for one: `1_0`, and True."""
    if isinstance(value, bool | np.bool_) or "_" in as_text(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def as_label(value: object) -> float | None:
    """Return a label as a number, 1 and 0 where words say yes and no; None where nothing, or a sign for nothing, stands in its place.

    Raises
    ------
    ValueError, TypeError
        It is none of these.
    """
    text = as_text(value).strip().lower()
    if text in NO_LABEL:
        return None
    if (known := truth(text)) is not None:
        return known
    number = as_number(value)
    if math.isinf(number):
        raise ValueError(f"{value!r} is no label")
    return None if number in NO_MEASUREMENT else number


def said_key(name: str) -> str:
    """Return the key, as FITS cards are written, of an array or column of this name."""
    return name.upper().removeprefix("META_")


def band_names(given: object) -> list[str]:
    """Return names of bands, given as an array, or as text such as `grz`, `g, r, z` or `HSC-G HSC-R HSC-Z`."""
    names = [as_text(n) for n in np.ravel(given)]
    if len(names) > 1:
        return names
    words = [w for w in re.split(r"[\s,;|/]+", names[0]) if w] if names else []
    if len(words) > 1:
        return words
    text = words[0] if words else ""
    return [*text] if text.isalpha() else [n for n in re.split(r"[^A-Za-z0-9]+", text) if n]


def band_of(name: object, bands: Sequence[str]) -> str:
    """Return the band that a text names, one of `bands` or of ugrizy, alone or with other words (`g.MP9401`, `HSC-G`, `SCI_G`, `gband`); empty where it names none."""
    text, known = as_text(name).strip().lower(), {band.lower() for band in bands}
    if text in known:
        return text
    named = (known | set("ugrizy")) & set(re.split(r"[^a-z0-9]+|band", text))
    return named.pop() if len(named) == 1 else ""


def said_bands(get: Callable[[str], object], bands: Sequence[str]) -> list[str] | None:
    """Return the names that a file gives the planes of its images, None where it gives none.

    Parameters
    ----------
    get : what the file says under a key, None where it says nothing
    bands : of the config; they and ugrizy are known
    """
    for key in BAND_KEYS:
        if (said := get(key)) is not None:
            return band_names(said)
    numbered = [[said for k in range(10) if (said := get(f"{key}{k}")) is not None] for key in BAND_WORDS]
    for said in (*map(get, BAND_WORDS), *numbered):
        names = [] if said is None else band_names(said)
        if len(names) > 1 and all(band_of(name, bands) for name in names):
            return names
    return None


def chosen_bands(names: Sequence[str], bands: Sequence[str], path: Path | str) -> list[int] | None:
    """Return the place of each of `bands` among the bands that a file names; None where it does not name each of its images another.

    Parameters
    ----------
    names : one for each image, empty where there is none
    bands : wanted
    path : for the message

    Raises
    ------
    CutoutError
        The file lacks a band.
    """
    names, wanted = [band_of(n, bands) or as_text(n).strip().lower() for n in names], [b.lower() for b in bands]
    if not names or len(set(names)) < len(names) or "" in names:
        return None
    if lost := [band for band in wanted if band not in names]:
        raise CutoutError(
            f"{path}: expected the bands {', '.join(bands)}, found {', '.join(names)}; set `bands` to those that it has (without {lost[0]}, "
            f"name what stands in for it: `stand_in`)"
        )
    return [names.index(band) for band in wanted]


def check_said(get: Callable[[str], object], header: fits.Header | None, settings: CutoutFolder, path: Path | str) -> None:
    """Refuse images whose pixel scale or zero point is another than the config's.

    Headers copy zero points that are not the image's own, of single exposures or other systems: with `ignore_zero_points` none is looked at.

    Parameters
    ----------
    get : what the file says under a key, None where it says nothing
    header : of a FITS image, for its WCS
    settings : what the config says
    path : for the message

    Raises
    ------
    CutoutError
        They differ, or the pixels are not square.
    """
    scales = _wcs_scales(header) or [s for s in (_number(_of_all_bands(get, key, path)) for key in SCALE_KEYS) if s and s > 0][:1]
    for scale in scales:
        if not math.isclose(scale, settings.pixel_scale_arcsec, rel_tol=SCALE_TOLERANCE):
            remedy = (
                f"set `pixel_scale_arcsec: {scale:.4g}`"
                if math.isclose(*scales[:1], scales[-1], rel_tol=0.01)
                else "make its pixels square"
            )
            found = " × ".join(f"{s:.4g}″" for s in scales)
            raise CutoutError(
                f"{path}: expected pixels of {settings.pixel_scale_arcsec:g}″ as in the config, but the file says {found}; {remedy}"
            )
    if settings.ignore_zero_points:
        return
    zero_point, unit = _said_zero_point(get, settings, path)
    if zero_point is None and unit and settings.zero_point == ZERO_POINT:
        raise CutoutError(
            f"{path}: expected fluxes in nanomaggies, found the unit {unit!r} and no zero point; set `zero_point` to the AB magnitude of flux 1, or, where they are, `ignore_zero_points: true`"
        )
    if zero_point is not None and abs(zero_point - settings.zero_point) > ZERO_POINT_TOLERANCE:
        wanted = (
            "in nanomaggies (zero point 22.5)"
            if settings.zero_point == ZERO_POINT
            else f"of zero point {settings.zero_point:g} as in the config"
        )
        raise CutoutError(
            f"{path}: expected fluxes {wanted}, but the file says zero point {zero_point:.5g}{f' ({unit})' if unit else ''}; "
            f"set `zero_point: {zero_point:.5g}`, or, where the file is wrong, `ignore_zero_points: true`"
        )


def check_one_zero_point(gets: Sequence[Callable[[str], object]], settings: CutoutFolder, path: Path | str) -> None:
    """Refuse images of one object, each of a band, whose zero points differ; parameters and errors as `check_said`, a `get` for each image."""
    if settings.ignore_zero_points:
        return
    each = [z for z in (_said_zero_point(get, settings, path)[0] for get in gets) if z is not None]
    if each and max(each) - min(each) > ZERO_POINT_TOLERANCE:
        raise CutoutError(
            f"{path}: expected one zero point of all bands, found {', '.join(f'{z:.5g}' for z in each)}; bring the bands to one, or, where the file is wrong, set `ignore_zero_points: true`"
        )


def place_of(ra: object, dec: object) -> tuple[float, float] | None:
    """Return right ascension and declination [deg]; text of hours and degrees (`10:00:26.5`, `+02:12:36`) is read, too."""
    try:
        place = as_number(ra), as_number(dec)
    except (TypeError, ValueError):
        try:
            sky = SkyCoord(as_text(ra), as_text(dec), unit=("hourangle", "deg"))
        except UNREADABLE:
            return None
        place = float(sky.ra.deg), float(sky.dec.deg)
    return place if 0 <= place[0] <= 360 and -90 <= place[1] <= 90 else None


def _said_zero_point(get: Callable[[str], object], settings: CutoutFolder, path: Path | str) -> tuple[float | None, str]:
    """Return the zero point that a file says, None where it says none, and its unit, empty where it says none."""
    units = (_of_all_bands(get, key, path) for key in UNIT_KEYS)
    unit = next((as_text(said).strip() for said in units if said not in (None, "")), "")
    return _zero_point(lambda key: _of_all_bands(get, key, path), unit, settings.pixel_scale_arcsec), unit


def _zero_point(get: Callable[[str], object], unit: str, scale: float) -> float | None:
    unit = re.sub(r"/pix(el)?$", "", unit.replace(" ", ""))
    if per_area := PER_ARCSEC2.fullmatch(unit):
        zero_point = _zero_point(get, per_area[1], scale)
        return None if zero_point is None else zero_point - 5 * math.log10(scale)
    if unit.lower() in NANOMAGGIES:
        return ZERO_POINT
    if unit in ZERO_POINTS:
        return ZERO_POINTS[unit]
    if unit in ("MJy/sr", "MJysr-1", "MJy.sr-1"):
        return ZERO_POINTS["Jy"] - 2.5 * math.log10(1e6 * scale**2 / STERADIAN_ARCSEC2)
    if (flux := _number(get("FLUXMAG0"))) and flux > 0:
        return 2.5 * math.log10(flux)
    return next((value for value in (_number(get(key)) for key in ZERO_POINT_KEYS) if value is not None), None)


def _of_all_bands(get: Callable[[str], object], key: str, path: Path | str) -> object:
    """Return what a file says under a key, of all of its bands where it says it of each."""
    said = get(key)
    if not isinstance(said, list | tuple | np.ndarray):
        return said
    each = [value for value in np.ravel(said).tolist() if value is not None]
    if len(set(map(as_text, each))) > 1:
        remedy = "" if key in SCALE_KEYS else ", or, where the file is wrong, set `ignore_zero_points: true`"
        raise CutoutError(
            f"{path}: expected one {key.lower()} of all bands, found {', '.join(map(as_text, each))}; bring the bands to one{remedy}"
        )
    return each[0] if each else None


def _number(value: object) -> float | None:
    """Return a number, or that which a text begins with (`0.2 arcsec`); None where there is none."""
    try:
        number = float(as_text(value).split()[0])
    except (LookupError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _wcs_scales(header: fits.Header | None) -> list[float]:
    """Return width and height of a pixel [arcsec] by a header's celestial WCS; nothing where it has none."""
    if header is None or not any(card in header for card in ("CD1_1", "CD1_2", "CDELT1", "PC1_1")):
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            wcs = WCS(header).celestial
            return [float(s) * 3600 for s in proj_plane_pixel_scales(wcs)] if wcs.has_celestial else []
        except UNREADABLE:  # a header that is no projection, as in `folder`
            return []
