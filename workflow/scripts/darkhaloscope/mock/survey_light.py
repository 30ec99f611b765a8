"""Light of the mock sky: galaxies, arcs and stars as a telescope with a Moffat PSF records them.

Smooth galaxies are sums of Gaussians, fitted to Sérsic profiles, and so is the PSF: their convolution is
exact and needs no grid (Hogg & Lang 2013, PASP 125, 719). Everything else is drawn on a grid of half pixels
and convolved there. The PSF is that of the images, pixels included: it is sampled, not integrated, at pixel centres.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, optimize, special

from ..config.legacysurvey import PIXEL_SCALE_ARCSEC as PIXEL_ARCSEC

#: Slope of the PSF's wings.
BETA = 3.5
#: Profiles end here, in half-light radii.
TRUNCATION = 8.0
#: Variance over another's below which a Gaussian's own shape does not show, and the surface brightness that no noise lets through [nanomaggy].
NARROW, UNSEEN = 0.1, 2e-6
#: Side of the grid for what is drawn [pixels], and its points per pixel.
CANVAS, FINE = 96, 2
#: Subgrid of the arcs, per grid point: arcs are thin.
ARC_FINE = 2

Gaussians = tuple[NDArray[np.float64], NDArray[np.float64]]


@functools.cache
def sersic_gaussians(n: float) -> Gaussians:
    """Return shares of the light and widths [half-light radii] of Gaussians that add up to a Sérsic profile of index `n`."""
    r = np.geomspace(0.01, TRUNCATION, 160)
    b = special.gammaincinv(2 * n, 0.5)
    return _fit(r, np.exp(-b * (r ** (1 / n) - 1)), np.geomspace(0.05, 5.0, 8))


@functools.cache
def moffat_gaussians() -> Gaussians:
    """Return shares and widths [FWHM] of Gaussians that add up to the PSF."""
    r = np.geomspace(0.01, 6.0, 200)
    alpha = 1 / (2 * math.sqrt(2 ** (1 / BETA) - 1))
    return _fit(r, (1 + (r / alpha) ** 2) ** -BETA, np.geomspace(0.3, 2.6, 6))


def psfsize_of(fwhm: float) -> float:
    """Return 2.355 σ of the Gaussian that has the noise-equivalent area of a Moffat profile of slope `BETA`."""
    alpha = fwhm / (2 * math.sqrt(2 ** (1 / BETA) - 1))
    return 2.355 * alpha / 2 * math.sqrt(2 * BETA - 1) / (BETA - 1)


@dataclass(frozen=True)
class Seeing:
    """The PSF of each band of a brick: FWHM [pixels]."""

    fwhm: tuple[float, ...]

    @functools.cached_property
    def transfer(self) -> NDArray[np.complex64]:
        """Fourier transform of the PSF on the canvas, per band."""
        side = CANVAS * FINE
        axis = np.minimum(np.arange(side), side - np.arange(side)) / FINE
        r2 = axis[:, None] ** 2 + axis[None, :] ** 2
        kernels = []
        for fwhm in self.fwhm:
            kernel = (1 + r2 * 4 * (2 ** (1 / BETA) - 1) / fwhm**2) ** -BETA
            kernels.append(kernel / kernel.sum())
        return fft.rfft2(np.array(kernels, np.float32))


def add_galaxy(
    images: NDArray, seeing: Seeing, x: float, y: float, fluxes: NDArray, re: float, n: float, q: float = 1.0, phi: float = 0.0
) -> None:
    """Add a Sérsic galaxy to images of all bands.

    Parameters
    ----------
    images : (bands, ny, nx), nanomaggy; changed
    x, y : float, pixels from 0
    fluxes : (bands,) nanomaggy
    re : float
        Half-light radius, as of the circle of the same area [pixels]; 0 for a star.
    n : float
    q, phi : float
        Axis ratio; angle of the long axis from x to y [rad].
    """
    shares, widths = sersic_gaussians(n) if re else (np.ones(1), np.zeros(1))
    # A star may be bright: its wings end where even then nothing is seen.
    half = int(min(max(5 * re, 4 * max(seeing.fwhm)) + 6, 80)) if re else int(14 * max(seeing.fwhm))
    window, dx, dy = _window(images, x, y, half)
    if window is None:
        return
    u, v = dx * math.cos(phi) + dy * math.sin(phi), -dx * math.sin(phi) + dy * math.cos(phi)
    u2, v2 = (u * u).astype(np.float32), (v * v).astype(np.float32)
    psf_shares, psf_widths = moffat_gaussians()
    for band, fwhm in enumerate(seeing.fwhm):
        for share, own, blur in _pairs(shares, (widths * re) ** 2, psf_shares, (psf_widths * fwhm) ** 2):
            a, b = own / q + blur, own * q + blur
            weight = fluxes[band] * share / (2 * math.pi * math.sqrt(a * b))
            if weight < UNSEEN:
                continue
            # Beyond 4.5 σ of its long axis a Gaussian adds nothing.
            near = _core(u2.shape, x - window[1].start, y - window[0].start, 4.5 * math.sqrt(a) + 1)
            part = np.exp(u2[near] * np.float32(-0.5 / a) + v2[near] * np.float32(-0.5 / b))
            images[band][window][near] += np.float32(weight) * part


class Canvas:
    """A grid of half pixels around one object, on which shapes are drawn in arcsec from the object.

    x to the right, y up; every shape adds `fluxes` [nanomaggy per band], however its profile is scaled.
    """

    def __init__(self, x: float, y: float, n_bands: int) -> None:
        self._corner = round(x) - CANVAS // 2, round(y) - CANVAS // 2
        axis = np.arange(CANVAS * FINE) / FINE
        self.x, self.y = np.meshgrid((axis + self._corner[0] - x) * PIXEL_ARCSEC, (axis + self._corner[1] - y) * PIXEL_ARCSEC)
        self._light = np.zeros((n_bands, *self.x.shape), np.float32)

    def add(self, shape: NDArray, fluxes: NDArray) -> None:
        """Add a shape, given on the grid, with so much light in each band."""
        self._light += (np.asarray(fluxes) / shape.sum()).astype(np.float32)[:, None, None] * shape.astype(np.float32)

    def rotated(self, x: float, y: float, phi: float, q: float) -> tuple[NDArray, NDArray, NDArray]:
        """Return coordinates along and across an axis, and the elliptical radius of the circle of the same area [arcsec]."""
        dx, dy = self.x - x, self.y - y
        u, v = dx * math.cos(phi) + dy * math.sin(phi), -dx * math.sin(phi) + dy * math.cos(phi)
        return u, v, np.sqrt(u**2 * q + v**2 / q)

    def put(self, images: NDArray, seeing: Seeing) -> None:
        """Convolve what was drawn, and add it to images of all bands."""
        blurred = fft.irfft2(fft.rfft2(self._light) * seeing.transfer, s=self.x.shape)
        pixels = blurred[:, ::FINE, ::FINE] * FINE**2
        (x0, y0), (ny, nx) = self._corner, images.shape[1:]
        left, low, right, high = max(x0, 0), max(y0, 0), min(x0 + CANVAS, nx), min(y0 + CANVAS, ny)
        if left < right and low < high:
            images[:, low:high, left:right] += pixels[:, low - y0 : high - y0, left - x0 : right - x0]


def sersic(r: NDArray, re: float, n: float) -> NDArray:
    """Return the surface brightness of a Sérsic profile, its centre softened below a quarter pixel."""
    b = special.gammaincinv(2 * n, 0.5)
    return np.exp(-b * ((np.hypot(r, PIXEL_ARCSEC / 4) / re) ** (1 / n) - 1))


def blob(canvas: Canvas, x: float, y: float, sigma: float) -> NDArray:
    """Return a round Gaussian [arcsec]."""
    return np.exp(-((canvas.x - x) ** 2 + (canvas.y - y) ** 2) / (2 * sigma**2))


def sie_deflection(x: NDArray, y: NDArray, theta_e: float, q: float, phi: float) -> tuple[NDArray, NDArray]:
    """Deflection of a singular isothermal ellipsoid [arcsec], κ = θ_E / 2 / √(q x² + y² / q) along its long axis `phi`.

    Kormann, Schneider & Bartelmann 1994, A&A 284, 285.
    """
    c, s = math.cos(phi), math.sin(phi)
    u, v = c * x + s * y, -s * x + c * y
    f = math.sqrt(1 - q * q)
    root = np.sqrt(q * q * u * u + v * v + 1e-12)
    a = theta_e * math.sqrt(q) / f * np.arctan(f * u / root)
    b = theta_e * math.sqrt(q) / f * np.arctanh(f * v / (root + 1e-12))
    return c * a - s * b, s * a + c * b


def arcs(canvas: Canvas, theta_e: float, q: float, phi: float, source: dict[str, NDArray | float]) -> tuple[NDArray, float]:
    """Return the lensed image of a source of knots on the canvas, and its magnification.

    Parameters
    ----------
    source : dict
        x, y, share, sigma of round Gaussian knots [arcsec].
    """
    step = PIXEL_ARCSEC / FINE
    offsets = ((np.arange(ARC_FINE) + 0.5) / ARC_FINE - 0.5) * step
    light = np.zeros_like(canvas.x)
    for oy in offsets:
        for ox in offsets:
            x, y = canvas.x + ox, canvas.y + oy
            ax, ay = sie_deflection(x, y, theta_e, q, phi)
            for kx, ky, share, sigma in zip(source["x"], source["y"], source["share"], source["sigma"], strict=True):
                r2 = (x - ax - kx) ** 2 + (y - ay - ky) ** 2
                light += share / (2 * math.pi * sigma**2) * np.exp(-r2 / (2 * sigma**2))
    light *= step**2 / ARC_FINE**2
    return light, float(light.sum() / np.sum(source["share"]))


def _window(images: NDArray, x: float, y: float, half: int):
    ny, nx = images.shape[1:]
    left, right = max(round(x) - half, 0), min(round(x) + half + 1, nx)
    low, high = max(round(y) - half, 0), min(round(y) + half + 1, ny)
    if left >= right or low >= high:
        return None, None, None
    dx, dy = np.meshgrid(np.arange(left, right) - x, np.arange(low, high) - y)
    return (slice(low, high), slice(left, right)), dx, dy


def _pairs(shares: NDArray, own: NDArray, psf_shares: NDArray, blur: NDArray) -> Iterator[tuple[float, float, float]]:
    """Give share and variances of the Gaussians of a galaxy behind a PSF, those that hardly differ as one.

    Parts of the galaxy that are much narrower than a part of the PSF act on it by their mean variance, and the other way round.
    """
    for psf_share, psf in zip(psf_shares, blur, strict=True):
        narrow = own < NARROW * psf
        if narrow.any():
            share = float(shares[narrow].sum())
            yield share * psf_share, float(shares[narrow] @ own[narrow]) / share, psf
    for share, width in zip(shares, own, strict=True):
        narrow = blur < NARROW * width
        if narrow.any():
            some = float(psf_shares[narrow].sum())
            yield share * some, width, float(psf_shares[narrow] @ blur[narrow]) / some
        for psf_share, psf in zip(psf_shares[~narrow], blur[~narrow], strict=True):
            if width >= NARROW * psf:
                yield share * psf_share, width, psf


def _core(shape: tuple[int, int], x: float, y: float, reach: float) -> tuple[slice, slice]:
    """Return the part of an image within `reach` pixels of a position."""
    return (
        slice(max(math.floor(y - reach), 0), max(min(math.ceil(y + reach) + 1, shape[0]), 0)),
        slice(max(math.floor(x - reach), 0), max(min(math.ceil(x + reach) + 1, shape[1]), 0)),
    )


def _fit(r: NDArray, profile: NDArray, widths: NDArray) -> Gaussians:
    """Fit Gaussians of fixed widths to a profile, each radius weighted by the light there; shares are positive."""
    weight = r * np.sqrt(np.gradient(r)) + 1e-3
    basis = np.exp(-(r[:, None] ** 2) / (2 * widths**2)) / (2 * math.pi * widths**2)
    shares, _ = optimize.nnls(basis * weight[:, None], profile * weight)
    kept = shares > 1e-4 * shares.sum()
    return shares[kept] / shares[kept].sum(), widths[kept]
