"""Cutouts of places on the sky from a survey's bricks, nothing added to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...surveys.legacysurvey.bricks import open_brick
from .schema import BANDS


@dataclass(frozen=True)
class Cut:
    """Cutouts of n places.

    Attributes
    ----------
    images : (n, bands, size, size) [nanomaggy], 0 everywhere where a cutout is not ok
    ok : (n,) whether a cutout has pixels enough to be used
    reasons : n texts, None where a cutout is ok
    bad_fraction : (n,) largest share of bad pixels in a band
    psfsize : (n, bands) [arcsec], NaN where it is missing
    """

    images: NDArray[np.float32]
    ok: NDArray[np.bool_]
    reasons: list[str | None]
    bad_fraction: NDArray[np.float64]
    psfsize: NDArray[np.float64]


def cut_places(
    ra: NDArray,
    dec: NDArray,
    bricknames: Sequence[str],
    folder_of: Callable[[str], str | Path],
    *,
    size: int,
    maskbits: Sequence[int],
    max_bad_fraction: float,
    bands: Sequence[str] = BANDS,
) -> Cut:
    """Cut a stamp around every place.

    Parameters
    ----------
    ra, dec : (n,) [deg]
    bricknames : the brick of each place
    folder_of : folder of a brick's coadds by its name
    size : pixels on a side
    maskbits, max_bad_fraction : as `open_brick` takes them
    bands : what is looked at for g, r and z
    """
    bricks, n = np.array(bricknames, object), len(bricknames)
    images = np.zeros((n, len(BANDS), size, size), np.float32)
    ok, reasons, bad, psf = np.zeros(n, bool), np.full(n, None, object), np.ones(n), np.full((n, len(BANDS)), np.nan)
    for name in dict.fromkeys(bricks):
        with open_brick(folder_of(name), name, bands, maskbits, max_bad_fraction=max_bad_fraction) as brick:
            for k in np.flatnonzero(bricks == name):
                cutout = brick.cutout(float(ra[k]), float(dec[k]), size)
                ok[k], bad[k], reasons[k] = cutout.ok, cutout.bad_fraction, cutout.reason or None
                psf[k] = np.where(cutout.psfsize > 0, cutout.psfsize, np.nan)
                if cutout.ok:
                    images[k] = cutout.image
    return Cut(images, ok, reasons.tolist(), bad, psf)
