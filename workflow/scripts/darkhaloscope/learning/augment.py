"""Turned, reflected, shifted and jittered images: the same sky seen otherwise, fixed by seed, epoch and stamp number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from ..config.network import Jitter
from ..core.random import stable_hash, stream

#: Turns by 90°, each as it is and reflected.
ORIENTATIONS = 8
#: Pixels by which images are mirrored at their edges before a shift, so that the edges do not wrap around.
MARGIN = 8
#: Levels at which pictures are clipped, over the sky's noise in each band, and how much bands differ (natural logarithm).
CLIP_LEVELS, CLIP_SCATTER = (30.0, 300.0), 0.3
#: Share of stamps that get more noise.
NOISY = 0.5


def hashed(numbers: NDArray, key: int) -> NDArray:
    """Hash numbers with a key into uniform 64-bit integers (the finaliser of SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def orientations(numbers: NDArray, seed: int, epoch: int) -> NDArray:
    """Return one of the eight orientations (0 to 7) for each stamp number, anew for each seed and epoch."""
    return (hashed(numbers, stable_hash("orientation", seed, epoch)) >> np.uint64(61)).astype(np.int64)


def orient_images(images: Tensor, codes: Tensor) -> Tensor:
    """Rotate images (n, c, size, size) by 90° × (code mod 4), then reflect those with code ≥ 4; values stay as they are."""
    turned = torch.empty_like(images)
    for code in range(ORIENTATIONS):
        rows = torch.nonzero(codes == code)[:, 0]
        if len(rows):
            some = torch.rot90(images[rows], code % 4, (2, 3))
            turned[rows] = some.flip(2) if code >= 4 else some
    return turned


def over_orientations(part: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a function that gives the mean of `part(images, …)` over the eight orientations of images (n, c, size, size): the sky has no up."""

    def mean(images: Tensor, *beside: Tensor) -> Tensor:
        every = (torch.full((len(images),), code, device=images.device) for code in range(ORIENTATIONS))
        return torch.stack([part(orient_images(images, codes), *beside) for codes in every]).mean(0)

    return mean


def orient_points(points: Tensor, codes: Tensor) -> Tensor:
    """Rotate and reflect places (n, 2), to the right and to higher rows from the image's middle, as `orient_images` does images."""
    x, y = points.unbind(1)
    for turn in (1, 2, 3):  # each turn by 90° takes what was at (x, y) to (y, −x)
        x, y = (torch.where(codes % 4 >= turn, a, b) for a, b in ((y, x), (-x, y)))
    return torch.stack((x, torch.where(codes >= 4, -y, y)), 1)


def orient_directions(components: Tensor, codes: Tensor) -> Tensor:
    """Rotate and reflect quantities of spin 2 (n, 2), such as e cos 2φ and e sin 2φ, as `orient_images` does images."""
    first, second = components.unbind(1)
    sign = torch.where(codes % 2 == 1, -1.0, 1.0).to(first.dtype)
    return torch.stack((sign * first, sign * torch.where(codes >= 4, -second, second)), 1)


def shifts(numbers: NDArray, seed: int, epoch: int, most: float) -> NDArray:
    """Return a shift along x and y for each stamp number, uniform within ±`most` pixels, anew for each seed and epoch, (n, 2)."""
    axes = [hashed(numbers, stable_hash("shift", axis, seed, epoch)) for axis in "xy"]
    return ((np.stack(axes, 1) >> np.uint64(11)) * 2.0**-53 * 2 - 1) * most


def shift_images(images: Tensor, by: Tensor) -> Tensor:
    """Shift images by parts of a pixel, as the sky would have fallen on a shifted grid.

    A phase in Fourier space: exact for images that the pixels sample well (ground-based PSFs at 0.262″ do), and white
    noise keeps its power at all but the Nyquist frequency, which interpolation between neighbours would not. Edges
    are mirrored.

    Parameters
    ----------
    images : (n, c, size, size)
    by : (n, 2) pixels along x (to the right) and y (up, to higher rows), at most `MARGIN`
    """
    size = images.shape[-1]
    wide = pad(images, (MARGIN,) * 4, mode="reflect")
    n = wide.shape[-1]
    by = by.to(images.dtype)
    x = torch.fft.rfftfreq(n, dtype=images.dtype)
    y = torch.fft.fftfreq(n, dtype=images.dtype)
    turns = by[:, 0, None, None] * x[None, None] + by[:, 1, None, None] * y[None, :, None]
    phase = torch.polar(torch.ones_like(turns), -2 * torch.pi * turns)
    if n % 2 == 0:  # the Nyquist frequency has no sign: its real part alone is a real image's
        phase[:, n // 2, :] = phase[:, n // 2, :].real.to(phase.dtype)
        phase[:, :, -1] = phase[:, :, -1].real.to(phase.dtype)
    moved = torch.fft.irfft2(torch.fft.rfft2(wide) * phase[:, None], s=(n, n))
    return moved[..., MARGIN : MARGIN + size, MARGIN : MARGIN + size].contiguous()


def jitter_images(images: NDArray, numbers: NDArray, seed: int, epoch: int, jitter: Jitter) -> NDArray:
    """Return images as another survey might have recorded them: other zero points, brightness and noise, clipped like a colour picture.

    Parameters
    ----------
    images : (n, bands, size, size) float32 nanomaggies, sky subtracted
    numbers : (n,) of the stamps: with seed and epoch they fix what is drawn
    jitter : how much of each
    """
    out = np.array(images)
    for image, number in zip(out, numbers, strict=True):
        rng = stream(stable_hash("jitter", seed, epoch), int(number), "jitter")
        chance, level, bright = rng.random(2), rng.uniform(*np.log(CLIP_LEVELS)), rng.uniform(-1, 1)
        steps, scatter, more = rng.standard_normal(len(image)), rng.standard_normal(len(image)), rng.random()
        scale = 10 ** (0.4 * (jitter.colour_mag * steps + jitter.brightness_mag * bright))
        image *= scale[:, None, None].astype(np.float32)
        noisy, clipped = jitter.noise > 0 and chance[0] < NOISY, chance[1] < jitter.clip
        if not (noisy or clipped):
            continue
        sky = (1.4826 * np.median(np.abs(np.diff(image[:, ::2], axis=2)), (1, 2)) / np.sqrt(2)).astype(np.float32)
        if noisy:
            image += rng.standard_normal(image.shape, np.float32) * (jitter.noise * more * sky)[:, None, None].astype(np.float32)
        if clipped:
            most = sky * np.exp(level + CLIP_SCATTER * scatter)
            np.clip(image, 0, most[:, None, None].astype(np.float32), out=image)
    return out
