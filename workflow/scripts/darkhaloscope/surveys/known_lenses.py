"""Known lenses and labelled objects: tables from elsewhere, read with their columns checked, and matched by position."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy import units
from astropy.coordinates import SkyCoord
from astropy_healpix import lonlat_to_healpix
from numpy.typing import ArrayLike, NDArray

from ..config.legacysurvey import BANDS, ZERO_POINT
from ..core.positions import SUSPECTED, other_unit
from .legacysurvey.schema import KNOWN_LENSES
from .legacysurvey.sweeps import BrickTable
from .text_tables import TextTableError, read_text_table

log = logging.getLogger("darkhaloscope")

FIELDS = ("name", "ra", "dec", "theta_e_arcsec", "grade", "source")
#: Our field to the columns that may hold it, the first that is there; what a layout does not name, it does not have.
LAYOUTS: dict[str, dict[str, tuple[str, ...]]] = {
    # lenscat 1.1 (Vujeva et al. 2025, Phil. Trans. R. Soc. A 383, 20240168); it has no Einstein radii of its own.
    "lenscat": {
        "name": ("name",),
        "ra": ("RA [deg]", "RA"),
        "dec": ("DEC [deg]", "DEC"),
        "theta_e_arcsec": ("theta_E [arcsec]",),
        "grade": ("grading",),
        "source": ("ref",),
    },
    # The Master Lens Database's table of SLACS lenses.
    "masterlens": {
        "name": ("system_name",),
        "ra": ("ra_coord",),
        "dec": ("dec_coord",),
        "theta_e_arcsec": ("theta_e",),
        "grade": ("lensgrade",),
        "source": ("reference_identifier",),
    },
    # Stein et al. 2022, ApJ 932, 107: new candidates (graded) and training lenses (not graded).
    "stein": {"ra": ("ra",), "dec": ("dec",), "grade": ("grade",)},
}
#: Fields that a table of this layout may lack.
OPTIONAL = {"lenscat": {"theta_e_arcsec"}, "stein": {"grade"}}

#: What a known lens takes from its galaxy in the parent sample.
GALAXY_COLUMNS = ["object_id", "ra", "dec", "brickname", *(f"{name}_{band}" for name in ("mag", "psfsize", "psfdepth") for band in BANDS)]


class CatalogueError(ValueError):
    """A table of lenses or labels cannot be used; the message names file and column."""


def read_known_lenses(path: str | os.PathLike, layout: str = "own", columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read a table of known lenses.

    Parameters
    ----------
    path : path
        CSV or TSV file with a header line, as `read_text_table` reads it.
    layout : str
        One of `LAYOUTS`, or "own" with `columns`.
    columns : mapping
        Our field (`FIELDS`) to the file's column; ra and dec are required.

    Returns
    -------
    frame
        name, ra, dec [deg], theta_e_arcsec (NaN where unknown), grade, source; texts are empty where unknown.

    Raises
    ------
    CatalogueError
        A column is missing (its nearest name is told), or a position is not one.
    """
    path = Path(path)
    table = _read_text(path)
    wanted = {k: (v,) for k, v in (columns or {}).items()} if layout == "own" else LAYOUTS[layout]
    found: dict[str, str] = {}
    for ours, theirs in wanted.items():
        there = next((name for name in theirs if name in table), None)
        if there is None and ours not in OPTIONAL.get(layout, ()):
            raise CatalogueError(_missing(path, theirs, list(table), ours))
        if there is not None:
            found[ours] = there
    if not {"ra", "dec"} <= set(found):
        raise CatalogueError(f"{path}: columns for ra and dec must be named; its columns are {', '.join(table)}")
    if found["ra"] == found["dec"]:
        raise CatalogueError(
            f"{path}: column {found['ra']} is named for both ra and dec, expected one for each; its columns are {', '.join(table)}: correct `columns`"
        )
    out = pd.DataFrame({k: table[found[k]].map(_clean) if k in found else "" for k in ("name", "grade", "source")}, index=table.index)
    for ours, low, high in (("ra", 0.0, 360.0), ("dec", -90.0, 90.0)):
        out[ours] = _degrees(path, table[found[ours]], found[ours], low, high)
    if unit := other_unit(out["ra"], out["dec"]):
        log.warning(SUSPECTED, path, unit)
    out["theta_e_arcsec"] = _radii(path, table[found["theta_e_arcsec"]], found["theta_e_arcsec"]) if "theta_e_arcsec" in found else np.nan
    unnamed = out["name"] == ""
    out.loc[unnamed, "name"] = [_position_name(ra, dec) for ra, dec in zip(out["ra"][unnamed], out["dec"][unnamed], strict=True)]
    return out[list(FIELDS)].reset_index(drop=True)


def read_labels(path: str | os.PathLike) -> pd.DataFrame:
    """Read a table of objects of known kind: columns ra, dec [deg] and class.

    Raises
    ------
    CatalogueError
        A column is missing, or a position is not one.
    """
    path = Path(path)
    table = _read_text(path)
    for name in ("ra", "dec", "class"):
        if name not in table:
            raise CatalogueError(_missing(path, (name,), list(table), name))
    return pd.DataFrame(
        {
            "ra": _degrees(path, table["ra"], "ra", 0.0, 360.0),
            "dec": _degrees(path, table["dec"], "dec", -90.0, 90.0),
            "class": table["class"].map(_clean),
        }
    )


def match(
    ra: ArrayLike, dec: ArrayLike, other_ra: ArrayLike, other_dec: ArrayLike, radius_arcsec: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find each position's nearest neighbour in another table.

    Returns
    -------
    index, separation_arcsec : (n,) arrays
        Row of the other table, −1 where none is within the radius (separation NaN there).
    """
    n = len(np.atleast_1d(ra))
    if n == 0 or len(np.atleast_1d(other_ra)) == 0:
        return np.full(n, -1, np.int64), np.full(n, np.nan)
    here = SkyCoord(np.atleast_1d(ra) * units.deg, np.atleast_1d(dec) * units.deg)
    there = SkyCoord(np.atleast_1d(other_ra) * units.deg, np.atleast_1d(other_dec) * units.deg)
    index, separation, _ = here.match_to_catalog_sky(there)
    distance = separation.to_value(units.arcsec)
    near = distance <= radius_arcsec
    return np.where(near, index, -1).astype(np.int64), np.where(near, distance, np.nan)


def merge_known_lenses(catalogues: Mapping[str, pd.DataFrame], radius_arcsec: float) -> pd.DataFrame:
    """Put catalogues together, each lens once.

    Lenses nearer to each other than the radius are one, within a catalogue as between two. The first row
    stands, and takes the Einstein radius and the grade of a later one where it has none itself; `source` begins
    with the catalogue's name.
    """
    frames = [frame.assign(source=[f"{name}: {s}" if s else name for s in frame["source"]]) for name, frame in catalogues.items()]
    if not frames:
        return pd.DataFrame({k: pd.Series(dtype=float if k in ("ra", "dec", "theta_e_arcsec") else str) for k in FIELDS})
    table = pd.concat(frames, ignore_index=True)
    first = np.arange(len(table))
    sky = SkyCoord(table["ra"].to_numpy() * units.deg, table["dec"].to_numpy() * units.deg)
    a, b, _, _ = sky.search_around_sky(sky, radius_arcsec * units.arcsec)
    # In order of the later row, so that whether the earlier one stands is known.
    for i, j in sorted(zip(a[a < b], b[a < b], strict=True), key=lambda pair: (pair[1], pair[0])):
        if first[i] == i and first[j] == j:
            first[j] = i
    for j in np.flatnonzero(first != np.arange(len(table))):
        i = first[j]
        if np.isnan(table.at[i, "theta_e_arcsec"]):
            table.at[i, "theta_e_arcsec"] = table.at[j, "theta_e_arcsec"]
        if not table.at[i, "grade"]:
            table.at[i, "grade"] = table.at[j, "grade"]
    return table[first == np.arange(len(table))].reset_index(drop=True)


def find_known_lenses(lenses: pd.DataFrame, parent: pa.Table, bricks: BrickTable, nside: int, radius_arcsec: float) -> pa.Table:
    """Find the known lenses that fall on a survey's bricks, and their galaxies in the parent sample.

    Parameters
    ----------
    lenses : frame of `read_known_lenses` or `merge_known_lenses`
    parent : rows of the `PARENT` schema, `GALAXY_COLUMNS` at least
    bricks : BrickTable
    nside : int
    radius_arcsec : float
        Farthest that the lens galaxy may be from the catalogue's position.

    Returns
    -------
    pyarrow.Table
        Rows of the `KNOWN_LENSES` schema, in the order of `lenses`. A lens that no parent galaxy matches keeps the
        catalogue's position, and has the median conditions of its brick.
    """
    galaxies = parent.to_pandas()
    found, distance = match(
        lenses["ra"].to_numpy(float), lenses["dec"].to_numpy(float), galaxies["ra"].to_numpy(), galaxies["dec"].to_numpy(), radius_arcsec
    )
    matched = found >= 0
    own = galaxies.iloc[np.maximum(found, 0)] if len(galaxies) else galaxies.reindex(range(len(lenses)))
    ra, dec = (np.where(matched, own[k].to_numpy(float), lenses[k].to_numpy(float)) for k in ("ra", "dec"))
    names = np.where(matched, own["brickname"].to_numpy(), bricks.brick_at(ra, dec)).astype("U8")
    data = {
        **{k: lenses[k].to_numpy() for k in ("name", "grade", "source")},
        "ra": ra,
        "dec": dec,
        "theta_e_arcsec": lenses["theta_e_arcsec"].to_numpy(np.float32),
        "object_id": np.where(matched, own["object_id"].fillna(-1).to_numpy(np.int64), -1),
        "separation_arcsec": distance.astype(np.float32),
        "brickname": names,
        "healpix": lonlat_to_healpix(ra * units.deg, dec * units.deg, nside, order="nested"),
    }
    for band in BANDS:
        typical = {
            "mag": np.nan,
            "psfsize": bricks.values(f"PSFSIZE_{band.upper()}", names),
            "psfdepth": depth_to_invvar(bricks.values(f"PSFDEPTH_{band.upper()}", names)),
        }
        for key, value in typical.items():
            data[f"{key}_{band}"] = np.where(matched, own[f"{key}_{band}"].to_numpy(float), value).astype(np.float32)
    table = KNOWN_LENSES.table({column.name: data[column.name] for column in KNOWN_LENSES.columns})
    return table.filter(pa.array(names != ""))


def depth_to_invvar(depth: NDArray) -> NDArray:
    """Return the inverse variance of a point source's flux [nanomaggy⁻²] from a 5 σ depth [AB mag], as brick tables have it."""
    return (5 / 10 ** ((ZERO_POINT - np.asarray(depth, float)) / 2.5)) ** 2


def _read_text(path: Path) -> pd.DataFrame:
    try:
        table = read_text_table(path)
    except TextTableError as error:
        raise CatalogueError(str(error)) from None
    if table.empty:
        raise CatalogueError(
            f"{path}: expected a row for each object, found a header alone; fetch the table again, or take it out of the config"
        )
    return table


def _clean(text: object) -> str:
    """Return a field without the quotes and blanks around it; words for nothing become empty."""
    value = str(text).strip().strip("\"' ").strip()
    return "" if value.lower() in ("", "nan", "none", "-", "-99", "-99.0") else value


def _degrees(path: Path, column: pd.Series, name: str, low: float, high: float) -> NDArray[np.float64]:
    value = pd.to_numeric(column.map(_clean), errors="coerce").to_numpy(float)
    wrong = np.flatnonzero(~((value >= low) & (value <= high)))
    if wrong.size:
        raise CatalogueError(
            f"{path}, row {wrong[0] + 1}: column {name} holds {column.iloc[wrong[0]]!r}, expected degrees from {low:g} to {high:g}; "
            f"{wrong.size} of {len(value)} rows are so; correct these rows, or delete them"
        )
    return value


def _radii(path: Path, column: pd.Series, name: str) -> NDArray[np.float64]:
    text = column.map(_clean)
    value = pd.to_numeric(text, errors="coerce").to_numpy(float)
    wrong = np.flatnonzero(((text != "") & ~np.isfinite(value)).to_numpy() | (value < 0))
    if wrong.size:
        raise CatalogueError(
            f"{path}, row {wrong[0] + 1}: column {name} holds {column.iloc[wrong[0]]!r}, expected arcseconds or nothing; correct it"
        )
    return np.where(value > 0, value, np.nan)


def _missing(path: Path, theirs: tuple[str, ...], found: list[str], ours: str) -> str:
    close = difflib.get_close_matches(theirs[0], found, n=1, cutoff=0.5)
    hint = f"nearest: {close[0]}" if close else f"its columns are {', '.join(found)}"
    return f"{path} has no column {' or '.join(theirs)} for {ours} ({hint}); choose another `layout`, or set `layout: own` and name the columns"


def _position_name(ra: float, dec: float) -> str:
    return f"{ra:.5f}{dec:+.5f}"
