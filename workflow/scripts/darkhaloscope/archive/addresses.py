"""Where the SDSS and Legacy Survey archives keep their files.

A base address begins with `https://`, `http://`, `file://` or `s3://` (bucket, then the folder in it); it may end
with or without a slash. After `file://` a path that begins with a slash is absolute, any other starts at the working
folder.

**Checksum files.** The SDSS Science Archive Server keeps a file of SHA-1 sums inside the folder that it
speaks of, in `sha1sum` format, named after the folder's path below the release with `_` in place of `/`:
`sas/dr17/manga/morphology/galaxyzoo3d/v4_0_0/manga_morphology_galaxyzoo3d_v4_0_0.sha1sum` and
`sas/dr8/sdss/spectro/redux/sdss_spectro_redux.sha1sum` are published examples. `manga_checksum_url`
applies that rule to `manga/spectro`; that every folder there has such a file could not be confirmed, so
a missing one means "nothing to compare with", not an error. The Legacy Surveys do the same with SHA-256:
`dr10/south/coadd/000/0001m002/legacysurvey_dr10_south_coadd_000_0001m002.sha256sum`, and
`dr10/south/legacysurvey_dr10_south.sha256sum` for the brick table.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import unquote, urlsplit, urlunsplit

from ..config.legacysurvey import Band
from ..config.manga import PLATEIFU, Archive

SCHEMES = ("https", "http", "file", "s3")
SWEEP_VERSION = "10.1"
#: How files in the plain layout of velocity maps end.
PLAIN_ENDINGS = (".fits", ".fits.gz", ".npz")
BANDS: tuple[str, ...] = get_args(Band)
#: Coadd products that exist once per band, and those that exist once per brick.
BAND_PRODUCTS = ("image", "invvar", "psfsize", "nexp", "depth")
BRICK_PRODUCTS = ("maskbits",)

_BRICK = re.compile(r"\d{4}[pm]\d{3}")
_SWEEP = re.compile(r"sweep-\d{3}[pm]\d{3}-\d{3}[pm]\d{3}")


class AddressError(ValueError):
    """An address cannot be made or understood."""


def manga_catalog_url(sample: Archive, which: Literal["dapall", "drpall"]) -> str:
    """Return the address of a sample's dapall or drpall catalogue."""
    if which == "drpall":
        return join(sample.base, f"redux/{sample.drp_version}/drpall-{sample.drp_version}.fits")
    if which == "dapall":
        return join(_analysis(sample), f"dapall-{sample.drp_version}-{sample.dap_version}.fits")
    raise AddressError(f"there is no MaNGA catalogue '{which}'; choose dapall or drpall")


def manga_maps_url(sample: Archive, plateifu: str) -> str:
    """Return the address of one galaxy's MAPS file.

    Parameters
    ----------
    sample : Archive
        Archive, versions and DAPTYPE.
    plateifu : str
        Plate and IFU, for example "8593-12705".

    Raises
    ------
    AddressError
        `plateifu` is not two numbers joined by a hyphen (it may come from a catalogue, and becomes a path).
    """
    if not re.fullmatch(PLATEIFU, plateifu):
        raise AddressError(f"'{plateifu}' is not a plate-ifu such as 8593-12705; correct the list of galaxies or fetch the catalogue again")
    plate, ifu = plateifu.split("-")
    return join(_analysis(sample), f"{sample.daptype}/{plate}/{ifu}/manga-{plateifu}-MAPS-{sample.daptype}.fits.gz")


def manga_checksum_url(sample: Archive, url: str) -> str:
    """Return the address of the SHA-1 file that speaks of `url`, by the naming rule of the SAS.

    Raises
    ------
    AddressError
        `url` does not lie below the sample's base address.
    """
    return _checksum_url(sample.base, url, ("manga", "spectro"), "sha1sum")


def sweep_url(base: str, name: str) -> str:
    """Return the address of a DR10 south sweep file, `name` being for example "sweep-310m005-320p000"."""
    if not _SWEEP.fullmatch(name):
        raise AddressError(f"'{name}' is not a sweep file such as sweep-310m005-320p000; name it without its ending")
    return join(base, f"south/sweep/{SWEEP_VERSION}/{name}.fits")


def brick_table_url(base: str, which: Literal["all", "south"] = "south") -> str:
    """Return the address of the table of all bricks of the sky, or of those that DR10 south covers."""
    tables = {"all": "survey-bricks.fits.gz", "south": "south/survey-bricks-dr10-south.fits.gz"}
    if which not in tables:
        raise AddressError(f"there is no brick table '{which}'; choose {' or '.join(tables)}")
    return join(base, tables[which])


def coadd_url(base: str, brick: str, product: str, band: str | None = None) -> str:
    """Return the address of one DR10 south coadd image.

    Parameters
    ----------
    base : str
        Address of the release, ending in `dr10/` in the public archive.
    brick : str
        Name of the brick, for example "0001m002".
    product : str
        One of `BAND_PRODUCTS`, with a band, or of `BRICK_PRODUCTS`, without.
    band : str or None
        One of `BANDS`.
    """
    if not _BRICK.fullmatch(brick):
        raise AddressError(f"'{brick}' is not a brick name such as 0001m002; correct it or fetch the brick table again")
    if product in BAND_PRODUCTS:
        if band not in BANDS:
            raise AddressError(f"coadd product {product} needs a band, one of {', '.join(BANDS)}; found {band!r}")
        name = f"legacysurvey-{brick}-{product}-{band}.fits.fz"
    elif product in BRICK_PRODUCTS:
        if band is not None:
            raise AddressError(f"coadd product {product} exists once per brick, not per band; leave out band {band!r}")
        name = f"legacysurvey-{brick}-{product}.fits.fz"
    else:
        raise AddressError(f"there is no coadd product '{product}'; choose one of {', '.join(BAND_PRODUCTS + BRICK_PRODUCTS)}")
    return join(base, f"south/coadd/{brick[:3]}/{brick}/{name}")


def legacysurvey_checksum_url(base: str, url: str) -> str:
    """Return the address of the SHA-256 file that speaks of the DR10 file at `url`."""
    return _checksum_url(base, url, ("legacysurvey", "dr10"), "sha256sum")


def join(base: str, relative: str) -> str:
    """Return the address of `relative` below `base`, whether or not `base` ends with a slash.

    Raises
    ------
    AddressError
        `base` has another scheme than those of `SCHEMES` or names no place; `relative` leaves the base.
    """
    scheme, place = _split(base)
    parts = relative.split("/")
    if not relative or any(part in ("", ".", "..") for part in parts):
        raise AddressError(f"'{relative}' is not a path below {without_credentials(base)}; no empty part, '.' or '..' may occur in it")
    return f"{scheme}://{place.rstrip('/')}/{relative}"


def local_path(url: str) -> Path | None:
    """Return the file that a `file://` address means, or None for an address on the network.

    `file:///a/b` (or `file://localhost/a/b`, RFC 8089) is `/a/b`; `file://a/b` is `a/b` below the working
    folder, and `file://../a` begins beside it. Percent escapes are undone.
    """
    scheme, place = _split(url)
    if scheme != "file":
        return None
    if place.startswith("localhost/"):
        place = place.removeprefix("localhost")
    return Path(unquote(place))


def plain_files(base: str, galaxy_id: str) -> list[Path]:
    """Return the files of a galaxy in the plain layout that a folder of this machine holds: one where all is well, none on the network."""
    here = (local_path(join(base, galaxy_id + ending)) for ending in PLAIN_ENDINGS)
    return [path for path in here if path is not None and path.is_file()]


def without_credentials(url: str) -> str:
    """Return an address as it may be shown: without user, password and query."""
    if url.startswith("file://"):
        return url
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _split(url: str) -> tuple[str, str]:
    scheme, separator, place = url.partition("://")
    if not separator or scheme not in SCHEMES or not place:
        raise AddressError(f"'{without_credentials(url)}' is not an address: it should be {', '.join(s + '://…' for s in SCHEMES)}")
    return scheme, place


def _analysis(sample: Archive) -> str:
    return join(sample.base, f"analysis/{sample.drp_version}/{sample.dap_version}")


def _checksum_url(base: str, url: str, prefix: tuple[str, ...], ending: str) -> str:
    scheme, place = _split(base)
    root = f"{scheme}://{place.rstrip('/')}/"
    if not url.startswith(root):
        raise AddressError(f"{without_credentials(url)} does not lie below the base address {without_credentials(base)}")
    *folders, _ = url.removeprefix(root).split("/")
    return join(base, "/".join([*folders, "_".join([*prefix, *folders]) + "." + ending]))
