"""Stamps made elsewhere, in the layout of this project's earlier tables, as this project's table.

The image of such a table is a compressed NPZ archive in a binary cell. It is untrusted: sizes are checked before
anything is unpacked, and nothing is unpickled.

Conventions are those of `stamps.columns`: `src_*` counts from the lens and the shear is about it, `arc_snr*` lacks the arc's own
noise, as in the earlier tables. A table that counts from the stamp's middle says so (`positions: stamp`) and is converted; an
`arc_snr` of the older definition cannot be, and is left out.
"""

from __future__ import annotations

import io
import logging
import math
import os
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...config.lensfinder import BANDS, ImportedDataset
from ...config.subhalo import SPLITS
from ...core.random import stable_hash
from ...core.tables import Column, ordinary, parquet_files
from ...core.truths import truth
from ...lensing.observe import moffat_from_psfsize
from ...stamps.columns import IDENTITY, source_from_lens
from ...stamps.manifest import NUMBERS_PER_SPLIT
from ..lensfinder.schema import image_column, stamp_schema

log = logging.getLogger("darkhaloscope")

#: Without these a table is refused; where there are two names, either will do.
REQUIRED: tuple[tuple[str, ...], ...] = (
    ("task_id",), ("region_split",), ("ra",), ("dec",), ("brickname",), ("is_control",), ("theta_e_arcsec",), ("src_dmag",), ("src_reff_arcsec",),
    ("psf_fwhm_used_r", "psfsize_r"), ("psfdepth_r",), ("bad_pixel_frac",), ("cutout_ok",), ("stamp_npz",), ("stamp_size",), ("bandset",),
)  # fmt: skip
#: Names that columns had before.
OLDER = {"lensed_hlr_arcsec": "cosmos_hlr_arcsec"}
#: A column that tables have since `arc_snr` is the greatest pixel's S/N; before, it was Σ signal·√invvar / √Σ signal².
NEW_SNR = "arc_snr_sum"
#: A whole number as text; a CSV that held floats has `12.0`.
_WHOLE = re.compile(r"\s*([-+]?[0-9]+)(\.0*)?\s*")
#: Above these not every whole number is a float: identifiers fall together.
MOST_EXACT = {pa.float16(): 2**11, pa.float32(): 2**24, pa.float64(): 2**53}
SPLIT_NAMES = {"val": "validation", "valid": "validation", "dev": "validation", "training": "train", "testing": "test"}
#: Arrays of a cell: one of all bands, or one per band under one of these names.
BAND_KEYS = ("image_{band}", "{band}", "img_{band}", "stamp_{band}")
#: An archive may hold this many arrays, and unpack to this many times the bytes of the image in double precision.
MOST_ARRAYS, MOST_TIMES = 16, 4


class StampImportError(ValueError):
    """A table cannot be imported; the message names what is missing or wrong, and where."""


def import_shard(table: str | os.PathLike, dataset: ImportedDataset, name: str, split: str, shard: int) -> pa.Table:
    """Return one shard of a split of a table made elsewhere, in schema `stamp_schema(size)`.

    The rows of a split are cut into `shard_counts` runs of nearly equal length, in the order of the table.

    Parameters
    ----------
    table : path of a Parquet file, or of a folder of them
    dataset : ImportedDataset
    name : str
        Name of the dataset; stamp ids begin with it.
    split, shard : which shard

    Raises
    ------
    StampImportError
        A file is not readable, a required column is missing (all missing ones are named), a value is missing or not what its
        column holds, a task_id comes twice, the split is empty, an image holds pickled objects, unpacks to too much, or has another shape.
    """
    files = table_files(table)
    names = [find_columns(_read(f, pq.read_schema).names, dataset.columns, f) for f in files]
    place, left = _rows_of_split(files, names, split, dataset)
    total = sum(map(len, place))
    if not total:
        raise StampImportError(f"{table}: no row has region_split {split}; set shard_counts.{split} to 0")
    if left:
        log.warning("%s: %s left out, since shard_counts says 0 for them", table, ", ".join(f"{n} rows of {s}" for s, n in left.items()))
    start, stop = (total * k // dataset.shards(split) for k in (shard, shard + 1))
    parts, passed = [], 0
    for file, found, rows in zip(files, names, place, strict=True):
        mine = rows[max(start - passed, 0) : max(stop - passed, 0)]
        if len(mine):
            parts.append(_import_rows(file, found, mine, passed + max(start - passed, 0), dataset, name, split))
        passed += len(rows)
    return pa.concat_tables(parts)


def table_files(table: str | os.PathLike) -> list[Path]:
    """Return the Parquet files of a table: itself, or those of a folder (`parquet_files`)."""
    path = Path(table)
    files = parquet_files(path) if path.is_dir() else [path]
    broken = [p for p in files if not p.is_file() and p != path]
    if broken:
        raise StampImportError(f"{broken[0]}: expected a Parquet file, found an empty folder or a link to nothing; take it out of {table}")
    if not files or not files[0].is_file():
        raise StampImportError(f"{table}: no Parquet file is there, expected at least one; set `table` to a file, or to a folder of them")
    return files


def find_columns(names: Sequence[str], mapping: Mapping[str, str], path: str | os.PathLike) -> dict[str, str]:
    """Return their name of each of our columns that a table has.

    Raises
    ------
    StampImportError
        Required columns are missing: all of them are named.
    """
    lost = [f"{theirs} (for {ours})" for ours, theirs in mapping.items() if theirs not in names]
    if lost:
        raise StampImportError(f"{path}: `columns` names {', '.join(lost)}, which the table does not have; it has: {', '.join(names)}")
    found = {n: n for n in names}
    found |= {ours: theirs for ours, theirs in OLDER.items() if theirs in names and ours not in names}
    found |= mapping
    missing = [" or ".join(some) for some in REQUIRED if not any(n in found for n in some)]
    if missing:
        raise StampImportError(
            f"{path}: {len(missing)} required columns are missing: {', '.join(missing)}; the table has: {', '.join(names)}. "
            "Where one has another name there, give it in `columns`"
        )
    return found


def read_cell(cell: bytes, size: int, what: str) -> NDArray[np.float32]:
    """Return the image in a cell, (3, size, size) in g, r, z.

    Parameters
    ----------
    cell : bytes of an NPZ archive, with one array (3, size, size), or one (size, size) per band named as in `BAND_KEYS`
    size : pixels on a side
    what : what messages call it

    Raises
    ------
    StampImportError
        Not an archive, too large, pickled objects inside, or other arrays than these.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(cell)) as archive:
            members = archive.infolist()
            limit = MOST_TIMES * len(BANDS) * size * size * 8 + 4096 * MOST_ARRAYS
            if len(members) > MOST_ARRAYS or sum(m.file_size for m in members) > limit:
                raise StampImportError(
                    f"{what}: its archive holds {len(members)} arrays of {sum(m.file_size for m in members)} bytes, "
                    f"at most {MOST_ARRAYS} of {limit} are taken; this is no stamp of {size} pixels"
                )
            arrays = {m.filename.removesuffix(".npy"): _read_array(archive.read(m), what) for m in members}
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise StampImportError(f"{what}: stamp_npz is not a readable NPZ archive ({error}); write the table again") from error
    for keys in ([k.format(band=b) for b in BANDS] for k in BAND_KEYS):
        if all(k in arrays and arrays[k].shape == (size, size) for k in keys):
            return np.stack([arrays[k] for k in keys]).astype(np.float32)
    whole = [a for a in arrays.values() if a.shape == (len(BANDS), size, size)]
    if len(whole) == 1:
        return whole[0].astype(np.float32)
    shapes = ", ".join(f"{k} {a.shape}" for k, a in arrays.items())
    raise StampImportError(
        f"{what}: expected one array of shape {(len(BANDS), size, size)}, or image_g, image_r, image_z of {(size, size)}; found {shapes}"
    )


def _read_array(data: bytes, what: str) -> NDArray:
    """Read one array, after checking that its header claims no more than there is."""
    stream = io.BytesIO(data)
    try:
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
            np.lib.format.read_magic(stream)
        ]
        shape, _, dtype = header(stream)
    except (ValueError, KeyError) as error:
        raise StampImportError(f"{what}: an array of its archive has no readable header ({error}); write the table again") from error
    if dtype.hasobject:
        raise StampImportError(f"{what}: an array of its archive holds objects; pickled objects are never read: write plain numbers")
    if dtype.kind not in "fiu":
        raise StampImportError(f"{what}: an array of its archive holds {dtype}, expected numbers; write the table again")
    if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise StampImportError(f"{what}: an array of its archive says it has shape {shape}, but holds {len(data) - stream.tell()} bytes")
    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)


# --- rows --------------------------------------------------------------------------------------


def _read(path: Path, reader: Callable[..., Any], **options: Any) -> Any:
    """Read from a Parquet file; one that is not readable is named."""
    try:
        return reader(path, **options)
    except (pa.ArrowException, OSError) as error:
        raise StampImportError(f"{path}: expected a Parquet file ({error}); write it again, or take it out of the folder") from error


def _rows_of_split(
    files: Sequence[Path], names: Sequence[Mapping[str, str]], split: str, dataset: ImportedDataset
) -> tuple[list[NDArray[np.int64]], dict[str, int]]:
    """Return the rows of a split in each file, and how many rows belong to splits that are left out."""
    place, left, seen = [], dict.fromkeys(SPLITS, 0), []
    for path, found in zip(files, names, strict=True):
        table = _read(path, pq.read_table, columns=list(dict.fromkeys((found["region_split"], found["task_id"]))))
        said = np.array([_split_name(v) for v in _texts(table.column(found["region_split"]), "region_split", path).to_pylist()], object)
        unknown = {str(v) for v in said if v not in SPLITS}
        if unknown:
            count = int(sum(v not in SPLITS for v in said))
            raise StampImportError(
                f"{path}: region_split holds {', '.join(sorted(unknown)[:5])} in {count} of {len(said)} rows; expected train, val(idation) or test"
            )
        place.append(np.flatnonzero(said == split))
        for name in SPLITS:
            left[name] += 0 if dataset.shards(name) else int((said == name).sum())
        ids = _texts(table.column(found["task_id"]), "task_id", path)
        if ids.null_count:
            raise StampImportError(f"{path}: task_id is missing in {ids.null_count} of {len(ids)} rows; every stamp needs its own")
        seen.append(pd.util.hash_array(ids.to_numpy(), categorize=False))
        different, counts = np.unique(np.concatenate(seen), return_counts=True)
        if len(different) < counts.sum():
            twice = ids.to_pylist()[int(np.flatnonzero(np.isin(seen[-1], different[counts > 1]))[0])]
            raise StampImportError(
                f"{path}: task_id {twice} comes more than once in this table ({int(counts.sum() - len(different))} rows too many), expected once: "
                "a file may be there twice; every stamp needs an id of its own: take the second one out"
            )
    return place, {name: n for name, n in left.items() if n}


def _split_name(value: object) -> str:
    word = "nothing" if value is None else str(value).strip().lower() or "nothing"
    return SPLIT_NAMES.get(word, word)


def _take(path: Path, columns: list[str], rows: NDArray[np.int64]) -> pa.Table:
    """Read some rows, row group by row group."""
    parts, start = [], 0
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            mine = rows[(rows >= start) & (rows < start + count)] - start
            if len(mine):
                table = file.read_row_group(group, columns=columns)
                table = table.cast(pa.schema([field.with_type(ordinary(field.type)) for field in table.schema]))
                parts.append(table.take(pa.array(mine)))
            start += count
    return pa.concat_tables(parts).combine_chunks()


def _import_rows(path: Path, found: dict[str, str], rows: NDArray, first: int, dataset: ImportedDataset, name: str, split: str) -> pa.Table:
    schema = stamp_schema(dataset.stamp_size)
    wanted = [c for c in schema.columns if c.name in found and c not in IDENTITY]
    columns = list(dict.fromkeys([*(found[c.name] for c in wanted), found["stamp_npz"]]))
    theirs = _read(path, _take, columns=columns, rows=rows)
    given = {c.name: _as(theirs.column(found[c.name]), c, path) for c in wanted}
    _check_known(given, path)
    if dataset.positions == "stamp":
        given |= _from_lens(given, path)
    given["label"] = (~np.asarray(given["is_control"], bool)).astype(np.int8)
    _check_bands(given, dataset.stamp_size, path)
    pixels, ok, reason = _pixels(theirs.column(found["stamp_npz"]), given, dataset.stamp_size, path)
    number = first + np.arange(len(rows))
    given |= {
        image_column(dataset.stamp_size).name: pixels,
        "cutout_ok": ok,
        "cutout_reason": reason,
        "stamp_id": [f"{name}-{split}-{i:09d}" for i in number.tolist()],
        "number": SPLITS.index(split) * NUMBERS_PER_SPLIT + number,
        "split": [split] * len(rows),
        "region_split": [split] * len(rows),
    }
    _widths(given)
    if found.get(NEW_SNR) is None and "arc_snr" in given:
        log.warning("%s: its arc_snr is of an older definition and is left out", path)
        given["arc_snr"] = np.full(len(rows), np.nan)
    return schema.table({c.name: given[c.name] if c.name in given else _absent(c, given, name) for c in schema.columns})


def _pixels(cells: pa.ChunkedArray, given: dict, size: int, path: Path) -> tuple[NDArray, NDArray, list[str | None]]:
    """Images, and which of them can be used: not those with pixels that are not finite."""
    ok = np.array(given["cutout_ok"], bool)
    reason: list[str | None] = [None if k else "not ok in the imported table" for k in ok]
    out = np.zeros((len(ok), len(BANDS), size, size), np.float32)
    for i in np.flatnonzero(ok):
        cell = cells[int(i)].as_py()
        if cell is None:
            ok[i], reason[i] = False, "no image in the imported table"
            continue
        if not isinstance(cell, bytes):
            raise StampImportError(
                f"{path}: column stamp_npz holds {cells.type}, expected an NPZ archive as bytes in each row; write it so"
            )
        image = read_cell(cell, size, f"{path}, task_id {given['task_id'][i]}")
        bad = int((~np.isfinite(image)).sum())
        if bad:
            ok[i], reason[i] = False, f"{bad} pixels are not finite"
        else:
            out[i] = image
    dropped = sum("finite" in (r or "") for r in reason)
    if dropped:
        log.warning(
            "%s: %d of %d images hold pixels that are not finite although cutout_ok is set; they are dropped", path, dropped, len(ok)
        )
    return out, ok, reason


def _check_bands(given: dict, size: int, path: Path) -> None:
    sizes, bands = {int(s) for s in given["stamp_size"]}, {str(b) for b in given["bandset"]}
    if sizes != {size} or bands != {"".join(BANDS)}:
        raise StampImportError(
            f"{path}: stamps of size {', '.join(map(str, sorted(sizes)))} in bands {', '.join(sorted(bands))}; "
            f"expected {size} (the dataset's stamp_size) and {''.join(BANDS)}"
        )


def _widths(given: dict) -> None:
    if "psf_fwhm_used_r" not in given:
        given["psf_fwhm_used_r"] = moffat_from_psfsize(np.asarray(given["psfsize_r"], float))
    if "theta_over_psf" not in given:
        given["theta_over_psf"] = np.asarray(given["theta_e_arcsec"], float) / np.asarray(given["psf_fwhm_used_r"], float)
    given["theta_e_arcsec"] = np.where(given["is_control"], 0.0, np.asarray(given["theta_e_arcsec"], float))


def _as(column: pa.ChunkedArray, ours: Column, path: Path) -> object:
    """Values in the type of our column; nothing is guessed, and nothing missing becomes a value.

    Raises
    ------
    StampImportError
        A value is missing that must be there, or is not what the column holds.
    """
    kind = column.type
    # Older writers do not say that bytes are text.
    as_text = any(said(kind) for said in (pa.types.is_dictionary, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_nested))
    values = _texts(column, ours.name, path).to_pylist() if as_text else column.to_pylist()
    missing = np.array([v is None or v != v for v in values], bool)
    if missing.any() and not ours.nullable and not ours.dtype.startswith("float"):
        raise StampImportError(
            f"{path}: column {ours.name} is missing in {int(missing.sum())} of {len(values)} rows (row {_first(missing)} first), expected in all; write it, or leave them out"
        )
    if ours.dtype == "string":
        return [None if v is None else str(v) for v in values]
    if ours.dtype == "bool":
        return [None if m else _truth(v, ours.name, path) for v, m in zip(values, missing, strict=True)]
    if ours.dtype.startswith("int"):
        if lost := [v for v in values if abs(v) > MOST_EXACT[kind]] if kind in MOST_EXACT else []:
            raise StampImportError(
                f"{path}: column {ours.name} holds {lost[0]!r}, whose last digits a {kind} does not keep, expected whole numbers; write them as integers or as text"
            )
        return np.array([_whole(v, ours, path) for v in values], ours.dtype)
    try:
        return column.cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise StampImportError(f"{path}: column {ours.name} holds {kind}, expected numbers ({error}); write them as numbers") from error


def _texts(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    """Return a column as text."""
    try:
        return column.cast(pa.string())
    except pa.ArrowException as error:
        raise StampImportError(
            f"{path}: column {name} holds {column.type}, expected one text or number in each row ({error}); write it so"
        ) from error


def _truth(value: object, name: str, path: Path) -> bool:
    """Return what a value says, as a boolean, 0 or 1, or a word for them."""
    known = truth(value) if isinstance(value, str) else value if value in (0, 1) else None
    if known is None:
        raise StampImportError(f"{path}: column {name} holds {value!r}, expected true or false (or 1 and 0, yes and no); write one of them")
    return bool(known)


def _whole(value: object, ours: Column, path: Path) -> int:
    """Return a whole number; an identifier that is a word, or is too large, becomes its hash."""
    text = _WHOLE.fullmatch(str(value))
    limits = np.iinfo(ours.dtype)
    if text and limits.min <= int(text[1]) <= limits.max:
        return int(text[1])
    if ours.dtype == "int64" and (text or isinstance(value, str)):
        return stable_hash(str(value)) >> 1
    raise StampImportError(
        f"{path}: column {ours.name} holds {value!r}, expected whole numbers from {limits.min} to {limits.max}; write these"
    )


def _first(rows: NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(rows)[0])


def _check_known(given: dict, path: Path) -> None:
    """Raise where a stamp has no place on the sky, or a positive no Einstein radius: identifiers and strata are made of them."""
    control = np.asarray(given["is_control"], bool)
    everyone = np.ones(len(control), bool)
    for name, needed in (("ra", everyone), ("dec", everyone), ("theta_e_arcsec", ~control)):
        lost = needed & ~np.isfinite(np.asarray(given[name], float))
        if lost.any():
            raise StampImportError(
                f"{path}: column {name} is missing or not finite in {int(lost.sum())} of {int(needed.sum())} rows that need it, expected a number "
                "in each; write it, or leave these rows out"
            )
    # Signs for no measurement, such as -99, are finite numbers, too.
    for name, needed, low, high in (("ra", everyone, 0, 360), ("dec", everyone, -90, 90), ("theta_e_arcsec", ~control, 0, np.inf)):
        values = np.asarray(given[name], float)
        wrong = needed & ((values < low) | (values > high))
        if wrong.any():
            raise StampImportError(
                f"{path}: column {name} holds {values[wrong][0]:g} (row {_first(wrong)} first, {int(wrong.sum())} rows), expected {low} to {high} in every row "
                "that needs it; write what is meant, or leave these rows out"
            )


def _from_lens(given: dict, path: Path) -> dict[str, NDArray]:
    """Return the source's place from the lens in a table that counts from the stamp's middle."""
    needed = {"lens_x_arcsec": "host_x_arcsec", "lens_y_arcsec": "host_y_arcsec", "shear": "shear", "shear_phi_rad": "shear_phi_rad"}
    lost = [name for name in (*needed.values(), "src_x_arcsec", "src_y_arcsec") if name not in given]
    if lost:
        raise StampImportError(
            f"{path}: positions `stamp` need columns {', '.join(lost)}, which the table does not have; set `positions: lens`"
        )
    columns = {ours: np.asarray(given[theirs], float) for ours, theirs in needed.items()}
    return source_from_lens(columns, np.asarray(given["src_x_arcsec"], float), np.asarray(given["src_y_arcsec"], float))


def _absent(column: Column, given: dict, name: str) -> object:
    """What stands for a column that the table does not have."""
    count = len(given["label"])
    if column.name == "object_id":
        return np.array([stable_hash(f"{ra:.4f}", f"{dec:.4f}") >> 1 for ra, dec in zip(given["ra"], given["dec"], strict=True)], np.int64)
    if column.name == "region_id":
        return np.array([stable_hash(b) >> 1 for b in given["brickname"]], np.int64)
    if column.name in ("metrics_ok", "physics_valid"):
        return given["cutout_ok"]
    if column.name.startswith("sky_sigma"):
        plane = given["image"][:, BANDS.index(column.name[-1])].reshape(count, -1)
        return 1.4826 * np.median(np.abs(plane - np.median(plane, 1, keepdims=True)), 1)
    fixed = {"experiment_id": [name] * count, "replicate": np.zeros(count, np.int32), "pipeline_version": ["imported"] * count}
    if column.name in fixed:
        return fixed[column.name]
    return pa.nulls(count) if column.nullable else np.full(count, np.nan)
