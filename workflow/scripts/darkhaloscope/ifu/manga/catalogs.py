"""The catalogues dapall and drpall, and the ranking of rotating disks from them alone."""

from __future__ import annotations

import io
import logging
import os
import re
import warnings
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from ...archive.addresses import manga_maps_url
from ...archive.checks import without_trailing_zeros
from ...config.manga import Archive, Ranking
from ...core.reading import readable
from .maps import CRITICAL_BIT

log = logging.getLogger(__name__)

#: Columns of dapall that are used, and what they are called here.
DAPALL = {
    "PLATEIFU": "plateifu",
    "MANGAID": "mangaid",
    "DAPDONE": "dapdone",
    "DAPQUAL": "dapqual",
    "DRPALLINDX": "drpallindx",
    "NSA_Z": "z",
    "NSA_ELPETRO_BA": "ba",
    "NSA_ELPETRO_TH50_R": "re_arcsec",
    "HA_GSIGMA_1RE": "ha_sigma_kms",
    "STELLAR_SIGMA_1RE": "stellar_sigma_kms",
}
LINE_FLUX = "EMLINE_GFLUX_1RE"
#: Columns of drpall that are used, and what they are called here.
DRPALL = {"plateifu": "plateifu", "mangaid": "drp_mangaid", "drp3qual": "drp3qual"}
#: Columns of both that hold text; all others hold numbers.
TEXT = ("PLATEIFU", "MANGAID", "DAPTYPE")
#: Columns of the ranking.
RANKING = (
    "rank",
    "score",
    "galaxy_id",
    "physical_id",
    "z",
    "ba",
    "inclination_deg",
    "re_arcsec",
    "ha_sigma_kms",
    "stellar_sigma_kms",
    "ha_flux",
    "n_observations",
    "maps_url",
)


class CatalogError(ValueError):
    """A catalogue is not what it should be; the message names the file and what to do."""


def read_catalogs(dapall: str | os.PathLike, drpall: str | os.PathLike, sample: Archive) -> pd.DataFrame:
    """Read dapall and join drpall to it by plate-ifu.

    Parameters
    ----------
    dapall, drpall : paths of the FITS tables. DR17 keeps one extension per DAPTYPE in dapall, DR15 one
        for all of them with a column DAPTYPE.
    sample : its `daptype` chooses the rows.

    Returns
    -------
    DataFrame
        One row per observation: plateifu, mangaid, dapdone, dapqual, drp3qual, z, ba, re_arcsec,
        ha_sigma_kms, stellar_sigma_kms, and `flux_1re`, the fluxes of all lines within 1 Re as one array
        per row. `.attrs["lines"]` has the lines' names (cards ELG01… of the primary header), in the order
        of `flux_1re`; `.attrs["path"]` the path of dapall.

    Raises
    ------
    CatalogError
        A file is unreadable; the DAPTYPE, a column or a line's name is missing; the two catalogues are
        not of the same release.
    """
    dapall, drpall = Path(dapall), Path(drpall)
    with _reading(dapall), _open(dapall) as hdus:
        rows = _dap_rows(hdus, sample.daptype, dapall)
        catalog = pd.DataFrame({name: _column(rows, key, dapall) for key, name in DAPALL.items()})
        fluxes = np.atleast_2d(_column(rows, LINE_FLUX, dapall))
        lines = _line_names(hdus[0].header, fluxes.shape[1], dapall)
    catalog["flux_1re"] = list(fluxes)
    with _reading(drpall), _open(drpall) as hdus:
        reduced = _drp_rows(hdus, drpall)
        drp = pd.DataFrame({name: _column(reduced, key, drpall) for key, name in DRPALL.items()})
    catalog = _join(catalog, drp, dapall, drpall)
    catalog.attrs = {"lines": lines, "path": str(dapall)}
    return catalog


def rank_disks(catalog: pd.DataFrame, ranking: Ranking, line: str, sample: Archive) -> pd.DataFrame:
    """Rank rotating disks.

    With i = arccos(b/a) in degrees and z(x) = (x − median)/IQR over the observations that pass the cuts,
    score = z(log₁₀ F) − 0.7 ((i − 55)/20)² + 0.5 z(log₁₀ max(σ, 5)), with the configured weights.

    Parameters
    ----------
    catalog : of `read_catalogs`
    ranking : cuts and weights.
    line : emission line whose flux within 1 Re counts, found by name.
    sample : gives the address of the maps.

    Returns
    -------
    DataFrame
        Best first, one row per galaxy: of several observations of one MANGAID the best one is kept, and
        `n_observations` counts those that pass. Columns `RANKING`; ha_flux in 1e-17 erg/s/cm².
        `.attrs["cuts"]` says how many observations were left before the first cut (`all`), how many each
        cut removed, in order, and how many repeats of a galaxy were dropped.

    Raises
    ------
    CatalogError
        The catalogue does not have the line (its message lists those it has).
    """
    catalog = catalog.assign(ha_flux=_line_flux(catalog, line))
    kept, cuts = _apply_cuts(catalog, ranking)
    inclination = np.degrees(np.arccos(kept["ba"].astype(float)))
    sigma = np.maximum(kept["ha_sigma_kms"].astype(float), ranking.sigma_floor_kms)
    score = (
        robust_scale(np.log10(kept["ha_flux"].to_numpy(float)))
        - ranking.inclination_weight * ((inclination - ranking.inclination_centre_deg) / ranking.inclination_width_deg) ** 2
        + ranking.sigma_weight * robust_scale(np.log10(sigma.to_numpy(float)))
    )
    kept = kept.assign(score=score, inclination_deg=inclination).sort_values(["score", "plateifu"], ascending=[False, True])
    ranked = (
        kept.assign(n_observations=kept.groupby("mangaid")["plateifu"].transform("size")).drop_duplicates("mangaid").reset_index(drop=True)
    )
    cuts["repeat observation of a galaxy"] = len(kept) - len(ranked)
    ranked = ranked.assign(rank=np.arange(1, len(ranked) + 1), maps_url=[manga_maps_url(sample, name) for name in ranked["plateifu"]])
    # From here on they are names of an observation and of a galaxy, whatever the instrument.
    ranked = ranked.rename(columns={"plateifu": "galaxy_id", "mangaid": "physical_id"})[list(RANKING)]
    ranked.attrs = {"cuts": cuts}
    log.info("%d galaxies ranked out of %d observations", len(ranked), cuts["all"])
    for cut, removed in list(cuts.items())[1:]:
        log.info("  %d removed: %s", removed, cut)
    return ranked


def robust_scale(values: NDArray) -> NDArray:
    """Return (x − median)/IQR; zeros where the interquartile range is 0 and nothing can be told apart."""
    values = np.asarray(values, float)
    if values.size == 0:
        return values
    low, middle, high = np.percentile(values, [25, 50, 75])
    return (values - middle) / (high - low) if high > low else np.zeros_like(values)


def _apply_cuts(catalog: pd.DataFrame, ranking: Ranking) -> tuple[pd.DataFrame, dict[str, int]]:
    """Apply the cuts one after another; a value that is missing (NaN, −999) fails its cut."""
    cuts = {
        "DAPDONE is not set": catalog["dapdone"].astype(bool),
        "DAPQUAL is not 0": catalog["dapqual"] == 0,
        "DRP3QUAL is critical": (catalog["drp3qual"].to_numpy(np.int64) & 1 << CRITICAL_BIT) == 0,
        f"b/a is not between {ranking.ba_min:g} and {ranking.ba_max:g}": (catalog["ba"] > ranking.ba_min)
        & (catalog["ba"] < ranking.ba_max),
        f"Re is not above {ranking.re_min_arcsec:g} arcsec": catalog["re_arcsec"] > ranking.re_min_arcsec,
        f"line σ(1Re) is not above {ranking.sigma_min_kms:g} km/s": catalog["ha_sigma_kms"] > ranking.sigma_min_kms,
        "line flux(1Re) is not above 0": catalog["ha_flux"] > 0,
    }
    removed, kept = {"all": len(catalog)}, np.ones(len(catalog), bool)
    for name, passes in cuts.items():
        passes = np.asarray(passes, bool)
        removed[name] = int((kept & ~passes).sum())
        kept &= passes
    return catalog[kept], removed


def _line_flux(catalog: pd.DataFrame, line: str) -> NDArray:
    lines = catalog.attrs["lines"]
    if line not in lines:
        raise CatalogError(
            f"{catalog.attrs['path']}: no emission line '{line}' in {LINE_FLUX} (it has: {', '.join(lines)}); "
            "set `manga.quality.line` to one of them"
        )
    return np.array([fluxes[lines.index(line)] for fluxes in catalog["flux_1re"]], float)


def _reading(path: Path) -> AbstractContextManager[None]:
    return readable(path, "a FITS catalogue", "delete it and fetch it again", CatalogError)


def _open(path: Path) -> fits.HDUList:
    if not path.exists():
        raise CatalogError(f"{path}: this catalogue does not exist; run the stage that fetches it")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="(?s).*(truncated|corrupted)", category=AstropyUserWarning)
        hdus = fits.open(io.BytesIO(without_trailing_zeros(path.read_bytes(), path)), memmap=False)
        len(hdus)
        return hdus


def _dap_rows(hdus: fits.HDUList, daptype: str, path: Path) -> fits.FITS_rec:
    if daptype in hdus:
        return _data(hdus[daptype], path)
    names = [h.name for h in hdus[1:]]
    if "DAPALL" in names:
        rows = _data(hdus["DAPALL"], path)
        types = _column(rows, "DAPTYPE", path)
        if (types == daptype).any():
            return rows[types == daptype]
        names = sorted(set(types))
    raise CatalogError(f"{path}: no rows for DAPTYPE '{daptype}' (it has: {', '.join(names)}); set the sample's `daptype` to one of them")


def _drp_rows(hdus: fits.HDUList, path: Path) -> fits.FITS_rec:
    if "MANGA" not in hdus:
        raise CatalogError(f"{path}: expected the extension MANGA, found {', '.join(h.name for h in hdus)}; check that it is drpall")
    return _data(hdus["MANGA"], path)


def _data(hdu: fits.BinTableHDU, path: Path) -> fits.FITS_rec:
    data = hdu.data
    if data is None or getattr(data, "names", None) is None:
        raise CatalogError(f"{path}: extension {hdu.name} holds no table; fetch the file again")
    return data


def _column(rows: fits.FITS_rec, name: str, path: Path) -> NDArray:
    """Return a column in native byte order, text stripped."""
    found = next((n for n in rows.names if n.upper() == name.upper()), None)
    if found is None:
        raise CatalogError(
            f"{path}: column {name} is missing (it has: {', '.join(rows.names)}); check that it is the catalogue it should be"
        )
    values = np.asarray(rows[found])
    text = values.dtype.kind in "SU"
    if text != (name.upper() in TEXT):
        raise CatalogError(
            f"{path}: column {name} holds {values.dtype}, expected {'text' if name.upper() in TEXT else 'numbers'}; fetch the file again"
        )
    if text:
        return np.char.strip(values.astype(str)).astype(object)
    return values.astype(values.dtype.newbyteorder("="))


def _line_names(header: fits.Header, n: int, path: Path) -> list[str]:
    """Return the names of the Gaussian-fitted lines, cards ELG01… numbered from 1."""
    cards = {int(m[1]): str(header[key]).strip() for key in header if (m := re.fullmatch(r"ELG(\d+)", key))}
    if sorted(cards) != list(range(1, n + 1)):
        raise CatalogError(
            f"{path}: {LINE_FLUX} has {n} lines but the primary header names {len(cards)} (cards ELG01…), expected one name for each; "
            "fetch the file again"
        )
    return [cards[i] for i in range(1, n + 1)]


def _join(catalog: pd.DataFrame, drp: pd.DataFrame, dapall: Path, drpall: Path) -> pd.DataFrame:
    for table, path in ((catalog, dapall), (drp, drpall)):
        twice = table["plateifu"][table["plateifu"].duplicated()]
        if len(twice):
            raise CatalogError(f"{path}: {twice.iloc[0]} comes twice, expected one row per plate-ifu; fetch the file again")
    joined = catalog.merge(drp, on="plateifu", how="left", validate="one_to_one")
    rows, numbers = drp["plateifu"].to_numpy(object), catalog["drpallindx"].to_numpy(np.int64)
    inside = (numbers >= 0) & (numbers < len(rows))
    problems = {
        "is not in it": joined["drp3qual"].isna(),
        "has another MANGAID in it": joined["mangaid"] != joined["drp_mangaid"],
        "is not at its DRPALLINDX": ~inside
        | ([rows[i] if ok else None for i, ok in zip(numbers, inside, strict=True)] != catalog["plateifu"]),
    }
    for what, where in problems.items():
        if where.any():
            raise CatalogError(
                f"{drpall}: {catalog['plateifu'][where].iloc[0]} of {dapall.name} {what} ({int(where.sum())} such rows); "
                "expected the drpall of the same release: fetch both again"
            )
    return joined.drop(columns=["drp_mangaid", "drpallindx"])
