"""Opening FITS files with fitsio, whatever their path, and reading them with words for what fails.

cfitsio takes `[ ]`, `( )`, `!` and `name:` in a path for signs of its own (extended file names), fitsio replaces `~` and
`$VARIABLES` in it and takes spaces off its ends, and either has a greatest length. A path that is not plain is opened through a
link that is. What cfitsio finds wrong shows while opening or while reading: both raise `FitsFileError`.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fitsio

from .checks import ArchiveError, check_not_html

#: What fitsio raises for files, tables and tiles that cannot be read.
UNREADABLE = (OSError, ValueError, RuntimeError, MemoryError, SystemError)
#: Paths that mean themselves to fitsio and to cfitsio, which takes at most 1024 bytes.
PLAIN = re.compile(r"/[A-Za-z0-9_./-]{1,900}")
#: fitsio takes at most 2048 bytes of cfitsio's messages at a time, of which there are at most 8000 bytes.
MESSAGE_BYTES, MOST_MESSAGES = 1024, 10


class FitsFileError(ValueError):
    """A FITS file cannot be read; the message names it and what to do."""


def open_fits(path: str | os.PathLike) -> fitsio.FITS:
    """Open a FITS file for reading.

    Raises
    ------
    FitsFileError
        The file is missing, a web page, or not FITS.
    """
    path = Path(path)
    with told(path):
        if not path.is_file():
            raise FitsFileError(f"{path} does not exist, expected a FITS file; run the stage that fetches it, or correct its path")
        try:
            check_not_html(path)
        except ArchiveError as error:
            raise FitsFileError(f"{path} cannot be read as FITS: {error}") from None
        if PLAIN.fullmatch(str(path.absolute())):
            return fitsio.FITS(str(path.absolute()))
        with plain_folder() as folder:
            link = Path(folder) / "".join(["file", *(s for s in path.suffixes[-2:] if PLAIN.fullmatch(f"/{s}"))])
            link.symlink_to(path.resolve())
            return fitsio.FITS(str(link))


def plain_folder() -> tempfile.TemporaryDirectory:
    """Return a temporary folder whose path is plain: batch systems put the number of an array's job in brackets into TMPDIR."""
    return tempfile.TemporaryDirectory(prefix="darkhaloscope-", dir=None if PLAIN.fullmatch(tempfile.gettempdir()) else "/tmp")


@contextmanager
def told(path: str | os.PathLike, what: str = "as FITS") -> Iterator[None]:
    """Give what fitsio raises inside as a `FitsFileError` that names the file, what was read, and what to do."""
    try:
        yield
    except UNREADABLE as error:
        forget_messages()
        if type(error).__module__.partition(".")[0] == __name__.partition(".")[0]:
            raise  # an error of this library has its words already
        # fitsio cannot say cfitsio's words about bytes that are no text.
        said = error.object.decode("ascii", "replace") if isinstance(error, UnicodeDecodeError) else str(error)
        words = " ".join(said.split()) or type(error).__name__
        raise FitsFileError(f"{path} cannot be read {what} ({words}): it is damaged or cut short; delete it and run again") from None


def forget_messages() -> None:
    """Empty cfitsio's stack of error messages, which all files of a process share.

    What a damaged file leaves there is said again when fitsio comes to the end of the next file's HDUs, and fails there where it
    holds bytes that are no text: a good file would be refused in place of the damaged one.
    """
    for _ in range(MOST_MESSAGES):
        try:
            fitsio.FITS(os.devnull)
        except UnicodeDecodeError:
            continue
        except OSError as error:
            if len(str(error)) < MESSAGE_BYTES:
                return
