"""How each member of the IFU protocol reads the file of one galaxy, by its name in the config (`manga.samples.*.ifu`).

A new member is a folder of its own, a line here, one in `ifu.retrieve`, and its name in `config.manga.Archive.ifu`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ..config.manga import Quality
from .manga.maps import read_maps
from .maps import Maps, known
from .plain.maps import read_plain

#: (path, quality): returns the galaxy's `Maps`, or raises `MapsError`.
Read = Callable[[str | os.PathLike, Quality], Maps]

READ: dict[str, Read] = {"manga": read_maps, "plain": read_plain}


def read_galaxy(member: str, path: str | os.PathLike, quality: Quality) -> Maps:
    """Read the maps of one galaxy by the member that its sample names; errors are those of the member."""
    return known(READ, member)(path, quality)
