"""Tables of the mock survey: sweeps, bricks, known lenses, labels, and the truth.

Columns and types are those of DR10; of the sweep's columns the ones that say what an object is, how bright and how
observed are there, those of variability, of Gaia and of the fibre and aperture fluxes are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..config.legacysurvey import BANDS, ZERO_POINT
from ..core.files import write_text
from ..core.random import stream
from .archive import MOCK_CARDS, write_fits
from .survey_bricks import Sky
from .survey_light import PIXEL_ARCSEC
from .survey_sky import CONTAMINANTS, RELEASE, BrickCell, Conditions, Thing

#: Objects fainter than this are not in the sweeps [mag in z].
LIMIT_Z = 23.5
MAGNITUDES = ("g", "r", "z", "w1")


def sky_positions(cell: BrickCell, things: Sequence[Thing], size: int) -> tuple[NDArray, NDArray]:
    """Return right ascension and declination of objects [deg]."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [cell.ra, cell.dec]
    wcs.wcs.crpix, wcs.wcs.cdelt = [(size + 1) / 2] * 2, [-PIXEL_ARCSEC / 3600, PIXEL_ARCSEC / 3600]
    return wcs.wcs_pix2world([t.x for t in things], [t.y for t in things], 0)


def sweep_rows(
    cell: BrickCell, conditions: Conditions, things: Sequence[Thing], sky: Sky, seed: int, bands: Sequence[str] = BANDS
) -> dict[str, NDArray]:
    """Return the sweep's columns for a brick's objects: fluxes as observed, with their errors.

    Where `bands` have i in the place of z, there are columns of both, observed alike.
    """
    size = sky.image.shape[1]
    things = [t for t in things if t.mags["z"] < LIMIT_Z and 0 <= round(t.x) < size and 0 <= round(t.y) < size]
    ra, dec = sky_positions(cell, things, size)
    x, y = np.round([t.x for t in things]).astype(int), np.round([t.y for t in things]).astype(int)
    n = len(things)
    re = np.array([t.re for t in things])
    columns: dict[str, NDArray] = {
        "RELEASE": np.full(n, RELEASE, np.int16),
        "BRICKID": np.full(n, cell.brickid, np.int32),
        "BRICKNAME": np.full(n, cell.name, "S8"),
        "OBJID": np.array([t.objid for t in things], np.int32),
        "TYPE": np.array([t.tractor for t in things], "S3"),
        "RA": ra,
        "DEC": dec,
        **{f"{k}_IVAR": np.full(n, 1e14, np.float32) for k in ("RA", "DEC")},
        "EBV": np.full(n, conditions.ebv, np.float32),
        "MASKBITS": sky.maskbits[y, x],
    }
    rng = stream(seed, cell.brickid, "catalogue")
    for band in (*MAGNITUDES, *(b for b in bands if b not in BANDS)):
        flux = 10 ** ((ZERO_POINT - np.array([t.mags[band] for t in things])) / 2.5) * conditions.transmission(band)
        if band == "w1":
            ivar = np.full(n, 4.0)
        else:
            i = (bands if band in bands else BANDS).index(band)
            # A galaxy's flux is less certain than a star's, in proportion to the area it covers.
            area = 1 + (2 * re / conditions.psfsize[i]) ** 2
            share = sky.invvar[i, y, x] / conditions.invvar[i]
            depth = conditions.psfdepth[i] * share
            ivar = np.where(share > 0, 1 / (area / np.maximum(depth, 1e-9) + flux / 1e4), 0)
            columns |= {
                f"NOBS_{band.upper()}": sky.nexp[i, y, x],
                f"PSFSIZE_{band.upper()}": np.where(share > 0, conditions.psfsize[i], 0).astype(np.float32),
                f"PSFDEPTH_{band.upper()}": depth.astype(np.float32),
                f"GALDEPTH_{band.upper()}": (0.75 * depth).astype(np.float32),
                f"FRACFLUX_{band.upper()}": np.full(n, 0.01, np.float32),
                f"FRACMASKED_{band.upper()}": (1 - np.minimum(share, 1)).astype(np.float32),
                f"FRACIN_{band.upper()}": np.ones(n, np.float32),
                f"ALLMASK_{band.upper()}": (sky.maskbits[y, x] >> (5 + i) & 1).astype(np.int16),
            }
        noise = rng.standard_normal(n) / np.sqrt(np.where(ivar > 0, ivar, np.inf))
        columns |= {
            f"FLUX_{band.upper()}": np.where(ivar > 0, flux + noise, 0).astype(np.float32),
            f"FLUX_IVAR_{band.upper()}": ivar.astype(np.float32),
            f"MW_TRANSMISSION_{band.upper()}": np.full(n, conditions.transmission(band), np.float32),
        }
    q, phi = np.array([t.q for t in things]), np.array([t.phi for t in things])
    columns |= {
        "SHAPE_R": (re / np.sqrt(q)).astype(np.float32),
        "SHAPE_E1": ((1 - q) / (1 + q) * np.cos(2 * phi)).astype(np.float32),
        "SHAPE_E2": ((1 - q) / (1 + q) * np.sin(2 * phi)).astype(np.float32),
        "SERSIC": np.array([t.n for t in things], np.float32),
    }
    return columns


def write_sweep(path: Path, bricks: Sequence[dict[str, NDArray]]) -> None:
    """Write one sweep file from its bricks' columns."""
    names = list(bricks[0]) if bricks else []
    _write_table(path, {name: np.concatenate([b[name] for b in bricks]) for name in names}, "SWEEP")


def write_brick_tables(bounds: Path, summary: Path, cells: Sequence[BrickCell], conditions: Sequence[Conditions]) -> None:
    """Write the table of brick bounds, and that of how bricks were observed (depths in AB mag, as in the survey's table)."""
    _write_table(
        bounds,
        {
            "BRICKNAME": np.array([c.name for c in cells], "S8"),
            "BRICKID": np.array([c.brickid for c in cells], np.int32),
            "BRICKQ": np.zeros(len(cells), np.int16),
            "BRICKROW": np.array([c.row for c in cells], np.int32),
            "BRICKCOL": np.array([c.col for c in cells], np.int32),
            **{k.upper(): np.array([getattr(c, k) for c in cells]) for k in ("ra", "dec", "ra1", "ra2", "dec1", "dec2")},
        },
        "BRICKS",
    )
    columns: dict[str, NDArray] = {
        "brickname": np.array([c.name for c in cells], "S8"),
        "ra": np.array([c.ra for c in cells]),
        "dec": np.array([c.dec for c in cells]),
    }
    for i, band in enumerate(BANDS):
        columns |= {
            f"nexp_{band}": np.array([o.nexp[i] for o in conditions], np.int16),
            f"psfsize_{band}": np.array([o.psfsize[i] for o in conditions], np.float32),
            f"psfdepth_{band}": np.array([o.depth[i] for o in conditions], np.float32),
            f"galdepth_{band}": np.array([o.depth[i] - 0.3 for o in conditions], np.float32),
            f"cosky_{band}": np.zeros(len(cells), np.float32),
            f"trans_{band}": np.array([o.transmission(band) for o in conditions], np.float32),
        }
    columns["ebv"] = np.array([o.ebv for o in conditions], np.float32)
    _write_table(summary, columns, "BRICKS")


def write_known_lenses(path: Path, lenses: Sequence[tuple[Thing, float, float]]) -> None:
    """Write the planted lenses as lenscat lists lenses, with a column for the Einstein radius that lenscat lacks."""
    frame = pd.DataFrame(
        [
            {
                "name": f"MOCK{ra:.4f}{dec:+.4f}",
                "RA [deg]": round(ra, 6),
                "DEC [deg]": round(dec, 6),
                "zlens": f"{thing.more['redshift']:.3f}",
                "type": "galaxy",
                "grading": "confident" if thing.more["theta_e"] > 1.1 else "probable",
                "ref": "mock",
                "theta_E [arcsec]": round(thing.more["theta_e"], 3),
            }
            for thing, ra, dec in lenses
        ],
        columns=["name", "RA [deg]", "DEC [deg]", "zlens", "type", "grading", "ref", "theta_E [arcsec]"],
    )
    write_text(path, frame.to_csv(index=False))


def write_labels(path: Path, things: Sequence[tuple[Thing, float, float]]) -> None:
    """Write what each contaminant is: ra, dec, class."""
    known = {*CONTAMINANTS, "companion"}
    rows = [(round(ra, 6), round(dec, 6), thing.kind) for thing, ra, dec in things if thing.kind in known]
    write_text(path, pd.DataFrame(rows, columns=["ra", "dec", "class"]).to_csv(index=False))


def write_truth(path: Path, cells: Sequence[BrickCell], things: Sequence[Sequence[tuple[Thing, float, float]]]) -> None:
    """Write the parameters of every object as one table."""
    rows = [
        {
            "brickname": cell.name,
            "objid": t.objid,
            "kind": t.kind,
            "ra": ra,
            "dec": dec,
            **{f"mag_{b}": t.mags[b] for b in MAGNITUDES},
            **{k: getattr(t, k) for k in ("re", "n", "q", "phi")},
            **{k: t.more.get(k, math.nan) for k in ("redshift", "theta_e", "source_mag_r", "source_gr", "source_rz")},
        }
        for cell, members in zip(cells, things, strict=True)
        for t, ra, dec in members
    ]
    text = {"brickname": "S8", "kind": "S16", "objid": np.int32}
    _write_table(path, {k: np.array([row[k] for row in rows], text.get(k, np.float64)) for k in rows[0]}, "TRUTH")


def _write_table(path: Path, columns: dict[str, NDArray], name: str) -> None:
    """Write a FITS table, gzipped where its name says so; the same columns give the same bytes."""
    hdu = fits.BinTableHDU(np.rec.fromarrays(list(columns.values()), names=list(columns)), name=name)
    hdu.header.extend(MOCK_CARDS)
    write_fits(path, [fits.PrimaryHDU(header=fits.Header(MOCK_CARDS)), hdu], level=9 if path.suffix == ".gz" else None)
