"""The mock survey: a small Legacy Survey archive in the layout of DR10, for tests and demonstrations.

Nothing in it exists. Headers say MOCK = T, RELEASE is 30999 (DR10 has 10000 to 10999); README.txt says the same.
Beside the archive's own files lie what a user would bring: known lenses, labels, and a sample of sources.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from pathlib import Path

from ..archive.addresses import brick_table_url, legacysurvey_checksum_url, sweep_url
from ..config.legacysurvey import MOCK_LABELS, MOCK_LENSES, MOCK_SOURCES, MOCK_SWEEPS, MockSky
from ..core.files import write_text
from .survey_bricks import draw_sky, write_coadds
from .survey_sky import draw_bricks, draw_conditions, draw_things
from .survey_sources import write_sources
from .survey_tables import sky_positions, sweep_rows, write_brick_tables, write_known_lenses, write_labels, write_sweep, write_truth

#: Stands for the archive's base address while paths are made.
BASE = "https://mock/dr10/"
TRUTH_NAME, README_NAME = "mock-truth.fits", "README.txt"
#: Right ascension at which one sweep file ends and the next begins [deg].
SWEEP_EDGE_DEG = 155.0
README = """This is a mock survey.

Nothing in it exists. The files imitate what the Legacy Surveys published in Data Release 10 (south), so that
software can be tried without the real data.

- Every header says MOCK = T; RELEASE is 30999, which no release has. Bricks have real names and places.
- Bricks are smaller than the real 3600 pixels; the first 42 lie far apart, in HEALPix cells of their own at nside 64.
- Galaxies stand on a grid, 71 pixels apart: about a hundred times as many luminous red galaxies as in the real sky,
  and far more contaminants and lenses among them.
- The noise of a pixel is drawn from invvar, plus the Poisson noise of the objects' light at 150 electrons per nanomaggy;
  it is independent in every pixel (in real coadds neighbours are correlated). The PSF is a Moffat profile of slope 3.5,
  the same over a brick.
- labels.csv says which galaxies are contaminants; known-lenses.csv lists every planted lens, in the columns of lenscat and
  with its Einstein radius; mock-truth.fits holds the parameters of every object.
- cosmos/ is a sample of source galaxies in the format that GalSim reads as COSMOS; they do not exist either.
"""


def make_mock_survey(folder: Path, sky: MockSky, seed: int) -> None:
    """Write a mock survey: sweeps, brick tables, coadds, checksums; known lenses, labels, sources, truth, README.

    Parameters
    ----------
    folder : Path
        Takes the place of the archive's base address. A mock survey that is there already is replaced.
    sky : MockSky
        How many bricks of what size, with how many lenses and contaminants.
    seed : int
        The same seed gives the same bytes. An object does not depend on how many bricks there are.
    """
    folder = Path(folder)
    _make_room(folder)
    cells = draw_bricks(sky.bricks)
    conditions, members, sweeps, written = [], [], defaultdict(list), []
    for cell in cells:
        observed, things = draw_conditions(cell, sky.brick_size, seed), draw_things(cell, sky, seed)
        pixels = draw_sky(cell, observed, things, sky.brick_size, seed)
        written += write_coadds(folder, BASE, cell, observed, pixels)
        ra, dec = sky_positions(cell, things, sky.brick_size)
        members.append([(t, float(a), float(d)) for t, a, d in zip(things, ra, dec, strict=True)])
        conditions.append(observed)
        sweeps[MOCK_SWEEPS[int(cell.ra >= SWEEP_EDGE_DEG)]].append(sweep_rows(cell, observed, things, pixels, seed))
    for name, bricks in sweeps.items():
        written.append(_place(folder, sweep_url(BASE, name)))
        write_sweep(written[-1], bricks)
    for name in set(MOCK_SWEEPS) - set(sweeps):
        written.append(_place(folder, sweep_url(BASE, name)))
        write_sweep(written[-1], [{k: v[:0] for k, v in next(iter(sweeps.values()))[0].items()}])
    tables = [_place(folder, brick_table_url(BASE, which)) for which in ("all", "south")]
    write_brick_tables(*tables, cells, conditions)
    everything = [thing for brick in members for thing in brick]
    write_known_lenses(folder / MOCK_LENSES, [t for t in everything if t[0].kind == "lens"])
    write_labels(folder / MOCK_LABELS, everything)
    write_truth(folder / TRUTH_NAME, cells, members)
    write_sources(folder / MOCK_SOURCES, sky.sources, seed)
    _write_checksums(folder, [*written, *tables])


def _make_room(folder: Path) -> None:
    """Write the README first, and remove what an earlier mock survey left."""
    readme = folder / README_NAME
    if readme.is_file() and readme.read_text(encoding="utf-8") == README:
        for old in ("south", "cosmos"):
            shutil.rmtree(folder / old, ignore_errors=True)
    write_text(readme, README)


def _place(folder: Path, url: str) -> Path:
    return folder / url.removeprefix(BASE)


def _write_checksums(folder: Path, paths: list[Path]) -> None:
    """Write the SHA-256 file of each folder that holds data, as the archive names them."""
    lines: dict[Path, list[str]] = defaultdict(list)
    for path in paths:
        url = BASE + path.relative_to(folder).as_posix()
        lines[_place(folder, legacysurvey_checksum_url(BASE, url))].append(
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        )
    for path, text in lines.items():
        write_text(path, "".join(sorted(text, key=lambda line: line.split()[1])))
