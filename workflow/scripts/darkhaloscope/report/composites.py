"""Stamps of bands as colour pictures: one at a time, and sheets of many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .pictures import Sheets, arrange

#: The Legacy Surveys' viewer's stretch: weights of g, r, z, offset and Q of its asinh (Lupton et al. 2004, PASP 116, 133).
WEIGHTS, OFFSET, SOFTENING = (6.0, 3.4, 2.2), 0.03, 20.0
#: Quality of the sheets' JPEG, without subsampling of colours: noise loses a few of 255 levels, a galaxy less.
QUALITY = 92
#: Screen pixels for each pixel of a stamp.
ENLARGED = 2


def three_colours(image: NDArray) -> NDArray:
    """Return a stamp in colours, (size, size, 3) uint8, north up: red from z, green from r, blue from g.

    Parameters
    ----------
    image : (3, size, size) nanomaggies in g, r, z
    """
    flux = np.nan_to_num(image) * np.array(WEIGHTS)[:, None, None] + OFFSET
    mean = np.maximum(flux, 0).mean(0)
    ratio = np.arcsinh(SOFTENING * mean) / np.sqrt(SOFTENING) / np.where(mean > 0, mean, 1.0)
    return np.rint(np.clip(flux * ratio, 0, 1)[::-1, ::-1].transpose(1, 2, 0) * 255).astype(np.uint8)


def write_colour_sheets(folder: Path, images: NDArray, per_sheet: int, columns: int = 8) -> Sheets:
    """Write stamps, (n, 3, size, size) nanomaggies, as colour sheets `stamps-NNN.jpg` into `folder`.

    Noise of the sky in three colours does not compress without loss: as PNG the sheets would be several times as large.
    """
    folder.mkdir(parents=True, exist_ok=True)
    columns = min(columns, per_sheet)
    files = []
    for number, start in enumerate(range(0, len(images), per_sheet)):
        tiles = np.stack([three_colours(image) for image in images[start : start + per_sheet]])
        name = f"stamps-{number:03d}.jpg"
        Image.fromarray(arrange(tiles, columns, 255)).save(folder / name, quality=QUALITY, subsampling=0)
        files.append(name)
    size = images.shape[-1]
    return Sheets(tuple(files), per_sheet, columns, size, size)


def enlarged(image: NDArray) -> Image.Image:
    """Return a stamp as a picture, each pixel a square of `ENLARGED` on a side."""
    picture = Image.fromarray(three_colours(image))
    return picture.resize([ENLARGED * s for s in picture.size], Image.Resampling.NEAREST)
