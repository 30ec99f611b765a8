"""The plain layout, a member of the IFU protocol: any instrument's velocity map as FITS or NPZ.

One file holds one galaxy, north up and east to the left. Arrays (FITS: extensions, NPZ: keys; any case):
FLUX per spaxel, VELOCITY [km/s] and, where they are known, DISPERSION without the instrument's share [km/s],
FLUX_ERR, VELOCITY_ERR, DISPERSION_ERR, and MASK (not 0: do not use). A spaxel that is NaN has no measurement.
`FACTS` lists what is said beside them: cards of the primary header, or scalars of the NPZ file.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import tempfile
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError

from ..archive.addresses import join
from ..archive.checks import check_not_html
from ..archive.download import Fetched, NotFound, fetch
from ..config.manga import Archive, Downloads, Quality
from ..core.files import whole
from .maps import FLUX_UNIT, Maps, MapsError

#: For an instrument other than MaNGA the slope of the velocity is stated over this part of R_e.
GRADIENT_STEP_RE = 0.1
ENDINGS = (".fits", ".fits.gz", ".npz")
PLANES = ("flux", "velocity", "dispersion", "flux_err", "velocity_err", "dispersion_err", "mask")
GZIP_MAGIC, ZIP_MAGIC = b"\x1f\x8b", b"PK\x03\x04"
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


def read_plain(path: str | os.PathLike, quality: Quality) -> Maps:
    """Read a galaxy's maps in the plain layout, recognised as FITS (gzipped or not) or NPZ by content.

    Parameters
    ----------
    path : file
    quality : unused; a file in this layout holds one line and one kind of kinematics, which it names.

    Raises
    ------
    PlainMapsError
        The file is unreadable; an array or a fact is missing or impossible; no spaxel has flux and velocity.
    """
    return _maps(*_read(Path(path)), Path(path))


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


def retrieve_plain(archive: Archive, galaxy_id: str, destination: str | os.PathLike, downloads: Downloads) -> Fetched:
    """Fetch one galaxy's file from the sample's folder, check it, and write it as FITS.

    Raises
    ------
    PlainMapsError
        There is no such file, it is not in the plain layout, or it is another galaxy's.
    """
    with tempfile.TemporaryDirectory() as folder:
        for ending in ENDINGS:
            address = join(archive.base, galaxy_id + ending)
            try:
                fetched = fetch(address, Path(folder) / (galaxy_id + ending), downloads)
                break
            except NotFound:
                continue
        else:
            raise PlainMapsError(
                f"{archive.base}: expected a file {galaxy_id} with the ending {', '.join(ENDINGS)}; correct the sample's `base` or `listed`"
            )
        check_not_html(fetched.path)
        planes, facts = _read(fetched.path)
        maps = _maps(planes, facts, fetched.path)
        if maps.galaxy_id != galaxy_id:
            raise PlainMapsError(
                f"{address}: the file says galaxy {maps.galaxy_id}, expected {galaxy_id}; rename it, or correct its GALAXY"
            )
        write_plain(destination, planes, {"pixel_scale_arcsec": maps.pixel_scale_arcsec} | facts)
    return fetched


def _read(path: Path) -> tuple[dict[str, NDArray], dict[str, object]]:
    """Return the arrays and the facts of a file."""
    try:
        content = path.read_bytes()
        if content[:2] == GZIP_MAGIC:
            content = gzip.decompress(content)
        return _from_npz(content) if content[:4] == ZIP_MAGIC else _from_fits(content, path)
    except FileNotFoundError as error:
        raise PlainMapsError(f"{path}: this file of maps does not exist; run the stage that fetches it") from error
    except PlainMapsError:
        raise
    except (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error, zipfile.BadZipFile, AstropyWarning) as error:
        raise PlainMapsError(
            f"{path}: expected maps in the plain layout, as FITS or NPZ, but reading fails ({error}); write the file anew"
        ) from error


def _from_npz(content: bytes) -> tuple[dict[str, NDArray], dict[str, object]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name.lower(): archive[name] for name in archive.files}
    return {k: v for k, v in arrays.items() if k in PLANES}, {f.key: arrays[f.key].item() for f in FACTS if f.key in arrays}


def _from_fits(content: bytes, path: Path) -> tuple[dict[str, NDArray], dict[str, object]]:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="(?s).*(truncated|corrupted)", category=AstropyWarning)
        with fits.open(io.BytesIO(content), memmap=False) as hdus:
            planes = {hdu.name.lower(): np.asarray(hdu.data) for hdu in hdus if hdu.name.lower() in PLANES and hdu.data is not None}
            facts: dict[str, object] = {f.key: hdus[0].header[f.card] for f in FACTS if f.card in hdus[0].header}
            if "flux" in planes:
                header = hdus["FLUX"].header
                if header.get("BUNIT"):
                    facts.setdefault("flux_unit", str(header["BUNIT"]).strip())
                if "pixel_scale_arcsec" not in facts and "CTYPE1" in header:
                    facts["pixel_scale_arcsec"] = _wcs_scale(header, path)
    return planes, facts


def _wcs_scale(header: fits.Header, path: Path) -> float:
    """Return the side of a spaxel from the WCS [arcsec], once north is up and east to the left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        wcs = WCS(header, naxis=2)
        scales, matrix = proj_plane_pixel_scales(wcs) * 3600, wcs.pixel_scale_matrix
    upright = matrix[0, 0] < 0 < matrix[1, 1] and max(abs(matrix[0, 1]), abs(matrix[1, 0])) < 0.02 * matrix[1, 1]
    if not upright or not math.isclose(*scales, rel_tol=0.01):
        raise PlainMapsError(
            f"{path}: the WCS of FLUX has the matrix {matrix.tolist()}, expected square spaxels with north up and east to the left; turn the maps"
        )
    return float(scales.mean())


def _maps(planes: dict[str, NDArray], given: dict[str, object], path: Path) -> Maps:
    facts = _checked(given, path)
    shape = _check_planes(planes, path)
    bad = planes["mask"] != 0 if "mask" in planes else np.zeros(shape, bool)
    measured = {name: _measured(planes, name, bad) for name in ("flux", "velocity", "dispersion")}
    (flux, flux_ivar, flux_valid), (velocity, velocity_ivar, velocity_valid) = measured["flux"], measured["velocity"]
    dispersion, _, dispersion_valid = measured["dispersion"]
    used = flux_valid & velocity_valid & (flux > 0)
    if not used.any():
        raise PlainMapsError(f"{path}: no spaxel has a positive flux and a velocity that are finite and not masked; expected some")
    shape_of_light = _ellipse(flux, used, facts, facts["pixel_scale_arcsec"])
    return Maps(
        **{key: facts[key] for key in ("galaxy_id", "physical_id", "instrument", "line", "kinematics", "flux_unit", "z")},
        **{key: facts[key] for key in ("psf_fwhm_arcsec", "pixel_scale_arcsec")},
        ba=shape_of_light["ba"],
        pa_deg=shape_of_light["pa_deg"],
        reff_arcsec=shape_of_light["reff_arcsec"],
        r_re=shape_of_light["r_re"],
        gradient_step_arcsec=GRADIENT_STEP_RE * shape_of_light["reff_arcsec"],
        counted=outline(velocity_valid),
        errors_known="flux_err" in planes,
        flux=flux,
        flux_ivar=flux_ivar,
        flux_valid=flux_valid,
        velocity=velocity,
        velocity_ivar=velocity_ivar,
        velocity_valid=velocity_valid,
        dispersion=np.maximum(dispersion, 0.0),
        dispersion_valid=dispersion_valid,
    )


def outline(measured: NDArray) -> NDArray:
    """Return the spaxels within the convex outline of the measured ones: what lies outside is empty field.

    Parameters
    ----------
    measured : (ny, nx) bool

    Returns
    -------
    (ny, nx) bool
        `measured` itself where its spaxels span no area.
    """
    y, x = np.nonzero(measured)
    try:
        hull = Delaunay(np.column_stack([x, y]))
    except (QhullError, ValueError):
        return measured
    rows, columns = np.indices(measured.shape)
    return measured | (hull.find_simplex(np.column_stack([columns.ravel(), rows.ravel()])) >= 0).reshape(measured.shape)


def _checked(given: dict[str, object], path: Path) -> dict:
    """Return every fact in its type, with what a missing one stands for."""
    facts: dict = {}
    for fact in FACTS:
        value = given.get(fact.key)
        if value is None and fact.optional:
            facts[fact.key] = None
            continue
        try:
            facts[fact.key] = fact.kind(value) if value is not None else None
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
            f"{path}: expected pixel_scale_arcsec (card PIXSCALE) or a WCS in FLUX, found neither; write one into the file"
        )
    for key in ("z", "psf_fwhm_arcsec", "pixel_scale_arcsec", "reff_arcsec", "ba"):
        if facts[key] is not None and not (facts[key] > 0 and (key != "ba" or facts[key] <= 1)):
            raise PlainMapsError(
                f"{path}: {key} is {facts[key]:g}, expected {'above 0, at most 1' if key == 'ba' else 'above 0'}; correct it"
            )
    return facts


def _check_planes(planes: dict[str, NDArray], path: Path) -> tuple[int, int]:
    missing = [name for name in ("flux", "velocity") if name not in planes]
    if missing:
        raise PlainMapsError(
            f"{path}: expected the arrays flux and velocity, found {', '.join(planes) or 'none of this layout'}; write {', '.join(missing)} too"
        )
    shapes = {name: plane.shape for name, plane in planes.items()}
    if len(set(shapes.values())) > 1 or len(shapes["flux"]) != 2 or not 2 <= min(shapes["flux"]) <= max(shapes["flux"]) <= MAX_SIDE:
        raise PlainMapsError(f"{path}: expected maps of one shape (ny, nx) with 2 to {MAX_SIDE} spaxels on a side, found {shapes}")
    wrong = [name for name, plane in planes.items() if plane.dtype.kind not in "fiub"]
    if wrong:
        raise PlainMapsError(f"{path}: {', '.join(wrong)} should hold numbers, found {planes[wrong[0]].dtype}; write the file anew")
    return shapes["flux"]


def _measured(planes: dict[str, NDArray], name: str, bad: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return values, inverse variances (1 where no errors are given) and validity of one quantity; 0 where not valid."""
    if name not in planes:
        return np.zeros(bad.shape), np.zeros(bad.shape), np.zeros(bad.shape, bool)
    values = planes[name].astype(float)
    error = planes[f"{name}_err"].astype(float) if f"{name}_err" in planes else np.ones(bad.shape)
    good = ~bad & np.isfinite(values) & np.isfinite(error) & (error > 0)
    return np.where(good, values, 0.0), np.where(good, 1 / np.where(good, error, 1.0) ** 2, 0.0), good


def _ellipse(flux: NDArray, used: NDArray, facts: dict, pixel: float) -> dict:
    """Return b/a, position angle, effective radius and elliptical radii: as given, otherwise from the light.

    Centre, axis ratio and angle are those of the flux's first and second moments; the effective radius is
    the semi-major axis of the ellipse with half of the flux.
    """
    y, x = np.nonzero(used)
    light = flux[used] / flux[used].sum()
    x0 = (light * x).sum() if facts["centre_x_pix"] is None else facts["centre_x_pix"]
    y0 = (light * y).sum() if facts["centre_y_pix"] is None else facts["centre_y_pix"]
    dx, dy = x - x0, y - y0
    xx, yy, xy = ((light * a * b).sum() for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    small, large = np.linalg.eigvalsh([[xx, xy], [xy, yy]])
    ba, pa_deg = facts["ba"], facts["pa_deg"]
    if ba is None:
        ba = float(np.sqrt(max(small, 0.0) / large)) if large > 0 else 1.0
        ba = min(max(ba, 0.05), 1.0)
    if pa_deg is None:
        # The angle from x towards y; north is up and east to the left, so that x points to PA −90°.
        pa_deg = float((math.degrees(0.5 * math.atan2(2 * xy, xx - yy)) - 90) % 180)
    axis = math.radians(pa_deg + 90)
    rows, columns = np.indices(flux.shape)
    along = (columns - x0) * math.cos(axis) + (rows - y0) * math.sin(axis)
    across = (rows - y0) * math.cos(axis) - (columns - x0) * math.sin(axis)
    radius = np.hypot(along, across / ba) * pixel
    reff = facts["reff_arcsec"]
    if reff is None:
        order = np.argsort(radius[used], kind="stable")
        middle = np.cumsum(light[order]) - light[order] / 2
        reff = max(float(np.interp(0.5, middle, radius[used][order])), pixel / 2)
    return {"ba": float(ba), "pa_deg": float(pa_deg), "reff_arcsec": float(reff), "r_re": radius / reff}
