"""Stamps of a dataset to look at: which ones, and the file that carries them to its page."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..config.subhalo import SPLITS
from ..core.files import whole
from ..core.random import row_keys, stable_hash
from ..core.reading import read_npz, readable
from ..core.tables import images, parquet_errors
from .pieces import Stamps, joined
from .seen import Images, Seen

#: Stamps in each row of pictures.
PICTURES = 12


class PicturesError(ValueError):
    """A file of pictures is missing or not what `write_pictures` leaves."""


@dataclass(frozen=True)
class Pictures:
    """Stamps to look at, one caption each: (n, 3, size, size) in g, r, z, or (n, 2, size, size) of flux and velocity, NaN where there is none."""

    title: str
    images: NDArray[np.float32]
    captions: tuple[str, ...]


def pick_pictures(
    stamps: Stamps,
    shards: Sequence[str | os.PathLike],
    seen: Seen,
    planes: Callable[[Images], NDArray],
    caption: Callable[[dict], str],
    ranked: tuple[str, str, str],
) -> list[Pictures]:
    """Pick random positives and controls, and the first and last positives by a column, of the test split if there is one.

    Parameters
    ----------
    shards : of stamps, those of the last split that has some
    seen : says which scalars captions may use, and which image columns are read
    planes, caption, ranked : as in `stamps.checks.Checks`
    """
    split = next(s for s in reversed(SPLITS) if s in stamps.shards)
    if split not in stamps.rows:
        return []  # its shards are empty: a gate says so
    names, kept = [c.name for c in seen.scalars], []
    for path, (_, piece) in zip(shards, stamps.pieces(split), strict=True):
        rows = piece[[*names, "usable"]].assign(path=str(path), row=np.arange(len(piece)))
        candidates = joined([*kept, rows[rows["usable"]]])
        chosen = [index for group in _groups(candidates, ranked).values() for index in group.index]
        kept = [candidates.loc[sorted(set(chosen))]]
    return [
        Pictures(f"{title}, {split}", planes(_fetch(rows, seen.images)).astype(np.float32), tuple(map(caption, rows.to_dict("records"))))
        for title, rows in _groups(kept[0], ranked).items()
        if len(rows)
    ]


def _groups(ok: pd.DataFrame, ranked: tuple[str, str, str]) -> dict[str, pd.DataFrame]:
    """Return the rows of each row of pictures; those of a part of the stamps are among those of the part."""
    ok = ok.iloc[np.argsort(row_keys(ok["number"].to_numpy(), np.full(len(ok), stable_hash("pictures"), np.uint64)), kind="stable")]
    positive = ok[ok["label"] == 1]
    column, first, last = ranked
    by_rank = positive.sort_values(column, kind="stable")
    return {
        "Random positives": positive.head(PICTURES),
        "Random controls": ok[ok["label"] == 0].head(PICTURES),
        first: by_rank.tail(PICTURES).iloc[::-1],
        last: by_rank.head(PICTURES),
    }


def _fetch(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, NDArray]:
    """Return image columns of some rows, in their order; no other row group is read."""
    found: dict[int, dict[str, NDArray]] = {}
    for path, group in rows.assign(place=np.arange(len(rows))).groupby("path", observed=True):
        with parquet_errors(path), pq.ParquetFile(str(path)) as file:
            starts = np.cumsum([0] + [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)])
            groups = np.searchsorted(starts, group["row"], side="right") - 1
            for g in np.unique(groups):
                some = group[groups == g]
                few = file.read_row_group(int(g), columns=list(names)).take(pa.array(some["row"].to_numpy() - starts[g]))
                pixels = {name: images(few, name) for name in names}
                found |= {place: {name: pixels[name][i] for name in names} for i, place in enumerate(some["place"])}
    return {name: np.stack([found[place][name] for place in range(len(rows))]) for name in names}


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
    with readable(path, "the pictures of a dataset", "delete it and run again", PicturesError):
        arrays = read_npz(Path(path).read_bytes())
        found = []
        for n, title in enumerate(arrays["titles"].tolist()):
            found.append(Pictures(title, arrays[f"images_{n}"], tuple(arrays[f"captions_{n}"].tolist())))
            if found[-1].images.dtype.kind != "f":
                raise TypeError(f"images_{n} holds {found[-1].images.dtype}, not numbers")
        return found
