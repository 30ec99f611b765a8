"""Reading sweep files and brick tables: needed columns alone, in chunks, so that memory stays bounded."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import fitsio
import numpy as np
from numpy.typing import NDArray

from ...archive.fits_files import FitsFileError, open_fits, told
from ...config.legacysurvey import BANDS as STAMP_BANDS

#: Rows of a sweep in memory at a time.
CHUNK_ROWS = 200_000
#: Bands as sweeps and brick tables write them.
BANDS = tuple(band.upper() for band in STAMP_BANDS)
#: What is needed of a band, PSF size apart.
OF_BAND = ("FLUX", "FLUX_IVAR", "MW_TRANSMISSION", "NOBS", "PSFDEPTH")
#: What the parent sample needs of a sweep, PSF sizes apart.
SWEEP_COLUMNS = (
    *("RELEASE", "BRICKID", "BRICKNAME", "OBJID", "TYPE", "RA", "DEC", "EBV", "MASKBITS", "FLUX_W1", "MW_TRANSMISSION_W1"),
    *(f"{name}_{band}" for name in OF_BAND for band in BANDS),
)
TEXT_COLUMNS = ("BRICKNAME", "TYPE")
PSFSIZE_COLUMNS = tuple(f"PSFSIZE_{band}" for band in BANDS)


class SweepError(ValueError):
    """A sweep file or brick table cannot be used; the message names file and columns."""


def read_sweep(
    path: str | os.PathLike, *, psfsize: bool = True, columns: Sequence[str] = SWEEP_COLUMNS, chunk_rows: int = CHUNK_ROWS
) -> Iterator[NDArray]:
    """Give a sweep file chunk by chunk, as structured arrays with upper-case names.

    Parameters
    ----------
    path : path
        Sweep or Tractor catalogue: the first table of a FITS file.
    psfsize : bool
        Whether `PSFSIZE_*` are needed too.
    columns : names
    chunk_rows : int
        Rows in memory at a time.

    Raises
    ------
    SweepError
        Not a FITS table, or columns are missing: names all of them.
    """
    wanted = [*columns, *(PSFSIZE_COLUMNS if psfsize else ())]
    with _open(path) as file:
        table = _table(file, path)
        found = {name.upper(): name for name in table.get_colnames()}
        missing = [name for name in wanted if name not in found]
        if missing:
            raise SweepError(_missing(path, missing, list(found)))
        _check_kinds(table.get_rec_dtype()[0], wanted, path)
        rows = table.get_nrows()
    for start in range(0, rows, chunk_rows):
        # Opened for each chunk: an error of whoever takes the chunk is not the file's.
        with _open(path) as file:
            chunk = _table(file, path)[[found[name] for name in wanted]][start : start + chunk_rows]
        chunk.dtype.names = tuple(name.upper() for name in chunk.dtype.names)
        yield chunk


class BrickTable:
    """Bounds and observing conditions of bricks.

    Parameters
    ----------
    bounds : path of `survey-bricks.fits.gz`
    conditions : path of `survey-bricks-dr10-south.fits.gz`
        Only bricks that both tables have are kept.
    """

    def __init__(self, bounds: str | os.PathLike, conditions: str | os.PathLike) -> None:
        where = _read_table(bounds, ("BRICKNAME", "RA1", "RA2", "DEC1", "DEC2"))
        seen = _read_table(conditions, ("BRICKNAME", *(f"{n}_{b}" for n in ("PSFSIZE", "PSFDEPTH") for b in BANDS)))
        names = _text(seen["BRICKNAME"])
        order = np.argsort(names)
        where = where[np.isin(_text(where["BRICKNAME"]), names)]
        #: Sorted names of the bricks.
        self.names: NDArray[np.str_] = names[order]
        self._conditions = seen[order]
        # Bricks lie in rows of equal declination: sorted by row, then by right ascension, a position is found by bisection.
        rows = np.lexsort((where["RA1"], where["DEC1"]))
        self._where, self._where_names = where[rows], _text(where["BRICKNAME"])[rows]
        self._rows = np.unique(self._where["DEC1"])

    def __contains__(self, name: str) -> bool:
        i = np.searchsorted(self.names, name)
        return bool(i < self.names.size and self.names[i] == name)

    def has(self, names: NDArray) -> NDArray[np.bool_]:
        """Return which names are bricks of the survey."""
        return np.isin(names, self.names)

    def values(self, column: str, names: NDArray) -> NDArray:
        """Return a column of the conditions for bricks by name, NaN for unknown ones."""
        if self.names.size == 0:
            return np.full(len(names), np.nan)
        i = np.minimum(np.searchsorted(self.names, names), self.names.size - 1)
        return np.where(self.names[i] == names, self._conditions[column][i].astype(float), np.nan)

    def brick_at(self, ra: NDArray, dec: NDArray) -> NDArray[np.str_]:
        """Return the brick that holds each position [deg], empty where the survey has none."""
        ra, dec = np.asarray(ra, float) % 360, np.asarray(dec, float)
        out = np.full(ra.shape, "", "U8")
        row = np.searchsorted(self._rows, dec, side="right") - 1
        for i in np.unique(row[row >= 0]):
            mine = np.flatnonzero(row == i)
            bricks = np.flatnonzero(self._where["DEC1"] == self._rows[i])
            k = np.searchsorted(self._where["RA1"][bricks], ra[mine], side="right") - 1
            brick = bricks[np.maximum(k, 0)]
            inside = (k >= 0) & (ra[mine] < self._where["RA2"][brick]) & (dec[mine] < self._where["DEC2"][brick])
            out[mine[inside]] = self._where_names[brick[inside]]
        return out


@contextmanager
def _open(path: str | os.PathLike) -> Iterator[fitsio.FITS]:
    """Open a file for as long as it is read; what is wrong with it is told whenever it shows."""
    try:
        with open_fits(path) as file, told(path):
            yield file
    except FitsFileError as error:
        raise SweepError(str(error)) from None


def _table(file: fitsio.FITS, path: str | os.PathLike) -> fitsio.hdu.TableHDU:
    for hdu in file:
        if hdu.get_exttype() == "BINARY_TBL":
            return hdu
    raise SweepError(f"{path} holds no FITS table, expected a sweep file or brick table; fetch it again, or correct its path")


def _read_table(path: str | os.PathLike, columns: Sequence[str]) -> NDArray:
    with _open(path) as file:
        table = _table(file, path)
        found = {name.upper(): name for name in table.get_colnames()}
        missing = [name for name in columns if name not in found]
        if missing:
            raise SweepError(_missing(path, missing, list(found)))
        _check_kinds(table.get_rec_dtype()[0], columns, path)
        rows = table.read(columns=[found[name] for name in columns])
    rows.dtype.names = tuple(name.upper() for name in rows.dtype.names)
    names = _text(rows["BRICKNAME"])
    if len(np.unique(names)) < len(names):
        first = names[np.isin(names, [n for n, k in zip(*np.unique(names, return_counts=True), strict=True) if k > 1])][0]
        raise SweepError(f"{path}: brick {first} comes twice, expected each once; fetch the table again")
    for name in ("RA1", "RA2", "DEC1", "DEC2"):
        if name in rows.dtype.names and not np.isfinite(rows[name]).all():
            raise SweepError(f"{path}: {name} is not finite in some rows, expected degrees in all; fetch the table again")
    return rows


def _check_kinds(found: np.dtype, columns: Sequence[str], path: str | os.PathLike) -> None:
    """Raise where a column of numbers holds text, or the other way round."""
    for name in found.names:
        if name.upper() in columns and (found[name].base.kind in "SU") != (name.upper() in TEXT_COLUMNS):
            expected = "text" if name.upper() in TEXT_COLUMNS else "numbers"
            raise SweepError(f"{path}: column {name} holds {found[name].base}, expected {expected}; fetch the file again")


def _missing(path: str | os.PathLike, missing: Sequence[str], found: Sequence[str]) -> str:
    named = []
    for name in missing:
        close = difflib.get_close_matches(name, found, n=1, cutoff=0.8)
        named.append(f"{name} (nearest: {close[0]})" if close else name)
    if missing and all(name in PSFSIZE_COLUMNS for name in missing):
        remedy = "those of DR9 and DR10 have them. Set `conditions: bricks` to take PSF sizes from the brick table, or use a later release"
    else:
        remedy = "is it a sweep file of DR8 or later? Fetch it again, or name another release's base address"
    return f"{path} lacks {', '.join(named)}; {remedy}"


def _text(column: NDArray) -> NDArray[np.str_]:
    return np.char.strip(column.astype("U"))
