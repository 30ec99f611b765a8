"""Stamps of known lenses, cut from the same bricks as a dataset's, with the split of their sky."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...config.subhalo import SPLITS
from ...core.tables import Column, Schema
from ...stamps.columns import IDENTITY
from ...surveys.legacysurvey.schema import KNOWN_LENSES
from .cut import cut_places
from .schema import BANDS, image_column

_KEPT = tuple(c for c in KNOWN_LENSES.columns if not c.name.startswith("psfsize"))


def known_stamp_schema(size: int) -> Schema:
    """Return the schema of a table of stamps of known lenses."""
    psf = tuple(
        Column(f"psfsize_{b}", "float64", "arcsec", f"psfsize at the lens in its brick, {b}; NaN where it is missing") for b in BANDS
    )
    cutout = (
        Column("cutout_ok", "bool", "", "Whether the cutout has pixels enough to be used; the image is 0 everywhere where not"),
        Column("cutout_reason", "string", "", "Why not; null where it is ok", nullable=True),
        Column("bad_pixel_frac", "float64", "", "Largest share of bad pixels in a band"),
    )
    return Schema("known lens stamps", (*IDENTITY, *_KEPT, *psf, *cutout, image_column(size)))


def cut_known_lenses(
    lenses: pa.Table,
    folder_of: Callable[[str], str | Path],
    split_of_region: Mapping[int, str],
    *,
    dataset: str,
    size: int,
    maskbits: Sequence[int],
    max_bad_fraction: float,
    bands: Sequence[str] = BANDS,
) -> pa.Table:
    """Cut the stamp of every known lens.

    Parameters
    ----------
    lenses : table of `KNOWN_LENSES`
    folder_of : folder of a brick's coadds by its name
    split_of_region : split of each HEALPix cell of the dataset's sky; a lens in any other cell counts as test
    dataset : its name, for the stamps' identifiers
    size : pixels on a side
    maskbits, max_bad_fraction, bands : as for the dataset's own stamps

    Returns
    -------
    Table of `known_stamp_schema(size)`, in the order of the lenses
    """
    n = lenses.num_rows
    cut = cut_places(
        *(lenses[name].to_numpy() for name in ("ra", "dec")),
        lenses["brickname"].to_pylist(),
        folder_of,
        size=size,
        maskbits=maskbits,
        max_bad_fraction=max_bad_fraction,
        bands=bands,
    )
    numbers = np.arange(n)
    return known_stamp_schema(size).table(
        {
            "stamp_id": [f"{dataset}-lens-{k}" for k in numbers],
            "number": numbers,
            "split": [split_of_region.get(int(cell), "test") for cell in lenses["healpix"].to_pylist()],
            "label": np.ones(n, np.int8),
            **{c.name: lenses[c.name] for c in _KEPT},
            **{f"psfsize_{b}": cut.psfsize[:, i] for i, b in enumerate(BANDS)},
            "cutout_ok": cut.ok,
            "cutout_reason": pa.array(cut.reasons, pa.string()),
            "bad_pixel_frac": cut.bad_fraction,
            "image": cut.images,
        }
    )


def splits_by_region(healpix: NDArray, split_of: NDArray) -> dict[int, str]:
    """Return the split of every HEALPix cell from the cells and splits (indices into `SPLITS`) of galaxies."""
    cells, first = np.unique(healpix, return_index=True)
    return {int(cell): SPLITS[split_of[k]] for cell, k in zip(cells, first, strict=True)}
