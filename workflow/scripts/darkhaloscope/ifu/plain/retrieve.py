"""Fetching a file in the plain layout."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ...archive.addresses import PLAIN_ENDINGS, join, plain_files
from ...archive.download import Fetched, NotFound, fetch
from ...config.manga import Archive, Downloads
from ..maps import LEAVE_OUT
from .file import PlainMapsError, check_centre, check_planes, checked_facts, read_file, write_plain


def retrieve_plain(archive: Archive, galaxy_id: str, destination: str | os.PathLike, downloads: Downloads) -> Fetched:
    """Fetch one galaxy's file from the sample's folder, check it, and write it as FITS.

    Raises
    ------
    PlainMapsError
        There is no such file, or several in a folder of this machine; it is not in the plain layout, or it is another galaxy's.
    """
    if len(several := [str(path) for path in plain_files(archive.base, galaxy_id)]) > 1:
        raise PlainMapsError(f"{archive.base}: expected one file of the galaxy {galaxy_id}, found {', '.join(several)}; take one away")
    with tempfile.TemporaryDirectory() as folder:
        for ending in PLAIN_ENDINGS:
            address = join(archive.base, galaxy_id + ending)
            try:
                fetched = fetch(address, Path(folder) / (galaxy_id + ending), downloads)
                break
            except NotFound:
                continue
        else:
            raise PlainMapsError(
                f"{archive.base}: expected a file {galaxy_id} with the ending {', '.join(PLAIN_ENDINGS)}; correct the sample's `base` or `listed`"
            )
        try:
            planes, given = read_file(fetched.path)
            shape, facts = check_planes(planes, fetched.path), checked_facts(given, fetched.path)
            check_centre(facts, shape, fetched.path)
        except PlainMapsError as error:
            # The copy in the temporary folder is gone when the message is read.
            raise PlainMapsError(f"{str(error).replace(str(fetched.path), address)}; or {LEAVE_OUT}") from error.__cause__
        if facts["galaxy_id"] != galaxy_id:
            raise PlainMapsError(
                f"{address}: the file says galaxy {facts['galaxy_id']}, expected {galaxy_id}; rename it, or correct its GALAXY"
            )
        write_plain(destination, planes, facts)
    return fetched
