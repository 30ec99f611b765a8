"""Bilinear resampling of masked maps that keeps the field of view, and lets no masked zero into the edges.

A masked spaxel holds 0, which is no measurement. Interpolating it with its neighbours would pull flux
and velocity towards 0 along every edge. So flux is interpolated weighted by validity, velocity weighted
by flux and validity, and each is divided by what its weights add up to.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

#: A new pixel is valid where the valid spaxels have at least this share of its bilinear weights.
MIN_VALID_WEIGHT = 0.5


def resample_flux(surface_brightness: NDArray, valid: NDArray, size: int) -> tuple[NDArray, NDArray]:
    """Resample a map of surface brightness.

    Parameters
    ----------
    surface_brightness : (n, n) float, flux per unit of area
    valid : (n, n) bool
    size : pixels on a side of the result, which covers the same field of view.

    Returns
    -------
    surface_brightness : (size, size) float, 0 where not valid
    valid : (size, size) bool
    """
    weights = _interpolate(valid.astype(float), size)
    summed = _interpolate(np.where(valid, surface_brightness, 0.0), size)
    new_valid = weights >= MIN_VALID_WEIGHT
    return np.where(new_valid, summed / np.where(new_valid, weights, 1.0), 0.0), new_valid


def resample_weighted(values: NDArray, flux: NDArray, valid: NDArray, size: int) -> NDArray:
    """Resample a map of what is a mean over light, such as velocity, weighted by flux.

    Parameters
    ----------
    values, flux : (n, n) float
    valid : (n, n) bool, where `values` is a measurement; spaxels without positive flux get a weight
        far below any other, so that they count only where they are alone.
    size : pixels on a side of the result.

    Returns
    -------
    (size, size) float
        0 where no valid spaxel is near.
    """
    if not valid.any():
        return np.zeros((size, size))
    positive = valid & (flux > 0)
    floor = 1e-9 * flux[positive].max() if positive.any() else 1.0
    light = np.where(valid, np.maximum(flux, floor), 0.0)
    weights = _interpolate(light, size)
    summed = _interpolate(light * np.where(valid, values, 0.0), size)
    near = weights > 0
    return np.where(near, summed / np.where(near, weights, 1.0), 0.0)


def pixel_coordinate(old: float, n: int, size: int) -> float:
    """Return where an old coordinate, from 0 at the first pixel's centre, lies among the new pixels."""
    return (old + 0.5) * size / n - 0.5


def _interpolate(image: NDArray, size: int) -> NDArray:
    rows, columns = (_weights(n, size) for n in image.shape)
    return np.asarray(rows @ image @ columns.T)


def _weights(n: int, size: int) -> sparse.csr_array:
    """Return the bilinear weights (size, n) of old pixels in new ones; the border repeats its last pixel."""
    place = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
    first = np.minimum(place.astype(int), n - 2) if n > 1 else np.zeros(size, int)
    share = place - first
    pixel = np.arange(size)
    data = np.concatenate([1 - share, share])
    index = np.concatenate([first, np.minimum(first + 1, n - 1)])
    return sparse.csr_array((data, (np.concatenate([pixel, pixel]), index)), shape=(size, n))
