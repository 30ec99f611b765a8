"""What is injected: lens and source parameters of many rows at once, each from its row's own numbers.

A row draws one uniform number per slot from the Philox stream of its host and replicate, so that it gets the
same parameters whatever other rows there are. Only the cell of the grid (the product of all `choice`
parameters) goes by the row's place among the positives of its split, so that cells are filled equally.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...config.base import Distribution
from ...config.lensfinder import Injection, LensFinderDataset
from ...config.sources import STILL
from ...config.subhalo import SPLITS
from ...core.random import category, quantile, row_keys, stable_hash, stream, uniforms
from ...sources.kinds import Draws, Files
from ...sources.stills import INPUTS, KINDS, OWN, PROPERTIES
from ...stamps.manifest import ManifestError
from .hosts import check_shares

#: One uniform number per slot and row. New slots go to the end: the order is what keeps old draws.
SLOTS = (
    *("kind", "galaxy", "offset", "offset_angle", "src_phi", "flip", "lens_phi", "shear_phi"),
    *("theta_e_arcsec", "src_dmag", "src_reff_arcsec", "src_e", "src_n", "src_offset", "lens_e", "shear", "src_gr", "src_rz"),
)
#: Parameters that a grid can be made of, in the order of their digits in the number of a cell.
GRIDDED = SLOTS[8:]


@dataclass(frozen=True)
class Galaxies:
    """Source galaxies of one kind: identifier and half-light radius, and the rows that each split may use.

    `half_light_radius` is None where it is drawn and the image scaled to it.
    """

    ids: NDArray
    half_light_radius: NDArray | None
    rows: dict[str, NDArray[np.int64]]


def share_galaxies(kind: str, ids: list[str], half_light_radius: NDArray | None, dataset: LensFinderDataset) -> Galaxies:
    """Share source galaxies out among the splits by a hash of their identifier.

    Raises
    ------
    ManifestError
        Too few galaxies for the splits that have stamps, or shares beyond the tolerance.
    """
    ids_array = np.asarray(ids, object)
    order = np.array(sorted(range(len(ids)), key=lambda i: (stable_hash("split", ids[i]), ids[i])), np.int64)
    fractions = np.array([dataset.splits.fractions.get(s, 0.0) for s in SPLITS])
    cuts = np.rint(np.cumsum(fractions) * len(ids)).astype(int)
    rows = dict(zip(SPLITS, np.split(order, cuts[:-1]), strict=True))
    for split in SPLITS:
        if getattr(dataset.size, split) and not len(rows[split]):
            raise ManifestError(
                f"split {split} has stamps but none of the {len(ids)} {kind} source galaxies: use more galaxies or other splits.fractions"
            )
    check_shares(f"{kind} source galaxies", np.array([len(rows[s]) for s in SPLITS]), dataset.splits)
    return Galaxies(ids_array, half_light_radius, rows)


def read_galaxies(dataset: LensFinderDataset, files: Files) -> dict[str, Galaxies]:
    """Return the source galaxies of the kinds in use that are made of some, shared out among the splits.

    Parameters
    ----------
    files : inputs by name, each a list of paths; a kind whose files are not there is left out
    """
    galaxies = {}
    for name, kind in KINDS.items():
        if kind.galaxies and dataset.sources.uses(name) and files.get(INPUTS[STILL[name].needs]):
            galaxies[name] = share_galaxies(name, *kind.galaxies(files), dataset)
    return galaxies


def grid_cells(injection: Injection, seed: int, split: str, count: int) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Return the cell of the grid of each positive of a split, and the number of values of each `choice` parameter.

    Every run of as many positives as there are cells holds each cell once, in random order.
    """
    shape = tuple(len(d.choice) if (d := getattr(injection, name)).kind == "choice" else 1 for name in GRIDDED)
    cells = int(np.prod(shape))
    if cells == 1:
        return np.zeros(count, np.int64), shape
    blocks = -(-count // cells)
    walk = [stream(seed, block, f"grid {split}").permutation(cells).astype(np.int32) for block in range(blocks)]
    return np.concatenate(walk)[:count] if walk else np.zeros(0, np.int64), shape


def draw_injections(
    dataset: LensFinderDataset,
    split: str,
    object_id: NDArray,
    replicate: NDArray,
    cell: NDArray,
    shape: tuple[int, ...],
    galaxies: dict[str, Galaxies],
) -> dict[str, NDArray]:
    """Return the lens and source columns of some positives.

    Parameters
    ----------
    dataset : LensFinderDataset
    split : their split, which says which source galaxies they may use
    object_id, replicate : (n,) integers that identify them
    cell, shape : from `grid_cells`
    galaxies : source galaxies by kind

    Returns
    -------
    dict of column name to (n,) array; NaN or None where a kind of source has no such property.
    """
    draws = uniforms(dataset.seed, row_keys(object_id, replicate), "injection", len(SLOTS))
    u = {slot: draws[:, i] for i, slot in enumerate(SLOTS)}
    digits = dict(zip(GRIDDED, np.unravel_index(cell, shape), strict=True))
    p = {name: _values(getattr(dataset.injection, name), u[name], digits[name]) for name in GRIDDED}
    kind = category(dataset.sources.mix, u["kind"]).astype(object)
    source_id = np.full(len(kind), None, object)
    radius, turn, flips = p["src_reff_arcsec"].copy(), np.full(len(kind), 2.0), np.ones(len(kind), bool)
    given = {name: np.full(len(kind), np.nan) for name in PROPERTIES}
    own = Draws(u, row_keys(object_id, replicate), dataset.seed, dataset.sources)
    drawn: dict[str, NDArray] = {name: np.full(len(kind), np.nan) for name in OWN}
    for name in np.unique(kind):
        some, rows = KINDS[name], np.flatnonzero(kind == name)
        if name in galaxies:
            listed = galaxies[name].rows[split]
            chosen = listed[(u["galaxy"][rows] * len(listed)).astype(int)]
            source_id[rows] = galaxies[name].ids[chosen]
            if galaxies[name].half_light_radius is not None:
                radius[rows] = galaxies[name].half_light_radius[chosen]
        for column in some.properties:
            given[column][rows] = p[column][rows]
        if some.symmetric:
            turn[rows], flips[rows] = 1.0, False
        for column, values in some.draw(own).items() if some.draw else ():
            drawn[column][rows] = values[rows]
    distance, angle = p["src_offset"] * p["theta_e_arcsec"], 2 * np.pi * u["offset_angle"]
    return {
        "source_kind": kind,
        "source_id": source_id,
        "src_dmag": p["src_dmag"],
        "src_reff_arcsec": radius,
        **given,
        **drawn,
        "src_x_arcsec": distance * np.cos(angle),
        "src_y_arcsec": distance * np.sin(angle),
        "src_phi_rad": turn * np.pi * u["src_phi"],
        "src_flip": flips & (u["flip"] < 0.5),
        "src_gr": p["src_gr"],
        "src_rz": p["src_rz"],
        "theta_e_arcsec": p["theta_e_arcsec"],
        "lens_e": p["lens_e"],
        "lens_phi_rad": np.pi * u["lens_phi"],
        "shear": p["shear"],
        "shear_phi_rad": np.pi * u["shear_phi"],
    }


def _values(distribution: Distribution, uniform: NDArray, digit: NDArray) -> NDArray:
    if distribution.kind == "choice":
        return np.asarray(distribution.choice, float)[digit]
    return quantile(distribution, uniform)
