"""Writer of MAPS files as the MaNGA analysis pipeline of DR17 made them: 64 extensions, their header cards and conventions.

The layout follows the SDSS data model of `mangaMaps`, DR17. Files say that they are mock, in every header.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from .archive import MOCK_CARDS, rows_of, values_of, write_fits
from .manga_lines import INDEX_NAMES, INDEX_UNITS, LINE_NAMES, MOMENT_NAMES
from .manga_measurements import Truth
from .manga_population import Observation

MASKNAME = "MANGA_DAPPIXMASK"
C_KMS = 299792.458
#: Low bits of the mantissa that are dropped where no stage reads the numbers, so that files compress well.
DROPPED_BITS = 13
#: Extensions that keep their full precision: what the stages read.
EXACT = frozenset(
    (
        "SPX_SKYCOO",
        "SPX_ELLCOO",
        "SPX_MFLUX",
        "SPX_SNR",
        "STELLAR_VEL",
        "STELLAR_VEL_IVAR",
        "EMLINE_GVEL",
        "EMLINE_GVEL_IVAR",
        "EMLINE_INSTSIGMA",
    )
)
EXACT_LINES = frozenset(("EMLINE_GFLUX", "EMLINE_GFLUX_IVAR", "EMLINE_GSIGMA", "EMLINE_GSIGMA_IVAR"))


def _channel_sets() -> dict[str, tuple[tuple[str, str | None], ...]]:
    """Return the channels of every set: name, and unit (None where no card says it)."""
    rows = rows_of("maps_channels.csv")
    sets = {
        kind: tuple((r["name"], None if r["unit"] == "-" else r["unit"]) for r in rows if r["set"] == kind)
        for kind in {r["set"] for r in rows}
    }
    return sets | {
        "GAUSS": tuple((name, None) for name in LINE_NAMES),
        "MOMENT": tuple((name, None) for name in MOMENT_NAMES),
        "INDEX": tuple(zip(INDEX_NAMES, INDEX_UNITS, strict=True)),
        "INDEX_BARE": tuple((name, None) for name in INDEX_NAMES),
        "INDEX_IVAR": tuple((n, f"({u})^{{-2}}" if u else "") for n, u in zip(INDEX_NAMES, INDEX_UNITS, strict=True)),
    }


_CHANNELS = _channel_sets()
#: Every extension after PRIMARY, in the order of the file: name, unit (BUNIT), channel set.
EXTENSIONS = tuple((row["name"], row["unit"] or None, row["channels"] or None) for row in rows_of("maps_extensions.csv"))
_PRIMARY = rows_of("maps_primary.csv")
_NAMES = frozenset(name for name, _, _ in EXTENSIONS)


def write_maps(path: Path, observation: Observation, maps: dict[str, NDArray], truth: Truth, versions: tuple[str, str, str]) -> None:
    """Write one MAPS file, gzipped, the same bytes each time.

    Parameters
    ----------
    path : Path
    observation : Observation
    maps : dict of arrays by extension name, as `measure` gives them
    truth : Truth
        Its total Hα flux goes into the header, beside the galaxy's true parameters.
    versions : (drp_version, dap_version, daptype)
    """
    hdus = [fits.PrimaryHDU(header=_primary(observation, maps, truth, versions))]
    common = _image_cards(observation)
    for name, unit, channels in EXTENSIONS:
        hdus.append(fits.ImageHDU(_stored(name, maps[name]), _extension_header(name, unit, channels, common, maps[name].ndim)))
    write_fits(path, with_checksums(hdus), level=1)


def with_checksums(hdus: list) -> list:
    """Return HDUs with checksums added, without the time of day anywhere."""
    # The card that astropy adds on writing must be there when the checksum is taken.
    hdus[0].header.set("EXTEND", True, after="NAXIS")
    for hdu in hdus:
        hdu.add_checksum(when="mock archive")
    return hdus


def _stored(name: str, image: NDArray) -> NDArray:
    """Return an image as it is stored: 32-bit, and rounded where no stage reads it."""
    if image.dtype.kind == "i":
        return image.astype(np.int32)
    exact = np.array(image, np.float32)
    if name in EXACT:
        return exact
    rounded = (exact.view(np.int32) & np.int32(-(1 << DROPPED_BITS))).view(np.float32)
    if name in EXACT_LINES:
        rounded[22:25] = exact[22:25]
    return rounded


def _image_cards(observation: Observation) -> list[tuple]:
    """World coordinates: TAN, 0.5 arcsec, centred on the galaxy's spaxel."""
    galaxy, centre = observation.galaxy, float(observation.n_spaxels // 2 + 1)
    return [
        ("CRPIX1", centre, "Pixel coordinate of reference point"),
        ("CRPIX2", centre, "Pixel coordinate of reference point"),
        ("PC1_1", -0.000138889, "Coordinate transformation matrix element"),
        ("PC2_2", 0.000138889, "Coordinate transformation matrix element"),
        ("CDELT1", 1.0, "[deg] Coordinate increment at reference point"),
        ("CDELT2", 1.0, "[deg] Coordinate increment at reference point"),
        ("CUNIT1", "deg", "Units of coordinate increment and value"),
        ("CUNIT2", "deg", "Units of coordinate increment and value"),
        ("CTYPE1", "RA---TAN", "Right ascension, gnomonic projection"),
        ("CTYPE2", "DEC--TAN", "Declination, gnomonic projection"),
        ("CRVAL1", round(galaxy.ra, 6), "[deg] Coordinate value at reference point"),
        ("CRVAL2", round(galaxy.dec, 6), "[deg] Coordinate value at reference point"),
        ("LONPOLE", 180.0, "[deg] Native longitude of celestial pole"),
        ("LATPOLE", round(galaxy.dec, 6), "[deg] Native latitude of celestial pole"),
        ("RADESYS", "FK5", "Equatorial coordinate system"),
        ("EQUINOX", 2000.0, "[yr] Equinox of equatorial coordinates"),
    ]


_THIRD_AXIS = (
    ("CRPIX3", 1.0, "Pixel coordinate of reference point"),
    ("CDELT3", 1.0, "Coordinate increment at reference point"),
    ("CTYPE3", "", "Undefined type"),
    ("CUNIT3", "", "Undefined units"),
    ("CRVAL3", 1.0, "Coordinate value at reference point"),
)


def _extension_header(name: str, unit: str | None, channels: str | None, common: list[tuple], n_axes: int) -> fits.Header:
    """Cards of one extension, in the data model's order."""
    cards = [
        ("WCSAXES", n_axes, "Number of coordinate axes"),
        *common,
        *(_THIRD_AXIS if n_axes == 3 else ()),
        *MOCK_CARDS,
        ("MASKNAME", MASKNAME),
    ]
    if channels:
        entries = _CHANNELS[channels]
        digits = 2 if len(entries) > 9 else 1
        for number, (label, channel_unit) in enumerate(entries, 1):
            cards.append((f"C{number:0{digits}d}", label, f"Data in channel {number}"))
            if channel_unit is not None:
                cards.append((f"U{number:0{digits}d}", channel_unit, f"Units of data in channel {number}"))
    if unit:
        cards.append(("BUNIT", unit, "Unit of pixel value"))
    cards += [("HDUCLASS", "SDSS", "SDSS format class"), ("HDUCLAS1", "CUBE" if n_axes == 3 else "IMAGE", "Data format")]
    base = name.removesuffix("_IVAR").removesuffix("_MASK")
    error = ("ERRDATA", f"{base}_IVAR", "Associated inv. variance extension")
    quality = ("QUALDATA", f"{base}_MASK", "Associated quality extension")
    science = ("SCIDATA", base, "Associated data extension")
    if name.endswith("_MASK"):
        cards += [("HDUCLAS2", "QUALITY", ""), ("HDUCLAS3", "FLAG32BIT", "32-bit mask"), science, error]
    elif name.endswith("_IVAR"):
        cards += [("HDUCLAS2", "ERROR", ""), ("HDUCLAS3", "INVMSE", "Value of inverse mean-square error"), science]
        cards += [quality] if f"{base}_MASK" in _NAMES else []
    else:
        cards += [("HDUCLAS2", "DATA", "")]
        cards += [error] if f"{base}_IVAR" in _NAMES else []
        cards += [quality] if f"{base}_MASK" in _NAMES else []
    return fits.Header([*cards, ("EXTNAME", name, "extension name")])


def _primary(observation: Observation, maps: dict[str, NDArray], truth: Truth, versions: tuple[str, str, str]) -> fits.Header:
    """Cards of the PRIMARY header that users of MAPS files read, and the truth."""
    galaxy, (drp, dap, daptype) = observation.galaxy, versions
    bins = maps["BINID"].max(axis=(1, 2)) + 1
    ring = (maps["SPX_ELLCOO"][1] >= 1) & (maps["SPX_ELLCOO"][1] <= 1.5) & (maps["SPX_SNR"] > 0)
    snr = float(np.median(maps["SPX_SNR"][ring])) if ring.any() else 0.0
    values = values_of(_PRIMARY, "keyword", observation) | {
        "OBJECT": f"mock galaxy {galaxy.number}",
        **{"VERSDRP2": drp, "VERSDRP3": drp, "VERSDAP": dap, "DAPTYPE": daptype, "BINKEY": daptype.split("-")[0]},
        **{"IFURA": round(galaxy.ra, 6), "IFUDEC": round(galaxy.dec, 6), "IFUDSGN": str(observation.ifudesign)},
        **{f"{band}FWHM": observation.rfwhm_arcsec + more for band, more in (("G", 0.05), ("I", -0.01), ("Z", -0.02))},
        **{"ECOOELL": 1 - observation.nsa_ba, "SCINPVEL": C_KMS * galaxy.z, "SNRGMED": snr},
        **{"NBINS": int(bins[0]), "NSCMOD": int(bins[1]), "NELMOD": int(bins[3]), "TRUEFLUX": float(truth.flux.sum())},
    }
    return fits.Header([*MOCK_CARDS, *((row["keyword"], values[row["keyword"]], row["comment"]) for row in _PRIMARY)])
