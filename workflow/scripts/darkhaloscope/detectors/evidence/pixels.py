"""From a stamp to the pixels that are fitted: noise level, arc mask, and the operator from rays to pixels.

Nothing here knows more than the observer does: the noise level is measured on the stamp's own dark sky, mask and variance come from
the noisy flux.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, uniform_filter
from torch import Tensor

from ...config.subhalo import FWHM_PER_SIGMA, Instrument
from ...lensing.observe import psf_kernel
from .operators import Operator, operator

#: Sky counts as dark beyond `SKY_MARGIN` pixels from where the mean of 3 × 3 pixels is above this many of its standard deviations.
SKY_SIGMA = 4.0
SKY_MARGIN = 2
#: Least share of a stamp's pixels that must be dark for a noise level to be measured.
MIN_SKY = 0.02
#: A median absolute deviation times this is a standard deviation.
SIGMA_PER_MAD = 1.4826
#: Pixels are fitted where the sum of 3 × 3 pixels has this signal-to-noise, and in the pixels that touch those.
ARC_SIGMA = 4.0
#: Least number of pixels that say anything about a lens.
MIN_PIXELS = 40
#: Share of the PSF's weight that may be cut off the sides of its kernel.
KERNEL_CUT = 2e-3


class DetectorError(ValueError):
    """A stamp or dataset that the detector cannot use; the message names it and says what to do."""


@dataclass(frozen=True)
class Sky:
    """What is measured on one stamp before anything is fitted.

    `flux`, `variance` (h, w); `arc` (h, w) bool, the pixels to fit; `brightness` (h, w), the mean flux of 3 × 3 pixels, not negative.
    """

    flux: NDArray
    variance: NDArray
    arc: NDArray
    brightness: NDArray


@dataclass(frozen=True)
class Channel:
    """Data of one channel of one stamp as a linear function of values at rays: data = operator · values + noise.

    `data`, `variance` (n,); `operator` sparse (n, r); `x`, `y` (r,) places of the rays [arcsec]. `light` (n, k), where the data hold
    other light as well: functions whose amplitudes are standard normal, such as the lens galaxy's.
    """

    data: NDArray
    variance: NDArray
    operator: sp.csr_matrix
    x: NDArray
    y: NDArray
    light: NDArray | None = None


@dataclass(frozen=True)
class Batch:
    """Channels of several stamps, padded to the longest.

    `data`, `variance` (b, n): padding has no signal and unit variance. `x`, `y` (b, r): padding rays reach no pixel. `pixels` (b,) are
    those of each stamp; `operator` is what pixels see of rays. `light` (b, n, k) as in `Channel`, None where no stamp has it.
    """

    data: Tensor
    variance: Tensor
    x: Tensor
    y: Tensor
    operator: Operator
    pixels: Tensor
    light: Tensor | None = None

    def of(self, rows: Sequence[int]) -> Batch:
        """Return a batch of some of the stamps, in any order and any number of times."""
        values = {name: getattr(self, name)[list(rows)] for name in ("data", "variance", "x", "y", "pixels")}
        light = None if self.light is None else self.light[list(rows)]
        return Batch(**values, operator=self.operator.of(rows), light=light)

    def observe(self, values: Tensor) -> Tensor:
        """Return what pixels see of values at rays, (b, r, k) to (b, n, k)."""
        return self.operator.observe(values)

    def project(self, values: Tensor) -> Tensor:
        """Return the transpose of `observe`, (b, n, k) to (b, r, k)."""
        return self.operator.project(values)


def measure_sky(flux: NDArray, instrument: Instrument, name: str = "the stamp") -> Sky:
    """Return noise and arc of one stamp.

    σ² = f/SNR² + (1 − f) F/SNR² as the stamps' noise has it, f being the background's share of the variance of unit flux. SNR comes from
    the scatter of the stamp's dark pixels, kept within the dataset's prior; F is the mean flux of 3 × 3 pixels.

    Parameters
    ----------
    flux : (h, w)
    instrument : Instrument of the dataset
    name : str, for messages

    Raises
    ------
    DetectorError
        No dark sky, no background noise to measure, or hardly any light.
    """
    share, prior = instrument.noise.background_share, instrument.noise.peak_snr.bounds
    if share <= 0:
        raise DetectorError(
            "the evidence detector measures the noise on dark sky, but instrument.noise.background_share is 0: set it above 0, or leave "
            "the detector out for this dataset"
        )
    if not np.isfinite(flux).all():
        raise DetectorError(
            f"{name} has {np.count_nonzero(~np.isfinite(flux))} pixels that are not finite: render it again, or check its source"
        )
    brightness = uniform_filter(flux, 3, mode="nearest")
    sigma = _sky_sigma(flux, brightness, name)
    snr = float(np.clip(np.sqrt(share) / max(sigma, 1e-12), *prior))
    brightness = np.maximum(brightness, 0)
    variance = (share + (1 - share) * brightness) / snr**2
    arc = binary_dilation(brightness * 3 / np.sqrt(variance) > ARC_SIGMA)
    if arc.sum() < MIN_PIXELS:
        raise DetectorError(f"{name} has {arc.sum()} pixels of light above the noise, at least {MIN_PIXELS} needed")
    return Sky(flux.astype(float), variance, arc, brightness)


def response(instrument: Instrument) -> NDArray:
    """Kernel (k, k) from rays at pixel centres to pixels: the PSF after the average over the pixel.

    The average of a smooth image over a pixel has the second moment 1/12, as the kernel (1, 22, 1)/24 along each axis has.
    """
    kernel = psf_kernel(instrument.psf, instrument.pixel_scale_arcsec, torch.float64).numpy()
    average = np.array([1.0, 22.0, 1.0]) / 24
    wide = np.zeros((kernel.shape[0] + 2, kernel.shape[1] + 2))
    for dy, wy in enumerate(average):
        for dx, wx in enumerate(average):
            wide[dy : dy + kernel.shape[0], dx : dx + kernel.shape[1]] += wy * wx * kernel
    while min(wide.shape) > 3 and wide[1:-1, 1:-1].sum() > wide.sum() * (1 - KERNEL_CUT):
        wide = wide[1:-1, 1:-1]
    return wide / wide.sum()


def flux_channel(sky: Sky, kernel: NDArray, pixel_scale: float, bin_size: int = 1) -> Channel:
    """Return the arc's flux as a channel, with one ray per pixel, or per bin of pixels.

    Parameters
    ----------
    sky : Sky
    kernel : (k, k), of `response`
    pixel_scale : float, arcsec
    bin_size : int
        Side of the bins whose mean flux is fitted. A coarse image is quick to fit, and smooths what traps a fit.
    """
    flux, variance, arc = sky.flux, sky.variance, sky.arc
    if bin_size > 1:
        flux, variance = _binned(flux, bin_size), _binned(variance, bin_size) / bin_size**2
        arc, kernel = _binned(sky.arc.astype(float), bin_size) >= 0.5, _coarse_kernel(kernel, bin_size)
    lit = _reach(arc, kernel)
    pixels, rays = np.argwhere(arc), np.argwhere(lit)
    number = np.full(lit.shape, -1)
    number[lit] = np.arange(len(rays))
    half = np.array(kernel.shape) // 2
    rows, columns, weights = [], [], []
    for (dy, dx), weight in np.ndenumerate(kernel):
        at = pixels - (dy - half[0], dx - half[1])
        inside = ((at >= 0) & (at < lit.shape)).all(1)
        rows.append(np.flatnonzero(inside))
        columns.append(number[at[inside, 0], at[inside, 1]])
        weights.append(np.full(inside.sum(), weight))
    shape = (len(pixels), len(rays))
    operator = sp.csr_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    step = pixel_scale * bin_size
    y, x = ((rays - (np.array(lit.shape) - 1) / 2) * step).T
    return Channel(flux[arc], variance[arc], operator, x, y)


def velocity_channel(
    flux: Channel, sky: Sky, found: NDArray, velocity: NDArray, sigma: NDArray, mask: NDArray, instrument: Instrument
) -> Channel | None:
    """Return the observed velocity as a channel over the same rays, or None where hardly any velocity is observed.

    A velocity is the mean over PSF and block of the velocities at rays, weighted by the flux found at them. Its error is the one that
    the found flux gives it where that is larger than the stated one: a pixel in which noise brightens the line states too small an error,
    and such pixels are more often bright enough to have a velocity.

    Parameters
    ----------
    flux : Channel of the flux, one ray per pixel
    sky : Sky of the same stamp
    found : (r,) flux at the rays as found; not negative
    velocity, sigma, mask : (h, w), the stamp's `observed_*` images
    instrument : Instrument of the dataset
    """
    block, noise = instrument.velocity_block, instrument.noise
    good = (mask > 0) & (sigma > 0) & sky.arc
    pixels = np.argwhere(sky.arc)
    kept = np.flatnonzero(good[pixels[:, 0], pixels[:, 1]])
    if not len(kept):
        return None
    _, first, member = np.unique(pixels[kept] // block @ (1 << 20, 1), return_index=True, return_inverse=True)
    if len(first) < MIN_PIXELS:
        return None
    together = sp.csr_matrix((np.ones(len(kept)), (member, np.arange(len(kept)))), shape=(len(first), len(kept)))
    weighted = together @ flux.operator[kept] @ sp.diags(found)
    operator = sp.csr_matrix(sp.diags(1 / np.asarray(weighted.sum(1)).ravel()) @ weighted)
    snr = together @ (flux.operator[kept] @ found) / np.sqrt(together @ flux.variance[kept])
    expected = np.maximum(noise.line_fwhm_kms / (FWHM_PER_SIGMA * np.maximum(snr, 1)), noise.velocity_floor_kms)
    y, x = pixels[kept[first]].T
    return Channel(velocity[y, x].astype(float), np.maximum(sigma[y, x], expected).astype(float) ** 2, operator, flux.x, flux.y)


def stack(channels: Sequence[Channel], device: torch.device | str = "cpu") -> Batch:
    """Return channels of several stamps as one batch: float64 data, float32 operators."""
    n, r = max(len(c.data) for c in channels), max(len(c.x) for c in channels)

    def padded(name: str, length: int, fill: float) -> Tensor:
        out = np.full((len(channels), length), fill)
        for row, channel in enumerate(channels):
            values = getattr(channel, name)
            out[row, : len(values)] = values
        return torch.as_tensor(out, device=device)

    return Batch(
        data=padded("data", n, 0.0),
        variance=padded("variance", n, 1.0),
        x=padded("x", r, 1.0),
        y=padded("y", r, 1.0),
        operator=operator([c.operator for c in channels], n, r, device),
        pixels=torch.as_tensor([len(c.data) for c in channels], device=device),
        light=_stacked_light(channels, n, device),
    )


def _stacked_light(channels: Sequence[Channel], n: int, device: torch.device | str) -> Tensor | None:
    """Other light of several stamps (b, n, k), padded with zeros; None where there is none."""
    most = max((0 if c.light is None else c.light.shape[1] for c in channels), default=0)
    if not most:
        return None
    out = np.zeros((len(channels), n, most))
    for row, channel in enumerate(channels):
        if channel.light is not None:
            out[row, : channel.light.shape[0], : channel.light.shape[1]] = channel.light
    return torch.as_tensor(out, device=device)


def _sky_sigma(flux: NDArray, brightness: NDArray, name: str) -> float:
    """Scatter of the pixels away from the arc; the arc is found with the scatter of the pass before."""
    values = flux.ravel()
    sigma = SIGMA_PER_MAD * float(np.median(np.abs(values - np.percentile(values, 25))))
    for _ in range(6):
        dark = ~binary_dilation(brightness * 3 > SKY_SIGMA * max(sigma, 1e-12), iterations=SKY_MARGIN)
        if dark.mean() < MIN_SKY:
            raise DetectorError(
                f"{name} has dark sky in {dark.mean():.1%} of its pixels, too little to measure the noise: enlarge instrument.stamp_size"
            )
        sigma = SIGMA_PER_MAD * float(np.median(np.abs(flux[dark] - np.median(flux[dark]))))
    return sigma


def _binned(image: NDArray, side: int) -> NDArray:
    h, w = (s // side * side for s in image.shape)
    top, left = (image.shape[0] - h) // 2, (image.shape[1] - w) // 2
    return image[top : top + h, left : left + w].reshape(h // side, side, w // side, side).mean((1, 3))


def _coarse_kernel(kernel: NDArray, side: int) -> NDArray:
    """Kernel between bins: mean over the pixels of a bin, each ray standing for the pixels of its own."""
    half = kernel.shape[0] // 2
    reach = -(-half // side) + 1
    out = np.zeros((2 * reach + 1,) * 2)
    for (dy, dx), weight in np.ndenumerate(kernel):
        for a in range(side):
            for b in range(side):
                out[(a + dy - half) // side + reach, (b + dx - half) // side + reach] += weight / side**2
    while min(out.shape) > 3 and out[1:-1, 1:-1].sum() > 1 - KERNEL_CUT:
        out = out[1:-1, 1:-1]
    return out / out.sum()


def _reach(arc: NDArray, kernel: NDArray) -> NDArray:
    """Where rays are needed: whatever the kernel reaches from the arc."""
    return binary_dilation(arc, np.ones(kernel.shape, bool))
