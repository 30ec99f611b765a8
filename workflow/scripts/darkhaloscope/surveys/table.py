"""Many cutouts in one file: an NPZ whose arrays have a row per object, or a Parquet table.

NPZ files hold `image` (or `images`, `cutout`), (objects, bands, size, size) or bands last, and where they are known the
arrays that `surveys.folder` names, each with a row per object (or one value for all); `id`, `name` or `stamp_id` name the objects. Parquet tables
have these as columns, images as tensors or lists of numbers.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..config.cutouts import Labelled
from ..core.reading import read_npz, readable
from ..core.tables import PARQUET
from .folder import MAX_SIDE, PIXELS, CutoutError, FolderOfCutouts, Found
from .said import BAND_KEYS, SAID, as_text, band_names, said_key

IMAGES = ("image", "images", "cutout")
NAMES = ("stamp_id", "id", "name")


def cutouts_of(settings: Labelled) -> FolderOfCutouts:
    """Return the cutouts that the user brings, whether in a folder, an NPZ file of many or a Parquet table.

    Raises
    ------
    CutoutError
        There are none, or they cannot be read.
    """
    path = Path(settings.path)
    if not os.path.isfile(path):  # a Path raises where a folder above it may not be entered
        return FolderOfCutouts(settings)
    if path.name.lower().endswith(PARQUET):
        return TableOfCutouts(settings)
    if path.suffix.lower() != ".npz":
        raise CutoutError(
            f"{path}: expected a folder of cutouts, one NPZ file or one Parquet table of many; give the folder of a FITS file"
        )
    return ArraysOfCutouts(settings)


def nameless(name: object) -> bool:
    """Say whether nothing stands in the place of a name."""
    return name is None or name != name or name in ("", b"")


class _Rows(FolderOfCutouts):
    """Cutouts that are the rows of one file."""

    def __init__(self, settings: Labelled, names: Sequence[object] | None, count: int) -> None:
        self.settings, self.bands = settings, settings.bands
        self.pixel_scale_arcsec, self.zero_point = settings.pixel_scale_arcsec, settings.zero_point
        names = range(count) if names is None else names
        lost = sum(nameless(name) for name in names)
        if lost:
            raise CutoutError(f"{settings.path}: {lost} of {count} cutouts have no name, expected one for each; write them")
        given = [as_text(name) for name in names]
        twice = [name for name, many in Counter(given).items() if many > 1]
        if twice:
            raise CutoutError(
                f"{settings.path}: {len(twice)} names come more than once, such as {twice[0]}, expected each once; give each object a name of its own"
            )
        if not given:
            raise CutoutError(f"{settings.path}: expected a row for each cutout, found none; write it again")
        self._rows = {name: row for row, name in enumerate(given)}
        self._files = {name: [Path(settings.path)] for name in given}
        self._places = None

    def _where(self, name: str) -> str:
        return f"{self.settings.path}, {name}"

    def read(self, name: str) -> Found:
        """Return what the file holds of an object."""
        arrays = self._row(self._rows[name])
        key = next(key for key in IMAGES if key in arrays)
        if arrays[key] is None:
            raise CutoutError(f"{self._where(name)}: {key} is empty, expected an image; write it, or take the row out")
        return self.of_arrays(arrays, key, self._where(name))

    def _row(self, row: int) -> Mapping[str, NDArray]:
        raise NotImplementedError


class ArraysOfCutouts(_Rows):
    """The rows of an NPZ file's arrays."""

    def __init__(self, settings: Labelled) -> None:
        path = Path(settings.path)
        with readable(path, "cutouts as NPZ or Parquet", "write it again", CutoutError):
            arrays = read_npz(path.read_bytes())
        key = next((k for k in IMAGES if k in arrays), None)
        if key is None or arrays[key].ndim != 4:
            found = ", ".join(f"{k} {v.shape}" for k, v in arrays.items()) or "none"
            raise CutoutError(
                f"{path}: expected an array {' or '.join(IMAGES)} of shape (objects, bands, size, size), found {found}; "
                "give the folder where a file holds one object"
            )
        count = len(arrays[key])
        # What is said once is said of all; so are bands, of which there may be as many as objects.
        once = {
            k: v
            for k, v in arrays.items()
            if said_key(k) in SAID and ((v.size == 1 and v.ndim < 2) or (said_key(k) in BAND_KEYS and len(band_names(v[0])) == 1))
        }
        known = {*NAMES, *PIXELS, settings.label}
        if odd := [k for k, v in arrays.items() if k not in once and (k in known or said_key(k) in SAID) and v.shape[:1] != (count,)]:
            raise CutoutError(
                f"{path}: expected a row of {odd[0]} for each of the {count} objects, found the shape {arrays[odd[0]].shape}; write one for each, or leave it out"
            )
        self._once, self._arrays = once, {k: v for k, v in arrays.items() if k not in once and v.ndim and len(v) == count}
        super().__init__(settings, next((self._arrays[k] for k in NAMES if k in self._arrays), None), count)

    def _row(self, row: int) -> Mapping[str, NDArray]:
        return self._once | {name: values[row] for name, values in self._arrays.items()}


class TableOfCutouts(_Rows):
    """The rows of a Parquet table, one row group in memory at a time."""

    def __init__(self, settings: Labelled) -> None:
        path = Path(settings.path)
        with readable(path, "cutouts as a Parquet table", "write it again", CutoutError), pq.ParquetFile(path) as file:
            names, groups = file.schema_arrow.names, [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
            name = next((n for n in NAMES if n in names), None)
            given = file.read(columns=[name])[name].to_pylist() if name else None
        if not any(key in names for key in IMAGES):
            raise CutoutError(f"{path}: expected a column {' or '.join(IMAGES)}, found {', '.join(names)}; rename it")
        self._columns = [n for n in names if n in (*PIXELS, settings.label) or said_key(n) in SAID]
        self._starts = np.cumsum([0, *groups])
        super().__init__(settings, given, sum(groups))

    def _row(self, row: int) -> Mapping[str, NDArray]:
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        table, within = self._group(group), row - int(self._starts[group])
        with readable(f"{self.settings.path}, row {row}", "images as numbers, bands × size × size", "write the table again", CutoutError):
            return {name: self._values(table.column(name), within, name) for name in self._columns}

    @functools.lru_cache(maxsize=1)  # noqa: B019  (one reader per job; rows are read in order)
    def _group(self, group: int) -> pa.Table:
        path = self.settings.path
        with readable(path, "cutouts as a Parquet table", "write it again", CutoutError), pq.ParquetFile(path) as file:
            return file.read_row_group(group, columns=self._columns).combine_chunks()

    def _values(self, column: pa.ChunkedArray, row: int, name: str) -> NDArray | float | None:
        cell = column[row]
        if isinstance(column.type, pa.FixedShapeTensorType):
            return column.chunk(0)[row : row + 1].to_numpy_ndarray()[0]
        if name not in PIXELS or not cell.is_valid:
            return cell.as_py()
        if not pa.types.is_nested(column.type):
            raise TypeError(f"{name} holds {column.type}")
        values = np.array(cell.as_py(), float)
        if values.ndim == 1:  # a list of all pixels, bands first
            side = round((len(values) / len(self.bands)) ** 0.5)
            if side > MAX_SIDE or side * side * len(self.bands) != len(values):
                raise ValueError(f"{name} has {len(values)} numbers")
            return values.reshape(len(self.bands), side, side)
        return values
