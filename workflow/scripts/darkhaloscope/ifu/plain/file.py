"""The plain layout, a member of the IFU protocol: any instrument's velocity map as FITS or NPZ.

One file holds one galaxy, north up and east to the left. Arrays (FITS: extensions, NPZ: keys; any case):
FLUX per spaxel, VELOCITY [km/s, or the unit of speed that its BUNIT says] and, where they are known, DISPERSION without the instrument's share [km/s],
FLUX_ERR, VELOCITY_ERR, DISPERSION_ERR, and MASK (not 0: do not use). A spaxel that is NaN has no measurement,
nor has one whose flux is exactly 0, or whose velocity is a number that stands for none (`plain.maps.fillers`).
`FACTS` lists what is said beside them: cards of the primary header, or scalars of the NPZ file.
"""

from __future__ import annotations

import gzip
import io
import logging
import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from ...archive.checks import GZIP_MAGIC, without_trailing_zeros
from ...core.files import whole
from ...core.reading import UNREADABLE, read_npz, readable
from ..maps import FLUX_UNIT, MapsError, conversion

log = logging.getLogger("darkhaloscope")

PLANES = ("flux", "velocity", "dispersion", "flux_err", "velocity_err", "dispersion_err", "mask")
#: Numbers that programs write where nothing was measured: 0, and nines of either sign; a number that stands for it is there this many times.
FILLERS = (0.0, *(sign * (10.0**digits - 1) for digits in range(2, 7) for sign in (-1, 1)))
REPEATED = 3
#: Planes in km/s.
VELOCITIES = ("velocity", "dispersion", "velocity_err", "dispersion_err")
ZIP_MAGIC = b"PK\x03\x04"
#: Where pixels and resolution differ by more than this factor, one of them is in degrees or milliarcseconds.
MAX_RATIO = 100.0
#: No disk is thinner than this.
MIN_AXIS_RATIO = 0.05
#: No galaxy is known at a higher redshift.
MAX_REDSHIFT = 15.0
#: No map of a galaxy has more spaxels than this on a side.
MAX_SIDE = 4096


@dataclass(frozen=True)
class Fact:
    """What is said about the maps: its NPZ key, its FITS card, its type, and whether it can be left out."""

    key: str
    card: str
    kind: type
    optional: bool = False


FACTS = (
    Fact("galaxy_id", "GALAXY", str),
    Fact("physical_id", "OBJECT", str, True),  # the galaxy id where it is left out
    Fact("instrument", "INSTRUME", str),
    Fact("line", "LINE", str),
    Fact("kinematics", "KINEMAT", str, True),  # gas where it is left out
    Fact("flux_unit", "FLUXUNIT", str, True),  # "1e-17 erg/s/cm^2" where it is left out
    Fact("z", "REDSHIFT", float),
    Fact("psf_fwhm_arcsec", "PSFFWHM", float),
    Fact("pixel_scale_arcsec", "PIXSCALE", float, True),  # from the WCS of FLUX where it is left out
    Fact("ba", "BA", float, True),  # these five from the flux's moments and half-light ellipse
    Fact("pa_deg", "PA", float, True),
    Fact("reff_arcsec", "REFF", float, True),
    Fact("centre_x_pix", "XCEN", float, True),
    Fact("centre_y_pix", "YCEN", float, True),
)


class PlainMapsError(MapsError):
    """A file in the plain layout is not what it should be."""


def read_file(path: Path) -> tuple[dict[str, NDArray], dict[str, object]]:
    """Return the arrays and the facts of a file."""
    if not path.exists():
        raise PlainMapsError(f"{path}: this file of maps does not exist; run the stage that fetches it")
    with readable(path, "maps in the plain layout, as FITS or NPZ", "write the file anew", PlainMapsError):
        content = path.read_bytes()
        if content[:2] == GZIP_MAGIC:
            content = gzip.decompress(content)
        return _from_npz(content, path) if content[:4] == ZIP_MAGIC else _from_fits(content, path)


def _from_npz(content: bytes, path: Path) -> tuple[dict[str, NDArray], dict[str, object]]:
    arrays = {name.lower(): array for name, array in read_npz(content).items()}
    planes = {k: _without_axes_of_one(v) for k, v in arrays.items() if k in PLANES}
    _tell_unread(planes, {name: array.shape for name, array in arrays.items() if name not in PLANES}, path)
    return planes, {f.key: arrays[f.key].item() for f in FACTS if f.key in arrays}


def _without_axes_of_one(plane: NDArray) -> NDArray:
    """Return (1, …, 1, ny, nx), as radio astronomy writes maps with their axes of frequency and polarisation, as (ny, nx)."""
    return plane.reshape(plane.shape[-2:]) if plane.ndim > 2 and set(plane.shape[:-2]) == {1} else plane


def _tell_unread(planes: dict[str, NDArray], others: dict[str, tuple[int, ...]], path: Path) -> None:
    """Say which arrays of a file have the maps' shape and are passed over, as errors or masks of another name are."""
    unread = [name for name, shape in others.items() if "flux" in planes and shape[-2:] == planes["flux"].shape]
    if unread:
        log.warning("%s: %s passed over; maps are read from %s", path, ", ".join(unread), ", ".join(PLANES))


def _from_fits(content: bytes, path: Path) -> tuple[dict[str, NDArray], dict[str, object]]:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="(?s).*(truncated|corrupted)", category=AstropyWarning)
        with fits.open(io.BytesIO(without_trailing_zeros(content, path)), memmap=False) as hdus:
            names = [hdu.name.lower() for hdu in hdus]
            if twice := [name for name in PLANES if names.count(name) > 1]:
                raise PlainMapsError(f"{path}: {', '.join(twice)} is there twice, expected one of each; write the file anew with one")
            images = {hdu.name.lower(): np.asarray(hdu.data) for hdu in hdus if hdu.is_image and hdu.data is not None}
            planes = {name: _without_axes_of_one(image) for name, image in images.items() if name in PLANES}
            _tell_unread(planes, {name: image.shape for name, image in images.items() if name not in PLANES}, path)
            facts: dict[str, object] = {f.key: hdus[0].header[f.card] for f in FACTS if f.card in hdus[0].header}
            for name in VELOCITIES:
                if name in planes and hdus[name.upper()].header.get("BUNIT"):
                    planes[name] = _converted(planes[name], _in_kms(str(hdus[name.upper()].header["BUNIT"]), name, path))
            if "flux" in planes:
                header = hdus["FLUX"].header
                if header.get("BUNIT"):
                    facts.setdefault("flux_unit", str(header["BUNIT"]).strip())
                scale = _wcs_scale(header, path)
                if scale is not None and not _close(facts.setdefault("pixel_scale_arcsec", scale), scale):
                    raise PlainMapsError(
                        f"{path}: PIXSCALE is {facts['pixel_scale_arcsec']} arcsec, expected {scale:.5g} as the WCS of FLUX has it; correct one of them"
                    )
    return planes, facts


def _close(given: object, scale: float) -> bool:
    return not isinstance(given, (int, float)) or math.isclose(given, scale, rel_tol=0.01)


def _converted(plane: NDArray, factor: float) -> NDArray:
    """Return a plane in another unit; what stands for no measurement is in no unit and stays as it is, to be known again."""
    values, counts = np.unique(plane[np.isin(plane, FILLERS)], return_counts=True)
    return np.where(np.isin(plane, values[counts >= REPEATED]), plane, plane * factor)


def _in_kms(unit: str, name: str, path: Path) -> float:
    """Return how many km/s a unit is."""
    factor = conversion(unit, "km/s")
    if factor is None:
        raise PlainMapsError(
            f"{path}: BUNIT of {name.upper()} is {unit!r}, expected km/s or another unit of speed; convert the map, or correct it"
        )
    return factor


def _wcs_scale(header: fits.Header, path: Path) -> float | None:
    """Return the side of a spaxel by the WCS [arcsec], once north is up and east to the left; None where there is no WCS of the sky."""
    from astropy.wcs import WCS  # a quarter of a second, which readers of other files need not wait
    from astropy.wcs.utils import proj_plane_pixel_scales

    if "CTYPE1" not in header or not any(card in header for card in ("CDELT1", "CD1_1", "PC1_1")):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            wcs = WCS(header, naxis=2)
        except UNREADABLE:  # no projection that wcslib knows: PIXSCALE is asked for
            return None
    if not wcs.has_celestial:
        return None
    scales, matrix = proj_plane_pixel_scales(wcs) * 3600, wcs.pixel_scale_matrix
    upright = matrix[0, 0] < 0 < matrix[1, 1] and max(abs(matrix[0, 1]), abs(matrix[1, 0])) < 0.02 * matrix[1, 1]
    if not upright or wcs.wcs.lngtyp != "RA" or wcs.wcs.lng != 0 or not math.isclose(*scales, rel_tol=0.01):
        raise PlainMapsError(
            f"{path}: the WCS of FLUX has {', '.join(wcs.wcs.ctype)} and the matrix {matrix.tolist()}, "
            "expected square spaxels with north up and east to the left; turn the maps"
        )
    return float(scales.mean())


def checked_facts(given: dict[str, object], path: Path) -> dict:
    """Return every fact in its type, with what a missing one stands for."""
    facts: dict = {}
    for fact in FACTS:
        value = given.get(fact.key)
        if isinstance(value, bytes):  # text, as numpy has it of FITS tables
            value = value.decode(errors="replace")
        if value is None and fact.optional:
            facts[fact.key] = None
            continue
        try:
            # To Python alone true is 1, and 0.0_1 a number.
            none = value is None or (fact.kind is float and (isinstance(value, bool) or "_" in str(value)))
            facts[fact.key] = None if none else fact.kind(value)
        except (TypeError, ValueError):
            facts[fact.key] = None
        value = facts[fact.key]
        if value is None or (fact.kind is str and not value.strip()) or (fact.kind is float and not math.isfinite(value)):
            found = repr(given[fact.key]) if fact.key in given else "nothing"
            raise PlainMapsError(
                f"{path}: expected {fact.key} (card {fact.card}) as {fact.kind.__name__}, found {found}; write it into the file"
            )
    facts = {key: value.strip() if isinstance(value, str) else value for key, value in facts.items()}
    facts["physical_id"] = facts["physical_id"] or facts["galaxy_id"]
    facts["kinematics"] = facts["kinematics"] or "gas"
    facts["flux_unit"] = facts["flux_unit"] or FLUX_UNIT
    if facts["kinematics"] not in ("gas", "stellar"):
        raise PlainMapsError(f"{path}: expected kinematics gas or stellar, found {facts['kinematics']!r}; correct card KINEMAT")
    if facts["pixel_scale_arcsec"] is None:
        raise PlainMapsError(
            f"{path}: expected pixel_scale_arcsec (card PIXSCALE) or a WCS of right ascension and declination in FLUX, found neither; write one into the file"
        )
    for key in ("z", "psf_fwhm_arcsec", "pixel_scale_arcsec", "reff_arcsec"):
        if facts[key] is not None and not facts[key] > 0:
            raise PlainMapsError(f"{path}: {key} is {facts[key]:g}, expected above 0; correct it")
    if facts["ba"] is not None and not MIN_AXIS_RATIO <= facts["ba"] <= 1:
        raise PlainMapsError(f"{path}: ba is {facts['ba']:g}, expected an axis ratio of {MIN_AXIS_RATIO:g} to 1; correct it")
    if facts["pa_deg"] is not None and not -360 <= facts["pa_deg"] <= 360:
        raise PlainMapsError(f"{path}: pa_deg is {facts['pa_deg']:g}, expected degrees from -360 to 360; correct it, or leave it out")
    if facts["z"] > MAX_REDSHIFT:
        raise PlainMapsError(
            f"{path}: z is {facts['z']:g}, expected a galaxy's redshift, up to {MAX_REDSHIFT:g}; correct it (is it a velocity?)"
        )
    pixel, psf = facts["pixel_scale_arcsec"], facts["psf_fwhm_arcsec"]
    if not 1 / MAX_RATIO <= psf / pixel <= MAX_RATIO:
        raise PlainMapsError(
            f"{path}: spaxels of {pixel:.4g} arcsec and a resolution of {psf:.4g} arcsec, expected them to differ by less than a factor of {MAX_RATIO:g}; "
            "give pixel_scale_arcsec (card PIXSCALE) and psf_fwhm_arcsec (card PSFFWHM) both in arcsec (is one in degrees, as CDELT and BMAJ are?)"
        )
    return facts


def check_planes(planes: dict[str, NDArray], path: Path) -> tuple[int, int]:
    missing = [name for name in ("flux", "velocity") if name not in planes]
    if missing:
        raise PlainMapsError(
            f"{path}: expected the arrays flux and velocity, found {', '.join(planes) or 'none of this layout'}; write {', '.join(missing)} too"
        )
    shapes = {name: plane.shape for name, plane in planes.items()}
    if len(set(shapes.values())) > 1 or len(shapes["flux"]) != 2 or not 2 <= min(shapes["flux"]) <= max(shapes["flux"]) <= MAX_SIDE:
        raise PlainMapsError(
            f"{path}: expected maps of one shape (ny, nx) with 2 to {MAX_SIDE} spaxels on a side, found {shapes}; write the file anew"
        )
    wrong = [name for name, plane in planes.items() if plane.dtype.kind not in "fiub"]
    if wrong:
        raise PlainMapsError(f"{path}: {', '.join(wrong)} should hold numbers, found {planes[wrong[0]].dtype}; write the file anew")
    return shapes["flux"]


def check_centre(facts: dict, shape: tuple[int, int], path: Path) -> None:
    """Refuse a centre that is given beside maps of a shape (ny, nx): it is none in spaxels."""
    for key, side in (("centre_x_pix", shape[1]), ("centre_y_pix", shape[0])):
        if facts[key] is not None and not -0.5 <= facts[key] <= side - 0.5:
            raise PlainMapsError(f"{path}: {key} is {facts[key]:g}, expected a spaxel of the maps, from 0 to {side - 1}; correct it")


def write_plain(path: str | os.PathLike, planes: dict[str, NDArray], facts: dict[str, object]) -> None:
    """Write maps in the plain layout as gzipped FITS, whole; the same content gives the same bytes.

    Parameters
    ----------
    planes : arrays (ny, nx) by the names of `PLANES`.
    facts : values by the keys of `FACTS`.
    """
    primary = fits.PrimaryHDU()
    for fact in FACTS:
        if facts.get(fact.key) is not None:
            primary.header[fact.card] = fact.kind(facts[fact.key])
    hdus = [primary, *(fits.ImageHDU(np.asarray(planes[name], np.float32), name=name.upper()) for name in PLANES if name in planes)]
    content = io.BytesIO()
    fits.HDUList(hdus).writeto(content)
    with whole(path) as temporary:
        temporary.write_bytes(gzip.compress(content.getvalue(), 6, mtime=0))
