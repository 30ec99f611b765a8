"""What both mock archives need: their tables of names and cards, their README, their checksums, whole FITS files."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from astropy.io import fits

from ..core.files import whole, write_text

TEMPLATES = Path(__file__).with_name("templates")
#: Every header says what the file is.
MOCK_CARDS = (("MOCK", True, "Simulated data: not an observation"), ("AUTHOR", "Dark Halo Scope mock archive", ""))
README_NAME, TRUTH_NAME = "README.txt", "mock-truth.fits"


def rows_of(name: str) -> list[dict[str, str]]:
    """Return the rows of one of the CSV files in `templates`."""
    with open(TEMPLATES / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def values_of(rows: Iterable[Mapping[str, str]], key: str, thing: object) -> dict[str, Any]:
    """Return what rows with a column `value` say of a thing: JSON, or after `=` a dotted attribute; rows without one are left out."""
    return {
        row[key]: attrgetter(row["value"][1:])(thing) if row["value"].startswith("=") else json.loads(row["value"])
        for row in rows
        if row["value"]
    }


def make_room(folder: Path, readme: str, old: Iterable[str]) -> None:
    """Write the README, and remove what an earlier mock archive with the same README left, whatever it was made with."""
    text, path = (TEMPLATES / readme).read_text(encoding="utf-8"), folder / README_NAME
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        for name in old:
            shutil.rmtree(folder / name, ignore_errors=True)
    write_text(path, text)


def write_fits(path: Path, hdus: Sequence[fits.PrimaryHDU | fits.ImageHDU | fits.BinTableHDU], level: int | None = None) -> None:
    """Write a FITS file whole, gzipped where a level of compression is given; the same HDUs give the same bytes."""
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    content = buffer.getvalue()
    with whole(path) as temporary:
        temporary.write_bytes(content if level is None else gzip.compress(content, level, mtime=0))


def write_checksums(folder: Path, base: str, paths: Iterable[Path], sums_url: Callable[[str], str], kind: str) -> None:
    """Write the file of sums (`sha1` or `sha256`) of each folder that holds data, where the archive's own rule puts it.

    Parameters
    ----------
    folder : stands for the archive's base address `base`.
    sums_url : address of the file of sums that speaks of an address.
    """
    lines: dict[Path, list[str]] = defaultdict(list)
    for path in paths:
        digest = hashlib.new(kind, path.read_bytes(), usedforsecurity=False).hexdigest()
        lines[place(folder, base, sums_url(base + path.relative_to(folder).as_posix()))].append(f"{digest}  {path.name}\n")
    for path, text in lines.items():
        write_text(path, "".join(sorted(text, key=lambda line: line.split()[1])))


def place(folder: Path, base: str, url: str) -> Path:
    """Return where the file at an address below `base` lies below `folder`."""
    return folder / url.removeprefix(base)
