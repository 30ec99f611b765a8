"""What lensing did to a source: stretches, extent and number of its images."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .lens import CriticalCurve, MacroLens, macro_deflection, macro_hessian, radial_curve
from .render import Grid


def stretches(lens: MacroLens, image: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Tangential and radial stretch of lensed light, 1/Σ w|1 − κ − γ| and 1/Σ w|1 − κ + γ|, w being each pixel's share of it.

    Parameters
    ----------
    lens : MacroLens of n rows
    image : (n, size, size) tensor
        Lensed light before the PSF.
    grid : Grid

    Returns
    -------
    tangential, radial : (n,) tensors, of the smooth lens
    """
    n = image.shape[0]
    xx, xy, yy = macro_hessian(lens, *(t.expand(n, -1, -1) for t in grid.coordinates(image.dtype)))
    convergence, shear = (xx + yy) / 2, (((xx - yy) / 2) ** 2 + xy**2).sqrt()
    total = image.sum((1, 2))
    return tuple(total / (image * s.abs()).sum((1, 2)) for s in (1 - convergence - shear, 1 - convergence + shear))


def half_light_radius(image: NDArray, centre: NDArray, pixel_scale: float) -> NDArray:
    """Return the radius about (x, y) = `centre` that holds half of an image's light, (n,) arcsec.

    Parameters
    ----------
    image : (n, size, size)
    centre : (n, 2) arcsec from the image's middle
    pixel_scale : arcsec
    """
    size = image.shape[-1]
    axis = (np.arange(size) - (size - 1) / 2) * pixel_scale
    out = np.zeros(len(image))
    for i, (light, (x, y)) in enumerate(zip(image, centre, strict=True)):
        radius = np.hypot(axis[None, :] - x, axis[:, None] - y).ravel()
        order = np.argsort(radius, kind="stable")
        inside = np.cumsum(light.ravel()[order])
        out[i] = np.interp(inside[-1] / 2, inside, radius[order]) if inside[-1] > 0 else np.nan
    return out


def count_images(lens: MacroLens, curve: CriticalCurve, x: Tensor, y: Tensor) -> Tensor:
    """Number of images that smooth lenses make of a point source, without the demagnified one in the middle.

    Beyond the tangential critical curve all images have positive parity, between it and the radial one negative parity.
    The number of a region's images is therefore how often its borders, mapped to the source plane, wind round the
    source: 1 − w_t and w_r − w_t. A lens without a radial critical curve has the cut of its singular centre in its place.

    Parameters
    ----------
    lens : MacroLens of n rows
    curve : CriticalCurve
        The tangential one, `critical_curve(lens)`; its polygon decides for sources closer to a caustic than it is exact.
    x, y : (n,) tensors, source [arcsec]

    Returns
    -------
    (n,) integer tensor
    """
    tangential, radial = (_winding(lens, c, x, y) for c in (curve, radial_curve(lens, curve)))
    return 1 + radial - 2 * tangential


def _winding(lens: MacroLens, curve: CriticalCurve, x: Tensor, y: Tensor) -> Tensor:
    """How often a mapped curve winds round a source, counter-clockwise."""
    dx, dy = macro_deflection(lens, curve.x, curve.y)
    ax, ay = curve.x - dx - x[:, None], curve.y - dy - y[:, None]
    bx, by = ax.roll(-1, 1), ay.roll(-1, 1)
    turned = torch.atan2(ax * by - ay * bx, ax * bx + ay * by).sum(1)
    return (turned / (2 * math.pi)).round().long()
