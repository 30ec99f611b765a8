"""Many cutouts in one file: an NPZ whose arrays have a row per object, or a Parquet table.

NPZ files hold `image` (or `images`, `cutout`), (objects, bands, size, size) or bands last, and where they are known the
arrays that `surveys.folder` names, each with a row per object (or one value for all); `id`, `name` or `stamp_id` name the objects. Parquet tables
have these as columns, images as tensors or lists of numbers.
"""

from __future__ import annotations

import logging
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
from ..core.tables import PARQUET, tensors
from .folder import IMAGES, MAX_SIDE, NAMES, PICTURE, PIXELS, CutoutError, FolderOfCutouts, Found
from .said import BAND_KEYS, BAND_WORDS, SAID, as_text, band_of, said_key

log = logging.getLogger("darkhaloscope")

#: Rows of a table in memory at a time.
PART = 64


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
    return name is None or (np.ndim(name) == 0 and (name != name or name in ("", b"")))


def name_of(value: object, path: str | os.PathLike) -> str:
    """Return the name that a cell holds, as text: a whole number that was made a float where others were missing is that number.

    Raises
    ------
    CutoutError
        It is several values, or a float that does not keep the digits of an identifier.
    """
    if isinstance(value, list | tuple | dict | np.ndarray):
        raise CutoutError(f"{path}: a cutout's name is {value!r}, expected one text or number for each cutout; write it so")
    if isinstance(value, float | np.floating):
        exact = 2 ** (np.finfo(value.dtype if isinstance(value, np.floating) else float).nmant + 1)
        if not abs(value) < exact:
            raise CutoutError(
                f"{path}: a cutout's name is {value}, whose last digits a float does not keep, expected text or whole numbers; write identifiers as integers or as text"
            )
        return str(int(value)) if value == int(value) else str(value)
    return as_text(value)


class _Rows(FolderOfCutouts):
    """Cutouts that are the rows of one file."""

    def __init__(self, settings: Labelled, names: Sequence[object] | None, count: int) -> None:
        self.settings, self.bands = settings, settings.bands
        self.pixel_scale_arcsec, self.zero_point = settings.pixel_scale_arcsec, settings.zero_point
        if names is None:
            log.warning("%s: nothing is called %s, so cutouts are numbered from 0 in the file's order", settings.path, ", ".join(NAMES))
            names = range(count)
        lost = sum(nameless(name) for name in names)
        if lost:
            raise CutoutError(f"{settings.path}: {lost} of {count} cutouts have no name, expected one for each; write them")
        given = [name_of(name, settings.path) for name in names]
        twice = [name for name, many in Counter(given).items() if many > 1]
        if twice:
            raise CutoutError(
                f"{settings.path}: {len(twice)} names come more than once, such as {twice[0]}, expected each once; give each object a name of its own"
            )
        if not given:
            raise CutoutError(f"{settings.path}: expected a row for each cutout, found none; write it again")
        self._rows = {name: row for row, name in enumerate(given)}
        self._files = {name: [Path(settings.path)] for name in given}
        self._places, self._unread = None, set()

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
        self.settings, path = settings, Path(settings.path)
        with readable(path, "cutouts as NPZ or Parquet", "write it again", CutoutError):
            arrays = self._renamed(read_npz(path.read_bytes()))
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
            if said_key(k) in SAID
            and (
                (v.size == 1 and v.ndim < 2) or (said_key(k) in (*BAND_KEYS, *BAND_WORDS) and v.ndim == 1 and band_of(v[0], settings.bands))
            )
        }
        read = [k for k in arrays if k in (*PIXELS, *NAMES, settings.label) or said_key(k) in SAID]
        if lost := [f"{k} {arrays[k].shape}" for k in read if k not in once and (not arrays[k].ndim or len(arrays[k]) != count)]:
            raise CutoutError(f"{path}: expected a row for each of the {count} cutouts, found {', '.join(lost)}; write it again")
        self._once, self._arrays = once, {k: v for k, v in arrays.items() if k not in once and v.ndim and len(v) == count}
        super().__init__(settings, next((self._arrays[k] for k in NAMES if k in self._arrays), None), count)

    def _row(self, row: int) -> Mapping[str, NDArray]:
        return self._once | {name: values[row] for name, values in self._arrays.items()}


class TableOfCutouts(_Rows):
    """The rows of a Parquet table, a few in memory at a time: writers may put all of them into one row group."""

    def __init__(self, settings: Labelled) -> None:
        self.settings, path = settings, Path(settings.path)
        with readable(path, "cutouts as a Parquet table", "write it again", CutoutError), pq.ParquetFile(path) as file:
            schema, count = file.schema_arrow, file.metadata.num_rows
            columns = {self._key(n, schema.names): n for n in schema.names}
            name = next((columns[n] for n in NAMES if n in columns), None)
            column = file.read(columns=[name])[name] if name else None
            # Floats as they are: Python's would hide what single precision has lost.
            given = None if column is None else column.to_numpy() if pa.types.is_floating(column.type) else column.to_pylist()
        if not any(key in columns for key in IMAGES):
            raise CutoutError(f"{path}: expected a column {' or '.join(IMAGES)}, found {', '.join(schema.names)}; rename it")
        self._columns = {key: n for key, n in columns.items() if key in (*PIXELS, settings.label) or said_key(n) in SAID}
        unread = [n for n in schema.names if n not in self._columns.values() and _holds_pixels(schema.field(n).type)]
        if unread:
            log.warning("%s: %s passed over; noise and masks are read from %s", path, ", ".join(unread), ", ".join(PIXELS[3:]))
        self._first, self._part, self._parts = 0, None, iter(())
        super().__init__(settings, given, count)

    def _row(self, row: int) -> Mapping[str, NDArray]:
        table, within = self._rows_about(row), row - self._first
        with readable(f"{self.settings.path}, row {row}", "images as numbers, bands × size × size", "write the table again", CutoutError):
            return {key: self._values(table.column(name), within, key) for key, name in self._columns.items()}

    def _rows_about(self, row: int) -> pa.Table:
        """Return the rows among which one is, the first of them row `_first`; rows are mostly asked for in order."""
        with readable(self.settings.path, "cutouts as a Parquet table", "write it again", CutoutError):
            if self._part is None or row < self._first:
                file = pq.ParquetFile(self.settings.path, buffer_size=1 << 20, pre_buffer=False)  # or else a row group is read whole
                self._first, self._part, self._parts = 0, None, file.iter_batches(PART, columns=[*self._columns.values()])
            while self._part is None or row >= self._first + self._part.num_rows:
                self._first += 0 if self._part is None else self._part.num_rows
                self._part = pa.Table.from_batches([next(self._parts)])
            return self._part

    def _values(self, column: pa.ChunkedArray, row: int, name: str) -> NDArray | float | None:
        cell = column[row]
        if isinstance(column.type, pa.FixedShapeTensorType) and cell.is_valid:
            return tensors(column.chunk(0)[row : row + 1])[0]
        if name not in PIXELS or not cell.is_valid:
            return cell.as_py()
        if not pa.types.is_nested(column.type):
            raise TypeError(f"{name} holds {column.type}")
        if name in IMAGES and (leaf := _leaf(column.type)) in (pa.int8(), pa.uint8(), pa.bool_()):
            raise CutoutError(f"{self.settings.path}: {PICTURE.format(leaf)}")
        values = np.array(cell.as_py(), float)
        if values.ndim == 1:  # a list of all pixels, bands first
            side = round((len(values) / len(self.bands)) ** 0.5)
            if side > MAX_SIDE or side * side * len(self.bands) != len(values):
                raise ValueError(f"{name} has {len(values)} numbers")
            return values.reshape(len(self.bands), side, side)
        return values


def _holds_pixels(kind: pa.DataType) -> bool:
    """Say whether a column may hold images: tensors, and lists of numbers."""
    leaf = _leaf(kind)
    return isinstance(leaf, pa.FixedShapeTensorType) or (leaf != kind and (pa.types.is_floating(leaf) or pa.types.is_integer(leaf)))


def _leaf(kind: pa.DataType) -> pa.DataType:
    """Return the type of the single values of a list, or of a list of lists."""
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return kind
