"""The names of the lenses of a folder of observed lenses; read at every parse of the Snakefile, so the standard library alone."""

from __future__ import annotations

import os
import re
from pathlib import Path

IMAGE = "image.fits"
#: Names of lenses become folders of results; the same as the Snakefile's constraint of the wildcard.
NAME = re.compile(r"[A-Za-z0-9][\w.=+-]*")


class ObservedError(ValueError):
    """An observed lens cannot be used; the message names the file, what was expected and what to do."""


def lens_names(folder: str | os.PathLike) -> list[str]:
    """Return the names of the lenses of a folder, in order.

    Raises
    ------
    ObservedError
        There is no such folder, no lens in it, one without its image, or one whose name no result can have.
    """
    try:
        return _names(Path(folder), folder)
    except OSError as error:
        raise ObservedError(
            f"{error.filename or folder}: expected a folder of observed lenses that can be read, but reading fails ({error.strerror}); check its permissions"
        ) from error


def _names(path: Path, folder: str | os.PathLike) -> list[str]:
    if not path.is_dir():
        raise ObservedError(
            f"{folder}: expected a folder of observed lenses (NAME/{IMAGE}, noise.fits or weight.fits, psf.fits), but there is none; "
            "give yours with --config observed=FOLDER, or fetch the sample that docs/real-lenses.md names"
        )
    # Editors, trash cans and archives keep copies under names that begin like this.
    folders = sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "_")) and entry.is_dir())
    found = [entry.name for entry in folders if (entry / IMAGE).is_file()]
    for entry in folders:
        if entry.name not in found and any(".fits" in file.name.lower() for file in entry.iterdir() if not file.name.startswith(".")):
            raise ObservedError(
                f"{entry / IMAGE}: expected the image of a lens, found other FITS files alone; write it there, or take the folder away"
            )
    for name in found:
        if not NAME.fullmatch(name):
            raise ObservedError(
                f"{path / name}: expected a name of letters, digits and any of _.=+- that begins with a letter or digit; rename the folder "
                "(observed.name_prefix is what the table's names have before those of folders)"
            )
    if not found:
        raise ObservedError(f"{folder}: expected folders with {IMAGE} in them, one for each lens, but found none; see docs/real-lenses.md")
    return found
