"""The parent sample: luminous red galaxies of the sweeps, cut by cut.

Magnitudes are AB: 22.5 − 2.5 log10(flux), the flux in nanomaggies and divided by MW_TRANSMISSION where
they are corrected for Galactic extinction. The z − W1 cut against r − z separates galaxies from stars, as in
DESI's selection of luminous red galaxies (Zhou et al. 2023, AJ 165, 58).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy import units
from astropy_healpix import lonlat_to_healpix
from numpy.typing import NDArray

from ...config.legacysurvey import ZERO_POINT, LrgCuts
from ..known_lenses import match
from .schema import PARENT
from .sweeps import BANDS, OF_BAND, SWEEP_COLUMNS, BrickTable, read_sweep

log = logging.getLogger("darkhaloscope")


@dataclass
class CutFlow:
    """Rows before and after each cut, summed over chunks."""

    counts: dict[str, list[int]] = field(default_factory=dict)

    def apply(self, name: str, alive: NDArray[np.bool_], passed: NDArray[np.bool_]) -> None:
        """Count one cut and drop from `alive` what does not pass it."""
        count = self.counts.setdefault(name, [0, 0])
        count[0] += int(alive.sum())
        alive &= passed
        count[1] += int(alive.sum())

    def frame(self) -> pd.DataFrame:
        """Return one row per cut: its name, rows before and after, and the share that it kept."""
        rows = [(name, before, after, after / before if before else float("nan")) for name, (before, after) in self.counts.items()]
        return pd.DataFrame(rows, columns=["cut", "before", "after", "kept"])


def magnitude(flux: NDArray, transmission: NDArray | float = 1.0) -> NDArray:
    """Return AB magnitudes of fluxes in nanomaggies; NaN where the flux is not positive."""
    value = np.asarray(flux, float) / transmission
    return ZERO_POINT - 2.5 * np.log10(np.where(value > 0, value, np.nan))


def object_ids(release: NDArray, brickid: NDArray, objid: NDArray) -> NDArray[np.int64]:
    """Return one number per object of all releases: release · 2⁴² + brickid · 2²² + objid."""
    return release.astype(np.int64) << 42 | brickid.astype(np.int64) << 22 | objid.astype(np.int64)


def select_lrgs(
    sweeps: Iterable[str | PathLike],
    cuts: LrgCuts,
    bricks: BrickTable,
    flow: CutFlow,
    *,
    conditions: str = "sweep",
    nside: int = 64,
    lenses: pd.DataFrame | None = None,
    lens_radius_arcsec: float = 3.0,
    labels: pd.DataFrame | None = None,
    label_radius_arcsec: float = 1.5,
    stand_in: Mapping[str, str] | None = None,
) -> Iterator[pa.Table]:
    """Give the parent sample, one table per chunk of a sweep, and count each cut in `flow`.

    Rows keep the order of the sweeps; an object that comes again is dropped.

    Parameters
    ----------
    sweeps : paths of sweep files
    cuts : LrgCuts
    bricks : BrickTable
        An object on a brick that is not in it is cut.
    flow : CutFlow
        Takes the counts; complete once the iteration has ended.
    conditions : "sweep" or "bricks"
        Whether PSF sizes are the sweep's PSFSIZE_* or the medians of the brick table.
    nside : int
        Resolution of the HEALPix cells.
    lenses : frame with ra, dec [deg], or None
        Known lenses; matched objects are marked, not cut.
    labels : frame with ra, dec [deg] and class, or None
    stand_in : which band takes the place of one of g, r and z once the cuts are made, such as z: i; it must have been observed, too

    Yields
    ------
    pyarrow.Table
        Rows of the `PARENT` schema.

    Raises
    ------
    SweepError
        A sweep lacks columns.
    """
    seen = np.empty(0, np.int64)
    sources = {band: (stand_in or {}).get(band.lower(), band).upper() for band in BANDS}
    others = [band for band in sources.values() if band not in BANDS]
    columns = (*SWEEP_COLUMNS, *(f"{name}_{band}" for name in (*OF_BAND, "PSFSIZE") for band in others))
    for path in sweeps:
        before = seen.size
        for chunk in read_sweep(path, psfsize=conditions == "sweep", columns=columns):
            mags = _magnitudes(chunk, cuts.dereddened, others)
            alive = np.ones(len(chunk), bool)
            for name, passed in _cuts(chunk, mags, cuts, bricks):
                flow.apply(name, alive, passed)
            for band in others:
                flow.apply(f"observed in {band.lower()}", alive, (chunk[f"NOBS_{band}"] >= cuts.min_nobs) & np.isfinite(mags[band]))
            ids = object_ids(chunk["RELEASE"], chunk["BRICKID"], chunk["OBJID"])
            flow.apply("not a duplicate", alive, _first_of(ids, alive, seen))
            chunk, ids = chunk[alive], ids[alive]
            seen = np.concatenate([seen, ids])
            marks = {
                "healpix": lonlat_to_healpix(*(np.asarray(chunk[k], float) * units.deg for k in ("RA", "DEC")), nside, order="nested"),
                "known_lens": _near(chunk, lenses, lens_radius_arcsec, lambda _, found: found >= 0, False),
                "contaminant_class": _near(chunk, labels, label_radius_arcsec, _classes, ""),
            }
            yield _rows(
                chunk, ids, {band: m[alive] for band, m in mags.items()}, bricks if conditions == "bricks" else None, marks, sources
            )
        log.info("%s: %d luminous red galaxies", path, seen.size - before)


def _cuts(chunk: NDArray, mags: dict[str, NDArray], cuts: LrgCuts, bricks: BrickTable) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Give every cut by name, in order, with the rows that pass it."""
    kinds = np.char.strip(chunk["TYPE"].astype("U"))
    bits = np.int64(sum(1 << bit for bit in set(cuts.maskbits)))
    g, r, z, w1 = (mags[band] for band in ("G", "R", "Z", "W1"))
    yield "brick in the survey", bricks.has(np.char.strip(chunk["BRICKNAME"].astype("U")))
    yield f"NOBS in g, r, z at least {cuts.min_nobs}", _all(chunk[f"NOBS_{b}"] >= cuts.min_nobs for b in BANDS)
    yield "FLUX_IVAR in g, r, z above 0", _all(chunk[f"FLUX_IVAR_{b}"] > 0 for b in BANDS)
    yield "flux in g, r, z, W1 above 0", np.isfinite(g) & np.isfinite(r) & np.isfinite(z) & np.isfinite(w1)
    yield f"TYPE not {', '.join(cuts.excluded_types) or 'excluded'}", ~np.isin(kinds, cuts.excluded_types)
    yield f"E(B-V) below {cuts.max_ebv:g}", chunk["EBV"] < cuts.max_ebv
    yield f"MASKBITS {', '.join(map(str, sorted(set(cuts.maskbits)))) or 'any'} clear", chunk["MASKBITS"].astype(np.int64) & bits == 0
    yield f"z fainter than {cuts.z_bright:g}", z > cuts.z_bright
    yield f"z brighter than {cuts.z_faint:g}", z < cuts.z_faint
    yield f"r brighter than {cuts.r_faint:g}", r < cuts.r_faint
    yield (
        f"z - W1 above {cuts.colour_slope:g} (r - z) {cuts.colour_offset:+g}",
        z - w1 > cuts.colour_slope * (r - z) + cuts.colour_offset,
    )


def _magnitudes(chunk: NDArray, dereddened: bool, others: Sequence[str]) -> dict[str, NDArray]:
    out = {}
    for band in (*BANDS, "W1", *others):
        transmission = chunk[f"MW_TRANSMISSION_{band}"].astype(float) if dereddened else 1.0
        with np.errstate(divide="ignore", invalid="ignore"):
            out[band] = magnitude(chunk[f"FLUX_{band}"], transmission)
    return out


def _first_of(ids: NDArray[np.int64], alive: NDArray[np.bool_], seen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which objects come for the first time."""
    first = np.zeros(ids.size, bool)
    mine = np.flatnonzero(alive)
    first[mine[np.unique(ids[mine], return_index=True)[1]]] = True
    return first & ~np.isin(ids, seen)


def _near(chunk: NDArray, others: pd.DataFrame | None, radius: float, tell: Callable, otherwise: object) -> NDArray | list:
    if others is None or not len(others) or not len(chunk):
        return [otherwise] * len(chunk)
    found, _ = match(chunk["RA"], chunk["DEC"], others["ra"].to_numpy(), others["dec"].to_numpy(), radius)
    return tell(others, found)


def _classes(labels: pd.DataFrame, found: NDArray[np.int64]) -> NDArray:
    return np.where(found >= 0, labels["class"].to_numpy(str)[np.maximum(found, 0)], "")


def _rows(
    chunk: NDArray, ids: NDArray[np.int64], mags: dict[str, NDArray], bricks: BrickTable | None, marks: dict, sources: Mapping[str, str]
) -> pa.Table:
    names = np.char.strip(chunk["BRICKNAME"].astype("U"))
    data = {
        "object_id": ids,
        **{k: chunk[k.upper()].astype(np.int32) for k in ("release", "brickid", "objid", "maskbits")},
        "brickname": names,
        "ra": chunk["RA"].astype(float),
        "dec": chunk["DEC"].astype(float),
        "type": np.char.strip(chunk["TYPE"].astype("U")),
        "flux_w1": chunk["FLUX_W1"].astype(np.float32),
        "ebv": chunk["EBV"].astype(np.float32),
        **marks,
    }
    for band in BANDS:
        low, band = band.lower(), sources[band]
        sizes = chunk[f"PSFSIZE_{band}"] if bricks is None else bricks.values(f"PSFSIZE_{band}", names)
        data |= {
            f"flux_{low}": chunk[f"FLUX_{band}"].astype(np.float32),
            f"mag_{low}": mags[band].astype(np.float32),
            f"psfsize_{low}": sizes.astype(np.float32),
            f"psfdepth_{low}": chunk[f"PSFDEPTH_{band}"].astype(np.float32),
            f"nobs_{low}": chunk[f"NOBS_{band}"].astype(np.int16),
        }
    return PARENT.table({column.name: data[column.name] for column in PARENT.columns})


def _all(conditions: Iterable[NDArray[np.bool_]] | Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return np.logical_and.reduce(list(conditions))
