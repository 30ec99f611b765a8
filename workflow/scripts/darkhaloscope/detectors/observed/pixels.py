"""From an observed lens to the pixels that are fitted: small bins with many rays on the arcs, large ones with one ray elsewhere.

The image is cut into blocks. Blocks that hold light of arcs become small bins, and every pixel in them has a ray of its own; all others
are one bin with one ray: there is no light in them to be resolved, but that there is none binds the lens. A bin sees the mean over its
good pixels, PSF included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...surveys.observed import ObservedLens
from ..evidence.pixels import Channel
from .arcs import Arcs
from .light import Galaxy, coordinates, unsure


@dataclass(frozen=True)
class Pixels:
    """What is fitted of a lens: a channel in units of the arcs' brightness, galaxy's light as its linear part.

    `bins` (h, w) numbers the bin of each pixel, −1 for none; `rays` (r, 2) row and column of the pixel of each ray on arcs (the rest of
    the channel's rays follow); `unit` is the brightness of the arcs in the image's unit; `x0`, `y0` the galaxy's centre, the origin of the rays' places [arcsec].
    """

    channel: Channel
    bins: NDArray
    rays: NDArray
    unit: float
    x0: float
    y0: float

    def image(self, values: NDArray) -> NDArray:
        """Return values of bins (n,) as an image; NaN where there is none."""
        return np.where(self.bins >= 0, values[np.maximum(self.bins, 0)], np.nan)

    def means_over(self, larger: Pixels) -> sp.csr_matrix:
        """Return what takes values of these bins (n,) to their means over larger bins (m,) of the same image, (m, n)."""
        both = (self.bins >= 0) & (larger.bins >= 0)
        shape = len(larger.channel.data), len(self.channel.data)
        count = sp.csr_matrix((np.ones(both.sum()), (larger.bins[both], self.bins[both])), shape=shape)
        return sp.diags(1 / np.asarray(count.sum(1)).ravel()) @ count


def cut_pixels(lens: ObservedLens, galaxy: Galaxy, arcs: Arcs, small: int, large: int, rays_per_pixel: bool = True) -> Pixels:
    """Return the pixels of a lens.

    Parameters
    ----------
    lens, galaxy, arcs : what is known of the lens
    small, large : sides of the bins on arcs and elsewhere [pixels]; `large` is a multiple of `small`
    rays_per_pixel : bool
        A ray for each pixel of arcs; else one for each bin, for coarse searches.
    """
    if large % small:
        raise ValueError(f"bins of {large} pixels cannot be cut into bins of {small}: choose a multiple")
    shape = lens.image.shape
    x, y = coordinates(shape, lens.scale)
    radius = np.hypot(x - galaxy.x, y - galaxy.y)
    annulus = (radius > arcs.inner) & (radius < arcs.outer)
    used = lens.good & annulus
    rows, columns = np.indices(shape)
    block = rows // large * shape[1] + columns // large
    on_arc = np.isin(block, np.unique(block[arcs.light & annulus]))
    fine = rows // small * shape[1] + columns // small
    name = np.where(on_arc, fine, block + shape[0] * shape[1])
    bins = np.full(shape, -1)
    _, bins[used] = np.unique(name[used], return_inverse=True)
    n = int(bins.max()) + 1
    inside = np.flatnonzero(used.ravel())
    mean = sp.csr_matrix((np.ones(len(inside)), (bins.ravel()[inside], inside)), shape=(n, used.size))
    mean = sp.diags(1 / np.asarray(mean.sum(1)).ravel()) @ mean

    lit = np.argwhere(on_arc & (radius < arcs.outer + lens.scale * large))
    seen = (mean.tocsc()[:, inside] @ _convolution(lens.psf, shape, inside)).tocsc()
    ray_pixels = lit[:, 0] * shape[1] + lit[:, 1]
    operator = seen[:, ray_pixels]
    ray_x, ray_y = x.ravel()[ray_pixels], y.ravel()[ray_pixels]
    if not rays_per_pixel:
        _, member = np.unique(fine.ravel()[ray_pixels], return_inverse=True)
        count = np.bincount(member)
        together = sp.csr_matrix((np.ones(len(member)), (np.arange(len(member)), member)))
        operator = operator @ together
        ray_x, ray_y = np.bincount(member, ray_x) / count, np.bincount(member, ray_y) / count
    dark = np.flatnonzero(np.bincount(bins[used], weights=on_arc[used].astype(float), minlength=n) == 0)
    own = np.clip(1 - np.asarray(operator[dark].sum(1)).ravel(), 0, 1)
    single = sp.csr_matrix((own, (dark, np.arange(len(dark)))), shape=(n, len(dark)))
    operator = sp.hstack([operator, single]).tocsr()
    flat = mean @ np.stack([x.ravel(), y.ravel()], 1)
    rest = (lens.image - galaxy.model).ravel()
    variance = lens.noise.ravel() ** 2
    weight = mean.multiply(mean)
    light = mean @ galaxy.basis(x, y, lens.psf).reshape(used.size, -1)
    light_error = mean @ (unsure(radius) * galaxy.model).ravel()
    unit = arcs.brightness
    channel = Channel(
        data=(mean @ rest) / unit,
        variance=(np.asarray(weight @ variance).ravel() + light_error**2) / unit**2,
        operator=operator,
        x=np.append(ray_x, flat[dark, 0]) - galaxy.x,
        y=np.append(ray_y, flat[dark, 1]) - galaxy.y,
        light=light / unit,
    )
    return Pixels(channel, bins, lit, unit, galaxy.x, galaxy.y)


def _convolution(psf: NDArray, shape: tuple[int, int], needed: NDArray) -> sp.csr_matrix:
    """The PSF as a sparse matrix from pixels to some pixels (k,), by their flat index; what it takes from beyond the image is left out."""
    half = np.array(psf.shape) // 2
    rows, columns = needed // shape[1], needed % shape[1]
    parts = []
    for (dy, dx), weight in np.ndenumerate(psf):
        r, c = rows - (dy - half[0]), columns - (dx - half[1])
        inside = (r >= 0) & (r < shape[0]) & (c >= 0) & (c < shape[1])
        parts.append((np.full(inside.sum(), weight), np.flatnonzero(inside), (r * shape[1] + c)[inside]))
    values, to, of = (np.concatenate(part) for part in zip(*parts, strict=True))
    return sp.csr_matrix((values, (to, of)), shape=(len(needed), shape[0] * shape[1]))
