"""Real galaxies with labels as stamps of networks, each in a part of the sky: what gates ask networks about, and what may join training."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy import units
from astropy_healpix import lonlat_to_healpix
from numpy.typing import NDArray

from ..config.cutouts import RealSky
from ..core.random import stable_hash
from ..core.tables import Column, Schema, images
from .prepared import prepare_cutouts, prepared_schema

log = logging.getLogger("darkhaloscope")

#: HEALPix resolution of the cells that are in one part of the sky or the other: 3.7 degrees.
NSIDE = 16


def real_sky_schema(size: int) -> Schema:
    """Return the columns of real galaxies with labels, of `size` pixels on a side."""
    own = (
        Column("number", "int64", "", "Number of the stamp"),
        Column("split", "string", "", "train where the object's sky may join training, test elsewhere"),
    )
    plain = prepared_schema(size).columns
    return Schema("real sky", (*own, *(Column("label", "int8", "", "1 lens, 0 look-alike") if c.name == "label" else c for c in plain)))


def prepare_real_sky(settings: RealSky, size: int) -> Iterator[pa.Table]:
    """Give those cutouts that have a label and can be used, with the part of the sky that each is in.

    Parameters
    ----------
    settings : where they are and what they hold
    size : pixels on a side of the stamps

    Raises
    ------
    CutoutError
        As `prepare_cutouts`.
    """
    schema, first = real_sky_schema(size), 0
    for table in prepare_cutouts(settings, size):
        kept = table.filter(pc.and_(table["ok"], pc.is_valid(table["label"])))
        if not kept.num_rows:
            continue
        parts = sky_parts(_numbers(kept["ra"]), _numbers(kept["dec"]), kept["stamp_id"].to_pylist(), settings.train_share)
        own = {"number": np.arange(first, first + kept.num_rows), "split": parts, "image": images(kept, "image")}
        first += kept.num_rows
        log.info("%d real galaxies with a label, %d of them in the sky that may join training", kept.num_rows, parts.count("train"))
        yield schema.table({**own, **{c.name: kept[c.name].combine_chunks() for c in schema.columns if c.name not in own}})


def sky_parts(ra: NDArray, dec: NDArray, names: list[str], train_share: float) -> list[str]:
    """Return `train` or `test` for each position [deg]; objects without one go by their name."""
    keys = sky_cells(ra, dec, names)
    return ["train" if stable_hash("real sky", key) / 2.0**64 < train_share else "test" for key in keys]


def sky_cells(ra: NDArray, dec: NDArray, names: list[str]) -> list[int | str]:
    """Return the HEALPix cell of each position [deg], or the object's name where it has none."""
    known = np.isfinite(ra) & np.isfinite(dec)
    cells = np.full(len(ra), -1, np.int64)
    cells[known] = lonlat_to_healpix(ra[known] * units.deg, dec[known] * units.deg, NSIDE, order="nested")
    return [int(cell) if cell >= 0 else name for cell, name in zip(cells, names, strict=True)]


def _numbers(column: pa.ChunkedArray) -> NDArray:
    return column.cast(pa.float64()).to_numpy()
