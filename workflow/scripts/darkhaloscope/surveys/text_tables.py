"""Tables from elsewhere as text, read without guessing: every row has the header's columns, or is refused by its line. FITS tables, too."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import pandas as pd

from ..core.fits_tables import is_fits, read_fits_table
from ..core.reading import absent, in_its_place, readable

SEPARATORS = ("\t", ";", "|", ",")
#: A number with a decimal comma, as spreadsheets write it where the comma separates no columns.
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+(?:[eE][-+]?\d+)?\s*")


class TextTableError(ValueError):
    """A text table cannot be used; the message names file and line."""


def read_text_table(path: Path) -> pd.DataFrame:
    """Read a table with a header line, all columns as text, without blanks around it.

    Lines that begin with `#` before the header, and empty lines, are passed over. The separator is the one of
    tab, semicolon, bar and comma that splits the header into most columns. Where it is not the comma, decimal
    commas become points. A file whose name ends as FITS does is one, its numbers written out in full.

    Raises
    ------
    TextTableError
        Not UTF-8 (or UTF-16 with its mark), no header, a column without a name that holds something, a name that
        comes twice, a row over several lines, or one with more or fewer fields than the header, but for empty ones at its end. Of FITS: as `read_fits_table`.
    """
    if not os.path.isfile(path):  # a Path raises where a folder above it may not be entered
        raise TextTableError(
            f"{path} {absent(path) or 'is a folder'}; expected a file: give the path of a CSV, TSV or FITS table, seen from the working folder"
        )
    if is_fits(path):
        columns = read_fits_table(path, TextTableError).to_pydict()
        return pd.DataFrame({name: ["" if v is None else str(v) for v in values] for name, values in columns.items()}, dtype=str)
    # `splitlines` would end lines at characters that a name may hold, such as U+2028.
    lines = _text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if start is None:
        raise TextTableError(f"{path} is empty; expected a header line and rows: fetch or save it again")
    separator = max(SEPARATORS, key=lambda s: len(next(csv.reader([lines[start]], delimiter=s))))
    try:
        reader = csv.reader(lines[start:], delimiter=separator, skipinitialspace=True, strict=True)
        rows, ends = [], start
        for row in reader:
            begins, ends = ends + 1, start + reader.line_num
            if ends > begins:
                raise TextTableError(
                    f"{path}, line {begins}: a value goes on in line {ends}, expected each row in a line of its own; correct the quote that does not end"
                )
            if any(field.strip() for field in row):
                rows.append((ends, row))
    except csv.Error as error:
        raise TextTableError(f"{path}: not a readable CSV or TSV file ({error}); save it again with a header line") from None
    names = [name.strip() for name in rows[0][1]]
    while names and not names[-1]:
        names.pop()
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TextTableError(f"{path}: the header names {', '.join(repr(n) for n in twice)} twice, expected each column once; rename one")
    if not re.search(r"[A-Za-z]", "".join(names)):
        raise TextTableError(f"{path}, line {rows[0][0]}: expected a header with names of columns, found {lines[start][:80]!r}")
    width, data = len(names), []
    for line, row in rows[1:]:
        if len(row) < width or any(field.strip() for field in row[width:]):
            raise TextTableError(
                f"{path}, line {line}: {len(row)} fields, expected the {width} of the header ({', '.join(names)}); correct the row, "
                "or name its further columns in the header"
            )
        data.append([field.strip() for field in row[:width]])
    if separator != ",":
        data = [[field.replace(",", ".") if _DECIMAL_COMMA.fullmatch(field) else field for field in row] for row in data]
    return pd.DataFrame(data, columns=names, dtype=str)


def _text(path: Path) -> str:
    with readable(path, "a CSV or TSV file", "check its permissions, or fetch or save it again", TextTableError):
        content = path.read_bytes()
    if content[:4] == b"\x89HDF" or content[:2] in (b"PK", b"\x1f\x8b") or content[:6] == b"SIMPLE":
        raise TextTableError(f"{path}: expected a CSV or TSV file as plain text, found a packed or binary file; unpack or save it as text")
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextTableError(f"{path}: not a readable CSV or TSV file in UTF-8 ({error}); save it as UTF-8") from None
    if re.search("[\x00-\x08\ufeff]", text):
        raise TextTableError(f"{path}: not a readable CSV or TSV file, it holds characters that no text has; save it as UTF-8")
    if instead := in_its_place(path):
        raise TextTableError(f"{path}: expected a CSV or TSV file, but {instead}; fetch the table itself")
    return text
