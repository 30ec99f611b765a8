"""The members of the IFU protocol, by their names in the config (`manga.samples.*.ifu`).

A member is how a file of maps is fetched and how it is read. A new one is a file of its own, a line here and
its name in `config.manga.Archive.ifu`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from ..archive.retrieve import retrieve_maps
from ..config.manga import Archive, Downloads, Quality
from .manga.maps import read_maps
from .maps import Maps
from .plain import read_plain, retrieve_plain


@dataclass(frozen=True)
class Member:
    """One source of velocity maps.

    Attributes
    ----------
    retrieve : (archive, galaxy_id, destination, downloads); writes the checked file of one galaxy.
    read : (path, quality); returns its `Maps`, or raises `MapsError`.
    """

    retrieve: Callable[[Archive, str, str | os.PathLike, Downloads], object]
    read: Callable[[str | os.PathLike, Quality], Maps]


MEMBERS: dict[str, Member] = {
    "manga": Member(retrieve_maps, read_maps),
    "plain": Member(retrieve_plain, read_plain),
}


def member(name: str) -> Member:
    """Return a member by its name; raise `ValueError` with the known names where there is none."""
    if name not in MEMBERS:
        raise ValueError(f"there is no source of velocity maps '{name}' (there is: {', '.join(MEMBERS)}); correct the sample's `ifu`")
    return MEMBERS[name]
