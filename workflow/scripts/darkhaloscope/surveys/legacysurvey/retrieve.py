"""Sweeps, brick tables and bricks of a Legacy Survey archive: fetched, checked, and kept within a cap on disk space."""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from astropy.io import fits

from ...archive.addresses import BRICK_PRODUCTS, brick_table_url, coadd_url, legacysurvey_checksum_url, sweep_url, without_credentials
from ...archive.checks import ArchiveError, BadChecksums, BadFits, HtmlInsteadOfFits, check_fits, read_checksums, shown
from ...archive.download import Fetched, NotFound, Refused, fetch
from ...archive.projection import KINDS, WcsError, read_projection
from ...config.legacysurvey import PIXEL_SCALE_ARCSEC
from ...config.manga import Downloads
from ...core.files import write_json

log = logging.getLogger(__name__)

#: What each band of a brick has that stamps need.
NEEDED_PRODUCTS = ("image", "invvar", "psfsize")
#: Says what is in a brick's folder.
BRICK_RECORD = "brick.json"


class CacheFull(ArchiveError):
    """Another brick would take more disk space than the config allows."""


def retrieve_sweep(base: str, name: str, destination: str | os.PathLike, downloads: Downloads) -> Fetched:
    """Fetch one sweep file, checked; errors are those of `download.fetch`."""
    return _retrieve(base, sweep_url(base, name), destination, downloads, check_fits)


def retrieve_brick_table(base: str, which: Literal["all", "south"], destination: str | os.PathLike, downloads: Downloads) -> Fetched:
    """Fetch a table of bricks, checked; errors are those of `download.fetch`."""
    return _retrieve(base, brick_table_url(base, which), destination, downloads, check_fits)


def retrieve_brick(
    base: str, brickname: str, bands: Sequence[str], folder: str | os.PathLike, downloads: Downloads, cache_gb: float
) -> None:
    """Fetch the coadds of one brick into a folder of its own, whole or not at all.

    Image, invvar and psfsize of each band, and maskbits, are each checked: FITS structure, published sum, one
    square image in a tangent projection of the survey's pixels, and the same one for all. A band that the
    archive does not have is left out: `brick.json` names what is missing, and cutouts tell it too.

    The files are gathered in a hidden folder beside `folder`, where a later attempt finds those that are whole.

    Parameters
    ----------
    folder : path
        Becomes the brick's folder; what was there is replaced. Other bricks lie beside it.
    cache_gb : float
        Most that all bricks beside `folder` may take, this one included [GB].

    Raises
    ------
    CacheFull
        There is no room for another brick.
    NotFound
        The archive has nothing of this brick.
    BadFits
        A file is no coadd, or not of the same pixels as the others.
    ArchiveError
        As `download.fetch` has it.
    """
    folder = Path(folder)
    check_room(folder.parent, brickname, cache_gb)
    working = folder.with_name(f".{folder.name}.partial")
    working.mkdir(parents=True, exist_ok=True)
    sums = _published_sums(base, coadd_url(base, brickname, "maskbits"), downloads)
    record: dict[str, dict[str, object]] = {}
    missing: dict[str, NotFound] = {}
    pixels: dict[str, tuple] = {}
    for product, band in [*((p, b) for b in bands for p in NEEDED_PRODUCTS), *((p, None) for p in BRICK_PRODUCTS)]:
        url = coadd_url(base, brickname, product, band)
        name = url.rsplit("/", 1)[1]
        try:
            fetched = fetch(url, working / name, downloads, sha256=sums.get(name), check=check_coadd)
        except NotFound as error:
            missing[name] = error
            continue
        record[name] = {"bytes": fetched.bytes, "sha256": fetched.sha256, "published_sum": name in sums}
        pixels[name] = check_coadd(working / name)
    if not record:
        shutil.rmtree(working)
        raise next(iter(missing.values()))
    _same_pixels(pixels, brickname)
    if missing:
        log.warning("brick %s lacks %s in the archive: its cutouts will say so", brickname, ", ".join(missing))
    write_json(
        working / BRICK_RECORD, {"brickname": brickname, "base": without_credentials(base), "files": record, "missing": list(missing)}
    )
    for stray in set(os.listdir(working)) - {*record, BRICK_RECORD}:
        (working / stray).unlink()
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(working, folder)


def check_room(bricks: Path, brickname: str, cache_gb: float) -> None:
    """Make sure that one more brick, of the mean size of those that are there, stays within the cap.

    Raises
    ------
    CacheFull
        Says how much there is, and the ways out.
    """
    sizes = brick_sizes(bricks)
    sizes.pop(brickname, None)
    used = sum(sizes.values())
    more = used / len(sizes) if sizes else 0.0
    if used + more > cache_gb * 1e9:
        raise CacheFull(
            f"{len(sizes)} bricks in {bricks} take {used / 1e9:.3g} GB, and brick {brickname} would need about {more / 1e9:.2g} GB more than "
            f"fits below `cache_gb: {cache_gb:g}`. Set a larger `cache_gb`; or `keep_bricks: false`, so that each brick is deleted after the "
            "last stamps that need it, with `--batch check_stamps=1/10` (2/10, …) to make a survey in parts; or delete folders of bricks "
            "whose stamps are made"
        )


def brick_sizes(bricks: Path) -> dict[str, int]:
    """Return the bytes that each brick in a folder takes, half-fetched ones included."""
    sizes: dict[str, int] = {}
    if not bricks.is_dir():
        return sizes
    with os.scandir(bricks) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and entry.name != "provenance":
                name = entry.name.removeprefix(".").removesuffix(".partial")
                with os.scandir(entry.path) as files:
                    sizes[name] = sizes.get(name, 0) + sum(f.stat().st_size for f in files if f.is_file())
    return sizes


def check_coadd(path: str | os.PathLike) -> tuple:
    """Make sure that a file is a whole coadd image, and return what its pixels are: shape and projection.

    Raises
    ------
    BadFits
        Not FITS, no image, not square, or not a tangent projection of the survey's pixels.
    """
    check_fits(path)
    with fits.open(path, disable_image_compression=True, memmap=False) as hdus:
        headers = [hdu.header for hdu in hdus]
    header = next((h for h in headers if h.get("ZIMAGE") or (h.get("NAXIS") == 2 and h.get("XTENSION", "IMAGE").strip() == "IMAGE")), None)
    if header is None:
        raise BadFits(f"{shown(path)} holds no image; expected a coadd such as legacysurvey-0001m002-image-g.fits.fz")
    try:
        projection = read_projection(header, shown(path))
    except WcsError as error:
        raise BadFits(f"{error}; expected the projection of a coadd") from None
    shape, scale = projection.shape, projection.pixel_scale_arcsec
    if shape[0] != shape[1] or not math.isclose(scale, PIXEL_SCALE_ARCSEC, rel_tol=1e-3):
        raise BadFits(
            f"{shown(path)} has {shape[1]} × {shape[0]} pixels of {scale:.4g} arcsec in {', '.join(KINDS)}; "
            f"expected a square image of {PIXEL_SCALE_ARCSEC} arcsec pixels in {', '.join(KINDS)}"
        )
    return (*shape, *projection.place)


def _same_pixels(pixels: Mapping[str, tuple], brickname: str) -> None:
    first, *others = pixels
    for name in others:
        if pixels[name] != pixels[first]:
            raise BadFits(
                f"brick {brickname}: {name} does not have the pixels of {first} (shape, projection); fetch them again from one release"
            )


def _retrieve(base: str, url: str, destination: str | os.PathLike, downloads: Downloads, check) -> Fetched:
    name = url.rsplit("/", 1)[1]
    sha256 = _published_sums(base, url, downloads).get(name)
    fetched = fetch(url, destination, downloads, sha256=sha256, check=check)
    log.info(
        "%s: %.1f MB from %s, %s",
        name,
        fetched.bytes / 1e6,
        without_credentials(url),
        "checksum as published" if sha256 else "no published checksum",
    )
    return fetched


def _published_sums(base: str, url: str, downloads: Downloads) -> dict[str, str]:
    """Return the SHA-256 sums that the archive publishes for the folder of `url`; empty where it publishes none."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            sums = fetch(legacysurvey_checksum_url(base, url), Path(folder) / "sums", downloads)
            return {name.rsplit("/", 1)[-1]: value for name, value in read_checksums(sums.path).items()}
        except NotFound:
            return {}
        except (Refused, HtmlInsteadOfFits, BadChecksums) as error:
            log.warning("no usable checksums for %s: %s", without_credentials(url), error)
            return {}
