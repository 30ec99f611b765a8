"""The galaxies of a parent sample as they are, nothing injected, in pieces of a few bricks: what lens hunters look through."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...config.lensfinder import LensFinderDataset
from ...core.tables import Column, Schema, parquet_errors, read_columns
from ...surveys.legacysurvey.parent import magnitude
from ...surveys.legacysurvey.schema import PARENT
from .cut import cut_places
from .hosts import split_regions
from .known_lenses import splits_by_region
from .schema import BANDS, CONDITIONS, image_column

#: Galaxies of a piece, at least, where a brick more does not fit: about 0.25 GB of stamps that wait to be scored.
PIECE = 2000

_FROM_PARENT = ("object_id", "ra", "dec", "brickname", "contaminant_class", "known_lens")
#: As stamps have them: a selection function of `mag_r` is one of what was observed, and the parent sample's are corrected for extinction.
_MAGNITUDES = {c.name: c for c in CONDITIONS if c.name.startswith("mag_")}


def search_schema(size: int) -> Schema:
    """Return the schema of a table of uninjected stamps of `size` pixels on a side."""
    return Schema(
        "search",
        (
            Column("stamp_id", "string", "", "Brick and number of the object in it"),
            *(_MAGNITUDES.get(c.name, c) for c in PARENT.columns if c.name in (*_FROM_PARENT, *_MAGNITUDES)),
            Column(
                "split", "string", "", "Split of the galaxy's sky: networks may have seen it as a control where it is train or validation"
            ),
            Column("like_training", "bool", "", "Whether the PSF in r is within the bounds of the dataset's hosts"),
            *(
                Column(f"psfsize_{b}", "float64", "arcsec", f"psfsize at the galaxy in its brick, {b}; NaN where it is missing")
                for b in BANDS
            ),
            *(Column(f"psfdepth_{b}", "float64", "nanomaggy⁻²", f"Inverse variance of a point source's flux in {b}") for b in BANDS),
            Column("ok", "bool", "", "Whether the cutout has pixels enough to be used; the image is 0 everywhere where not"),
            Column("reason", "string", "", "Why not; empty where it is ok"),
            Column("bad_pixel_frac", "float64", "", "Largest share of bad pixels in a band"),
            image_column(size),
        ),
    )


def parent_pieces(parent: str | os.PathLike, least: int = PIECE) -> pd.DataFrame:
    """Return the bricks of a parent sample, by name, in pieces of at least `least` galaxies (the last one of what is left): piece, brickname, galaxies."""
    counts = pc.value_counts(read_columns(parent, ["brickname"])["brickname"])
    table = (
        pd.DataFrame(counts.to_pylist())
        .rename(columns={"values": "brickname", "counts": "galaxies"})
        .sort_values("brickname", ignore_index=True)
    )
    piece, waiting, pieces = 0, 0, []
    for galaxies in table["galaxies"]:
        if waiting >= least:
            piece, waiting = piece + 1, 0
        pieces.append(piece)
        waiting += galaxies
    table.insert(0, "piece", pieces)
    return table


def cut_parents(
    parent: str | os.PathLike,
    folders: Mapping[str, str | Path],
    dataset: LensFinderDataset,
    *,
    maskbits: Sequence[int],
    max_bad_fraction: float,
    bands: Sequence[str] = BANDS,
) -> Iterator[pa.Table]:
    """Cut the stamps of all galaxies in some bricks, a brick at a time.

    Parameters
    ----------
    parent : table of `PARENT`
    folders : folder of each brick's coadds, by its name
    dataset : the lens finder's: size of stamps, splits of the sky, bounds of seeing
    maskbits, max_bad_fraction, bands : as for the dataset's own stamps

    Yields
    ------
    Table of `search_schema(dataset.camera.stamp_size)`, galaxies in the order of their numbers
    """
    cells = read_columns(parent, ["healpix"])["healpix"].to_numpy()
    split_of = splits_by_region(cells, split_regions(cells, dataset.splits))
    schema, (low, high) = search_schema(dataset.camera.stamp_size), dataset.hosts.psfsize_r_arcsec
    wanted = [*_FROM_PARENT, "objid", "healpix", "psfsize_r", *(f"{name}_{b}" for name in ("flux", "psfdepth") for b in BANDS)]
    with parquet_errors(parent):
        galaxies = pq.read_table(parent, columns=wanted, filters=[("brickname", "in", list(folders))]).sort_by(
            [("brickname", "ascending"), ("objid", "ascending")]
        )
    names = galaxies["brickname"].to_pylist()
    edges = [k for k in range(len(names) + 1) if k in (0, len(names)) or names[k] != names[k - 1]]
    for start, stop in pairwise(edges):
        rows = galaxies.slice(start, stop - start)
        cut = cut_places(
            rows["ra"].to_numpy(),
            rows["dec"].to_numpy(),
            names[start:stop],
            folders.__getitem__,
            size=dataset.camera.stamp_size,
            maskbits=maskbits,
            max_bad_fraction=max_bad_fraction,
            bands=bands,
        )
        seeing = rows["psfsize_r"].to_numpy()
        yield schema.table(
            {
                "stamp_id": [f"{names[start]}-{number}" for number in rows["objid"].to_pylist()],
                **{name: rows[name] for name in _FROM_PARENT},
                **{f"mag_{b}": magnitude(rows[f"flux_{b}"].to_numpy()) for b in BANDS},
                "split": [split_of[cell] for cell in rows["healpix"].to_pylist()],
                "like_training": (seeing >= low) & (seeing <= high),
                **{f"psfsize_{b}": cut.psfsize[:, i] for i, b in enumerate(BANDS)},
                **{f"psfdepth_{b}": rows[f"psfdepth_{b}"].to_numpy().astype(float) for b in BANDS},
                "ok": cut.ok,
                "reason": [reason or "" for reason in cut.reasons],
                "bad_pixel_frac": cut.bad_fraction,
                "image": cut.images,
            }
        )
