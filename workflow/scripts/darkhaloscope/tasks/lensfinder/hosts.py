"""Which galaxies of a parent sample serve, in which split, as a positive's host or as a control.

Splits are whole HEALPix regions, shared out by a hash of the region: nothing of a dataset but its fractions
decides, so that two datasets of one survey never train on what the other one tests on. Within a split, galaxies
of one bin of PSF, depth and magnitude are grouped, in the order of a hash: one host and its controls.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ...config.lensfinder import PIXEL_SCALE_ARCSEC, LensFinderDataset, SkySplits
from ...config.subhalo import SPLITS
from ...core.random import row_keys, stable_hash
from ...core.tables import Schema, open_table, read_columns
from ...stamps.manifest import ManifestError
from ...stamps.shares import wrong_shares
from ...surveys.legacysurvey.schema import PARENT
from .schema import BANDS

log = logging.getLogger("darkhaloscope")

PER_BAND = ("flux", "psfsize", "psfdepth")
NUMBERS = ("object_id", "ra", "dec", "ebv", "healpix", "known_lens", *(f"{name}_{b}" for name in PER_BAND for b in BANDS))
NAMES = ("brickname", "contaminant_class")


@dataclass(frozen=True)
class Parent:
    """The columns of a parent sample that a manifest needs: numbers as arrays, names as codes into `names`."""

    numbers: dict[str, NDArray]
    codes: dict[str, NDArray[np.int32]]
    names: dict[str, NDArray]

    def __len__(self) -> int:
        return len(self.numbers["object_id"])

    def __getitem__(self, name: str) -> NDArray:
        """Return a column of numbers."""
        return self.numbers[name]


@dataclass(frozen=True)
class Chosen:
    """The stamps of one split in the order of bricks: row of the parent sample, role, and which pair of positive and control."""

    host: NDArray[np.int32]
    is_control: NDArray[np.bool_]
    replicate: NDArray[np.int32]
    pair: NDArray[np.int32]


def read_parent(path: str | os.PathLike) -> Parent:
    """Read what a manifest needs of a parent sample, column by column: about 90 bytes per galaxy.

    Raises
    ------
    TableError
        The file is missing or has a wrong column.
    """
    wanted = Schema("parent", tuple(c for c in PARENT.columns if c.name in NUMBERS + NAMES))
    with open_table(path, wanted):
        pass
    numbers = {name: read_columns(path, [name]).column(0).to_numpy() for name in NUMBERS}
    codes, names = {}, {}
    for name in NAMES:
        column = read_columns(path, [name], as_categories=[name]).column(0).unify_dictionaries().combine_chunks()
        codes[name] = column.indices.to_numpy().astype(np.int32)
        names[name] = np.array(column.dictionary.to_pylist(), object)
    return Parent(numbers, codes, names)


def choose_hosts(parent: Parent, dataset: LensFinderDataset) -> dict[str, Chosen]:
    """Choose the hosts of every split that has stamps.

    Raises
    ------
    ManifestError
        The realised shares of the hosts are not those asked for, or a split has too few galaxies.
    """
    split_of = split_regions(parent["healpix"], dataset.splits)
    usable = _usable(parent, dataset)
    said = f"{int(usable.sum())} of {len(parent)} galaxies have PSF, flux and depth in bounds and are no known lenses"
    usable[_near_another_split(parent["ra"], parent["dec"], split_of, _reach_deg(dataset))] = False
    log.info("%s; %d of them share no pixel with another split", said, usable.sum())
    bins = _bins(parent, usable, dataset)
    return {
        split: _choose(parent, dataset, split, np.flatnonzero(usable & (split_of == code)), bins)
        for code, split in enumerate(SPLITS)
        if getattr(dataset.size, split)
    }


def split_regions(healpix: NDArray, splits: SkySplits) -> NDArray[np.int8]:
    """Return the split of every galaxy, as an index into `SPLITS`.

    Regions come in the order of a hash of their number; each goes to the split that lacks most galaxies then.

    Raises
    ------
    ManifestError
        A split's share of the galaxies differs from the asked one by more than the tolerance.
    """
    regions, where, counts = np.unique(healpix, return_inverse=True, return_counts=True)
    asked = np.array([splits.fractions.get(s, 0.0) for s in SPLITS])
    lacking = asked * len(healpix)
    split_of = np.zeros(len(regions), np.int8)
    for region in sorted(range(len(regions)), key=lambda i: stable_hash("sky split", int(regions[i]))):
        split_of[region] = np.argmax(lacking)
        lacking[split_of[region]] -= counts[region]
    check_shares("galaxies of the parent sample", np.bincount(split_of[where], minlength=len(SPLITS)), splits)
    return split_of[where]


def check_shares(what: str, found: NDArray, splits: SkySplits) -> None:
    """Raise `ManifestError` unless counts per split have the asked shares, within the tolerance."""
    if wrong_shares(dict(zip(SPLITS, np.asarray(found).tolist(), strict=True)), splits.fractions, splits.tolerance):
        shares = np.asarray(found) / np.sum(found)
        words = ", ".join(f"{s} {x:.3f} (asked {splits.fractions.get(s, 0.0):.3f})" for s, x in zip(SPLITS, shares, strict=True))
        raise ManifestError(
            f"the {int(np.sum(found))} {what} fall into the splits as {words}, more than {splits.tolerance:g} off: "
            "use more sky or a finer `nside`, other splits.fractions, or a larger splits.tolerance"
        )


# --- who may serve -----------------------------------------------------------------------------


def _usable(parent: Parent, dataset: LensFinderDataset) -> NDArray[np.bool_]:
    low, high = dataset.hosts.psfsize_r_arcsec
    out = (parent["psfsize_r"] >= low) & (parent["psfsize_r"] <= high)
    for name in PER_BAND:
        for band in BANDS:
            values = parent[f"{name}_{band}"]
            out &= np.isfinite(values) & (values > 0)
    if dataset.hosts.veto_known_lenses:
        out &= ~parent["known_lens"]
    return out


def _reach_deg(dataset: LensFinderDataset) -> float:
    """Distance within which two stamps can share pixels: their diagonal."""
    return dataset.camera.stamp_size * PIXEL_SCALE_ARCSEC * np.sqrt(2) / 3600


def _near_another_split(ra: NDArray, dec: NDArray, split_of: NDArray, reach: float, strip: float = 0.5) -> NDArray[np.int64]:
    """Return galaxies with one of another split within `reach` [deg], strip by strip of declination to bound the memory."""
    order = np.argsort(dec, kind="stable")
    found = []
    for low in np.arange(dec.min(initial=0), dec.max(initial=0) + strip, strip):
        start, stop = np.searchsorted(dec, (low - reach, low + strip + reach), sorter=order)
        here = order[start:stop]
        if len(here) < 2 or (split_of[here] == split_of[here[0]]).all():
            continue
        a, d = np.radians(ra[here]), np.radians(dec[here])
        tree = cKDTree(np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], 1))
        pairs = tree.query_pairs(2 * np.sin(np.radians(reach) / 2), output_type="ndarray")
        apart = pairs[split_of[here[pairs[:, 0]]] != split_of[here[pairs[:, 1]]]]
        found.append(here[np.unique(apart)])
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def _bins(parent: Parent, usable: NDArray[np.bool_], dataset: LensFinderDataset) -> NDArray[np.int32]:
    """Joint quantile bin of PSF, depth and magnitude in r; edges from all usable galaxies."""
    out = np.zeros(len(parent), np.int32)
    for name, n in zip(("psfsize_r", "psfdepth_r", "flux_r"), dataset.hosts.match_bins, strict=True):
        values = parent[name]
        edges = np.quantile(values[usable], np.arange(1, n) / n) if usable.any() else np.empty(0)
        out = out * n + np.searchsorted(edges, values, side="right").astype(np.int32)
    return out


# --- who serves as what ------------------------------------------------------------------------


def _choose(parent: Parent, dataset: LensFinderDataset, split: str, rows: NDArray, bins: NDArray) -> Chosen:
    pairs, replicates = getattr(dataset.size, split) // 2, dataset.hosts.replicates
    # A group is one host of positives, and its controls; paired controls are the host itself.
    members = 1 if dataset.controls == "paired" else 1 + replicates
    key = row_keys(parent["object_id"][rows], np.full(len(rows), stable_hash("role"), np.uint64))
    order = rows[np.lexsort((key, bins[rows]))]
    _, start, count = np.unique(bins[order], return_index=True, return_counts=True)
    within = np.arange(len(order)) - np.repeat(start, count)
    groups = np.repeat(count // members, count)
    first = np.flatnonzero((within % members == 0) & (within // members < groups))
    needed = -(-pairs // replicates)
    if len(first) < needed:
        raise ManifestError(
            f"split {split} has {len(rows)} galaxies that can serve, enough for {2 * len(first) * replicates} stamps "
            f"({replicates} replicates, {dataset.controls} controls, {dataset.hosts.match_bins} bins), but {2 * pairs} are asked for: "
            "take more sky, fewer stamps, coarser hosts.match_bins, or more hosts.replicates"
        )
    # Every bin gives the same share of its groups.
    share = (within[first] // members + 0.5) / groups[first]
    first = first[np.lexsort((order[first], share))][:needed]
    positive = np.repeat(order[first], replicates)[:pairs]
    control = positive if members == 1 else order[first[:, None] + 1 + np.arange(replicates)].reshape(-1)[:pairs]
    replicate = np.tile(np.arange(replicates, dtype=np.int32), needed)[:pairs]
    pair = np.arange(pairs, dtype=np.int32)
    chosen = Chosen(
        host=np.concatenate([positive, control]).astype(np.int32),
        is_control=np.repeat([False, True], pairs),
        replicate=np.concatenate([replicate, np.zeros_like(replicate)]),
        pair=np.concatenate([pair, pair]),
    )
    brick = np.argsort(np.argsort(parent.names["brickname"]))[parent.codes["brickname"][chosen.host]]
    by_brick = np.lexsort((chosen.is_control, chosen.replicate, parent["object_id"][chosen.host], brick))
    return Chosen(*(v[by_brick] for v in (chosen.host, chosen.is_control, chosen.replicate, chosen.pair)))
