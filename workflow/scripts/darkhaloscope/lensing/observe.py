"""From the lensed sky to what an instrument records: the PSF."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..archive.checks import check_fits
from ..config.subhalo import FWHM_PER_SIGMA, Psf
from ..core.kernels import CENTRED, off_middle
from ..core.reading import UNREADABLE, words
from .batching import in_blocks

#: Share of a PSF's light that may fall outside its kernel.
TRUNCATION = 1e-4
#: Largest half width of a kernel [pixels].
MAX_HALF_WIDTH = 64


class PsfError(ValueError):
    """A PSF that cannot be used."""


def psf_kernel(psf: Psf, pixel_scale: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """Kernel of a PSF on the pixels of the stamp, odd sides, sum 1.

    The PSF is taken at pixel centres, not integrated over pixels: rendered images are integrated over
    pixels already, and a PSF measured on images holds the pixel too. The kernel is cut where less than
    `TRUNCATION` of the light remains outside, then normalised.

    Parameters
    ----------
    psf : Psf
    pixel_scale : float, arcsec

    Returns
    -------
    (k, k) tensor

    Raises
    ------
    PsfError
        A pixel kernel is missing, has even sides, negative sum or values that are not finite or no real numbers, or lies beside its middle (`core.kernels`).
    """
    if psf.kind == "none":
        return torch.ones(1, 1, dtype=dtype)
    if psf.kind == "kernel":
        return torch.as_tensor(_read_kernel(Path(psf.kernel)), dtype=dtype)
    half = _half_width(psf, pixel_scale)
    axis = torch.arange(-half, half + 1, dtype=torch.float64) * pixel_scale
    r2 = axis[:, None] ** 2 + axis[None, :] ** 2
    if psf.kind == "gaussian":
        kernel = torch.exp(-r2 / (2 * (psf.fwhm_arcsec / FWHM_PER_SIGMA) ** 2))
    else:
        kernel = (1 + r2 / _moffat_alpha(psf.fwhm_arcsec, psf.beta) ** 2) ** (-psf.beta)
    return (kernel / kernel.sum()).to(dtype)


def moffat_from_psfsize(psfsize: float, beta: float = 3.5) -> float:
    """FWHM of the Moffat profile of slope `beta` that has the Legacy Survey's `psfsize`.

    `psfsize` is 2.355 σ of the Gaussian with the same noise-equivalent area: 4πσ² = ∬… gives
    σ = (α/2) √(2β − 1)/(β − 1), and FWHM = 2α √(2^(1/β) − 1). At β = 3.5, psfsize is 1.23 FWHM.
    """
    alpha = 2 * psfsize / FWHM_PER_SIGMA * (beta - 1) / math.sqrt(2 * beta - 1)
    return 2 * alpha * math.sqrt(2 ** (1 / beta) - 1)


def convolve(images: Tensor, kernel: Tensor) -> Tensor:
    """Convolve images with a PSF; the sky outside the stamp counts as dark.

    Parameters
    ----------
    images : (…, h, w) tensor
    kernel : (k, k) tensor, or one that broadcasts against the images' leading axes, odd sides

    Returns
    -------
    (…, h, w) tensor
    """
    h, w = images.shape[-2:]
    kh, kw = kernel.shape[-2:]
    if kh % 2 == 0 or kw % 2 == 0:
        raise PsfError(f"a PSF kernel must have odd sides, found {kh} × {kw}; pad or crop it about its centre")
    kernel = kernel.to(images.dtype)
    if kh == kw == 1:
        return images * kernel
    # Beyond the stamp's own size a kernel reaches no pixel.
    cut_h, cut_w = max(0, kh // 2 - (h - 1)), max(0, kw // 2 - (w - 1))
    kernel = kernel[..., cut_h : kh - cut_h, cut_w : kw - cut_w]
    kh, kw = kernel.shape[-2:]
    shape = (_fast_length(h + kh // 2), _fast_length(w + kw // 2))
    # The kernel's centre goes to the origin, its left half to the end of the period.
    padded = torch.nn.functional.pad(kernel, (0, shape[1] - kw, 0, shape[0] - kh)).roll((-(kh // 2), -(kw // 2)), (-2, -1))
    transfer = torch.fft.rfft2(padded)
    flat = images.reshape(-1, h, w)
    transfers = None if transfer.ndim == 2 else transfer.expand(*images.shape[:-2], -1, -1).reshape(-1, *transfer.shape[-2:])

    def blur(image: Tensor, own: Tensor | None) -> Tensor:
        spectrum = torch.fft.rfft2(image, s=shape) * (transfer if own is None else own)
        return torch.fft.irfft2(spectrum, s=shape)[..., :h, :w]

    if images.device.type == "cpu":
        return in_blocks(blur, flat.shape[0], flat, transfers).reshape(images.shape)
    return blur(flat, transfers).reshape(images.shape)


def _moffat_alpha(fwhm: float, beta: float) -> float:
    return fwhm / (2 * math.sqrt(2 ** (1 / beta) - 1))


def _light_beyond(psf: Psf, radius: float) -> float:
    if psf.kind == "gaussian":
        return math.exp(-((radius * FWHM_PER_SIGMA / psf.fwhm_arcsec) ** 2) / 2)
    return (1 + (radius / _moffat_alpha(psf.fwhm_arcsec, psf.beta)) ** 2) ** (1 - psf.beta)


def _half_width(psf: Psf, pixel_scale: float) -> int:
    half = 1
    while half < MAX_HALF_WIDTH and _light_beyond(psf, (half + 0.5) * pixel_scale) > TRUNCATION:
        half += 1
    return half


def _read_kernel(path: Path) -> np.ndarray:
    if not path.is_file():
        raise PsfError(f"PSF kernel {path} does not exist; set `psf.kernel` to a .npy or FITS image")
    try:
        if path.suffix == ".npy":
            kernel = np.load(path, allow_pickle=False)
        else:
            from astropy.io import fits

            check_fits(path)
            kernel = fits.getdata(path)
        if kernel.dtype.kind not in "fiu":  # of complex numbers the imaginary parts would go without a word
            raise TypeError(f"it holds {kernel.dtype}")
        kernel = kernel.astype(float)
    except UNREADABLE as error:
        raise PsfError(
            f"PSF kernel {path} cannot be read ({words(error, path)}); expected a .npy or FITS image of numbers: write or fetch it again"
        ) from None
    if kernel.ndim != 2 or kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
        raise PsfError(f"PSF kernel {path} must be an image with odd sides, found shape {kernel.shape}; pad or crop it about its centre")
    if not np.isfinite(kernel).all() or kernel.sum() <= 0:
        raise PsfError(f"PSF kernel {path} must be finite with a positive sum; found sum {kernel.sum():g}; write or fetch it again")
    middle = kernel.shape[0] // 2, kernel.shape[1] // 2
    if kernel[middle] < kernel.max():
        peak = tuple(int(k) for k in np.unravel_index(kernel.argmax(), kernel.shape))
        raise PsfError(
            f"PSF kernel {path} must peak in its middle pixel {middle}, found the peak at {peak}: it would shift all images; write it cut about its peak"
        )
    if (off := off_middle(kernel)) > CENTRED:
        raise PsfError(
            f"PSF kernel {path} must have its light about the middle of its middle pixel, within {CENTRED:g} pixels, found it {off:.2f} beside it: it "
            "would shift all images; shift it there (one with even sides that was padded is half a pixel off)"
        )
    return kernel / kernel.sum()


def _fast_length(least: int) -> int:
    """Smallest length of at least `least` with no prime factor above 5, even."""
    length = least + least % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2
