"""Sérsic sources as images, cut at six effective radii: a kind of source without velocities."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaincinv

from .kinds import Still
from .still import FRAMES, StillImage, still_image

#: Half side of the image over the major effective radius; an exponential disk has 0.05% of its light beyond.
EXTENT = 6.0
#: Pixels over the minor effective radius, at least.
SAMPLING = 8.0
#: Points on a side of each pixel over which the profile is averaged, and of those near the cusp.
POINTS, CUSP_POINTS = 4, 32


def sersic_image(half_light_radius_arcsec: float, n: float, e: float) -> StillImage:
    """Return an elliptical Sérsic profile with its major axis along x.

    Parameters
    ----------
    half_light_radius_arcsec : circularised (√(ab)) half-light radius
    n : Sérsic index
    e : ellipticity (1 − q)/(1 + q)

    Returns
    -------
    StillImage
        Averaged over pixels; b_n exact (Ciotti 1991, A&A 249, 99). What lies beyond the cut is spread over the rest.
    """
    q = (1 - e) / (1 + e)
    half = EXTENT * half_light_radius_arcsec / np.sqrt(q)
    size = next((f for f in FRAMES if f >= 2 * EXTENT * SAMPLING / q), FRAMES[-1])
    pixel = 2 * half / size
    corner = _averaged(size // 2 + 1, pixel, POINTS, half_light_radius_arcsec, n, q)
    corner[:3, :3] = _averaged(3, pixel, CUSP_POINTS, half_light_radius_arcsec, n, q)
    # The frame's corners hold more than its edges: keep the ellipse alone.
    axis = np.arange(len(corner)) * pixel
    corner[np.hypot(axis[None, :] * np.sqrt(q), axis[:, None] / np.sqrt(q)) > EXTENT * half_light_radius_arcsec] = 0
    half_image = np.concatenate([corner[:0:-1], corner])
    return still_image(
        np.concatenate([half_image[:, :0:-1], half_image], 1), pixel, f"a Sérsic source of {half_light_radius_arcsec:g} arcsec"
    )


def _averaged(size: int, pixel: float, points: int, radius: float, n: float, q: float) -> np.ndarray:
    """Mean surface brightness of the pixels of one quadrant, from the middle outwards."""
    b = gammaincinv(2 * n, 0.5)
    place = (np.arange(size)[:, None] + (np.arange(points) + 0.5) / points - 0.5).ravel() * pixel
    x2, y2 = (place * np.sqrt(q) / radius) ** 2, (place / np.sqrt(q) / radius) ** 2
    profile = np.exp(-b * ((x2[None, :] + y2[:, None]) ** (0.5 / n) - 1))
    return profile.reshape(size, points, size, points).mean((1, 3))


STILL = Still(
    image=lambda files: lambda row: sersic_image(float(row["src_reff_arcsec"]), float(row["src_n"]), float(row["src_e"])),
    properties=("src_e", "src_n"),
    symmetric=True,
)
