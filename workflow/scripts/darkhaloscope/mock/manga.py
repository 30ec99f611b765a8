"""The mock archive: a small MaNGA archive in the layout of DR17, for tests and demonstrations.

Its galaxies do not exist. File headers carry MOCK = T and the parameters behind the maps; plates are
numbered from 99001 and MANGAIDs begin with 99-, neither of which MaNGA used; README.txt says the same.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from ..archive.addresses import manga_catalog_url, manga_checksum_url, manga_maps_url
from ..config.manga import Archive
from .archive import MOCK_CARDS, TRUTH_NAME, make_room, place, write_checksums, write_fits
from .manga_catalogs import summarise, write_dapall, write_drpall
from .manga_galaxies import see
from .manga_maps import with_checksums, write_maps
from .manga_measurements import measure
from .manga_population import Observation, draw_observations


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
    base = sample.base.rstrip("/") + "/"
    make_room(folder, "readme_manga.txt", ("analysis", "redux"))
    observations = draw_observations(n_galaxies, seed)
    summaries, written = {}, []
    for observation in observations:
        if observation.done:
            path = place(folder, base, manga_maps_url(sample, observation.plateifu))
            summaries[observation.plateifu] = write_observation(path, observation, sample, seed)
            written.append(path)
    dapall = place(folder, base, manga_catalog_url(sample, "dapall"))
    drpall = place(folder, base, manga_catalog_url(sample, "drpall"))
    write_dapall(dapall, observations, summaries, (sample.drp_version, sample.dap_version))
    write_drpall(drpall, observations, sample.drp_version)
    _write_truth(folder / TRUTH_NAME, observations)
    write_checksums(folder, base, [*written, dapall, drpall], partial(manga_checksum_url, sample), "sha1")


def write_observation(path: Path, observation: Observation, sample: Archive, seed: int) -> dict[str, Any]:
    """Write one MAPS file and return its row of dapall."""
    maps, truth = measure(observation, see(observation, seed), seed)
    write_maps(path, observation, maps, truth, (sample.drp_version, sample.dap_version, sample.daptype))
    return summarise(observation, maps)


def _write_truth(path: Path, observations: list[Observation]) -> None:
    """Write the parameters of every observation as one table."""
    rows = []
    for observation in observations:
        values = asdict(observation)
        galaxy = values.pop("galaxy")
        rows.append({"plateifu": observation.plateifu, **galaxy, **values})
    table = fits.table_to_hdu(Table({name: np.array([row[name] for row in rows]) for name in rows[0]}))
    table.header["EXTNAME"] = "TRUTH"
    write_fits(path, with_checksums([fits.PrimaryHDU(header=fits.Header(MOCK_CARDS)), table]))
