"""Hand-made MAPS files and maps whose content is known."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from darkhaloscope.config.manga import Quality
from darkhaloscope.ifu.manga.maps import Maps, read_maps

# fmt: off
DR17_LINES = [
    "OII-3727", "OII-3729", "H12-3751", "H11-3771", "Hthe-3798", "Heta-3836", "NeIII-3869", "HeI-3889", "Hzet-3890", "NeIII-3968",
    "Heps-3971", "Hdel-4102", "Hgam-4341", "HeII-4687", "Hb-4862", "OIII-4960", "OIII-5008", "NI-5199", "NI-5201", "HeI-5877",
    "OI-6302", "OI-6365", "NII-6549", "Ha-6564", "NII-6585", "SII-6718", "SII-6732", "HeI-7067", "ArIII-7137", "ArIII-7753",
    "Peta-9017", "SIII-9071", "Pzet-9231", "SIII-9533", "Peps-9548",
]
DR15_LINES = [
    "OII-3727", "OII-3729", "Hthe-3798", "Heta-3836", "NeIII-3869", "Hzet-3890", "NeIII-3968", "Heps-3971", "Hdel-4102",
    "Hgam-4341", "HeII-4687", "Hb-4862", "OIII-4960", "OIII-5008", "HeI-5877", "OI-6302", "OI-6365", "NII-6549", "Ha-6564",
    "NII-6585", "SII-6718", "SII-6732",
]
# fmt: on
SIZE = 34


def disk(size: int = SIZE) -> dict[str, np.ndarray]:
    """Planes of a rotating exponential disk, valid inside a hexagon-like circle."""
    y, x = np.indices((size, size)) - (size - 1) / 2
    r = np.hypot(x, y)
    return {"flux": 100 * np.exp(-r / 5), "velocity": 150 * np.tanh(x / 4), "sigma": np.full((size, size), 80.0), "good": r < 0.45 * size}


@pytest.fixture
def lines() -> dict[str, list[str]]:
    """Names of the emission lines of each layout."""
    return {"DR17": DR17_LINES, "DR15": DR15_LINES}


@pytest.fixture
def maps_hdus():
    """Function that makes the HDUs of a MAPS file; keyword arguments change its planes and cards."""

    def make(layout: str = "DR17", line: str = "Ha-6564", cards: dict | None = None, **planes) -> fits.HDUList:
        lines = DR17_LINES if layout == "DR17" else DR15_LINES
        planes = disk(planes.pop("size", SIZE)) | planes
        good, size = planes["good"], len(planes["good"])
        y, x = np.indices((size, size)) - (size - 1) / 2
        radius = 0.5 * np.hypot(x, y)
        azimuth = np.degrees(np.arctan2(y, x)) % 360
        primary = fits.PrimaryHDU()
        primary.header.update(
            {"PLATEIFU": "99999-1901", "MANGAID": "1-1", "SCINPVEL": 8993.77374, "ECOOELL": 0.4, "ECOOPA": 90.0, "REFF": 4.0, "RFWHM": 2.6}
        )
        primary.header.update({"DRP3QUAL": 0, "DAPQUAL": 0, "DAPTYPE": "HYB10-MILESHC-MASTARSSP", **(cards or {})})
        hdus = fits.HDUList([primary])

        def add(name, data, channels=()):
            hdu = fits.ImageHDU(np.asarray(data), name=name)
            hdu.header["PC1_1"], hdu.header["CDELT1"] = -0.000138889, 1.0
            width = 2 if len(channels) > 9 else 1
            for i, channel in enumerate(channels, start=1):
                hdu.header[f"C{i:0{width}d}"] = channel
            hdus.append(hdu)

        def cube(plane, dtype=np.float32):
            # Other lines hold something else, so that a wrong index cannot go unnoticed.
            data = np.stack([np.full(plane.shape, 1000 + i, dtype) for i in range(len(lines))])
            data[lines.index(line)] = plane
            return data

        mask = planes.get("mask", np.where(good, 0, 1 << 30 | 1))
        ivar = planes.get("ivar", np.where(good, 4.0, 0.0))
        kpc = [radius * 0.4] if layout == "DR17" else []
        names = ["Elliptical radius", "R/Re", *(["R h/kpc"] if kpc else []), "Elliptical azimuth"]
        add("SPX_ELLCOO", np.array([radius, radius / 4.0, *kpc, azimuth], np.float32), names)
        add("SPX_SNR", np.where(good, 10, 0).astype(np.float32))
        bins = np.where(good, np.arange(size * size).reshape(size, size), -1).astype(np.int32)
        steps = ["Binned spectra", "Stellar continua", "Em. line moments", "Em. line models", "Spectral indices"]
        add("BINID", np.stack([bins] * 5), steps)
        zeroed = {k: np.where(good, planes[k], 0) for k in ("flux", "velocity", "sigma")}
        for name, plane in (("EMLINE_GFLUX", "flux"), ("EMLINE_GVEL", "velocity"), ("EMLINE_GSIGMA", "sigma")):
            add(name, cube(zeroed[plane]), lines)
            add(name + "_IVAR", cube(ivar), lines)
            add(name + "_MASK", cube(mask, np.int32), lines)
        add("EMLINE_INSTSIGMA", cube(np.full(good.shape, 64.0)), lines)
        for name, plane in (("STELLAR_VEL", 0.5 * zeroed["velocity"]), ("STELLAR_SIGMA", zeroed["sigma"])):
            add(name, plane.astype(np.float32))
            add(name + "_IVAR", ivar.astype(np.float32))
            add(name + "_MASK", mask.astype(np.int32))
        correction = np.full(good.shape, 48.0, np.float32)
        if layout == "DR17":
            add("STELLAR_SIGMACORR", np.stack([correction, correction + 100]), ["resolution difference", "fit"])
        else:
            add("STELLAR_SIGMACORR", correction)
        return hdus

    return make


@pytest.fixture
def make_maps(maps_hdus, tmp_path):
    """Function that writes a MAPS file, reads it back, and replaces fields of the result."""

    def make(replaced: dict | None = None, quality: Quality | None = None, **arguments) -> Maps:
        path = tmp_path / "maps.fits.gz"
        maps_hdus(**arguments).writeto(path, overwrite=True)
        return replace(read_maps(path, quality or Quality()), **(replaced or {}))

    return make
