"""The two catalogues of the mock archive: dapall (one row per analysed cube) and drpall (one row per reduced cube).

Columns, types and shapes follow the SDSS data models of `mangaDAPall` (DR17) and `mangaDRPall`. What
dapall says of a galaxy is measured on its MAPS arrays, as the pipeline does.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..core.files import whole
from .manga_lines import INDEX_NAMES, INDEX_UNITS, LINES, MOMENT_NAMES
from .manga_maps import C_KMS, MOCK_CARDS, fits_bytes
from .manga_measurements import COSMOLOGY, HA
from .manga_population import Observation

DAPTYPES = ("SPX-MILESHC-MASTARSSP", "VOR10-MILESHC-MASTARSSP", "HYB10-MILESHC-MASTARSSP", "HYB10-MILESHC-MASTARHC2")
MISSING = -999.0
#: The solar neighbourhood's h: catalogue lengths are in Mpc/h and star-formation rates in h⁻² M☉/yr.
LOG_SFR_CONSTANT = 41.27

DAPALL_COLUMNS = (
    "PLATE:K IFUDESIGN:K PLATEIFU:12A MANGAID:10A DRPALLINDX:K MODE:4A DAPTYPE:30A DAPDONE:L OBJRA:E OBJDEC:E IFURA:E IFUDEC:E "
    "MNGTARG1:K MNGTARG2:K MNGTARG3:K Z:E LDIST_Z:E ADIST_Z:E NSA_Z:E NSA_ZDIST:E LDIST_NSA_Z:E ADIST_NSA_Z:E NSA_ELPETRO_BA:E "
    "NSA_ELPETRO_PHI:E NSA_ELPETRO_TH50_R:E NSA_SERSIC_BA:E NSA_SERSIC_PHI:E NSA_SERSIC_TH50:E NSA_SERSIC_N:E VERSDRP2:8A VERSDRP3:8A "
    "VERSCORE:8A VERSUTIL:8A VERSDAP:8A DRP3QUAL:K DAPQUAL:K RDXQAKEY:14A BINKEY:14A SCKEY:14A ELMKEY:14A ELFKEY:14A SIKEY:14A "
    "BINTYPE:10A BINSNR:E TPLKEY:15A DATEDAP:10A DAPBINS:K RCOV90:E SNR_MED:4E SNR_RING:4E SB_1RE:E BIN_RMAX:E BIN_R_N:3E BIN_R_SNR:3E "
    "STELLAR_Z:E STELLAR_VEL_LO:E STELLAR_VEL_HI:E STELLAR_VEL_LO_CLIP:E STELLAR_VEL_HI_CLIP:E STELLAR_SIGMA_1RE:E STELLAR_RCHI2_1RE:E "
    "HA_Z:E HA_GVEL_LO:E HA_GVEL_HI:E HA_GVEL_LO_CLIP:E HA_GVEL_HI_CLIP:E HA_GSIGMA_1RE:E HA_GSIGMA_HI:E HA_GSIGMA_HI_CLIP:E "
    "EMLINE_RCHI2_1RE:E EMLINE_SFLUX_CEN:35E EMLINE_SFLUX_1RE:35E EMLINE_SFLUX_TOT:35E EMLINE_SSB_1RE:35E EMLINE_SSB_PEAK:35E "
    "EMLINE_SEW_1RE:35E EMLINE_SEW_PEAK:35E EMLINE_GFLUX_CEN:35E EMLINE_GFLUX_1RE:35E EMLINE_GFLUX_TOT:35E EMLINE_GSB_1RE:35E "
    "EMLINE_GSB_PEAK:35E EMLINE_GEW_1RE:35E EMLINE_GEW_PEAK:35E SPECINDEX_LO:46E SPECINDEX_HI:46E SPECINDEX_LO_CLIP:46E "
    "SPECINDEX_HI_CLIP:46E SPECINDEX_1RE:46E SFR_1RE:E SFR_TOT:E"
)
DRPALL_COLUMNS = (
    "plate:K ifudsgn:21A plateifu:11A mangaid:11A versdrp2:6A versdrp3:6A verscore:6A versutil:7A versprim:4A platetyp:14A srvymode:12A "
    "objra:D objdec:D ifuglon:D ifuglat:D ifura:D ifudec:D ebvgal:D nexp:K exptime:D drp3qual:K bluesn2:D redsn2:D harname:35A frlplug:K "
    "cartid:11A designid:K cenra:D cendec:D airmsmin:D airmsmed:D airmsmax:D seemin:D seemed:D seemax:D transmin:D transmed:D transmax:D "
    "mjdmin:K mjdmed:K mjdmax:K gfwhm:D rfwhm:D ifwhm:D zfwhm:D mngtarg1:K mngtarg2:K mngtarg3:K catidnum:K plttarg:19A manga_tileid:K "
    "nsa_iauname:19A ifudesignsize:K ifutargetsize:K ifudesignwrongsize:K z:D zmin:D zmax:D szmin:D szmax:D ezmin:D ezmax:D probs:D "
    "pweight:D psweight:D psrweight:D sweight:D srweight:D eweight:D esweight:D esrweight:D nsa_field:K nsa_run:K nsa_camcol:K "
    "nsa_version:6A nsa_nsaid:K nsa_nsaid_v1b:K nsa_z:D nsa_zdist:D nsa_sersic_absmag:7D nsa_elpetro_absmag:7D nsa_elpetro_amivar:7D "
    "nsa_sersic_mass:D nsa_elpetro_mass:D nsa_elpetro_ba:D nsa_elpetro_phi:D nsa_extinction:7D nsa_elpetro_th50_r:D nsa_petro_th50:D "
    "nsa_petro_flux:7D nsa_petro_flux_ivar:7D nsa_elpetro_flux:7D nsa_elpetro_flux_ivar:7D nsa_sersic_ba:D nsa_sersic_n:D "
    "nsa_sersic_phi:D nsa_sersic_th50:D nsa_sersic_flux:7D nsa_sersic_flux_ivar:7D"
)
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
    light = maps["SPX_MFLUX"]
    ring = stars & (radius >= 1) & (radius <= 1.5)
    row: dict[str, Any] = {
        "DAPBINS": int(maps["BINID"][0].max() + 1),
        "RCOV90": observation.diameter_arcsec / 2,
        "SNR_MED": np.full(4, _median(maps["SPX_SNR"], ring)),
        "SNR_RING": np.full(4, math.sqrt(float(np.sum(maps["SPX_SNR"][ring] ** 2)))),
        "SB_1RE": _mean(light, stars & (radius <= 1)),
        "BIN_RMAX": float(radius[stars].max(initial=0)),
        "BIN_R_N": [np.unique(maps["BINID"][0][stars & _within(radius, k)]).size for k in range(3)],
        "BIN_R_SNR": [_median(maps["BIN_SNR"], stars & _within(radius, k)) for k in range(3)],
        "STELLAR_Z": observation.galaxy.z + (1 + observation.galaxy.z) * _mean(maps["STELLAR_VEL"], centre, light) / C_KMS,
        "STELLAR_SIGMA_1RE": _root(_mean(star_variance, stars & (radius <= 1), light)),
        "STELLAR_RCHI2_1RE": 1.0,
        "HA_Z": observation.galaxy.z + (1 + observation.galaxy.z) * _mean(maps["EMLINE_GVEL"][HA], centre, flux) / C_KMS,
        "HA_GSIGMA_1RE": _root(_mean(gas_variance, good & (radius <= 1), flux)),
        "EMLINE_RCHI2_1RE": 1.0,
    }
    row |= _growth("STELLAR_VEL", maps["STELLAR_VEL"], stars) | _growth("HA_GVEL", maps["EMLINE_GVEL"][HA], good)
    width = np.sqrt(np.maximum(gas_variance, 0))
    row |= {name: value for name, value in _growth("HA_GSIGMA", width, good).items() if "_HI" in name}
    for kind in ("S", "G"):
        row |= _line_sums(kind, maps, radius)
    specindex = [_growth("SPECINDEX", plane, stars) for plane in maps["SPECINDEX"]]
    row |= {name: [values[name] for values in specindex] for name in specindex[0]}
    row["SPECINDEX_1RE"] = [_median(plane, stars & (radius <= 1)) for plane in maps["SPECINDEX"]]
    distance_cm = float(COSMOLOGY.luminosity_distance(observation.galaxy.z).value) * 3.0856775814913673e24
    for end in ("1RE", "TOT"):
        luminosity = 4 * math.pi * distance_cm**2 * 1e-17 * max(float(row[f"EMLINE_GFLUX_{end}"][HA]), 1e-6)
        row[f"SFR_{end}"] = 10 ** (math.log10(luminosity) - LOG_SFR_CONSTANT)
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
    for stem, names in (("ELS", MOMENT_NAMES), ("ELG", [line.name for line in LINES])):
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
    write_fits(path, hdus)


def write_drpall(path: Path, observations: list[Observation], drp_version: str) -> None:
    """Write drpall: the reduced cubes, beginning with two targets that are no galaxies."""
    rows = [_sky_target(number, drp_version) for number in range(SKY_TARGETS)]
    rows += [_drpall_row(o, drp_version) for o in observations]
    primary = fits.PrimaryHDU(header=fits.Header([*MOCK_CARDS, ("VERSDRP3", drp_version, "DRP version")]))
    write_fits(path, [primary, _table(DRPALL_COLUMNS, rows, "MANGA")])


def write_fits(path: Path, hdus: list) -> None:
    """Write a FITS file whole."""
    with whole(path) as temporary:
        temporary.write_bytes(fits_bytes(hdus))


def _table(columns: str, rows: list[dict[str, Any]], name: str) -> fits.BinTableHDU:
    """Build a table; columns that a row does not name hold 0 or nothing."""
    made = []
    for entry in columns.split():
        column, form = entry.split(":")
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
    galaxy, (drp, dap) = o.galaxy, versions
    luminosity, angular = (float(d(galaxy.z).value) for d in (COSMOLOGY.luminosity_distance, COSMOLOGY.angular_diameter_distance))
    return {
        **{"PLATE": o.plate, "IFUDESIGN": o.ifudesign, "PLATEIFU": o.plateifu, "MANGAID": galaxy.mangaid, "DRPALLINDX": drpall_index},
        **{"MODE": "CUBE", "DAPTYPE": daptype, "DAPDONE": o.done, "DRP3QUAL": o.drp3qual, "DAPQUAL": o.dapqual, "MNGTARG1": 1024},
        **{"OBJRA": galaxy.ra, "OBJDEC": galaxy.dec, "IFURA": galaxy.ra, "IFUDEC": galaxy.dec},
        **{"Z": galaxy.z, "NSA_Z": galaxy.z, "NSA_ZDIST": galaxy.z},
        **{"LDIST_Z": luminosity, "ADIST_Z": angular, "LDIST_NSA_Z": luminosity, "ADIST_NSA_Z": angular},
        **{"NSA_ELPETRO_BA": o.nsa_ba, "NSA_ELPETRO_PHI": o.nsa_phi_deg, "NSA_ELPETRO_TH50_R": galaxy.re_arcsec},
        **{"NSA_SERSIC_BA": o.nsa_ba, "NSA_SERSIC_PHI": o.nsa_phi_deg, "NSA_SERSIC_TH50": galaxy.re_arcsec},
        **{"NSA_SERSIC_N": 1 + 3 * galaxy.bulge_fraction, "VERSDRP2": drp, "VERSDRP3": drp, "VERSDAP": dap},
        **{"RDXQAKEY": "SNRG", "BINKEY": daptype.split("-")[0], "SCKEY": "MILESHCMPL11", "ELMKEY": "EMOMMPL11"},
        **{"ELFKEY": "EFITMPL11SSPDB", "SIKEY": "INDXEN", "BINTYPE": "voronoi", "BINSNR": 10.0, "TPLKEY": "MILESHC", "DATEDAP": "mock"},
    }


def _drpall_row(o: Observation, drp: str) -> dict[str, Any]:
    galaxy = o.galaxy
    return {
        **{
            "plate": o.plate,
            "ifudsgn": str(o.ifudesign),
            "plateifu": o.plateifu,
            "mangaid": galaxy.mangaid,
            "versdrp2": drp,
            "versdrp3": drp,
        },
        **{
            "platetyp": "MANGA",
            "srvymode": "MaNGA dither",
            "objra": galaxy.ra,
            "objdec": galaxy.dec,
            "ifura": galaxy.ra,
            "ifudec": galaxy.dec,
        },
        **{"ebvgal": o.ebv, "nexp": 9, "exptime": 8100.0, "drp3qual": o.drp3qual, "mngtarg1": 1024, "catidnum": 99, "plttarg": "mock"},
        **{"gfwhm": o.rfwhm_arcsec + 0.05, "rfwhm": o.rfwhm_arcsec, "ifwhm": o.rfwhm_arcsec - 0.01, "zfwhm": o.rfwhm_arcsec - 0.02},
        **{"ifudesignsize": o.n_fibres, "ifutargetsize": o.n_fibres, "nsa_version": "mock", "nsa_nsaid": 900000 + galaxy.number},
        **{
            "z": galaxy.z,
            "nsa_z": galaxy.z,
            "nsa_zdist": galaxy.z,
            "nsa_elpetro_mass": 10**galaxy.log_mass,
            "nsa_sersic_mass": 10**galaxy.log_mass,
        },
        **{"nsa_elpetro_ba": o.nsa_ba, "nsa_elpetro_phi": o.nsa_phi_deg, "nsa_elpetro_th50_r": galaxy.re_arcsec},
        **{"nsa_petro_th50": galaxy.re_arcsec * math.sqrt(o.nsa_ba), "nsa_sersic_n": 1 + 3 * galaxy.bulge_fraction},
        **{"nsa_sersic_ba": o.nsa_ba, "nsa_sersic_phi": o.nsa_phi_deg, "nsa_sersic_th50": galaxy.re_arcsec},
    }


def _sky_target(number: int, drp: str) -> dict[str, Any]:
    """A target outside the galaxy sample: no NSA entry, no analysis."""
    missing = dict.fromkeys(("z", "nsa_z", "nsa_zdist", "nsa_elpetro_ba", "nsa_elpetro_phi", "nsa_elpetro_th50_r"), MISSING)
    return {
        **{"plate": 99000, "ifudsgn": str(1901 + number), "plateifu": f"99000-{1901 + number}", "mangaid": f"99-{800000 + number}"},
        **{"versdrp2": drp, "versdrp3": drp, "mngtarg3": 1 << 19, "catidnum": 99, "plttarg": "mock", **missing},
    }


def _within(radius: NDArray, k: int) -> NDArray:
    low, high = ((0, 1), (0.5, 1.5), (1.5, 2.5))[k]
    return (radius >= low) & (radius <= high)


def _line_sums(kind: str, maps: dict[str, NDArray], radius: NDArray) -> dict[str, NDArray]:
    """Fluxes in apertures, surface brightness and equivalent width of every line, by moments (S) or Gaussian fits (G)."""
    good = maps[f"EMLINE_{kind}FLUX_MASK"] == 0
    flux = np.where(good, maps[f"EMLINE_{kind}FLUX"], 0)
    width = np.where(good, maps[f"EMLINE_{kind}EW"], 0)
    inner, centre = radius <= 1, np.hypot(*maps["SPX_SKYCOO"]) <= 1.25
    count = np.maximum((good & inner).sum(axis=(1, 2)), 1)
    return {
        f"EMLINE_{kind}FLUX_CEN": (flux * centre).sum(axis=(1, 2)),
        f"EMLINE_{kind}FLUX_1RE": (flux * inner).sum(axis=(1, 2)),
        f"EMLINE_{kind}FLUX_TOT": flux.sum(axis=(1, 2)),
        f"EMLINE_{kind}SB_1RE": (flux * inner).sum(axis=(1, 2)) / count,
        f"EMLINE_{kind}SB_PEAK": flux.max(axis=(1, 2)),
        f"EMLINE_{kind}EW_1RE": (width * inner).sum(axis=(1, 2)) / count,
        f"EMLINE_{kind}EW_PEAK": width.max(axis=(1, 2)),
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


def _mean(image: NDArray, where: NDArray, weight: NDArray | None = None) -> float:
    weights = np.maximum(weight[where], 0) if weight is not None else np.ones(where.sum())
    return float(np.sum(image[where] * weights) / weights.sum()) if weights.sum() > 0 else MISSING


def _median(image: NDArray, where: NDArray) -> float:
    return float(np.median(image[where])) if where.any() else 0.0


def _root(variance: float) -> float:
    return math.sqrt(variance) if variance > 0 else MISSING
