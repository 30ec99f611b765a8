"""What is seen of a subhalo stamp while its shard is made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...config.subhalo import SubhaloDataset
from ...core.tables import Column
from ...stamps.seen import Images, Seen
from .schema import scalar_columns, stamp_images

MASKS = (
    Column("mask_radius_pixels", "float32", "pixel", "Mean distance of the pixels of `mask` from the stamp's middle"),
    Column("mask_offset_pixels", "float32", "pixel", "Distance of their centre from it"),
    Column("mask_fault", "bool", "", "Whether a velocity or an error is outside its mask, or an error is missing inside it"),
)


def _measure(pictures: Images, dataset: SubhaloDataset) -> dict[str, NDArray]:
    """Size and place of each mask, what a network that sees the mask alone would look at first, and faults of the masks."""
    mask = pictures["mask"]
    h, w = mask.shape[1:]
    y, x = np.indices((h, w)) - np.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
    count = np.maximum(mask.sum(axis=(1, 2), dtype=float), 1)
    mx, my = ((mask * a).sum(axis=(1, 2)) / count for a in (x, y))
    return {
        "mask_radius_pixels": (mask * np.hypot(x, y)).sum(axis=(1, 2)) / count,
        "mask_offset_pixels": np.hypot(mx, my),
        "mask_fault": _mask_faults(pictures),
    }


def _mask_faults(pictures: Images) -> NDArray[np.bool_]:
    """Stamps with a velocity or an error outside its mask, or no error inside it."""
    inside = pictures["mask"] == 1
    seen = pictures["observed_mask"] == 1
    wrong = ~np.isin(pictures["mask"], (0, 1)) | ~np.isin(pictures["observed_mask"], (0, 1))
    wrong |= (~inside & (pictures["velocity"] != 0)) | (~seen & (pictures["observed_velocity"] != 0))
    for where, sigma in ((inside, pictures["velocity_sigma"]), (seen, pictures["observed_sigma"])):
        wrong |= np.where(where, ~(sigma > 0), sigma != 0)
    return wrong.any(axis=(1, 2))


SEEN = Seen(
    scalars=scalar_columns(),
    images=[c.name for c in stamp_images(1)],
    digested=("flux", "velocity"),
    measured=lambda dataset: MASKS,
    measure=_measure,
)
