"""Where stamps are on the sky: what lies near what, and which stamps show objects that a network was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..core.tables import parquet_errors, read_columns

#: Positions closer than this are one object.
OBJECT_ARCSEC = 1.5


def vectors(ra: NDArray, dec: NDArray) -> NDArray:
    """Return unit vectors, (n, 3), of right ascensions and declinations [deg]."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], -1).reshape(-1, 3)


def chord(arcsec: float) -> float:
    """Return the straight distance of unit vectors that far apart."""
    return 2 * np.sin(np.radians(arcsec / 3600) / 2)


def near(sky: NDArray, others: NDArray, arcsec: float) -> NDArray:
    """Return which of some unit vectors, (n, 3), lie within a distance of any of `others`, (n,) bool."""
    if not len(others) or not len(sky):
        return np.zeros(len(sky), bool)
    distance, _ = cKDTree(others).query(sky, distance_upper_bound=chord(arcsec))
    return np.isfinite(distance)


def positions(paths: Sequence[str | Path]) -> tuple[NDArray, NDArray]:
    """Return right ascensions and declinations [deg] of the stamps of shards."""
    tables = [read_columns(path, ["ra", "dec"]) for path in paths]
    return tuple(np.concatenate([t[name].to_numpy() for t in tables]) if tables else np.empty(0) for name in ("ra", "dec"))


def trained_sky(paths: Sequence[str | Path]) -> tuple[NDArray, list[str]]:
    """Return unit vectors, (n, 3), of what training saw, and the files that do not say where their stamps are.

    Parameters
    ----------
    paths : training shards, and tables of known lenses, of which those of split `train` count
    """
    found, silent = [np.empty((0, 3))], []
    for path in paths:
        with parquet_errors(path):
            names = pq.read_schema(path).names
        if not {"ra", "dec"} <= set(names):
            silent.append(str(path))
            continue
        table = read_columns(path, [n for n in ("ra", "dec", "split") if n in names])
        if "split" in table.column_names:
            table = table.filter(pc.equal(table["split"], "train"))
        sky = vectors(*_numbers(table))
        found.append(sky[np.isfinite(sky).all(1)])
    return np.concatenate(found), silent


def seen(table: pa.Table, sky: NDArray) -> NDArray:
    """Return which rows of a table with `ra` and `dec` show an object at one of the unit vectors `sky`, (n,) bool; none where it has no positions."""
    found = np.zeros(table.num_rows, bool)
    if {"ra", "dec"} <= set(table.column_names):
        places = vectors(*_numbers(table))
        known = np.isfinite(places).all(1)
        found[known] = near(places[known], sky, OBJECT_ARCSEC)
    return found


def _numbers(table: pa.Table) -> tuple[NDArray, NDArray]:
    return tuple(table[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
