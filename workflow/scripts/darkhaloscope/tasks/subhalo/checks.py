"""What is checked of a subhalo dataset, and said of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...config.subhalo import SubhaloDataset
from ...stamps.checks import Checks, Images
from ...stamps.gates import Stamps, Verdict, gate, same_in_both_classes, shares, words
from .schema import MANIFEST, MEASURES, scalar_columns, size_of, stamp_images, stamp_schema

#: Chance that a faultless dataset fails the gate on class-separating columns, over all of its tests together.
FALSE_ALARM = 1e-6
#: Columns that name or order rows, or are the label.
NOT_DRAWN = ("stamp_id", "number", "split", "label")
#: Columns that the mask decides; they may know the label where the mask is cut from the observed flux.
FROM_MASK = ("mask_fraction", "mask_radius_pixels", "mask_offset_pixels")
#: Stamps per galaxy from which on a galaxy that no stamp drew means something.
DRAWN_OFTEN = 10


def _measure(pictures: Images) -> dict[str, NDArray]:
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


def _planes(pictures: Images) -> NDArray:
    return np.stack([pictures["flux"], np.where(pictures["mask"] == 1, pictures["velocity"], np.nan)], 1)


def _caption(row: dict) -> str:
    # An SIS has no mass: its bin bears the profile's name.
    subhalo = " ".join(dict.fromkeys((row["subhalo_profile"], row["mass_bin"])))
    return f"θ_E {row['theta_e_arcsec']:.2f}″, {row['source_kind']}, {subhalo}, d′ {row['d_prime_both']:.1f}"


def _notes(dataset: SubhaloDataset) -> tuple[str, ...]:
    contrast = {
        "subhalo": "Positives have a dark subhalo; controls carry the phantom that they would have had.",
        "lensed": "Positives are lensed; controls are the source itself.",
        "kinematics": "Positives have a subhalo that acts on the velocity alone: their flux is that of the smooth lens.",
    }
    return (
        contrast[dataset.contrast],
        "Every measure is taken from the smooth lens in both classes, so that it cannot know the label."
        if dataset.contrast != "lensed"
        else "Measures describe the row's own noiseless image.",
    )


CHECKS = Checks(
    schema=stamp_schema,
    size_of=size_of,
    columns=[c.name for c in scalar_columns()],
    described=[c.name for c in scalar_columns() if c.dtype == "float64"],
    images=[c.name for c in stamp_images(1)],
    digested=("flux", "velocity"),
    keys={"galaxies": "physical_id"},
    counted={"galaxies": "physical_id"},
    planes=_planes,
    caption=_caption,
    ranked=("d_prime_both", "Strongest signals, by the ideal observer's d′", "Weakest signals"),
    notes=_notes,
    measure=_measure,
)


@gate("finite", "subhalo")
def finite(stamps: Stamps) -> Verdict:
    """No NaN or infinity in images and measures."""
    bad = stamps.each(lambda t: int((~t["finite"]).sum()))
    for column in scalar_columns():
        # θ_E over PSF is infinite, by definition, where there is no PSF.
        if column.dtype == "float64" and column.name != "theta_over_psf":
            values = stamps.table[column.name].to_numpy(float)
            wrong = int((np.isinf(values) if column.nullable else ~np.isfinite(values)).sum())
            bad |= {column.name: wrong} if wrong else {}
    return "no NaN or infinity in images and measures", words(bad), not any(bad.values())


@gate("masks", "subhalo")
def masks(stamps: Stamps) -> Verdict:
    """Velocities and their errors are where their masks say."""
    faults = stamps.each(lambda t: int(t["mask_fault"].sum()))
    asked = "each velocity and error 0 outside its mask, errors above 0 inside"
    return asked, f"stamps that differ: {words(faults)}", not any(faults.values())


@gate("split fractions", "subhalo")
def split_fractions(stamps: Stamps) -> Verdict:
    """Shares of the galaxies that follow the fractions, among the splits that have stamps."""
    splits = stamps.dataset.splits
    assigned = {p for names in splits.assigned.values() for p in names}
    free, drawn = {}, {}
    for split, rows in stamps.splits():
        galaxies = rows[["physical_id", "galaxy_id"]].dropna()
        named = set(galaxies.loc[galaxies["galaxy_id"].isin(assigned), "physical_id"])
        free[split], drawn[split] = len(set(galaxies["physical_id"]) - named), len(galaxies)
    asked = {s: splits.fractions.get(s, 0.0) for s in free}
    # A galaxy is seen only if some stamp drew it: with few stamps per galaxy, shares of seen ones mean nothing.
    if not sum(free.values()) or not sum(asked.values()) or any(drawn[s] < DRAWN_OFTEN * free[s] for s in free):
        found = f"not judged on the stamps ({words(free)} free galaxies drawn); the manifest was"
        return "shares of the galaxies as asked", found, True
    return shares(free, asked, splits.tolerance)


@gate("class separability", "subhalo")
def separable(stamps: Stamps) -> Verdict:
    """Columns that are drawn before the label, or measured without it, must not tell the classes apart."""
    columns = [c.name for c in MANIFEST.columns if c.name not in NOT_DRAWN]
    if stamps.dataset.contrast != "lensed":
        columns += [c.name for c in MEASURES if c.name not in FROM_MASK]
        columns += FROM_MASK if stamps.dataset.instrument.mask == "smooth" else ()
    return same_in_both_classes(dict(stamps.splits()), columns, FALSE_ALARM)
