"""FITS files of cutouts: which of a file's images are what, by the config's HDUs or by what headers say.

Images and noise of the Legacy Surveys' cutout service say what they are (`IMAGETYP`: image, invvar, maskbits). A file whose
images are not all accounted for is refused: a weight must not be taken for an image, nor one band for another.
"""

from __future__ import annotations

import gzip
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from ..archive.checks import GZIP_MAGIC
from .said import CutoutError, band_of, chosen_bands


@dataclass(frozen=True)
class FitsImage:
    """An image HDU: its number from 0, its pixels, its header, and the primary header, which speaks for all."""

    number: int
    data: NDArray
    header: fits.Header
    primary: fits.Header

    @property
    def kind(self) -> str:
        """What the cutout service calls it: image, invvar or maskbits; empty where the header does not say."""
        return str(self.header.get("IMAGETYP", "")).strip().lower()

    def band(self, bands: Sequence[str]) -> str:
        """Return the band that its header names, as `said.band_of`; empty where it names none."""
        return next(filter(None, (band_of(self.header.get(card, ""), bands) for card in ("BAND", "EXTNAME", "FILTER"))), "")

    @property
    def sky(self) -> fits.Header:
        """The header with its WCS: the primary one speaks for images that have none, unless it has pixels of its own."""
        return self.primary if "CTYPE1" not in self.header and self.primary.get("NAXIS") == 0 else self.header

    def get(self, card: str) -> object:
        """Return what its header says, or else the primary one."""
        return self.header.get(card, self.primary.get(card))


@dataclass(frozen=True)
class Layout:
    """The images of one object, the noise in the same order (empty where there is none), and its mask."""

    images: list[FitsImage]
    noise: list[FitsImage]
    mask: FitsImage | None


def read_images(content: bytes) -> list[FitsImage]:
    """Return the image HDUs that hold pixels; call within `readable`. Gzipped files are taken as what is in them."""
    if content[:2] == GZIP_MAGIC:
        content = gzip.decompress(content)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="(?s).*(truncated|corrupted)", category=AstropyWarning)
        with fits.open(io.BytesIO(content), memmap=False) as hdus:
            found = [(k, hdu) for k, hdu in enumerate(hdus) if hdu.is_image and hdu.data is not None]
            return [FitsImage(k, np.asarray(hdu.data), hdu.header, hdus[0].header) for k, hdu in found]


def one_image(images: Sequence[FitsImage], hdus: Sequence[int], path: Path) -> FitsImage:
    """Return the only image of a file of one band, or that of the HDU that the config names.

    Raises
    ------
    CutoutError
        There is none, or there are several.
    """
    found = [i for i in images if i.number in hdus] if hdus else [i for i in images if i.data.ndim == 2]
    if len(found) != 1 or found[0].data.ndim != 2:
        raise CutoutError(
            f"{path}: expected one image, found {_listed(images)}; set `image_hdus` to the one that is meant (image_hdus: [1]), "
            "or take band_files out where a file holds all bands"
        )
    return found[0]


def layout(images: Sequence[FitsImage], bands: Sequence[str], image_hdus: Sequence[int], noise_hdus: Sequence[int], path: Path) -> Layout:
    """Return which images show the object, one cube or one image for each of `bands`, and which its noise.

    Raises
    ------
    CutoutError
        There are others than these, and neither config nor headers say what they are.
    """
    numbered = {image.number: image for image in images}
    if lost := [k for k in (*image_hdus, *noise_hdus) if k not in numbered]:
        raise CutoutError(f"{path}: HDU {lost[0]} holds no image, found {_listed(images)}; correct `image_hdus` and `noise_hdus`")
    noise = [numbered[k] for k in noise_hdus] or [i for i in images if i.kind == "invvar"]
    masks = [i for i in images if i.kind == "maskbits"]
    others = [i for i in images if i.number not in noise_hdus and i.kind not in ("invvar", "maskbits")]
    shown = [numbered[k] for k in image_hdus] or others
    for key, given in (("image_hdus", image_hdus), ("noise_hdus", noise_hdus)):
        check_order([numbered[k] for k in given], bands, f"`{key}`", path)
    return Layout(
        shown if image_hdus else _in_order(shown, bands, images, path),
        noise if noise_hdus or not noise else _in_order(noise, bands, images, path),
        masks[0] if masks else None,
    )


def check_order(images: Sequence[FitsImage], bands: Sequence[str], key: str, path: Path) -> None:
    """Refuse images, one for each of `bands`, whose headers name the same bands in another order; `key` of the config gives theirs."""
    named, wanted = [image.band(bands) for image in images], [band.lower() for band in bands]
    if sorted(named) == sorted(wanted) and named != wanted:
        raise CutoutError(
            f"{path}: expected images of {', '.join(bands)} as {key} has them, but headers name {', '.join(named)}; put {key} in the order of `bands`"
        )


def _in_order(found: list[FitsImage], bands: Sequence[str], images: Sequence[FitsImage], path: Path) -> list[FitsImage]:
    """Return the only cube, or an image for each band: by the bands that headers name, or else in the file's order."""
    if len(found) == 1 and found[0].data.ndim == 3:
        return found
    if all(image.data.ndim == 2 for image in found):
        order = chosen_bands([image.band(bands) for image in found], bands, path)
        if order is not None:
            return [found[k] for k in order]
        if len(found) == len(bands):
            return found
    raise CutoutError(
        f"{path}: expected one cube, or one image for each of {', '.join(bands)}, found {_listed(images)}; "
        "set `image_hdus`, and `noise_hdus` where some of them are noise, or `band_files` where each band has a file of its own"
    )


def _listed(images: Sequence[FitsImage]) -> str:
    return ", ".join(f"HDU {i.number} {i.data.shape}" for i in images) or "no image"
