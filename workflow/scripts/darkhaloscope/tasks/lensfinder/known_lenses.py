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
from ...surveys.legacysurvey.bricks import open_brick
from ...surveys.legacysurvey.schema import KNOWN_LENSES
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
) -> pa.Table:
    """Cut the stamp of every known lens.

    Parameters
    ----------
    lenses : table of `KNOWN_LENSES`
    folder_of : folder of a brick's coadds by its name
    split_of_region : split of each HEALPix cell of the dataset's sky; a lens in any other cell counts as test
    dataset : its name, for the stamps' identifiers
    size : pixels on a side
    maskbits, max_bad_fraction : as for the dataset's own stamps

    Returns
    -------
    Table of `known_stamp_schema(size)`, in the order of the lenses
    """
    bricks, n = np.array(lenses["brickname"].to_pylist(), object), lenses.num_rows
    ra, dec = (lenses[name].to_numpy() for name in ("ra", "dec"))
    images = np.zeros((n, len(BANDS), size, size), np.float32)
    ok, reasons, bad, psf = np.zeros(n, bool), np.full(n, None, object), np.ones(n), np.full((n, len(BANDS)), np.nan)
    for name in dict.fromkeys(bricks):
        with open_brick(folder_of(name), name, BANDS, maskbits, max_bad_fraction=max_bad_fraction) as brick:
            for k in np.flatnonzero(bricks == name):
                cutout = brick.cutout(float(ra[k]), float(dec[k]), size)
                ok[k], bad[k], reasons[k] = cutout.ok, cutout.bad_fraction, cutout.reason or None
                psf[k] = np.where(cutout.psfsize > 0, cutout.psfsize, np.nan)
                if cutout.ok:
                    images[k] = cutout.image
    numbers = np.arange(n)
    return known_stamp_schema(size).table(
        {
            "stamp_id": [f"{dataset}-lens-{k}" for k in numbers],
            "number": numbers,
            "split": [split_of_region.get(int(cell), "test") for cell in lenses["healpix"].to_pylist()],
            "label": np.ones(n, np.int8),
            **{c.name: lenses[c.name] for c in _KEPT},
            **{f"psfsize_{b}": psf[:, i] for i, b in enumerate(BANDS)},
            "cutout_ok": ok,
            "cutout_reason": pa.array(reasons.tolist(), pa.string()),
            "bad_pixel_frac": bad,
            "image": images,
        }
    )


def splits_by_region(healpix: NDArray, split_of: NDArray) -> dict[int, str]:
    """Return the split of every HEALPix cell from the cells and splits (indices into `SPLITS`) of galaxies."""
    cells, first = np.unique(healpix, return_index=True)
    return {int(cell): SPLITS[split_of[k]] for cell, k in zip(cells, first, strict=True)}
