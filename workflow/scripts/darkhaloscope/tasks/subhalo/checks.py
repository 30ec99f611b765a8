"""What is checked of a subhalo dataset, and said of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from ...config.subhalo import SubhaloDataset
from ...stamps.checks import Checks
from ...stamps.gates import Verdict, gate, of_sample, same_in_both_classes, shares, words
from ...stamps.pieces import Piece, Stamps
from ...stamps.seen import Images
from .schema import MANIFEST, MEASURES, scalar_columns
from .seen import SEEN

#: Chance that a faultless dataset fails the gate on class-separating columns, over all of its tests together.
FALSE_ALARM = 1e-6
#: Columns that name or order rows, or are the label.
NOT_DRAWN = ("stamp_id", "number", "split", "label")
#: Columns that the mask decides; they may know the label where the mask is cut from the observed flux.
FROM_MASK = ("mask_fraction", "mask_radius_pixels", "mask_offset_pixels")
#: Stamps per galaxy from which on a galaxy that no stamp drew means something.
DRAWN_OFTEN = 10


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
    seen=SEEN,
    described=[c.name for c in scalar_columns() if c.dtype == "float64"],
    keys={"galaxies": "physical_id"},
    counted={"galaxies": "physical_id"},
    planes=_planes,
    caption=_caption,
    ranked=("d_prime_both", "Strongest signals, by the ideal observer's d′", "Weakest signals"),
    notes=_notes,
)


@gate("finite", "subhalo")
def finite(stamps: Stamps) -> Verdict:
    """No NaN or infinity in images and measures."""
    # θ_E over PSF is infinite, by definition, where there is no PSF.
    measures = [c for c in scalar_columns() if c.dtype == "float64" and c.name != "theta_over_psf"]

    def wrong(piece: Piece) -> Counter:
        rows = piece[[c.name for c in measures]]
        return Counter({c.name: int((np.isinf(rows[c.name]) if c.nullable else ~np.isfinite(rows[c.name])).sum()) for c in measures})

    bad = stamps.each(lambda t: int((~t["finite"]).sum()))
    found = sum(stamps.each(wrong).values(), Counter())
    bad |= {c.name: found[c.name] for c in measures if found[c.name]}
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
    galaxies, named = ({split: set() for split in stamps.rows} for _ in range(2))
    drawn = dict.fromkeys(stamps.rows, 0)
    for split, piece in stamps.pieces():
        rows = piece[["physical_id", "galaxy_id"]].dropna()
        galaxies[split] |= set(rows["physical_id"])
        named[split] |= set(rows.loc[rows["galaxy_id"].isin(assigned), "physical_id"])
        drawn[split] += len(rows)
    free = {split: len(galaxies[split] - named[split]) for split in stamps.rows}
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
    return of_sample(stamps, same_in_both_classes(stamps.samples(("label", *columns)), columns, FALSE_ALARM))
