"""The mock survey: a small Legacy Survey archive in the layout of DR10, for tests and demonstrations.

Nothing in it exists. Headers say MOCK = T, RELEASE is 30999 (DR10 has 10000 to 10999); README.txt says the same.
Beside the archive's own files lie what a user would bring: known lenses, labels, and a sample of sources.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import joblib
from numpy.typing import NDArray

from ..archive.addresses import brick_table_url, legacysurvey_checksum_url, sweep_url
from ..config.legacysurvey import BANDS, MOCK_LABELS, MOCK_LENSES, MOCK_SOURCES, MOCK_SWEEPS, MockSky
from .archive import TRUTH_NAME, make_room, place, write_checksums
from .survey_bricks import draw_sky, write_coadds
from .survey_sky import BrickCell, Conditions, Thing, draw_bricks, draw_conditions, draw_things, seen_in
from .survey_sources import write_sources
from .survey_tables import sky_positions, sweep_rows, write_brick_tables, write_known_lenses, write_labels, write_sweep, write_truth

#: Stands for the archive's base address while paths are made.
BASE = "https://mock/dr10/"
#: Right ascension at which one sweep file ends and the next begins [deg].
SWEEP_EDGE_DEG = 155.0


def make_mock_survey(folder: Path, sky: MockSky, seed: int, bands: Sequence[str] = BANDS, workers: int = 1) -> None:
    """Write a mock survey: sweeps, brick tables, coadds, checksums; known lenses, labels, sources, truth, README.

    Parameters
    ----------
    folder : Path
        Takes the place of the archive's base address. A mock survey that is there already is replaced.
    sky : MockSky
        How many bricks of what size, with how many lenses and contaminants.
    seed : int
        The same seed gives the same bytes. An object does not depend on how many bricks there are.
    bands : g, r, z; or g, r, i
        What coadds are of. The same galaxies are in both skies.
    workers : int
        Processes that draw bricks side by side; they change no byte.
    """
    folder = Path(folder)
    make_room(folder, "readme_survey.txt", ("south", "cosmos"))
    cells = draw_bricks(sky.bricks)
    conditions, members, sweeps, written = [], [], defaultdict(list), []
    draw = joblib.delayed(_draw_brick)
    for cell, brick in zip(cells, joblib.Parallel(workers)(draw(folder, cell, sky, seed, bands) for cell in cells), strict=True):
        conditions.append(brick.conditions)
        members.append(brick.members)
        written += brick.coadds
        sweeps[MOCK_SWEEPS[int(cell.ra >= SWEEP_EDGE_DEG)]].append(brick.sweep)
    for name, bricks in sweeps.items():
        written.append(place(folder, BASE, sweep_url(BASE, name)))
        write_sweep(written[-1], bricks)
    for name in set(MOCK_SWEEPS) - set(sweeps):
        written.append(place(folder, BASE, sweep_url(BASE, name)))
        write_sweep(written[-1], [{k: v[:0] for k, v in next(iter(sweeps.values()))[0].items()}])
    tables = [place(folder, BASE, brick_table_url(BASE, which)) for which in ("all", "south")]
    write_brick_tables(*tables, cells, conditions)
    everything = [thing for brick in members for thing in brick]
    write_known_lenses(folder / MOCK_LENSES, [t for t in everything if t[0].kind == "lens"])
    write_labels(folder / MOCK_LABELS, everything)
    write_truth(folder / TRUTH_NAME, cells, members)
    write_sources(folder / MOCK_SOURCES, sky.sources, seed)
    write_checksums(folder, BASE, [*written, *tables], partial(legacysurvey_checksum_url, BASE), "sha256")


class _Brick(NamedTuple):
    """What the tables of the survey need of a brick, and its files."""

    conditions: Conditions
    members: list[tuple[Thing, float, float]]
    coadds: list[Path]
    sweep: dict[str, NDArray]


def _draw_brick(folder: Path, cell: BrickCell, sky: MockSky, seed: int, bands: Sequence[str]) -> _Brick:
    """Draw a brick and write its coadds."""
    conditions, things = draw_conditions(cell, sky.brick_size, seed, sky.imaging, bands), draw_things(cell, sky, seed)
    pixels = draw_sky(cell, conditions, seen_in(things, bands, conditions.ebv), sky.brick_size, seed)
    coadds = write_coadds(folder, BASE, cell, conditions, pixels, bands)
    ra, dec = sky_positions(cell, things, sky.brick_size)
    members = [(thing, float(a), float(d)) for thing, a, d in zip(things, ra, dec, strict=True)]
    return _Brick(conditions, members, coadds, sweep_rows(cell, conditions, things, pixels, seed, bands))
