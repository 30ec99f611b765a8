"""The examples that a report on flux and velocity shows, rendered: galaxies before lensing, and lenses with and without their subhalo."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..config.cosmology import Cosmology
from ..config.subhalo import SubhaloDataset
from ..core.tables import images, read_columns
from ..core.text import power_of_ten
from ..stamps.columns import row_columns
from ..tasks.subhalo.lights import row_source
from ..tasks.subhalo.render import noiseless_pairs
from ..tasks.subhalo.schema import MANIFEST
from .example_table import PAIR, SOURCE, example_table

#: Columns that captions of stamps are made of.
CAPTION_COLUMNS = (
    *("source_kind", "theta_e_arcsec", "peak_snr", "d_prime_flux", "d_prime_velocity"),
    *("subhalo_profile", "subhalo_theta_e_arcsec", "log10_mass_msun"),
)
#: Galaxies and pairs that are shown; pixels of the picture of a disk, where there is no galaxy to be drawn beside.
SOURCES, PAIRS, DISK_PIXELS = 8, 4, 64


def choose_examples(
    shard: str | os.PathLike,
    dataset: SubhaloDataset,
    bank: pa.Table | None,
    cosmology: Cosmology,
    pairs: int = PAIRS,
    sources: int = SOURCES,
) -> pa.Table:
    """Choose stamps of a shard that a reader should see, and render what they are made of.

    Pairs are the positives with the strongest signal of each kind of source, then those of the median one: a gallery of the
    best alone would mislead. Galaxies are of every kind as many as of the others, none twice in a kind.

    Parameters
    ----------
    shard : test stamps, images included
    dataset : the dataset that they belong to
    bank : the bank of its sources; None where it has none
    cosmology : Cosmology
    pairs, sources : how many of each, at most

    Returns
    -------
    pyarrow.Table
        As `example_table` gives it.
    """
    stamps = read_columns(shard)
    stamps = stamps.filter(pc.equal(stamps["label"], 1)).combine_chunks()
    chosen = stamps.take(strongest_first(stamps, pairs))
    captions = [_caption(row, dataset.contrast) for row in chosen.select(list(CAPTION_COLUMNS)).to_pylist()]
    observed = {name: images(chosen, name) for name in ("flux", "velocity", "mask")}
    if dataset.contrast != "lensed":
        # Where the subhalo is, x and y in arcsec, as a picture of two pixels.
        observed["place"] = np.stack([chosen[c].to_numpy() for c in ("subhalo_x_arcsec", "subhalo_y_arcsec")], axis=-1)[:, None]
    rows = [*_sources(stamps, dataset, bank, cosmology, sources)]
    rows += _rows(PAIR, captions, {**noiseless_pairs(chosen, dataset, bank, cosmology), **observed})
    return example_table(rows)


def strongest_first(positives: pa.Table, pairs: int) -> list[int]:
    """Return rows of positives: the strongest signal of each kind of source, then the median ones; at most `pairs`."""
    ranked = positives.select(["source_kind", "d_prime_both"]).to_pandas().sort_values("d_prime_both", ascending=False)
    best = ranked.groupby("source_kind", sort=True).head(1).index.tolist()
    middle = ranked.index[len(ranked) // 2 : len(ranked) // 2 + pairs].tolist()
    return list(dict.fromkeys([*best, *middle]))[:pairs]


def _rows(group: str, captions: Sequence[str], pictures: Mapping[str, NDArray]) -> Iterable[tuple[str, int, str, str, NDArray]]:
    return [(group, k, caption, name, shown[k]) for k, caption in enumerate(captions) for name, shown in pictures.items()]


def _sources(stamps: pa.Table, dataset: SubhaloDataset, bank: pa.Table | None, cosmology: Cosmology, n: int) -> Iterable[tuple]:
    columns = row_columns(stamps.select([c.name for c in MANIFEST.columns]))
    pixels = DISK_PIXELS if bank is None else images(bank.slice(0, 1), "flux").shape[-1]
    chosen = take_in_turn(columns["source_kind"], columns["galaxy_id"], n)
    if not chosen:
        return []
    sources = [row_source(columns, row, dataset, bank, cosmology, pixels) for row in chosen]
    captions = []
    for row in chosen:
        galaxy, inclination = columns["galaxy_id"][row], float(columns["disk_inclination_rad"][row])
        # Kinds that are no disk, and have no galaxy behind them, are named by their kind alone.
        what = galaxy or ("" if np.isnan(inclination) else f"{np.degrees(inclination):.0f}° inclined")
        captions.append(" · ".join(filter(None, (str(columns["source_kind"][row]), what))))
    side = max(max(s.flux.shape) for s in sources)  # kinds have pictures of their own sizes
    return _rows(
        SOURCE, captions, {name: np.stack([_framed(getattr(s, name), side) for s in sources]) for name in ("flux", "velocity", "valid")}
    )


def _framed(picture: NDArray, side: int) -> NDArray:
    """Return a picture in the middle of a square of `side` pixels, zero about it."""
    return np.pad(picture, [((side - n) // 2, side - n - (side - n) // 2) for n in picture.shape])


def take_in_turn(kinds: Sequence[str], galaxies: Sequence[str | None], n: int) -> list[int]:
    """Take rows of each kind in turn until there are `n`, or none is left; return them kind by kind."""
    rows: dict[str, dict[str, int]] = {}
    for row, (kind, galaxy) in enumerate(zip(kinds, galaxies, strict=True)):
        rows.setdefault(kind, {}).setdefault(galaxy or f"row {row}", row)
    waiting = {kind: list(of_kind.values()) for kind, of_kind in sorted(rows.items(), reverse=True)}
    taken: dict[str, list[int]] = {kind: [] for kind in waiting}
    while any(waiting.values()) and sum(map(len, taken.values())) < n:
        for kind, left in waiting.items():
            if left and sum(map(len, taken.values())) < n:
                taken[kind].append(left.pop(0))
    return [row for of_kind in taken.values() for row in of_kind]


def _caption(row: Mapping[str, Any], contrast: str) -> str:
    sought = f"lens of θ_E {row['theta_e_arcsec']:.2f}″" if contrast == "lensed" else _subhalo(row)
    said = f"{row['source_kind']} source, {sought}, peak S/N {row['peak_snr']:.0f}"
    return f"{said}; ideal d′ {row['d_prime_flux']:.1f} in flux, {row['d_prime_velocity']:.1f} in velocity"


def _subhalo(row: Mapping[str, Any]) -> str:
    theta_e, mass = row["subhalo_theta_e_arcsec"], row["log10_mass_msun"]
    strength = f" of {power_of_ten(mass)} M☉" if mass is not None else f" of θ_E {theta_e:.3f}″" if theta_e is not None else ""
    return f"{row['subhalo_profile'].upper()} subhalo{strength}"
