"""The two catalogues of the mock archive: dapall (one row per analysed cube) and drpall (one row per reduced cube).

Columns, types and shapes follow the SDSS data models of `mangaDAPall` (DR17) and `mangaDRPall`. What
dapall says of a galaxy is measured on its MAPS arrays, as the pipeline does: its S/N, redshift, speeds, widths and line
fluxes; all other columns hold 0.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from .archive import MOCK_CARDS, rows_of, values_of, write_fits
from .manga_lines import HA, INDEX_NAMES, INDEX_UNITS, LINE_NAMES, MOMENT_NAMES
from .manga_maps import C_KMS, with_checksums
from .manga_measurements import COSMOLOGY
from .manga_population import Observation

DAPTYPES = ("SPX-MILESHC-MASTARSSP", "VOR10-MILESHC-MASTARSSP", "HYB10-MILESHC-MASTARSSP", "HYB10-MILESHC-MASTARHC2")
MISSING = -999.0

#: Columns with their forms, and what a row says that is the same for all or a parameter of the observation.
DAPALL_COLUMNS, DRPALL_COLUMNS = rows_of("dapall_columns.csv"), rows_of("drpall_columns.csv")
#: Rows of drpall that are no galaxies and are not analysed: dapall's rows do not match drpall's one to one.
SKY_TARGETS = 2


def summarise(observation: Observation, maps: dict[str, NDArray]) -> dict[str, Any]:
    """Return what dapall says of one analysed cube, measured on its maps."""
    radius = maps["SPX_ELLCOO"][1]
    good = maps["EMLINE_GFLUX_MASK"][HA] == 0
    stars = maps["STELLAR_VEL_MASK"] == 0
    flux = maps["EMLINE_GFLUX"][HA]
    centre = good & (np.hypot(*maps["SPX_SKYCOO"]) <= 1.25)
    gas_variance = maps["EMLINE_GSIGMA"][HA] ** 2 - maps["EMLINE_INSTSIGMA"][HA] ** 2
    star_variance = maps["STELLAR_SIGMA"] ** 2 - maps["STELLAR_SIGMACORR"][0] ** 2
    ring = stars & (radius >= 1) & (radius <= 1.5)
    row: dict[str, Any] = {
        "DAPBINS": int(maps["BINID"][0].max() + 1),
        "SNR_MED": np.full(4, np.median(maps["SPX_SNR"][ring]) if ring.any() else 0.0),
        "STELLAR_SIGMA_1RE": _root(_mean(star_variance, stars & (radius <= 1), maps["SPX_MFLUX"])),
        "HA_Z": observation.galaxy.z + (1 + observation.galaxy.z) * _mean(maps["EMLINE_GVEL"][HA], centre, flux) / C_KMS,
        "HA_GSIGMA_1RE": _root(_mean(gas_variance, good & (radius <= 1), flux)),
        **_growth("STELLAR_VEL", maps["STELLAR_VEL"], stars),
        **_growth("HA_GVEL", maps["EMLINE_GVEL"][HA], good),
    }
    # Fluxes in apertures of every line, by moments (S) or Gaussian fits (G).
    for kind in ("S", "G"):
        fluxes = np.where(maps[f"EMLINE_{kind}FLUX_MASK"] == 0, maps[f"EMLINE_{kind}FLUX"], 0)
        for end, where in (("1RE", radius <= 1), ("TOT", True)):
            row[f"EMLINE_{kind}FLUX_{end}"] = (fluxes * where).sum(axis=(1, 2))
    return row


def write_dapall(path: Path, observations: list[Observation], summaries: dict[str, dict[str, Any]], versions: tuple[str, str]) -> None:
    """Write dapall: one table per analysis method, all rows in each.

    Parameters
    ----------
    path : Path
    observations : list of Observation
    summaries : dict by plate-ifu
        What `summarise` measured; observations without one were not finished, and hold zeros.
    versions : (drp_version, dap_version)
    """
    drp, dap = versions
    primary = fits.Header([*MOCK_CARDS, ("VERSDRP3", drp, "DRP version"), ("VERSDAP", dap, "DAP version")])
    for stem, names in (("ELS", MOMENT_NAMES), ("ELG", LINE_NAMES)):
        meaning = {"ELS": "Summed emission-line element", "ELG": "Gaussian fit emission-line element"}[stem]
        primary.extend([(f"{stem}{k:02d}", name, meaning) for k, name in enumerate(names, 1)])
    for k, (name, unit) in enumerate(zip(INDEX_NAMES, INDEX_UNITS, strict=True), 1):
        primary.extend([(f"SPI{k:02d}", name, "Spectral-indx element"), (f"SPIU{k:02d}", unit, "Spectral-indx element unit")])
    hdus: list = [fits.PrimaryHDU(header=primary)]
    for daptype in DAPTYPES:
        rows = [
            _dapall_row(o, index + SKY_TARGETS, daptype, versions) | summaries.get(o.plateifu, {}) for index, o in enumerate(observations)
        ]
        hdus.append(_table(DAPALL_COLUMNS, rows, daptype))
    write_fits(path, with_checksums(hdus))


def write_drpall(path: Path, observations: list[Observation], drp_version: str) -> None:
    """Write drpall: the reduced cubes, beginning with two targets that are no galaxies."""
    rows = [_sky_target(number, drp_version) for number in range(SKY_TARGETS)]
    rows += [_drpall_row(o, drp_version) for o in observations]
    primary = fits.PrimaryHDU(header=fits.Header([*MOCK_CARDS, ("VERSDRP3", drp_version, "DRP version")]))
    write_fits(path, with_checksums([primary, _table(DRPALL_COLUMNS, rows, "MANGA")]))


def _table(columns: list[dict[str, str]], rows: list[dict[str, Any]], name: str) -> fits.BinTableHDU:
    """Build a table; columns that a row does not name hold 0 or nothing."""
    made = []
    for column, form in ((entry["name"], entry["form"]) for entry in columns):
        if form.endswith("A"):
            values = np.array([row.get(column, "") for row in rows], dtype=f"S{form[:-1] or 1}")
        else:
            shape = int(form[:-1] or 1)
            kind = {"K": np.int64, "E": np.float32, "D": np.float64, "L": bool}[form[-1]]
            values = np.zeros((len(rows), shape) if shape > 1 else len(rows), kind)
            for k, row in enumerate(rows):
                values[k] = row.get(column, 0)
        made.append(fits.Column(name=column, format=form, array=values))
    return fits.BinTableHDU.from_columns(made, name=name, header=fits.Header(MOCK_CARDS))


def _dapall_row(o: Observation, drpall_index: int, daptype: str, versions: tuple[str, str]) -> dict[str, Any]:
    """What dapall knows before the analysis."""
    drp, dap = versions
    luminosity, angular = (float(d(o.galaxy.z).value) for d in (COSMOLOGY.luminosity_distance, COSMOLOGY.angular_diameter_distance))
    return values_of(DAPALL_COLUMNS, "name", o) | {
        **{"DRPALLINDX": drpall_index, "DAPTYPE": daptype, "BINKEY": daptype.split("-")[0]},
        **{"VERSDRP2": drp, "VERSDRP3": drp, "VERSDAP": dap, "NSA_SERSIC_N": 1 + 3 * o.galaxy.bulge_fraction},
        **{"LDIST_Z": luminosity, "ADIST_Z": angular, "LDIST_NSA_Z": luminosity, "ADIST_NSA_Z": angular},
    }


def _drpall_row(o: Observation, drp: str) -> dict[str, Any]:
    mass = 10**o.galaxy.log_mass
    return values_of(DRPALL_COLUMNS, "name", o) | {
        **{"ifudsgn": str(o.ifudesign), "versdrp2": drp, "versdrp3": drp, "nsa_nsaid": 900000 + o.galaxy.number},
        **{"gfwhm": o.rfwhm_arcsec + 0.05, "ifwhm": o.rfwhm_arcsec - 0.01, "zfwhm": o.rfwhm_arcsec - 0.02},
        **{"nsa_elpetro_mass": mass, "nsa_sersic_mass": mass, "nsa_sersic_n": 1 + 3 * o.galaxy.bulge_fraction},
        "nsa_petro_th50": o.galaxy.re_arcsec * math.sqrt(o.nsa_ba),
    }


def _sky_target(number: int, drp: str) -> dict[str, Any]:
    """A target outside the galaxy sample: no NSA entry, no analysis."""
    missing = dict.fromkeys(("z", "nsa_z", "nsa_zdist", "nsa_elpetro_ba", "nsa_elpetro_phi", "nsa_elpetro_th50_r"), MISSING)
    return {
        **{"plate": 99000, "ifudsgn": str(1901 + number), "plateifu": f"99000-{1901 + number}", "mangaid": f"99-{800000 + number}"},
        **{"versdrp2": drp, "versdrp3": drp, "mngtarg3": 1 << 19, "catidnum": 99, "plttarg": "mock", **missing},
    }


def _growth(name: str, image: NDArray, good: NDArray) -> dict[str, float]:
    """2.5% and 97.5% of the valid spaxels, before and after clipping at 3σ."""
    values = image[good]
    clipped = values
    for _ in range(3):
        clipped = clipped[np.abs(clipped - clipped.mean()) <= 3 * clipped.std()] if clipped.size else clipped
    row = {}
    for end, sample in (("", values), ("_CLIP", clipped)):
        low, high = np.percentile(sample, (2.5, 97.5)) if sample.size else (MISSING, MISSING)
        row |= {f"{name}_LO{end}": float(low), f"{name}_HI{end}": float(high)}
    return row


def _mean(image: NDArray, where: NDArray, weight: NDArray) -> float:
    weights = np.maximum(weight[where], 0)
    return float(np.sum(image[where] * weights) / weights.sum()) if weights.sum() > 0 else MISSING


def _root(variance: float) -> float:
    return math.sqrt(variance) if variance > 0 else MISSING
