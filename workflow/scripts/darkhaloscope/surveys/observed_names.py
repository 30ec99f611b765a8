"""The names of the lenses of a folder of observed lenses; read at every parse of the Snakefile, so the standard library alone."""

from __future__ import annotations

import os
from pathlib import Path

IMAGE = "image.fits"


class ObservedError(ValueError):
    """An observed lens cannot be used; the message names the file, what was expected and what to do."""


def lens_names(folder: str | os.PathLike) -> list[str]:
    """Return the names of the lenses of a folder, in order.

    Raises
    ------
    ObservedError
        There is no such folder, or no lens in it.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ObservedError(
            f"{folder}: expected a folder of observed lenses (NAME/{IMAGE}, noise.fits or weight.fits, psf.fits), but there is none; "
            "give yours with --config observed=FOLDER, or fetch the sample that docs/real-lenses.md names"
        )
    # Editors, trash cans and archives keep copies under names that begin like this.
    found = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith((".", "_")) and (entry / IMAGE).is_file())
    if not found:
        raise ObservedError(f"{folder}: expected folders with {IMAGE} in them, one for each lens, but found none; see docs/real-lenses.md")
    return found
