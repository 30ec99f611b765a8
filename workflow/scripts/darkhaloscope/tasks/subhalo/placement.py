"""Where the (phantom) subhalo sits: decided by the row's draws and the smooth lens, never by the label."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ...config.subhalo import Subhalo, SubhaloDataset
from ...lensing.lens import CriticalCurve
from ...stamps.columns import Columns

#: Pixels fainter than this share of the peak do not attract subhalos.
ARC_THRESHOLD = 0.1
#: Pixels brighter than this share of the peak are the arc, to which distances are measured.
ARC_CORE = 0.5


def places(columns: Columns, flux: NDArray, curve: CriticalCurve, dataset: SubhaloDataset) -> tuple[NDArray, NDArray]:
    """Return where the subhalos of n rows sit, x and y (n,) in arcsec, by noiseless images of the smooth lens (n, h, w) and critical curves."""
    found = []
    subhalo, scale = dataset.subhalo, dataset.instrument.pixel_scale_arcsec
    for row in range(len(flux)):
        draws = tuple(float(columns[f"placement_{k}"][row]) for k in (1, 2, 3))
        if subhalo.placement == "arc":
            found.append(place_on_arc(flux[row], scale, draws))
        elif subhalo.placement == "annulus":
            centre = (float(columns["lens_x_arcsec"][row]), float(columns["lens_y_arcsec"][row]))
            found.append(place_in_annulus(float(columns["theta_e_arcsec"][row]), centre, subhalo, draws))
        else:
            found.append(place_near_curve(np.stack((curve.x[row].numpy(), curve.y[row].numpy()), 1), subhalo, draws))
    x, y = np.array(found, float).T
    return x, y


def place_on_arc(flux: NDArray, pixel_scale: float, draws: tuple[float, float, float]) -> tuple[float, float]:
    """Return a place on the lensed light, with probability proportional to the flux of its pixel.

    Parameters
    ----------
    flux : (h, w)
        Noiseless image of the smooth lens; pixels above `ARC_THRESHOLD` of its peak count.
    pixel_scale : float, arcsec
    draws : three uniform numbers
        One chooses the pixel, two the place inside it.

    Returns
    -------
    x, y in arcsec
    """
    weight = np.where(flux >= ARC_THRESHOLD * flux.max(), flux, 0).astype(np.float64).ravel()
    total = np.cumsum(weight)
    pixel = int(np.searchsorted(total, draws[0] * total[-1], side="right"))
    row, column = divmod(min(pixel, weight.size - 1), flux.shape[1])
    h, w = flux.shape
    return (column - (w - 1) / 2 + draws[1] - 0.5) * pixel_scale, (row - (h - 1) / 2 + draws[2] - 0.5) * pixel_scale


def place_in_annulus(
    theta_e: float, centre: tuple[float, float], subhalo: Subhalo, draws: tuple[float, float, float]
) -> tuple[float, float]:
    """Return a place uniform in area between the annulus' bounds about the lens."""
    low, high = (b * theta_e for b in subhalo.annulus)
    radius, angle = math.sqrt(low**2 + (high**2 - low**2) * draws[0]), 2 * math.pi * draws[1]
    return centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle)


def place_near_curve(curve: NDArray, subhalo: Subhalo, draws: tuple[float, float, float]) -> tuple[float, float]:
    """Return a place within the band about a closed curve: uniform along its length, then across it.

    Parameters
    ----------
    curve : (p, 2), arcsec, vertices of the tangential critical curve in order
    """
    closed = np.vstack([curve, curve[:1]])
    step = np.diff(closed, axis=0)
    length = np.hypot(*step.T)
    along = np.concatenate([[0], np.cumsum(length)])
    at = draws[0] * along[-1]
    k = min(int(np.searchsorted(along, at, side="right")) - 1, len(length) - 1)
    share = (at - along[k]) / length[k]
    normal = np.array([step[k, 1], -step[k, 0]]) / length[k]
    x, y = closed[k] + share * step[k] + (2 * draws[1] - 1) * subhalo.critical_band_arcsec * normal
    return float(x), float(y)


def distance_to_arc(x: float, y: float, flux: NDArray, pixel_scale: float) -> float:
    """Return the distance from (x, y) to the nearest centre of a pixel above half of the peak, arcsec."""
    rows, columns = np.nonzero(flux > ARC_CORE * flux.max())
    h, w = flux.shape
    return float(np.hypot((columns - (w - 1) / 2) * pixel_scale - x, (rows - (h - 1) / 2) * pixel_scale - y).min())
