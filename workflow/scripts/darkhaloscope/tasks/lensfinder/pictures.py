"""Stamps of a lens-finder dataset to look at: which ones, and the file that carries them to the page."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...config.subhalo import SPLITS
from ...core.files import whole
from ...core.random import row_keys, stable_hash
from ...core.tables import images
from .schema import BANDS

#: Stamps in each row of pictures.
PICTURES = 12


class PicturesError(ValueError):
    """A file of pictures is missing or not what `write_pictures` leaves."""


@dataclass(frozen=True)
class Pictures:
    """Stamps to look at: (n, 3, size, size) nanomaggies, one caption each."""

    title: str
    images: NDArray[np.float32]
    captions: tuple[str, ...]


def pick_pictures(table: pd.DataFrame, shards: Mapping[str, Sequence[str | os.PathLike]], size: int) -> list[Pictures]:
    """Pick random positives and controls, and the positives with the brightest and the faintest arcs, of the test split if there is one.

    Parameters
    ----------
    table : scalars of all stamps, with the `path` of their shard and their `row` in it
    shards : paths of the shards of each split
    size : pixels on a side of a stamp
    """
    split = next(s for s in reversed(SPLITS) if shards.get(s))
    ok = table[(table["split"] == split) & table["cutout_ok"]]
    ok = ok.iloc[np.argsort(row_keys(ok["number"].to_numpy(), np.full(len(ok), stable_hash("pictures"), np.uint64)), kind="stable")]
    positive = ok[ok["label"] == 1]
    by_snr = positive.sort_values("arc_snr", kind="stable")
    groups = (
        ("Random positives", positive.head(PICTURES)),
        ("Random controls", ok[ok["label"] == 0].head(PICTURES)),
        ("Brightest arcs", by_snr.tail(PICTURES).iloc[::-1]),
        ("Faintest arcs", by_snr.head(PICTURES)),
    )
    return [
        Pictures(f"{title}, {split}", _fetch(rows, size), tuple(map(_caption, rows.to_dict("records"))))
        for title, rows in groups
        if len(rows)
    ]


def _fetch(rows: pd.DataFrame, size: int) -> NDArray[np.float32]:
    out = np.zeros((len(rows), len(BANDS), size, size), np.float32)
    for path, group in rows.assign(place=np.arange(len(rows))).groupby("path", observed=True):
        with pq.ParquetFile(str(path)) as file:
            starts = np.cumsum([0] + [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)])
            for row, place in zip(group["row"], group["place"], strict=True):
                g = int(np.searchsorted(starts, row, side="right")) - 1
                column: pa.Table = file.read_row_group(g, columns=["image"])
                out[place] = images(column.slice(int(row - starts[g]), 1), "image")[0]
    return out


def _caption(row: dict) -> str:
    if row["label"] == 0:
        kind = row["contaminant_class"]
        return f"r {row['mag_r']:.1f}" + (f", {kind}" if isinstance(kind, str) else "")
    return f"θ_E {row['theta_e_arcsec']:.2f}″, r {row['mag_r']:.1f}, arc S/N {row['arc_snr']:.1f}"


def write_pictures(path: str | os.PathLike, pictures: Sequence[Pictures]) -> None:
    """Write pictures as one compressed NPZ file, whole: titles, and the images and captions of each."""
    arrays = {"titles": np.array([p.title for p in pictures], str)}
    for n, group in enumerate(pictures):
        arrays |= {f"images_{n}": group.images, f"captions_{n}": np.array(group.captions, str)}
    with whole(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_pictures(path: str | os.PathLike) -> list[Pictures]:
    """Read what `write_pictures` wrote.

    Raises
    ------
    PicturesError
        The file is missing, truncated or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            titles = file["titles"].tolist()
            return [Pictures(title, file[f"images_{n}"], tuple(file[f"captions_{n}"].tolist())) for n, title in enumerate(titles)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise PicturesError(f"{path}: expected the pictures of a dataset ({error}); delete it and run again") from error
