"""A mock sample of source galaxies in the format of GalSim's COSMOS sample: catalogue, fits, selection, images, PSFs.

The layout is that of `real_galaxy_catalog_25.2.fits` and its companions (Mandelbaum et al. 2012, MNRAS 420,
1518; the GalSim wiki). Galaxies are clumpy spirals, clumpy disks, mergers and smooth ones.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from scipy import fft, ndimage, signal

from ..core.random import stream
from .archive import MOCK_CARDS, write_fits

PIXEL_ARCSEC = 0.03
#: AB zero point of COSMOS' F814W images [mag].
ZERO_POINT = 25.94
#: Standard deviation of a pixel, as in COSMOS [counts/s].
NOISE = 0.0026
#: FWHM of the mock HST PSF [arcsec].
PSF_FWHM_ARCSEC = 0.1
KINDS = ("spiral", "clumpy", "merger", "smooth")
#: Identifiers begin here; COSMOS has 6 digits.
FIRST_IDENT = 9_000_001
#: Holds the correlation of the noise between pixels, where the catalogue lies.
NOISE_FILE = "mock_noise_cf.fits"
#: Drizzled noise is correlated: this is how white noise spreads to the four neighbours.
SPREAD = 0.35


def write_sources(catalogue: Path, n: int, seed: int) -> list[Path]:
    """Write the sample; return its paths.

    Parameters
    ----------
    catalogue : Path
        Path of the catalogue; the other files take their names from it.
    n : int
        Galaxies.
    seed : int
        The same seed gives the same bytes.
    """
    stem = catalogue.name.removesuffix(".fits")
    images, psfs = (stem.replace("catalog", kind) + "_n1.fits" for kind in ("images", "PSF_images"))
    rows = [draw_source(i, seed) for i in range(n)]
    psf = _psf()
    paths = {
        catalogue: [_table(_catalogue(rows, images, psfs))],
        catalogue.with_name(f"{stem}_fits.fits"): [_table(_fits(rows))],
        catalogue.with_name(f"{stem}_selection.fits"): [_table(_selection(rows))],
        catalogue.with_name(images): [fits.ImageHDU(row["image"]) for row in rows],
        catalogue.with_name(psfs): [fits.ImageHDU(psf) for _ in rows],
        catalogue.with_name(NOISE_FILE): [fits.ImageHDU(_noise_correlation())],
    }
    cards = fits.Header(MOCK_CARDS)
    for path, hdus in paths.items():
        if isinstance(hdus[0], fits.ImageHDU):  # as in COSMOS, the first image is the primary one
            hdus = [fits.PrimaryHDU(hdus[0].data, header=cards), *hdus[1:]]
        else:
            hdus = [fits.PrimaryHDU(header=cards), *hdus]
        write_fits(path, hdus)
    return list(paths)


def draw_source(index: int, seed: int) -> dict:
    """Draw one galaxy: its image [counts/s per pixel] with noise, magnitude, half-light radius, kind."""
    rng = stream(seed, index, "source")
    kind = KINDS[int(rng.integers(len(KINDS)))]
    hlr, mag = float(np.clip(rng.lognormal(math.log(0.35), 0.4), 0.12, 0.9)), float(23.4 - 2.2 * rng.random() ** 1.5)
    q, phi = float(rng.uniform(0.4, 1.0)), float(rng.uniform(0, math.pi))
    side = int(np.clip(2 * math.ceil(4.5 * hlr / PIXEL_ARCSEC), 64, 240))
    axis = (np.arange(side) - (side - 1) / 2) * PIXEL_ARCSEC
    x, y = np.meshgrid(axis, axis)
    light = _shape(kind, x, y, hlr, q, phi, rng)
    light = fft.irfft2(fft.rfft2(light) * fft.rfft2(_kernel(side)), s=light.shape)
    light *= 10 ** ((ZERO_POINT - mag) / 2.5) / light.sum()
    radius = np.hypot(x, y)
    order = np.argsort(radius, axis=None)
    inside = np.cumsum(light.ravel()[order])
    measured = float(radius.ravel()[order][np.searchsorted(inside, 0.5 * inside[-1])])
    image = (light + NOISE * ndimage.convolve(rng.standard_normal((side, side)), _noise_kernel(), mode="wrap")).astype(np.float32)
    return {
        "ident": FIRST_IDENT + index,
        "kind": kind,
        "image": image,
        "mag": mag,
        "hlr": measured,
        "q": q,
        "phi": phi,
        "z": float(rng.uniform(0.6, 2.0)),
        "n": 1.0 if kind != "smooth" else 2.5,
    }


def _shape(kind: str, x: NDArray, y: NDArray, hlr: float, q: float, phi: float, rng: np.random.Generator) -> NDArray:
    u, v = x * math.cos(phi) + y * math.sin(phi), -x * math.sin(phi) + y * math.cos(phi)
    r = np.hypot(u * math.sqrt(q), v / math.sqrt(q))
    scale = hlr / 1.678
    disk = np.exp(-r / scale)
    disk /= disk.sum()
    if kind == "smooth":
        light = np.exp(-4.67 * ((np.hypot(r, 0.01) / hlr) ** 0.4 - 1))
        return light / light.sum()
    if kind == "spiral":
        angle = np.arctan2(v / math.sqrt(q), u * math.sqrt(q))
        wave = np.cos(2 * (angle - rng.choice([-1, 1]) * np.log(np.maximum(r, 0.02) / scale) / math.tan(rng.uniform(0.25, 0.5))))
        arms = disk * np.clip(r / scale - 0.5, 0, 1) * np.exp(2.5 * (wave - 1))
        return 0.45 * disk + 0.35 * arms / arms.sum() + 0.2 * _knots(x, y, rng, 8, 1.2 * hlr, 0.05)
    if kind == "clumpy":
        return 0.5 * disk + 0.5 * _knots(x, y, rng, int(rng.integers(4, 9)), hlr, 0.06)
    dx, dy = (rng.uniform(0.8, 1.6) * hlr * np.array([math.cos(phi), math.sin(phi)])).tolist()
    other = np.exp(-np.hypot(x - dx, (y - dy) / 0.7) / (0.6 * scale))
    tail = np.exp(-((np.hypot(x - dx / 2, y - dy / 2) - 1.6 * hlr) ** 2) / (2 * 0.08**2)) * (1 + np.cos(np.arctan2(y, x) - phi - 1.5))
    return 0.5 * disk + 0.38 * other / other.sum() + 0.12 * tail / tail.sum()


def _knots(x: NDArray, y: NDArray, rng: np.random.Generator, n: int, spread: float, size: float) -> NDArray:
    light = np.zeros_like(x)
    for _ in range(n):
        distance, angle, sigma = spread * rng.rayleigh(0.7), rng.uniform(0, 2 * math.pi), size * rng.uniform(0.5, 1.5)
        cx, cy = distance * math.cos(angle), distance * math.sin(angle)
        light += rng.uniform(0.3, 1.0) / sigma**2 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    return light / light.sum()


def _kernel(side: int) -> NDArray:
    axis = np.minimum(np.arange(side), side - np.arange(side)) * PIXEL_ARCSEC
    return _psf_profile(axis[:, None] ** 2 + axis[None, :] ** 2)


def _psf() -> NDArray[np.float64]:
    axis = (np.arange(37) - 18) * PIXEL_ARCSEC
    return _psf_profile(axis[:, None] ** 2 + axis[None, :] ** 2)


def _psf_profile(r2: NDArray) -> NDArray:
    """A core with faint wings, pixel included; sum 1."""
    sigma = PSF_FWHM_ARCSEC / 2.355
    profile = np.exp(-r2 / (2 * sigma**2)) + 0.03 * np.exp(-r2 / (2 * (3 * sigma) ** 2))
    return profile / profile.sum()


def _noise_kernel() -> NDArray:
    kernel = np.array([[0, SPREAD, 0], [SPREAD, 1, SPREAD], [0, SPREAD, 0]])
    return kernel / math.sqrt((kernel**2).sum())


def _noise_correlation() -> NDArray:
    """Return the correlation of a pixel with those around it, 1 with itself."""
    return np.pad(signal.correlate2d(_noise_kernel(), _noise_kernel()), 5)


def _catalogue(rows: list[dict], images: str, psfs: str) -> dict[str, NDArray]:
    n = len(rows)
    index = np.arange(n)
    return {
        "IDENT": np.array([r["ident"] for r in rows], np.int32),
        "RA": 150.0 + 1e-3 * index,
        "DEC": 2.0 + 1e-3 * index,
        "MAG": np.array([r["mag"] for r in rows]),
        "BAND": np.full(n, "F814W", "S5"),
        "WEIGHT": np.ones(n),
        "GAL_FILENAME": np.full(n, images, f"S{len(images)}"),
        "PSF_FILENAME": np.full(n, psfs, f"S{len(psfs)}"),
        "GAL_HDU": index.astype(np.int32),
        "PSF_HDU": index.astype(np.int32),
        "PIXEL_SCALE": np.full(n, PIXEL_ARCSEC),
        "NOISE_MEAN": np.zeros(n),
        "NOISE_VARIANCE": np.full(n, NOISE**2),
        "NOISE_FILENAME": np.full(n, NOISE_FILE, f"S{len(NOISE_FILE)}"),
        "stamp_flux": np.array([float(r["image"].sum(dtype=np.float64)) for r in rows]),
    }


def _fits(rows: list[dict]) -> dict[str, NDArray]:
    """Return the parametric fits: Sérsic intensity, half-light radius [pixels], index, axis ratio, boxiness, centre, angle [rad]."""
    n = len(rows)
    pixels = np.array([r["hlr"] for r in rows]) / PIXEL_ARCSEC
    flux = np.array([10 ** ((ZERO_POINT - r["mag"]) / 2.5) for r in rows])
    sersic = np.zeros((n, 8))
    for i, r in enumerate(rows):
        middle = (r["image"].shape[0] - 1) / 2
        sersic[i] = [flux[i] / (7 * pixels[i] ** 2 * r["q"]), pixels[i] / math.sqrt(r["q"]), r["n"], r["q"], 0, middle, middle, r["phi"]]
    return {
        "IDENT": np.array([r["ident"] for r in rows], np.int32),
        "mag_auto": np.array([r["mag"] for r in rows]),
        "flux_radius": pixels,
        "zphot": np.array([r["z"] for r in rows]),
        "sersicfit": sersic,
        "bulgefit": np.concatenate([sersic, sersic], axis=1),
        "fit_status": np.ones((n, 5), np.int32),
        "fit_mad_s": np.full(n, 0.003),
        "fit_mad_b": np.full(n, 0.003),
        "fit_dvc_btt": np.zeros(n),
        "use_bulgefit": np.zeros(n, np.int32),
        "viable_sersic": np.ones(n, np.int32),
        "hlr": np.stack([np.array([r["hlr"] for r in rows]), np.zeros(n), np.zeros(n)], axis=1),
        "flux": np.stack([flux, np.zeros(n), np.zeros(n), np.zeros(n)], axis=1),
    }


def _selection(rows: list[dict]) -> dict[str, NDArray]:
    """Return the numbers by which GalSim's exclusion levels judge: all galaxies pass."""
    n = len(rows)
    return {
        "IDENT": np.array([r["ident"] for r in rows], np.int32),
        "dmag": np.zeros(n),
        "sn_ellip_gauss": np.full(n, 200.0),
        "min_mask_dist_pixels": np.full(n, 40.0),
        "average_mask_adjacent_pixel_count": np.full(n, 0.004),
        "peak_image_pixel_count": np.full(n, 0.4),
    }


def _table(columns: dict[str, NDArray]) -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns(
        [fits.Column(name, _format(values), array=values) for name, values in columns.items()],
        header=fits.Header(MOCK_CARDS),
    )


def _format(values: NDArray) -> str:
    if values.dtype.kind == "S":
        return f"{values.dtype.itemsize}A"
    width = values.shape[1] if values.ndim > 1 else 1
    return f"{width if width > 1 else ''}{'J' if values.dtype.kind == 'i' else 'D'}"
