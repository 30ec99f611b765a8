"""What injections are made from: cutouts in the order of the manifest's rows, and images of sources."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from ...config.lensfinder import BANDS
from ...config.sources import STILL
from ...sources.kinds import Files
from ...sources.stills import INPUTS, KINDS
from ...surveys.legacysurvey.bricks import Cutout, open_brick
from .host_cutouts import cut_hosts, is_table
from .inject import InjectionError
from .light import Stills


def cut_rows(
    rows: pa.Table,
    folders: Sequence[str | os.PathLike],
    size: int,
    *,
    maskbits: Sequence[int],
    max_bad_fraction: float,
    bands: Sequence[str] = BANDS,
) -> Iterator[Cutout]:
    """Yield the cutout of each row, opening one brick after the other; of hosts that are cutouts, from their table.

    Rows of one galaxy share one cutout, which is read once.

    Parameters
    ----------
    rows : manifest rows; those of one brick should follow each other
    folders : folders of bricks, each named after its brick; or the one table of cutouts that serve as hosts
    size : pixels on a side
    maskbits, max_bad_fraction : of the survey: which pixels are bad, and how many a cutout may have
    bands : what is looked at for g, r and z; a table of hosts has its own

    Raises
    ------
    InjectionError
        A row's brick is not among the folders.
    """
    if is_table(folders):
        yield from cut_hosts(rows, folders[0], size, max_bad_fraction)
        return
    known = {Path(folder).name: folder for folder in folders}
    open_name, brick, read = None, None, {}
    try:
        for name, ra, dec in zip(*(rows.column(c).to_pylist() for c in ("brickname", "ra", "dec")), strict=True):
            if name != open_name:
                if name not in known:
                    raise InjectionError(
                        f"brick {name} of the manifest is not among the {len(known)} bricks given; build the manifest again"
                    )
                if brick is not None:
                    brick.close()
                open_name, brick, read = name, open_brick(known[name], name, bands, maskbits, max_bad_fraction=max_bad_fraction), {}
            if (ra, dec) not in read:
                read[ra, dec] = brick.cutout(ra, dec, size)
            yield read[ra, dec]
    finally:
        if brick is not None:
            brick.close()


def open_stills(files: Files) -> Stills:
    """Return what gives the image of a row's source, for the kinds that files are given for.

    Parameters
    ----------
    files : `cosmos`, the list of COSMOS galaxies; `catalog`, the catalogue beside which their images lie; `bank`, of MaNGA
        galaxies: a path each in a list, or none
    """
    return {name: kind.image(files) for name, kind in KINDS.items() if files.get(INPUTS[STILL[name].needs])}
