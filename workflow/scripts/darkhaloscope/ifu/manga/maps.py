"""MaNGA, the first member of the IFU protocol: one line's flux, velocity and dispersion of a DAP MAPS file.

The layouts differ in the number of emission lines (22 or 35) and in SPX_ELLCOO (3 or 4 channels).
Every channel is therefore found by its name in the header cards `C01…` (numbered from 1), never by
number. Sources: the SDSS data model of mangaMaps, and Westfall et al. (2019, AJ 158, 231).
"""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from ...archive.checks import GZIP_MAGIC, without_trailing_zeros
from ...config.manga import PLATEIFU, SPAXEL_ARCSEC, Quality
from ..maps import FLUX_UNIT, LEAVE_OUT, LIGHT_SPEED_KMS, Maps, MapsError, conversion

#: Bit of DRP3QUAL and of DAPQUAL that says "do not use this observation".
CRITICAL_BIT = 30
#: MANGA_DAPPIXMASK, bit by bit (sdssMaskbits.par).
PIXEL_MASK_BITS = {
    0: "NOCOV",
    1: "LOWCOV",
    2: "DEADFIBER",
    3: "FORESTAR",
    4: "NOVALUE",
    5: "UNRELIABLE",
    6: "MATHERROR",
    7: "FITFAILED",
    8: "NEARBOUND",
    9: "NOCORRECTION",
    10: "MULTICOMP",
    30: "DONOTUSE",
}
R_RE, AZIMUTH = "R/Re", "Elliptical azimuth"
_LAYOUTS = {3: "DR15", 4: "DR17"}
#: What extensions are read in; another unit that their BUNIT says is converted.
UNITS = {
    "EMLINE_GFLUX": FLUX_UNIT,
    **dict.fromkeys(("EMLINE_GVEL", "EMLINE_GSIGMA", "EMLINE_INSTSIGMA", "STELLAR_VEL", "STELLAR_SIGMA", "STELLAR_SIGMACORR"), "km/s"),
}


class UnreadableMaps(MapsError):
    """The file is truncated, or no FITS file."""


class MissingExtension(MapsError):
    """An extension is not in the file."""


class MissingCard(MapsError):
    """A header card is not in the file, or has an impossible value."""


class LineNotFound(MapsError):
    """No channel has the name of the line."""


class WrongChannels(MapsError):
    """Channel names and data, or two extensions, do not match."""


class WrongUnit(MapsError):
    """An extension is in a unit that is not one of its quantity."""


class NotFinite(MapsError):
    """Spaxels that the mask calls good hold NaN or infinity."""


@dataclass(frozen=True, kw_only=True)
class MangaMaps(Maps):
    """Maps of one MaNGA galaxy: what the protocol asks for, and what its inspection page shows beside it.

    A spaxel is valid where `mask == 0` and `ivar > 0`. Velocities are relative to SCINPVEL; `z` is SCINPVEL/c
    and `ba` is 1 − ECOOELL.

    Attributes
    ----------
    azimuth : azimuth from the major axis [deg].
    snr : mean g-band S/N per spaxel.
    binid : bin of the emission-line fit (gas) or of the stellar fit; −1 outside.
    header : plateifu, mangaid, z, scinpvel_kms, ba, pa_deg, reff_arcsec, rfwhm_arcsec, drp3qual, dapqual,
        daptype.
    layout : "DR15" or "DR17".
    channels : name of every emission line in the file, and its index, from 0.
    """

    azimuth: NDArray
    snr: NDArray
    binid: NDArray
    header: dict
    layout: str
    channels: dict[str, int]


def read_maps(path: str | os.PathLike, quality: Quality) -> MangaMaps:
    """Read the maps of one galaxy.

    A galaxy without any good spaxel, or one whose DRP3QUAL or DAPQUAL is critical, is read all the
    same: `measure_quality` calls it unusable, with the reason.

    Parameters
    ----------
    path : path of the MAPS file, gzipped or not.
    quality : `line` names the emission line, `velocity` chooses gas or stellar kinematics.

    Returns
    -------
    MangaMaps

    Raises
    ------
    UnreadableMaps, MissingExtension, MissingCard, LineNotFound, WrongChannels, WrongUnit, NotFinite
        All of them are `MapsError`.
    """
    path = Path(path)
    with open_maps(path) as hdus:
        channels = channel_names(hdus, "EMLINE_GFLUX", path)
        flux, flux_ivar, flux_valid = _measured(hdus, "EMLINE_GFLUX", quality.line, path)
        kinematics = _gas if quality.velocity == "gas" else _stellar
        velocity, velocity_ivar, velocity_valid, dispersion, dispersion_valid, bins = kinematics(hdus, quality.line, path)
        radius, azimuth, layout = _elliptical(hdus, path)
        header = _header(hdus, path)
        maps = MangaMaps(
            galaxy_id=header["plateifu"],
            physical_id=header["mangaid"],
            instrument="MaNGA",
            line=quality.line,
            kinematics=quality.velocity,
            z=header["z"],
            ba=header["ba"],
            pa_deg=header["pa_deg"],
            reff_arcsec=header["reff_arcsec"],
            psf_fwhm_arcsec=header["rfwhm_arcsec"],
            pixel_scale_arcsec=_pixel_scale(hdus["EMLINE_GFLUX"].header),
            gradient_step_arcsec=SPAXEL_ARCSEC,
            # The published cut on the masked fraction counts the whole square, the empty corners of the hexagon too.
            counted=np.ones(flux.shape, bool),
            unfit=_unfit(header),
            facts={"drp3qual": header["drp3qual"], "dapqual": header["dapqual"], "layout": layout},
            flux=flux,
            flux_ivar=flux_ivar,
            flux_valid=flux_valid,
            velocity=velocity,
            velocity_ivar=velocity_ivar,
            velocity_valid=velocity_valid,
            dispersion=dispersion,
            dispersion_valid=dispersion_valid,
            r_re=radius,
            azimuth=azimuth,
            snr=_plane(hdus, "SPX_SNR", None, path).astype(float),
            binid=bins,
            header=header,
            layout=layout,
            channels=channels,
        )
    _check_shapes(maps, path)
    return maps


def open_maps(path: Path) -> fits.HDUList:
    """Open a MAPS file and walk through all its extensions.

    Raises
    ------
    UnreadableMaps
        The file is absent, truncated, not gzip, or not FITS.
    """
    try:
        content = path.read_bytes()
        # astropy reads what is left of a cut gzip file without a word; gzip itself does not.
        if content[:2] == GZIP_MAGIC:
            content = gzip.decompress(content)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="(?s).*(truncated|corrupted)", category=AstropyUserWarning)
            hdus = fits.open(io.BytesIO(without_trailing_zeros(content, path)), memmap=False, mode="readonly")
            len(hdus)
            return hdus
    except FileNotFoundError as error:
        raise UnreadableMaps(f"{path}: this MAPS file does not exist; run the stage that fetches it") from error
    except (OSError, EOFError, ValueError, zlib.error, AstropyUserWarning, KeyError) as error:
        raise UnreadableMaps(
            f"{path}: expected a whole MAPS file in FITS format, but reading fails ({error}); delete it and fetch it again"
        ) from error


def channel_names(hdus: fits.HDUList, extension: str, path: Path) -> dict[str, int]:
    """Return the names of an extension's channels, each with its index from 0.

    Raises
    ------
    WrongChannels
        The cards `C01…` do not count the channels of the data one by one.
    """
    hdu = _extension(hdus, extension, path)
    cards = {int(m[1]): str(hdu.header[key]).strip() for key in hdu.header if (m := re.fullmatch(r"C(\d+)", key))}
    planes = hdu.shape[0] if len(hdu.shape) == 3 else 0
    if sorted(cards) != list(range(1, planes + 1)) or len(set(cards.values())) != planes:
        raise WrongChannels(
            f"{path}: {extension} has {planes} channels but its header names {len(cards)} (cards C01 to C{max(cards, default=0):02d}); "
            "expected one name for each channel; fetch the file again"
        )
    return {name: number - 1 for number, name in sorted(cards.items())}


def is_critical(bits: int) -> bool:
    """Return whether DRP3QUAL or DAPQUAL has its critical bit set."""
    return bool(int(bits) >> CRITICAL_BIT & 1)


def mask_bit_counts(mask: NDArray) -> dict[str, int]:
    """Return how many spaxels have each bit of MANGA_DAPPIXMASK set, by the bit's name."""
    mask = np.asarray(mask, np.int64)
    return {PIXEL_MASK_BITS.get(bit, f"bit {bit}"): n for bit in range(31) if (n := int((mask >> bit & 1).sum()))}


def _unfit(header: dict) -> str | None:
    """Return why this observation must not be used, or None."""
    if not (is_critical(header["drp3qual"]) or is_critical(header["dapqual"])):
        return None
    return f"critical quality: DRP3QUAL {header['drp3qual']}, DAPQUAL {header['dapqual']} (bit {CRITICAL_BIT})"


def _gas(hdus: fits.HDUList, line: str, path: Path) -> tuple[NDArray, ...]:
    velocity, ivar, valid = _measured(hdus, "EMLINE_GVEL", line, path)
    sigma, _, sigma_valid = _measured(hdus, "EMLINE_GSIGMA", line, path)
    instrument = _plane(hdus, "EMLINE_INSTSIGMA", line, path).astype(float) * _factor(hdus, "EMLINE_INSTSIGMA", path)
    dispersion, sigma_valid = _intrinsic(sigma, sigma_valid, instrument)
    return velocity, ivar, valid, dispersion, sigma_valid, _bins(hdus, "Em. line models", path)


def _stellar(hdus: fits.HDUList, line: str, path: Path) -> tuple[NDArray, ...]:
    velocity, ivar, valid = _measured(hdus, "STELLAR_VEL", None, path)
    sigma, _, sigma_valid = _measured(hdus, "STELLAR_SIGMA", None, path)
    correction = _extension(hdus, "STELLAR_SIGMACORR", path).data
    # DR17 has two corrections; the data model says to use the first.
    correction = np.asarray(correction[0] if correction.ndim == 3 else correction, float) * _factor(hdus, "STELLAR_SIGMACORR", path)
    dispersion, sigma_valid = _intrinsic(sigma, sigma_valid, correction)
    return velocity, ivar, valid, dispersion, sigma_valid, _bins(hdus, "Stellar continua", path)


def _intrinsic(sigma: NDArray, valid: NDArray, instrument: NDArray) -> tuple[NDArray, NDArray]:
    """Take the instrument out in quadrature; a line narrower than the instrument is unresolved and gets 0."""
    valid = valid & np.isfinite(instrument)
    squared = np.where(valid, sigma**2 - np.where(valid, instrument, 0.0) ** 2, 0.0)
    return np.sqrt(np.maximum(squared, 0.0)), valid


def _measured(hdus: fits.HDUList, name: str, line: str | None, path: Path) -> tuple[NDArray, NDArray, NDArray]:
    """Return values, inverse variances and validity of one quantity, in its unit of `UNITS`; 0 where not valid."""
    values, ivar, mask = (_plane(hdus, name + suffix, line, path) for suffix in ("", "_IVAR", "_MASK"))
    good = (mask == 0) & ~(ivar <= 0)
    broken = int((good & ~(np.isfinite(values) & np.isfinite(ivar))).sum())
    if broken:
        raise NotFinite(
            f"{path}: {broken} spaxels of {name}{f' ({line})' if line else ''} are NaN or infinite although {name}_MASK is 0; "
            f"expected finite values; fetch the file again, or {LEAVE_OUT}"
        )
    factor = _factor(hdus, name, path)
    return np.where(good, values, 0.0).astype(float) * factor, np.where(good, ivar, 0.0).astype(float) / factor**2, good


def _factor(hdus: fits.HDUList, name: str, path: Path) -> float:
    """Return what the values of an extension are multiplied by to be in its unit of `UNITS`; 1 where it has no BUNIT."""
    unit = str(hdus[name].header.get("BUNIT", "")).strip() or UNITS[name]
    factor = conversion(unit, UNITS[name])
    if factor is None:
        raise WrongUnit(f"{path}: BUNIT of {name} is {unit!r}, expected {UNITS[name]} or what can be converted to it; fetch the file again")
    return factor


def _plane(hdus: fits.HDUList, name: str, line: str | None, path: Path) -> NDArray:
    """Return the image of an extension, of the line's channel where it has channels."""
    hdu = _extension(hdus, name, path)
    try:
        data = hdu.data
    except (OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise UnreadableMaps(
            f"{path}: the data of {name} cannot be read, the file is truncated ({error}); delete it and fetch it again"
        ) from error
    if data is None or data.ndim != (3 if line else 2):
        found = "no data" if data is None else f"{data.ndim} dimensions"
        raise WrongChannels(f"{path}: {name} has {found}, expected {3 if line else 2}; fetch the file again if it should be a MAPS file")
    if line is None:
        return data
    channels = channel_names(hdus, name, path)
    if line not in channels:
        raise LineNotFound(
            f"{path}: no emission line '{line}' in {name} (it has: {', '.join(channels)}); "
            "set `manga.quality.line` to one of them, or fetch the file again if it should be a MAPS file"
        )
    return data[channels[line]]


def _extension(hdus: fits.HDUList, name: str, path: Path) -> fits.ImageHDU:
    if name not in hdus:
        raise MissingExtension(
            f"{path}: expected the extension {name}, found {len(hdus)} without it ({', '.join(h.name for h in hdus)}); "
            "fetch the file again, or check that it is a DAP MAPS file"
        )
    return hdus[name]


def _elliptical(hdus: fits.HDUList, path: Path) -> tuple[NDArray, NDArray, str]:
    names = channel_names(hdus, "SPX_ELLCOO", path)
    missing = [n for n in (R_RE, AZIMUTH) if n not in names]
    if missing or len(names) not in _LAYOUTS:
        raise WrongChannels(
            f"{path}: SPX_ELLCOO has {len(names)} channels ({', '.join(names)}), expected 3 (DR15) or 4 (DR17) "
            f"with '{R_RE}' and '{AZIMUTH}'; this layout is not known"
        )
    data = hdus["SPX_ELLCOO"].data
    return data[names[R_RE]].astype(float), data[names[AZIMUTH]].astype(float), _LAYOUTS[len(names)]


def _bins(hdus: fits.HDUList, step: str, path: Path) -> NDArray:
    names = channel_names(hdus, "BINID", path)
    if step not in names:
        raise WrongChannels(f"{path}: BINID has no channel '{step}' (it has: {', '.join(names)}); fetch the file again")
    return hdus["BINID"].data[names[step]].astype(np.int64)


def _header(hdus: fits.HDUList, path: Path) -> dict:
    def card(key: str, kind: type, check=lambda value: True):
        value = hdus[0].header.get(key)
        try:
            value = kind(value)
            good = (not isinstance(value, float) or math.isfinite(value)) and check(value)
        except (TypeError, ValueError):
            good = False
        if not good:
            raise MissingCard(
                f"{path}: card {key} of the primary header is {value!r}, expected a usable {kind.__name__}; fetch the file again"
            )
        return value

    velocity = card("SCINPVEL", float, lambda v: v > 0)
    ellipticity = card("ECOOELL", float, lambda e: 0 <= e < 1)
    return {
        "plateifu": card("PLATEIFU", str, lambda s: re.fullmatch(PLATEIFU, s)),
        "mangaid": card("MANGAID", str, lambda s: s not in ("", "None")),
        "z": velocity / LIGHT_SPEED_KMS,
        "scinpvel_kms": velocity,
        "ba": 1.0 - ellipticity,
        "pa_deg": card("ECOOPA", float),
        "reff_arcsec": card("REFF", float, lambda r: r > 0),
        "rfwhm_arcsec": card("RFWHM", float, lambda r: r > 0),
        "drp3qual": card("DRP3QUAL", int),
        "dapqual": card("DAPQUAL", int),
        "daptype": card("DAPTYPE", str),
    }


def _pixel_scale(header: fits.Header) -> float:
    """Return the side of a spaxel from the WCS [arcsec]; 0.5 where the header has none."""
    step = header.get("PC1_1", 1.0) * header["CDELT1"] if "CDELT1" in header else header.get("CD1_1", 0.0)
    return round(abs(step) * 3600, 4) or SPAXEL_ARCSEC


def _check_shapes(maps: MangaMaps, path: Path) -> None:
    for name in ("velocity", "dispersion", "r_re", "azimuth", "snr", "binid"):
        found = getattr(maps, name).shape
        if found != maps.flux.shape:
            raise WrongChannels(
                f"{path}: the {name} map has {found} spaxels, expected {maps.flux.shape} as the flux map; fetch the file again"
            )
