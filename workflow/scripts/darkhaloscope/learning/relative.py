"""Colours relative to the galaxy's own: each band at the scale at which the stamp's core has one flux in all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config.legacysurvey import PIXEL_SCALE_ARCSEC

#: Radius of the core [arcsec], and the least flux that it counts with, in standard deviations of the noise of its pixels' sum.
CORE_ARCSEC, LEAST_SNR = 0.8, 3.0
#: Band whose scale stays, as a place among g, r, z.
KEPT = 1


def radius_arcsec(size: int, device: torch.device | None = None) -> Tensor:
    """Return the distance of each pixel from the stamp's middle [arcsec], (size, size)."""
    axis = torch.arange(size, device=device) - (size - 1) / 2
    return torch.hypot(axis[:, None], axis[None]) * PIXEL_SCALE_ARCSEC


def core_flux(images: Tensor) -> Tensor:
    """Return the flux within `CORE_ARCSEC` of the middle, (n, bands), at least `LEAST_SNR` of its error.

    The noise of a pixel is that of differences of neighbours, median over every other row, so that it follows a band's scale
    and does not see a smooth galaxy.

    Parameters
    ----------
    images : (n, bands, size, size), sky subtracted
    """
    core = radius_arcsec(images.shape[-1], images.device) <= CORE_ARCSEC
    steps = (images[:, :, ::2, 1:] - images[:, :, ::2, :-1]).flatten(2).abs()
    noise = 1.4826 / 2**0.5 * steps.median(2).values
    least = LEAST_SNR * float(core.sum()) ** 0.5 * noise
    return torch.maximum(images[:, :, core].sum(2), least).clamp_min(1e-6)


def relative_to_core(images: Tensor) -> Tensor:
    """Return images whose cores have the flux of r in every band, (n, bands, size, size).

    A band's zero point, and the galaxy's own colour, are gone; that of an arc against its galaxy stays. Ahead of Gavazzi et al.
    (2014, A&A 785, A144), who subtract one band from the other at this very scale.
    """
    core = core_flux(images)
    return images * (core[:, KEPT : KEPT + 1] / core)[:, :, None, None]
