"""Writer of MAPS files as the MaNGA analysis pipeline of DR17 made them: 64 extensions, their header cards and conventions.

The layout follows the SDSS data model of `mangaMaps`, DR17. Files say that they are mock, in every header.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..core.files import whole
from .manga_lines import INDEX_NAMES, INDEX_UNITS, LINES, MOMENT_NAMES
from .manga_measurements import Truth
from .manga_population import Observation

MASKNAME = "MANGA_DAPPIXMASK"
MOCK_CARDS = (("MOCK", True, "Simulated data: not an observation"), ("AUTHOR", "Dark Halo Scope mock archive", ""))
FLUX, PER_ANGSTROM = "1E-17 erg/s/cm^2/spaxel", "1E-17 erg/s/cm^2/ang/spaxel"
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

_FOM = ("rms", "frms", "rchi2", "68th perc frac resid", "99th perc frac resid", "max frac resid")
_CHANNELS = {
    "SKYCOO": (("On-sky X", None), ("On-sky Y", None)),
    "LWSKYCOO": (("Lum. weighted on-sky X", None), ("Lum. weighted on-sky Y", None)),
    "ELLCOO": (("Elliptical radius", "arcsec"), ("R/Re", ""), ("R h/kpc", "kpc/h"), ("Elliptical azimuth", "degrees")),
    "LWELLCOO": (
        ("Lum. weighted elliptical radius", "arcsec"),
        ("R/Re", ""),
        ("R h/kpc", "kpc/h"),
        ("Lum. weighted elliptical azimuth", "degrees"),
    ),
    "BINID": tuple((n, None) for n in ("Binned spectra", "Stellar continua", "Em. line moments", "Em. line models", "Spectral indices")),
    "SIGMACORR": (("resolution difference", None), ("fit", None)),
    "FOM": tuple(
        (n, PER_ANGSTROM if n == "rms" else "") for n in (*_FOM, "68th perc per pix chi", "99th perc per pix chi", "max per pix chi")
    ),
    "GAUSS": tuple((line.name, None) for line in LINES),
    "MOMENT": tuple((name, None) for name in MOMENT_NAMES),
    "INDEX": tuple(zip(INDEX_NAMES, INDEX_UNITS, strict=True)),
    "INDEX_BARE": tuple((name, None) for name in INDEX_NAMES),
    "INDEX_IVAR": tuple((n, f"({u})^{{-2}}" if u else "") for n, u in zip(INDEX_NAMES, INDEX_UNITS, strict=True)),
}


def _family(name: str, unit: str | None, channels: str | None, *, ivar: bool = True) -> list[tuple[str, str | None, str | None]]:
    """Return a measured quantity with its inverse variance and mask, as (name, unit, channels)."""
    bare = {"INDEX": "INDEX_BARE"}.get(channels or "", channels)
    inverse = {"INDEX": "INDEX_IVAR"}.get(channels or "", channels)
    errors = [(f"{name}_IVAR", f"({unit})^{{-2}}" if unit else None, inverse)] if ivar else []
    return [(name, unit, channels), *errors, (f"{name}_MASK", None, bare)]


def _indices(name: str) -> list[tuple[str, str | None, str | None]]:
    return [*_family(name, None, "INDEX"), (f"{name}_CORR", None, "INDEX_BARE"), (f"{name}_MODEL", None, "INDEX_BARE")]


def _widths(kind: str, channels: str) -> list[tuple[str, str | None, str | None]]:
    first, *others = _family(f"EMLINE_{kind}EW", "ang", channels)
    return [first, (f"EMLINE_{kind}EW_CNT", PER_ANGSTROM, channels), *others]


#: Every extension after PRIMARY, in the order of the file: name, unit (BUNIT), channel set.
EXTENSIONS: tuple[tuple[str, str | None, str | None], ...] = (
    ("SPX_SKYCOO", "arcsec", "SKYCOO"),
    ("SPX_ELLCOO", None, "ELLCOO"),
    ("SPX_MFLUX", PER_ANGSTROM, None),
    ("SPX_MFLUX_IVAR", f"({PER_ANGSTROM})^{{-2}}", None),
    ("SPX_SNR", None, None),
    ("BINID", None, "BINID"),
    ("BIN_LWSKYCOO", "arcsec", "LWSKYCOO"),
    ("BIN_LWELLCOO", None, "LWELLCOO"),
    ("BIN_AREA", "arcsec^2", None),
    ("BIN_FAREA", None, None),
    *_family("BIN_MFLUX", PER_ANGSTROM, None),
    ("BIN_SNR", None, None),
    *_family("STELLAR_VEL", "km/s", None),
    *_family("STELLAR_SIGMA", "km/s", None),
    ("STELLAR_SIGMACORR", "km/s", "SIGMACORR"),
    ("STELLAR_FOM", None, "FOM"),
    *_family("EMLINE_SFLUX", FLUX, "MOMENT"),
    *_widths("S", "MOMENT"),
    *_family("EMLINE_GFLUX", FLUX, "GAUSS"),
    *_widths("G", "GAUSS"),
    *_family("EMLINE_GVEL", "km/s", "GAUSS"),
    *_family("EMLINE_GSIGMA", "km/s", "GAUSS"),
    ("EMLINE_INSTSIGMA", "km/s", "GAUSS"),
    ("EMLINE_TPLSIGMA", "km/s", "GAUSS"),
    ("EMLINE_GA", PER_ANGSTROM, "GAUSS"),
    ("EMLINE_GANR", None, "GAUSS"),
    ("EMLINE_FOM", None, "FOM"),
    ("EMLINE_LFOM", None, "GAUSS"),
    *_indices("SPECINDEX"),
    *_indices("SPECINDEX_BF"),
    *_indices("SPECINDEX_WGT"),
)
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
    with whole(path) as temporary:
        temporary.write_bytes(gzip.compress(fits_bytes(hdus), compresslevel=1, mtime=0))


def fits_bytes(hdus: list) -> bytes:
    """Return HDUs as a FITS file with checksums, without the time of day anywhere."""
    # The card that astropy adds on writing must be there when the checksum is taken.
    hdus[0].header.set("EXTEND", True, after="NAXIS")
    for hdu in hdus:
        hdu.add_checksum(when="mock archive")
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getvalue()


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
    cards = [
        *MOCK_CARDS,
        ("ORIGIN", "simulation", "Made by a program, for tests and demonstrations"),
        ("OBJECT", f"mock galaxy {galaxy.number}", "No such galaxy exists"),
        ("VERSDRP2", drp, "MaNGA DRP version (2d) that is imitated"),
        ("VERSDRP3", drp, "MaNGA DRP version (3d) that is imitated"),
        ("TELESCOP", "SDSS 2.5-M", "Sloan Digital Sky Survey"),
        ("INSTRUME", "MaNGA", "SDSS-IV MaNGA IFU"),
        ("SRVYMODE", "MaNGA dither", "Survey leading this observation and its mode"),
        ("OBJSYS", "ICRS", "The TCC objSys"),
        ("EQUINOX", 2000.0, ""),
        ("RADESYS", "FK5", ""),
        ("NEXP", 9, "Total number of exposures"),
        ("EXPTIME", 8100.0, "Total exposure time (seconds)"),
        ("MNGTARG1", 1024, "manga_target1 maskbit"),
        ("MNGTARG2", 0, "manga_target2 maskbit"),
        ("MNGTARG3", 0, "manga_target3 maskbit"),
        ("IFURA", round(galaxy.ra, 6), "IFU R.A. (J2000 deg.)"),
        ("IFUDEC", round(galaxy.dec, 6), "IFU Dec. (J2000 deg.)"),
        ("OBJRA", galaxy.ra, "Object R.A. (J2000 deg.)"),
        ("OBJDEC", galaxy.dec, "Object Dec. (J2000 deg.)"),
        ("PLATEID", observation.plate, "Current plate"),
        ("IFUDSGN", str(observation.ifudesign), "ifuDesign"),
        ("PLATEIFU", observation.plateifu, "PLATEID-ifuDesign"),
        ("MANGAID", galaxy.mangaid, "MaNGA ID number"),
        ("CATIDNUM", "99", "Primary target input catalog"),
        ("DRP3QUAL", observation.drp3qual, "DRP-3d quality bitmask"),
        ("EBVGAL", observation.ebv, "Galactic reddening E(B-V)"),
        ("GFWHM", observation.rfwhm_arcsec + 0.05, "Reconstructed FWHM in g-band (arcsec)"),
        ("RFWHM", observation.rfwhm_arcsec, "Reconstructed FWHM in r-band (arcsec)"),
        ("IFWHM", observation.rfwhm_arcsec - 0.01, "Reconstructed FWHM in i-band (arcsec)"),
        ("ZFWHM", observation.rfwhm_arcsec - 0.02, "Reconstructed FWHM in z-band (arcsec)"),
        ("MASKNAME", MASKNAME, ""),
        ("VERSDAP", dap, "MaNGA DAP version that is imitated"),
        ("DAPTYPE", daptype, "DAP analysis method"),
        ("DAPFRMT", "MAPS", "DAP data file format"),
        ("RDXQAKEY", "SNRG", "Method keyword"),
        ("ECOOPA", observation.nsa_phi_deg, "Position angle for ellip. coo"),
        ("ECOOELL", 1 - observation.nsa_ba, "Ellipticity (1-b/a) for ellip. coo"),
        ("REFF", galaxy.re_arcsec, ""),
        ("BINKEY", daptype.split("-")[0], "Spectal binning method keyword"),
        ("BINMINSN", 1.0, "Minimum S/N of spectrum to include"),
        ("FSPCOV", 0.8, "Minimum required fraction of good pixels"),
        ("NBINS", int(bins[0]), "Number of unique spatial bins"),
        ("BINTYPE", "voronoi", "Binning method"),
        ("BINSNR", 10.0, "Voronoi binning minimum S/N"),
        ("VSTEP", 69.02976447828435, "Velocity step per spectral channel."),
        ("SCKEY", "MILESHCMPL11", "Stellar-continuum model keyword"),
        ("SCINPVEL", C_KMS * galaxy.z, "Initial guess velocity"),
        ("SCINPSIG", 100.0, "Initial guess velocity dispersion"),
        ("NSCMOD", int(bins[1]), "Number of unique stellar-continuum models"),
        ("ELMKEY", "EMOMMPL11", "Emission-line moments database keyword"),
        ("ELFKEY", "EFITMPL11SSPDB", "Emission-line modeling method keyword"),
        ("EMLDB", "ELPMPL11", "Emission-line database keyword"),
        ("NELMOD", int(bins[3]), "Number of unique emission-line models"),
        ("SIKEY", "INDXEN", "Spectral-index database keyword"),
        ("SNRGMED", snr, "Median g-band SNR from 1-1.5 Re"),
        ("DAPQUAL", observation.dapqual, "DAP quality bitmask"),
        ("COMMENT", "The cards below hold the parameters that the simulation was made with."),
        ("TRUEPART", galaxy.part, "What this galaxy is meant for"),
        ("TRUEINC", galaxy.inclination_deg, "[deg] Inclination"),
        ("TRUEPA", galaxy.pa_deg, "[deg] Position angle of the receding side"),
        ("TRUEVMAX", galaxy.v_max_kms, "[km/s] Rotation speed far out"),
        ("TRUERT", galaxy.turnover_arcsec, "[arcsec] Turnover of the rotation curve"),
        ("TRUEVSYS", galaxy.v_sys_kms, "[km/s] Systemic velocity relative to SCINPVEL"),
        ("TRUESIG", galaxy.sigma0_kms, "[km/s] Dispersion of the gas, outer disk"),
        ("TRUERS", galaxy.ha_scale_arcsec, "[arcsec] Scale length of H-alpha"),
        ("TRUEFLUX", float(truth.flux.sum()), "[1e-17 erg/s/cm2] H-alpha over the whole map"),
    ]
    return fits.Header(cards)
