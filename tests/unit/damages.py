"""What happens to files on their way to a reader: each damage changes a good file in place, its folder, or how it opens."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import fitsio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table, vstack

Damage = Callable[[Path], None]

WEB_PAGE = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head><body><p>Please log in, then try again.</p></body></html>\n"
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
#: A PNG image of one pixel: whole, and of none of the formats that are read here.
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000 1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
#: What macOS leaves beside a file on foreign disks, as `._NAME`.
APPLE_DOUBLE = bytes.fromhex("00051607000200004d6163204f5320582020202020202020") + bytes(40)
TEXT = (".csv", ".json", ".yaml", ".sha1sum")


# --- every file --------------------------------------------------------------------------------


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(share: float) -> Damage:
    """Leave the first part of a file; of a text, up to the middle of a row, so that it can be told at all."""

    def damage(path: Path) -> None:
        content = path.read_bytes()
        stop = int(len(content) * share)
        if path.suffix in TEXT:
            marks = (b"  ",) if path.suffix == ".sha1sum" else (b",", b":", b"{", b"[")
            stop = max(content.rfind(mark, 0, stop) for mark in marks)
        path.write_bytes(content[:stop])

    return damage


def replaced_by(content: bytes) -> Damage:
    return lambda path: (path.write_bytes(content), None)[1]


def wrong_encoding(path: Path) -> None:
    """Put a letter of Latin-1 into a text; of a binary file, make the UTF-8 that a transfer as text makes."""
    content = path.read_bytes()
    middle = content.find(b"\n", len(content) // 2) + 1 if path.suffix == ".csv" else len(content) // 2
    text = content[:middle] + b"\xe9" + content[middle:]
    path.write_bytes(text if path.suffix in TEXT else content.decode("latin-1").encode())


def overwritten(path: Path) -> None:
    """Put other bytes over a sixth of a file, about its middle: what opens well and fails in reading."""
    content = bytearray(path.read_bytes())
    start, count = int(len(content) * 0.42), max(len(content) // 6, 1)
    content[start : start + count] = np.random.default_rng(3).bytes(count)
    path.write_bytes(bytes(content))


def hidden_neighbours(path: Path) -> None:
    """Leave what systems, editors and dead jobs leave beside files."""
    for name in (f"._{path.name}", f".{path.name}.partial", f"_{path.name}"):
        (path.parent / name).write_bytes(APPLE_DOUBLE)
    dead = path.parent / "_temporary" / "0"
    dead.mkdir(parents=True)
    (dead / path.name).write_bytes(APPLE_DOUBLE)


def link_to(target: str) -> Damage:
    def damage(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return damage


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


#: By name; those that need the test's help are marked None: `open` refuses the file.
EVERYWHERE: dict[str, Damage | None] = {
    "empty": empty,
    "cut in half": cut(0.5),
    "cut at its end": cut(0.9),
    "web page": replaced_by(WEB_PAGE),
    "Git LFS pointer": replaced_by(POINTER),
    "another format": replaced_by(PICTURE),
    "wrong encoding": wrong_encoding,
    "overwritten": overwritten,
    "hidden neighbours": hidden_neighbours,
    "dangling link": link_to("nowhere"),
    "folder in its place": folder,
    "failing disk": link_to("/proc/self/mem"),  # opens, and every read of its beginning fails with EIO
    "no permission": None,
}
#: Those that each reader's own format decides about.
OF_CONTENT = ("wrong type", "not a number", "twice")


def refuse_to_open(path: Path, monkeypatch) -> None:
    """Make opening a file from Python fail as for another user's file: root may read everything."""
    real, real_os = io.open, os.open

    def wanted(file) -> bool:
        return isinstance(file, str | os.PathLike) and os.path.realpath(file) == os.path.realpath(path)

    def refusing(function):
        def opening(file, *arguments, **named):
            if wanted(file):
                raise PermissionError(errno.EACCES, "Permission denied", str(file))
            return function(file, *arguments, **named)

        return opening

    monkeypatch.setattr("builtins.open", refusing(real))
    monkeypatch.setattr("io.open", refusing(real))
    monkeypatch.setattr("os.open", refusing(real_os))


# --- content, by format ------------------------------------------------------------------------


def of_fits_table(number: str, hdu: int | str = 1) -> dict[str, Damage]:
    """A column of numbers as words, one of its values NaN, the first row twice."""

    def damage(change: Callable[[Table], Table]) -> Damage:
        def apply(path: Path) -> None:
            with fits.open(path, memmap=False) as hdus:
                hdus = fits.HDUList([h.copy() for h in hdus])
            hdus[hdu] = fits.BinTableHDU(change(Table(hdus[hdu].data)), name=hdus[hdu].name)
            hdus.writeto(path, overwrite=True)

        return apply

    return {
        "wrong type": damage(lambda t: _column(t, number, np.full(len(t), "many"))),
        "not a number": damage(lambda t: _column(t, number, _with_nan(np.array(t[_name(t, number)])))),
        "twice": damage(lambda t: vstack([t, t[:1]])),
    }


def _name(table: Table, number: str) -> str:
    return next(n for n in table.colnames if n.upper() == number.upper())


def _column(table: Table, number: str, values: np.ndarray) -> Table:
    table = table.copy()
    table.replace_column(_name(table, number), values)
    return table


def _with_nan(values: np.ndarray) -> np.ndarray:
    values = values.astype(values.dtype if values.dtype.kind == "f" else float)
    values[0] = np.nan
    return values


def of_fits_images(name: str | int, pixel: tuple[int, ...]) -> dict[str, Damage]:
    """A table in an image's place, a pixel NaN, the image once more at the file's end with other values."""

    def damage(change: Callable[[fits.HDUList], None]) -> Damage:
        def apply(path: Path) -> None:
            with fits.open(path, memmap=False) as hdus:
                hdus = fits.HDUList([h.copy() for h in hdus])
            change(hdus)
            hdus.writeto(path, overwrite=True)

        return apply

    def table(hdus: fits.HDUList) -> None:
        if name == 0:
            hdus[0] = fits.PrimaryHDU()
            hdus.append(fits.BinTableHDU(Table({"many": ["words"]})))
        else:
            hdus[name] = fits.BinTableHDU(Table({"many": ["words"]}), name=hdus[name].name)

    def nan(hdus: fits.HDUList) -> None:
        hdus[name].data = hdus[name].data.astype(np.float32)
        hdus[name].data[pixel] = np.nan

    def again(hdus: fits.HDUList) -> None:
        hdus.append(fits.ImageHDU(hdus[name].data * 3 + 1, hdus[name].header.copy() if name != 0 else None, name=hdus[name].name))

    return {"wrong type": damage(table), "not a number": damage(nan), "twice": damage(again)}


def of_compressed_image(pixel: tuple[int, int]) -> dict[str, Damage]:
    """The same of a tile-compressed image, in HDU 1."""

    def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], again: bool = False) -> None:
        with fitsio.FITS(str(path)) as file:
            image, header = file[1].read(), file[1].read_header()
        cards = {k: header[k] for k in header if k.startswith(("CTYPE", "CRVAL", "CRPIX", "CD"))}
        with fitsio.FITS(str(path), "rw", clobber=True) as file:
            file.write(None)
            file.write(change(image), compress="GZIP", qlevel=None, header=cards)
            if again:
                file.write(image * 3 + 1, compress="GZIP", qlevel=None, header=cards)

    def nan(image: np.ndarray) -> np.ndarray:
        image[pixel] = np.nan
        return image

    return {
        "wrong type": lambda path: fitsio.write(str(path), np.array([("words",)], [("many", "S8")]), clobber=True),
        "not a number": lambda path: rewrite(path, nan),
        "twice": lambda path: rewrite(path, lambda image: image, again=True),
    }


def of_parquet(number: str) -> dict[str, Damage]:
    """A column of numbers as words, one of its values NaN (or missing), the first row twice."""

    def damage(change: Callable[[pa.Table], pa.Table]) -> Damage:
        def apply(path: Path) -> None:
            for file in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
                pq.write_table(change(pq.read_table(file)), file)

        return apply

    def put(table: pa.Table, values: pa.Array) -> pa.Table:
        place = table.column_names.index(number)
        return table.set_column(place, table.schema.field(number).with_type(values.type).with_nullable(True), values)

    def nan(table: pa.Table) -> pa.Table:
        kind = table.schema.field(number).type
        first = float("nan") if pa.types.is_floating(kind) else None
        return put(table, pa.array([first, *table[number].to_pylist()[1:]], kind))

    return {
        "wrong type": damage(lambda t: put(t, pa.array(["many"] * len(t)))),
        "not a number": damage(nan),
        "twice": damage(lambda t: pa.concat_tables([t, t.slice(0, 1)])),
    }


def of_csv(number: str) -> dict[str, Damage]:
    """The same of a table in CSV, its separators kept."""

    def damage(change: Callable[[list[dict]], list[dict]]) -> Damage:
        def apply(path: Path) -> None:
            rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
            out = io.StringIO()
            writer = csv.DictWriter(out, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(change(rows))
            path.write_text(out.getvalue(), encoding="utf-8")

        return apply

    return {
        "wrong type": damage(lambda rows: [rows[0] | {number: "many"}, *rows[1:]]),
        "not a number": damage(lambda rows: [rows[0] | {number: "nan"}, *rows[1:]]),
        "twice": damage(lambda rows: [*rows, rows[0]]),
    }


def of_npz(number: str) -> dict[str, Damage]:
    """An array of words, a value NaN, an array twice under its name."""

    def damage(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
        def apply(path: Path) -> None:
            with np.load(path) as file:
                arrays = {name: file[name] for name in file.files}
            np.savez(path, **(arrays | {number: change(arrays[number])}))

        return apply

    def again(path: Path) -> None:
        with np.load(path) as file:
            array = file[number]
        stream = io.BytesIO()
        np.save(stream, np.zeros_like(array))
        with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
            warnings.simplefilter("ignore")  # zipfile says that the name is there already
            archive.writestr(f"{number}.npy", stream.getvalue())

    return {
        "wrong type": damage(lambda a: np.full(a.shape, "many")),
        "not a number": damage(_middle_nan),
        "twice": again,
    }


def of_npy() -> dict[str, Damage]:
    """Words, and a value NaN; one array has no second."""
    return {
        "wrong type": lambda path: np.save(path, np.full((5, 5), "many")),
        "not a number": lambda path: np.save(path, _middle_nan(np.load(path))),
    }


def _middle_nan(array: np.ndarray) -> np.ndarray:
    array = np.array(array, float)
    array[tuple(n // 2 for n in array.shape)] = np.nan
    return array


def of_json(key: str) -> dict[str, Damage]:
    """A list in the place of all, a number NaN, a key twice with another value."""

    def nan(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: float("nan")}), encoding="utf-8")

    def again(path: Path) -> None:
        text = path.read_text(encoding="utf-8").rstrip()
        path.write_text(text.removesuffix("}") + f', "{key}": 3}}\n', encoding="utf-8")

    return {
        "wrong type": lambda path: (path.write_text("[1, 2, 3]\n", encoding="utf-8"), None)[1],
        "not a number": nan,
        "twice": again,
    }


def copied(source: Path, target: Path) -> Path:
    """Copy a file into a folder of its own and return it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    return target
