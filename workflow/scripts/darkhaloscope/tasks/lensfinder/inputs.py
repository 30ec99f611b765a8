"""What injections are made from: cutouts in the order of the manifest's rows, and images of sources."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from ...config.lensfinder import BANDS
from ...core.tables import read_table
from ...ifu.bank import read_bank
from ...sources.cosmos import COSMOS_SOURCES, CosmosImages
from ...sources.emission import emission_image
from ...sources.still import StillImage
from ...surveys.legacysurvey.bricks import Cutout, open_brick
from .inject import InjectionError
from .light import Stills

#: Source images kept in memory.
CACHED = 512


def cut_rows(
    rows: pa.Table, folders: Sequence[str | os.PathLike], size: int, *, maskbits: Sequence[int], max_bad_fraction: float
) -> Iterator[Cutout]:
    """Yield the cutout of each row, opening one brick after the other.

    Parameters
    ----------
    rows : manifest rows; those of one brick should follow each other
    folders : folders of bricks, each named after its brick
    size : pixels on a side
    maskbits, max_bad_fraction : of the survey: which pixels are bad, and how many a cutout may have

    Raises
    ------
    InjectionError
        A row's brick is not among the folders.
    """
    known = {Path(folder).name: folder for folder in folders}
    open_name, brick = None, None
    try:
        for name, ra, dec in zip(*(rows.column(c).to_pylist() for c in ("brickname", "ra", "dec")), strict=True):
            if name != open_name:
                if name not in known:
                    raise InjectionError(
                        f"brick {name} of the manifest is not among the {len(known)} bricks given; build the manifest again"
                    )
                if brick is not None:
                    brick.close()
                open_name, brick = name, open_brick(known[name], name, BANDS, maskbits, max_bad_fraction=max_bad_fraction)
            yield brick.cutout(ra, dec, size)
    finally:
        if brick is not None:
            brick.close()


def open_stills(*, cosmos: Sequence[str], catalog: str | None, bank: Sequence[str]) -> Stills:
    """Return what gives the image of a row's source, for the kinds that files are given for.

    Parameters
    ----------
    cosmos : path of the list of COSMOS galaxies, or nothing
    catalog : path of their catalogue, beside which the images lie
    bank : path of the bank of MaNGA galaxies, or nothing
    """
    stills: dict = {}
    if cosmos:
        images = lru_cache(CACHED)(CosmosImages(read_table(cosmos[0], COSMOS_SOURCES), Path(catalog).parent))
        stills["cosmos"] = lambda row: images(str(row["source_id"]))
    if bank:
        galaxies = read_bank(bank[0])

        def emission(row: Mapping[str, object]) -> StillImage:
            return emission_image(galaxies, str(row["source_id"]), float(row["src_reff_arcsec"]))

        stills["manga"] = emission
    return stills
