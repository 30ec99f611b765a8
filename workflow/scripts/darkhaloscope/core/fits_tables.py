"""Tables that people bring as FITS: the one table of a file, its columns as Arrow's."""

from __future__ import annotations

import logging
import os
import warnings

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .reading import readable

log = logging.getLogger("darkhaloscope")

#: How the names of such files end, in small letters.
FITS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz")
#: Columns of positions, whose unit counts.
_ANGLES = ("ra", "dec", "raj2000", "dej2000", "decj2000", "ra_deg", "dec_deg", "ra_coord", "dec_coord")
#: Degrees in the units that they come in.
_IN_DEGREES = {"rad": np.degrees(1), "arcsec": 1 / 3600, "arcmin": 1 / 60, **dict.fromkeys(("h", "hr", "hour", "hourangle"), 15.0)}


def is_fits(path: str | os.PathLike) -> bool:
    """Whether a file's name says that it is FITS."""
    return os.fspath(path).lower().endswith(FITS)


def read_fits_table(path: str | os.PathLike, error: type[Exception]) -> pa.Table:
    """Read the one table of a FITS file.

    Text is without blanks around it; nothing of it, NaN, and what the file marks as missing (TNULL) is null. Positions (`ra`, `dec`) in
    radians, hours or arc seconds become degrees. Columns of several numbers in a row are left out, with a word in the log.

    Raises
    ------
    error
        The file is unreadable or truncated, holds no table or several, a column comes twice, or a position is in a unit of something else.
    """
    from astropy.io import fits  # a second to import; most tables are none of these
    from astropy.table import Table

    with readable(path, "a FITS table", "check its permissions, fetch or save it again", error), warnings.catch_warnings():
        # A truncated file is read as far as it goes, with a warning alone.
        warnings.filterwarnings("error", message="(?s).*(truncated|corrupted)")
        with fits.open(path, memmap=False) as hdus:
            tables = [(k, hdu.name) for k, hdu in enumerate(hdus) if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU)) and hdu.columns]
            if len(tables) != 1:
                found = (
                    "no table"
                    if not tables
                    else "tables in the HDUs " + ", ".join(f"{k}{f' ({name})' if name else ''}" for k, name in tables)
                )
                raise error(f"{path}: holds {found}, expected one table; save the one that is meant in a file of its own")
            names = [column.name for column in hdus[tables[0][0]].columns]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise error(f"{path}: column {', '.join(twice)} comes twice, expected each once; rename or drop one")
            warnings.filterwarnings("ignore", message=".*did not parse as fits unit.*")
            table = Table.read(hdus, hdu=tables[0][0], character_as_bytes=False)
            for name in table.colnames:
                unit = str(table[name].unit or "deg").strip().lower()
                if name.lower() not in _ANGLES or unit.startswith("deg"):
                    continue
                if unit not in _IN_DEGREES:
                    raise error(f"{path}: column {name} is in {unit}, expected degrees; save it in degrees, and say so as its unit")
                table[name] = np.ma.asarray(table[name]) * _IN_DEGREES[unit]
                log.info("%s: column %s is in %s, and taken in degrees", path, name, unit)
            several = [name for name in table.colnames if table[name].ndim > 1 or table[name].dtype.kind == "O"]
            if several:
                log.warning("%s: columns %s hold several values in a row, and are left out", path, ", ".join(several))
            kept = [name for name in table.colnames if name not in several]
            return pa.table({name: _column(np.ma.asarray(table[name])) for name in kept})


def _column(values: np.ma.MaskedArray) -> pa.Array:
    """Return a column of one value per row."""
    missing: NDArray = np.ma.getmaskarray(values)
    data = np.ma.getdata(values)
    if data.dtype.kind in "SU":
        text = [str(v.decode("utf-8") if isinstance(v, bytes) else v).strip() for v in data.tolist()]
        return pa.array([None if gone or not t else t for t, gone in zip(text, missing, strict=True)], pa.string())
    # Arrow knows the byte order of this machine alone.
    return pa.array(np.ascontiguousarray(data.astype(data.dtype.newbyteorder("="))), mask=missing)
