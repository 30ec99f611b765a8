"""Velocity maps that the user brings, from the command line: a corrected file is read again, and each galaxy that fails is told."""

import numpy as np
import pyarrow.parquet as pq
import pytest

BANK = "results/tiny/manga/mine/bank.parquet"


def write(folder, galaxy, factor=1.0, **facts):
    """Write a rotating disk at z 0.02 whose velocities are times a factor."""
    y, x = (np.indices((40, 40)) - 19.5) * 0.5
    r = np.hypot(x, y / 0.6)
    facts = {"galaxy_id": galaxy, "instrument": "MUSE", "line": "Ha-6564", "flux_unit": "counts", "z": 0.02, "psf_fwhm_arcsec": 0.8} | facts
    flux, velocity = np.exp(-r / 3), np.where(r < 9, 200 * np.tanh(r / 2) * x / np.maximum(r, 0.1), np.nan)
    np.savez(folder / f"{galaxy}.npz", flux=flux, velocity=velocity * factor, pixel_scale_arcsec=0.5, **facts)


def speeds(project):
    """Return the peak velocity of each galaxy of the bank [km/s]."""
    bank = pq.read_table(project.folder / BANK)
    return dict(zip(bank["galaxy_id"].to_pylist(), bank["v_peak_los_kms"].to_pylist(), strict=True))


def test_a_corrected_file_is_read_again_and_every_galaxy_that_fails_is_told(project):
    folder = project.folder / "maps"
    folder.mkdir()
    for galaxy in ("A", "B", "C"):
        write(folder, galaxy)
    sample = {"ifu": "plain", "base": "file://maps/", "catalogs": False, "galaxies": {"n_top": 0, "listed": ["A", "B", "C"]}}
    config = project.overlay(manga={"samples": {"mine": sample}})
    write(folder, "A", z=-1.0)
    write(folder, "B", z=5100.0)
    said = project.snakemake(BANK, "--keep-going", "--retries", "0", config=config, check=False)
    assert "2 jobs failed" in said and "Traceback" not in said
    for galaxy, words in (("A", "z is -1, expected above 0"), ("B", "z is 5100, expected a galaxy's redshift")):
        assert f"retrieve_maps (mine {galaxy}): file://maps/{galaxy}.npz: {words}" in said
    write(folder, "A")
    write(folder, "B")
    project.snakemake(BANK, config=config)
    first = speeds(project)
    assert sorted(first) == ["A", "B", "C"]
    write(folder, "B", factor=0.5)
    assert "retrieve_maps" in project.plan(BANK, config=config)
    project.snakemake(BANK, config=config)
    assert speeds(project) == pytest.approx({"A": first["A"], "B": first["B"] / 2, "C": first["C"]}, rel=1e-5)
