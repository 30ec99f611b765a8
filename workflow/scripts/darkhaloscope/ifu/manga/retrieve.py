"""From a sample and a name to a checked file: address, published checksum, needed extensions."""

from __future__ import annotations

import logging
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Literal

from ...archive.addresses import manga_catalog_url, manga_checksum_url, manga_maps_url, without_credentials
from ...archive.checks import BadChecksums, HtmlInsteadOfFits, check_fits, read_checksums
from ...archive.download import Fetched, NotFound, Refused, fetch
from ...config.manga import Archive, Downloads

log = logging.getLogger(__name__)

#: Extensions of a MAPS file that every run reads; the stellar ones are asked for where they are read.
MAPS_EXTENSIONS = (
    "SPX_ELLCOO",
    "SPX_SNR",
    "BINID",
    "EMLINE_INSTSIGMA",
    *(name + part for name in ("EMLINE_GFLUX", "EMLINE_GVEL", "EMLINE_GSIGMA") for part in ("", "_IVAR", "_MASK")),
)


def retrieve_catalog(sample: Archive, which: Literal["dapall", "drpall"], destination: str | os.PathLike, downloads: Downloads) -> Fetched:
    """Fetch a sample's dapall or drpall catalogue, checked; errors are those of `download.fetch`."""
    # dapall has one extension per DAPTYPE in DR17 and a single one in DR15: the reader tells them apart.
    extensions = () if which == "dapall" else ("MANGA",)
    return _retrieve(sample, manga_catalog_url(sample, which), destination, downloads, extensions)


def retrieve_maps(sample: Archive, plateifu: str, destination: str | os.PathLike, downloads: Downloads) -> Fetched:
    """Fetch one galaxy's MAPS file, checked; errors are those of `download.fetch`."""
    return _retrieve(sample, manga_maps_url(sample, plateifu), destination, downloads, MAPS_EXTENSIONS)


def _retrieve(sample: Archive, url: str, destination: str | os.PathLike, downloads: Downloads, extensions: tuple[str, ...]) -> Fetched:
    sha1 = _published_sha1(sample, url, downloads)
    fetched = fetch(url, destination, downloads, sha1=sha1, check=partial(check_fits, extensions=extensions))
    log.info(
        "%s: %.1f MB from %s%s%s",
        Path(destination).name,
        fetched.bytes / 1e6,
        without_credentials(url),
        ", resumed" if fetched.resumed else "",
        ", checksum as published" if sha1 else ", no published checksum",
    )
    return fetched


def _published_sha1(sample: Archive, url: str, downloads: Downloads) -> str | None:
    """Return the SHA-1 that the archive publishes for a file, or None where it publishes none."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            sums = fetch(manga_checksum_url(sample, url), Path(folder) / "sums", downloads)
            return read_checksums(sums.path).get(url.rsplit("/", 1)[1])
        except NotFound:
            return None
        except (Refused, HtmlInsteadOfFits, BadChecksums) as error:
            log.warning("no usable checksum for %s: %s", without_credentials(url), error)
            return None
