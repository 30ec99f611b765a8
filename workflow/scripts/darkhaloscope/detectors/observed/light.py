"""The light of the lens galaxy: elliptical Gaussians with angular waves on them, found robustly, and kept as a linear part of the model.

I(R, φ) = Σₖ aₖ exp(−R²/2σₖ²) + Σₖₘ fₖ(R) (bₖₘ cos mφ + cₖₘ sin mφ) + sky, with R² = q x′² + y′²/q about the galaxy's centre
(a multi-Gaussian expansion, Emsellem, Monnet & Bacon 1994, with the angular freedom of the B-splines that Bolton et al. 2006 subtract).
It is fitted first with aₖ ≥ 0, bright residuals left out: a sum of such Gaussians falls outwards, so that it cannot make a ring. What that
fit leaves open stays in the model of the pixels, d = B s + L a + n, a ~ N(0, Λ) about the fit, and is marginalised with the source.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, uniform_filter
from scipy.optimize import least_squares, nnls
from scipy.signal import fftconvolve

from ...surveys.observed import ObservedLens

#: Widths of the Gaussians [arcsec]: the least, the greatest, how many.
LEAST_WIDTH, MOST_WIDTH, GAUSSIANS = 0.03, 6.0, 14
#: Orders of the waves around the galaxy: lopsided (1), twisted or wrong ellipticity (2), 3, and boxy or disky (4).
WAVES = (1, 2, 3, 4)
#: Least width of a Gaussian that carries waves [arcsec].
LEAST_WAVE = 0.12
#: Prior standard deviations about the robust fit, relative to the light at that radius: of the Gaussians, and of waves in the robust fit
#: and in the marginalised model.
LOOSE, WAVY = 0.3, 0.05
#: Pixels are left out of the fit of the galaxy's light where the mean of 3 × 3 is above the fit by this many of its standard deviations.
CLIP = 2.5
#: and above it by this share of the fit: what a bright centre leaves is an error of the fit, no arc.
SHARE = 0.03
#: Rounds of fitting and leaving out.
ROUNDS = 5
#: The centre is not used to find centre and ellipticity, since the PSF rounds it [arcsec].
BLURRED = 0.2
#: Nothing is left out within this radius [arcsec].
CORE = 0.25
#: Used out to this radius [arcsec].
EXTENT = 4.0
#: Error of the galaxy's light beyond its waves (dust, PSF), as a share of it: everywhere, and how much more in the middle and within
#: which radius [arcsec].
LIGHT_ERROR, CORE_ERROR, CORE_RADIUS = 0.01, 0.05, 0.45


@dataclass(frozen=True)
class Galaxy:
    """The light of a lens galaxy.

    `x`, `y` of its centre [arcsec from the middle of the image], `e1`, `e2` = (1 − q)/(1 + q) (cos 2φ, sin 2φ); `widths` (g,) [arcsec];
    `profile` (g,) the light at those radii; `model` (h, w), the robust fit, PSF included; `sky`, its constant; `sky_error` (see `basis`).
    """

    x: float
    y: float
    e1: float
    e2: float
    widths: NDArray
    profile: NDArray
    model: NDArray
    sky: float
    sky_error: float

    def basis(self, x: NDArray, y: NDArray, psf: NDArray) -> NDArray:
        """Functions (h, w, k) in units of their prior standard deviations, PSF included: L Λ^½ of the model of pixels."""
        radius, angle = _polar(x, y, (self.x, self.y, self.e1, self.e2))
        out = [*_gaussians(radius, self.widths) * (LOOSE * self.profile)[:, None, None]]
        out += [*_waves(radius, angle, self.widths, self.profile) * WAVY]
        out = [fftconvolve(one, psf, mode="same") for one in out]
        return np.stack([*out, np.full(x.shape, self.sky_error)], -1)


def coordinates(shape: tuple[int, int], scale: float) -> tuple[NDArray, NDArray]:
    """Return places (h, w) of pixels from the middle of an image, to the right and up [arcsec]."""
    rows, columns = np.indices(shape)
    return (columns - (shape[1] - 1) / 2) * scale, (rows - (shape[0] - 1) / 2) * scale


def fit_galaxy(lens: ObservedLens) -> Galaxy:
    """Return the light of the lens galaxy, fitted to all but what is brighter than it: arcs and neighbours.

    Centre and ellipticity are found on pixels outside the blurred centre, with non-negative Gaussians solved for at each trial; then the
    Gaussians and waves with the PSF.
    """
    x, y = coordinates(lens.image.shape, lens.scale)
    widths = np.geomspace(LEAST_WIDTH, MOST_WIDTH, GAUSSIANS)
    noise = lens.noise
    used = lens.good & (np.hypot(x, y) < EXTENT)
    shape = _moments(lens, x, y, used)
    kept, model = used, np.zeros_like(noise)
    for round_ in range(ROUNDS):
        shape = _shape(lens, x, y, kept, widths, shape)
        radius, angle = _polar(x, y, shape)
        functions = [fftconvolve(one, lens.psf, mode="same") for one in _gaussians(radius, widths)]
        design = np.stack([*functions, np.ones_like(x)], -1)
        amplitudes = _non_negative(design[kept] / noise[kept, None], lens.image[kept] / noise[kept])
        profile = _profile(widths, amplitudes[:-1])
        model = design @ amplitudes
        if round_ > 1:
            waves = np.stack([fftconvolve(one, lens.psf, mode="same") for one in _waves(radius, angle, widths, profile) * WAVY], -1)
            a = waves[kept] / noise[kept, None]
            found = np.linalg.solve(a.T @ a + np.eye(a.shape[1]), a.T @ ((lens.image - model)[kept] / noise[kept]))
            model = model + waves @ found
        excess = excess_over(lens, model)
        bright = binary_dilation(
            (excess > CLIP * max(1.0, _scatter(excess[kept]))) & (np.hypot(x - shape[0], y - shape[1]) > CORE), iterations=2
        )
        kept = used & ~bright
    sky_error = 0.5 * float(np.median(noise[used]))
    return Galaxy(*(float(v) for v in shape), widths, profile, model, float(amplitudes[-1]), sky_error)


def unsure(radius: NDArray) -> NDArray:
    """Return the error of a galaxy's light as a share of it, beyond what its waves can do, at radii from its centre [arcsec]."""
    return LIGHT_ERROR + CORE_ERROR * np.exp(-((radius / CORE_RADIUS) ** 2))


def excess_over(lens: ObservedLens, model: NDArray, share: NDArray | float = SHARE / CLIP) -> NDArray:
    """Mean of 3 × 3 pixels above a model of the galaxy, (h, w), in standard deviations of such means; a share of the model counts as error."""
    error = np.hypot(lens.noise, 3 * share * np.abs(model))
    # Errors of the galaxy's model are alike in neighbouring pixels: unlike noise they do not average out.
    return uniform_filter(np.where(lens.good, (lens.image - model) / error, 0), 3, mode="nearest") * 3


def _moments(lens: ObservedLens, x: NDArray, y: NDArray, used: NDArray) -> NDArray:
    """Rough centre and ellipticity from the light's moments within an arcsec of its peak."""
    smooth = uniform_filter(np.where(used, lens.image, 0), 3)
    peak = np.unravel_index(np.where(np.hypot(x, y) < 1.0, smooth, -np.inf).argmax(), smooth.shape)
    cx, cy = x[peak], y[peak]
    near = used & (np.hypot(x - cx, y - cy) < 0.6)
    light = np.maximum(lens.image, 0) * near
    total = light.sum()
    dx, dy = x - cx, y - cy
    xx, yy, xy = ((light * a * b).sum() / total for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    norm = xx + yy + 2 * np.sqrt(max(xx * yy - xy * xy, 1e-12))
    return np.array([cx, cy, (xx - yy) / norm, 2 * xy / norm])


def _shape(lens: ObservedLens, x: NDArray, y: NDArray, kept: NDArray, widths: NDArray, start: NDArray) -> NDArray:
    """Centre and ellipticity that fit best, the Gaussians' amplitudes solved for at each trial, on every second pixel."""
    thin = np.zeros_like(kept)
    thin[::2, ::2] = True
    some = kept & thin & (np.hypot(x - start[0], y - start[1]) > BLURRED)
    px, py, data, noise = x[some], y[some], lens.image[some], lens.noise[some]
    # Percent of the light stand for waves that are not fitted here: else the bright inner pixels decide alone.
    error = np.hypot(noise, 0.02 * np.abs(data))
    wide = widths[widths > BLURRED / 3]

    def residual(shape: NDArray) -> NDArray:
        radius, _ = _polar(px, py, shape)
        design = np.stack([*_gaussians(radius, wide), np.ones_like(px)], -1) / error[:, None]
        return data / error - design @ _non_negative(design, data / error)

    low = [start[0] - 0.2, start[1] - 0.2, -0.6, -0.6]
    high = [start[0] + 0.2, start[1] + 0.2, 0.6, 0.6]
    begin = np.clip(start, np.array(low) + 1e-6, np.array(high) - 1e-6)
    return least_squares(residual, begin, bounds=(low, high), loss="soft_l1", f_scale=2.0, diff_step=1e-3, max_nfev=6, x_scale=0.05).x


def _non_negative(design: NDArray, data: NDArray) -> NDArray:
    """Least squares with all amplitudes ≥ 0 but the last, the sky's; by way of the normal equations' factor, which is small."""
    gram = design.T @ design
    # The sky may be negative: its negative is offered as well.
    full = np.block([[gram, -gram[:, -1:]], [-gram[-1:], gram[-1:, -1:]]])
    right = np.append(design.T @ data, -(design[:, -1] @ data))
    values, vectors = np.linalg.eigh(full)
    seen = values > values.max() * 1e-12
    root = np.sqrt(values[seen])
    found = nnls(root[:, None] * vectors[:, seen].T, (vectors[:, seen].T @ right) / root, maxiter=300)[0]
    return np.append(found[:-2], found[-2] - found[-1])


def _polar(x: NDArray, y: NDArray, shape: NDArray | tuple[float, ...]) -> tuple[NDArray, NDArray]:
    """Elliptical radius and angle from the major axis."""
    cx, cy, e1, e2 = shape
    e = min(np.hypot(e1, e2), 0.9)
    q, phi = (1 - e) / (1 + e), 0.5 * np.arctan2(e2, e1)
    dx, dy = x - cx, y - cy
    along, across = dx * np.cos(phi) + dy * np.sin(phi), dy * np.cos(phi) - dx * np.sin(phi)
    return np.sqrt(q * along**2 + across**2 / q), np.arctan2(across / np.sqrt(q), along * np.sqrt(q))


def _gaussians(radius: NDArray, widths: NDArray) -> NDArray:
    return np.exp(-0.5 * (radius[None] / widths.reshape(-1, *[1] * radius.ndim)) ** 2)


def _waves(radius: NDArray, angle: NDArray, widths: NDArray, profile: NDArray) -> NDArray:
    """Waves (k, h, w) around the galaxy, each on a ring and in units of the light there."""
    out = []
    for width, light in zip(widths, profile, strict=True):
        if width < LEAST_WAVE:
            continue
        ring = (radius / width) ** 2 * np.exp(1 - radius**2 / (2 * width**2)) / 2 * light
        out += [ring * wave(m * angle) for m in WAVES for wave in (np.cos, np.sin)]
    return np.array(out)


def _profile(widths: NDArray, amplitudes: NDArray) -> NDArray:
    """Light at radii √2 times the widths, where the rings peak."""
    return np.exp(-((widths[:, None] / widths[None]) ** 2)) @ amplitudes


def _scatter(values: NDArray) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
