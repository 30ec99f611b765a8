"""How each member of the IFU protocol fetches the file of one galaxy, by its name in the config."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..config.manga import Archive, Downloads
from .manga.retrieve import retrieve_maps
from .maps import known
from .plain.retrieve import retrieve_plain

#: (archive, galaxy_id, destination, downloads): writes the checked file of one galaxy.
Retrieve = Callable[[Archive, str, str | os.PathLike, Downloads], object]

RETRIEVE: dict[str, Retrieve] = {"manga": retrieve_maps, "plain": retrieve_plain}


def retrieve_galaxy(archive: Archive, galaxy_id: str, destination: str | os.PathLike, downloads: Downloads) -> None:
    """Fetch the file of one galaxy, checked, from a sample's archive."""
    known(RETRIEVE, archive.ifu)(archive, galaxy_id, destination, downloads)
