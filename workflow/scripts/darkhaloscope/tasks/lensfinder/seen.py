"""What is seen of a lens-finder stamp while its shard is made, and of an imported stamp in its table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...config.legacysurvey import BANDS
from ...config.lensfinder import ImportedDataset, LensFinderDataset
from ...core.tables import Column
from ...stamps.seen import Images, Seen
from .schema import scalar_columns


def central_columns(dataset: LensFinderDataset | ImportedDataset) -> tuple[Column, ...]:
    """Return the columns of the pixels nearest to the stamp's middle, in each band: `gates.core_pixels`, or all if there are fewer."""
    count = min(dataset.gates.core_pixels, getattr(dataset, "camera", dataset).stamp_size ** 2)
    return tuple(
        Column(f"central_{b}_{k}", "float32", "nanomaggy", f"Pixel {k} of the `gates.core_pixels` nearest to the stamp's middle, in {b}")
        for b in BANDS
        for k in range(count)
    )


def _centre(pictures: Images, dataset: LensFinderDataset | ImportedDataset) -> dict[str, NDArray[np.float32]]:
    image, columns = pictures["image"], central_columns(dataset)
    axis = np.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2
    nearest = np.argsort((axis[:, None] ** 2 + axis[None, :] ** 2).ravel(), kind="stable")[: len(columns) // len(BANDS)]
    pixels = image.reshape(len(image), len(BANDS), -1)[:, :, nearest].reshape(len(image), -1)
    return {column.name: pixels[:, k] for k, column in enumerate(columns)}


SEEN = Seen(
    scalars=scalar_columns(),
    images=("image",),
    digested=("image",),
    usable="cutout_ok",
    measured=central_columns,
    measure=_centre,
)
