"""A few measures of a stamp's light and colour in rings about its middle, relative to the core."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from .relative import CORE_ARCSEC, core_flux, radius_arcsec

#: Edges of the rings [arcsec], the parts that each is cut into, and the share of the core's brightness at which the asinh bends.
EDGES, SECTORS, SOFTENING = (0.8, 1.6, 2.6, 4.0, 6.0), 8, 0.02
#: What is measured of each ring: its brightness in r; how much more of it there is in g and in z; the bluest sector.
OF_A_RING = ("light_r", "blue", "red", "bluest_sector")
MEASURES = tuple(f"{name}_{low:g}_{high:g}" for low, high in pairwise(EDGES) for name in OF_A_RING)


def ring_measures(images: Tensor) -> Tensor:
    """Return `MEASURES` of stamps, (n, measures); 0 for rings beyond the stamp's edge.

    A ring's brightness is its mean over the core's mean in the same band, x, as asinh(x/`SOFTENING`): the galaxy's colour and the
    bands' zero points are gone. `blue` and `red` are those of g and z less that of r; the bluest sector is the largest mean, over
    eight sectors, of g less r. Turns by 90° and reflections change nothing.

    Parameters
    ----------
    images : (n, 3, size, size) in g, r, z, sky subtracted
    """
    size, device = images.shape[-1], images.device
    axis = torch.arange(size, device=device) - (size - 1) / 2
    radius = radius_arcsec(size, device)
    # Sectors lie about the axes and diagonals, so that no pixel is on an edge.
    sector = ((torch.atan2(axis[:, None], axis[None]) / (2 * torch.pi) * SECTORS + 0.5) % SECTORS).long()
    mean = core_flux(images) / float((radius <= CORE_ARCSEC).sum())
    relative = images / mean[:, :, None, None]
    excess = relative[:, 0] - relative[:, 1]
    found = []
    for low, high in pairwise(EDGES):
        ring = (radius > low) & (radius <= high)
        if not ring.any():
            found += [torch.zeros_like(images[:, 0, 0, 0])] * len(OF_A_RING)
            continue
        light = torch.asinh(relative[:, :, ring].mean(2) / SOFTENING)
        parts = [excess[:, ring & (sector == k)].mean(1) for k in range(SECTORS) if (ring & (sector == k)).any()]
        bluest = torch.asinh(torch.stack(parts, 1).amax(1) / SOFTENING)
        found += [light[:, 1], light[:, 0] - light[:, 1], light[:, 2] - light[:, 1], bluest]
    return torch.stack(found, 1)
