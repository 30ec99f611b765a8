"""The mock archive: a small MaNGA archive in the layout of DR17, for tests and demonstrations.

Its galaxies do not exist. File headers carry MOCK = T and the parameters behind the maps; plates are
numbered from 99001 and MANGAIDs begin with 99-, neither of which MaNGA used; README.txt says the same.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from ..archive.addresses import manga_catalog_url, manga_checksum_url, manga_maps_url
from ..config.manga import Archive
from ..core.files import write_text
from .manga_catalogs import summarise, write_dapall, write_drpall, write_fits
from .manga_galaxies import see
from .manga_maps import MOCK_CARDS, write_maps
from .manga_measurements import measure
from .manga_population import Observation, draw_observations

TRUTH_NAME, README_NAME = "mock-truth.fits", "README.txt"
README = """This is a mock archive.

None of these galaxies exists. The files imitate, extension by extension, what the MaNGA survey
published in SDSS Data Release 17, so that software can be tried without the real data.

- Every header says MOCK = T; plates begin at 99001 and MANGAIDs with 99-.
- mock-truth.fits holds the parameters that each galaxy was made with.
- Noise is drawn independently in every spaxel; in real cubes neighbours are correlated.
- Lines other than H-alpha and [NII] 6585, and all spectral indices, are plausible numbers only.
"""


def make_mock_manga(folder: Path, sample: Archive, n_galaxies: int, seed: int = 20) -> None:
    """Write a mock archive: catalogues, MAPS files, checksums, README and the truth.

    Parameters
    ----------
    folder : Path
        Takes the place of the archive's base address. A mock archive that is there already is replaced.
    sample : Archive
        Versions and DAPTYPE, which name the files.
    n_galaxies : int
        Galaxies; a few are observed twice, so there are about a tenth more MAPS files.
    seed : int
        The same seed gives the same bytes.
    """
    folder = Path(folder)
    _make_room(folder)
    observations = draw_observations(n_galaxies, seed)
    summaries, written = {}, []
    for observation in observations:
        if observation.done:
            path = _place(folder, sample, manga_maps_url(sample, observation.plateifu))
            summaries[observation.plateifu] = write_observation(path, observation, sample, seed)
            written.append(path)
    dapall = _place(folder, sample, manga_catalog_url(sample, "dapall"))
    drpall = _place(folder, sample, manga_catalog_url(sample, "drpall"))
    write_dapall(dapall, observations, summaries, (sample.drp_version, sample.dap_version))
    write_drpall(drpall, observations, sample.drp_version)
    _write_truth(folder / TRUTH_NAME, observations)
    _write_checksums(folder, sample, [*written, dapall, drpall])


def write_observation(path: Path, observation: Observation, sample: Archive, seed: int) -> dict[str, Any]:
    """Write one MAPS file and return its row of dapall."""
    maps, truth = measure(observation, see(observation, seed), seed)
    write_maps(path, observation, maps, truth, (sample.drp_version, sample.dap_version, sample.daptype))
    return summarise(observation, maps)


def _make_room(folder: Path) -> None:
    """Write the README first, and remove what an earlier mock archive left, whatever it was made with."""
    readme = folder / README_NAME
    if readme.is_file() and readme.read_text(encoding="utf-8") == README:
        for old in ("analysis", "redux"):
            shutil.rmtree(folder / old, ignore_errors=True)
    write_text(readme, README)


def _place(folder: Path, sample: Archive, url: str) -> Path:
    """Return where the file at an address of the sample lies below `folder`."""
    return folder / url.removeprefix(sample.base.rstrip("/") + "/")


def _write_checksums(folder: Path, sample: Archive, paths: list[Path]) -> None:
    """Write the SHA-1 file of each folder that holds data, as the SDSS archive names them."""
    lines: dict[Path, list[str]] = defaultdict(list)
    for path in paths:
        url = f"{sample.base.rstrip('/')}/{path.relative_to(folder).as_posix()}"
        digest = hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
        lines[_place(folder, sample, manga_checksum_url(sample, url))].append(f"{digest}  {path.name}\n")
    for path, text in lines.items():
        write_text(path, "".join(sorted(text, key=lambda line: line.split()[1])))


def _write_truth(path: Path, observations: list[Observation]) -> None:
    """Write the parameters of every observation as one table."""
    rows = []
    for observation in observations:
        values = asdict(observation)
        galaxy = values.pop("galaxy")
        rows.append({"plateifu": observation.plateifu, **galaxy, **values})
    table = fits.table_to_hdu(Table({name: np.array([row[name] for row in rows]) for name in rows[0]}))
    table.header["EXTNAME"] = "TRUTH"
    write_fits(path, [fits.PrimaryHDU(header=fits.Header(MOCK_CARDS)), table])
