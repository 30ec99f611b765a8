"""Bricks and tables out of a Legacy Survey archive: checks, what is missing, the cap on disk space."""

import json
import logging

import fitsio
import numpy as np
import pytest

from darkhaloscope.archive.addresses import brick_table_url, coadd_url, legacysurvey_checksum_url, local_path, sweep_url
from darkhaloscope.archive.checks import BadFits, HtmlInsteadOfFits, WrongChecksum
from darkhaloscope.archive.download import NotFound
from darkhaloscope.config.manga import Downloads
from darkhaloscope.core.files import sha256
from darkhaloscope.surveys.legacysurvey.retrieve import (
    CacheFull,
    brick_sizes,
    check_coadd,
    retrieve_brick,
    retrieve_brick_table,
    retrieve_sweep,
)

BRICK = "1506p005"
ONCE = Downloads(retries=0)
STEP = 0.262 / 3600
HEADER = {
    **{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.625, "CRVAL2": 0.5, "CRPIX1": 50.5, "CRPIX2": 50.5},
    **{"CD1_1": -STEP, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": STEP},
}


class Archive:
    def __init__(self, folder):
        self.base = f"file://{folder}/dr10/"
        for band in "grz":
            for product in ("image", "invvar", "psfsize"):
                self.write(product, band)
        self.write("maskbits")

    def path(self, product, band=None, brick=BRICK):
        return local_path(coadd_url(self.base, brick, product, band))

    def write(self, product, band=None, brick=BRICK, shape=(100, 100), **cards):
        path = self.path(product, band, brick)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros(shape, np.int32) if product == "maskbits" else np.ones(shape, np.float32)
        with fitsio.FITS(path, "rw", clobber=True) as file:
            file.write(None)
            file.write(pixels, compress="GZIP", header=HEADER | cards)

    def publish_sums(self, wrong=None):
        path = self.path("maskbits")
        sums = local_path(legacysurvey_checksum_url(self.base, coadd_url(self.base, BRICK, "maskbits")))
        sums.write_text("".join(f"{'0' * 64 if p.name == wrong else sha256(p)}  {p.name}\n" for p in sorted(path.parent.glob("*.fz"))))


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


@pytest.fixture
def fetch(archive, tmp_path):
    def run(brick=BRICK, cache_gb=1.0, bands="grz"):
        retrieve_brick(archive.base, brick, bands, tmp_path / "bricks" / brick, ONCE, cache_gb)
        return tmp_path / "bricks" / brick

    return run


def test_a_brick_arrives_whole_with_a_record(archive, fetch):
    archive.publish_sums()
    folder = fetch()
    record = json.loads((folder / "brick.json").read_text())
    files = {p.name for p in folder.iterdir()} - {"brick.json"}
    assert files == set(record["files"]) and len(files) == 10
    assert record["missing"] == [] and all(f["published_sum"] for f in record["files"].values())
    for name, told in record["files"].items():
        assert (folder / name).stat().st_size == told["bytes"] and sha256(folder / name) == told["sha256"]
        assert (folder / name).read_bytes() == (archive.path("image", "g").parent / name).read_bytes()
    assert [p.name for p in folder.parent.iterdir()] == [BRICK]


def test_a_band_that_the_archive_lacks_is_recorded_and_told(archive, fetch, caplog):
    for product in ("image", "invvar", "psfsize"):
        archive.path(product, "z").unlink()
    with caplog.at_level(logging.WARNING, "darkhaloscope"):
        folder = fetch()
    record = json.loads((folder / "brick.json").read_text())
    assert record["missing"] == [f"legacysurvey-{BRICK}-{p}-z.fits.fz" for p in ("image", "invvar", "psfsize")]
    assert f"brick {BRICK} lacks legacysurvey-{BRICK}-image-z.fits.fz" in caplog.text


def test_only_the_asked_bands_are_fetched(fetch):
    assert len(list(fetch(bands="r").glob("*.fz"))) == 4


def test_a_brick_of_which_nothing_is_there_is_an_error_and_leaves_nothing(fetch, tmp_path):
    with pytest.raises(NotFound):
        fetch("0001m002")
    assert list((tmp_path / "bricks").iterdir()) == []


@pytest.mark.parametrize(
    ("cards", "shape", "words"),
    [
        ({"CTYPE1": "RA---SIN"}, (100, 100), "RA---SIN"),
        ({"CD1_1": -2 * STEP, "CD2_2": 2 * STEP}, (100, 100), "pixels of 0.524 arcsec"),
        ({}, (100, 90), "has 90 × 100 pixels"),
        ({"CRVAL1": 151.0}, (100, 100), "does not have the pixels of"),
        ({}, (80, 80), "does not have the pixels of"),
    ],
)
def test_what_is_no_coadd_of_this_brick_is_refused(archive, fetch, tmp_path, cards, shape, words):
    archive.write("invvar", "r", shape=shape, **cards)
    with pytest.raises(BadFits, match=words):
        fetch()
    assert not (tmp_path / "bricks" / BRICK).exists()


def test_damage_is_found(archive, fetch, tmp_path):
    path = archive.path("image", "r")
    whole = path.read_bytes()
    path.write_bytes(whole[:-2880])
    with pytest.raises(BadFits, match="cut short"):
        fetch()
    path.write_text("<!DOCTYPE html><title>Login</title>")
    with pytest.raises(HtmlInsteadOfFits, match="Login"):
        fetch()
    path.write_bytes(whole)
    archive.publish_sums(wrong=path.name)
    with pytest.raises(WrongChecksum):
        fetch()
    assert not (tmp_path / "bricks" / BRICK).exists()
    archive.publish_sums()
    assert fetch().is_dir()


def test_a_table_is_no_coadd(tmp_path):
    fitsio.write(tmp_path / "table.fits", np.zeros(3, [("x", "f8")]))
    with pytest.raises(BadFits, match="holds no image"):
        check_coadd(tmp_path / "table.fits")


def test_bricks_stay_below_the_cap(archive, fetch, tmp_path):
    fetch()
    one = sum(p.stat().st_size for p in (tmp_path / "bricks" / BRICK).iterdir())
    assert brick_sizes(tmp_path / "bricks") == {BRICK: one}
    for product in ("image", "invvar", "psfsize"):
        archive.write(product, "g", "1521p005")
    with pytest.raises(CacheFull, match=r"1 bricks in .*brick 1521p005 would need.*`keep_bricks: false`"):
        fetch("1521p005", cache_gb=1.9 * one / 1e9)
    # The brick itself does not stand in its own way.
    assert fetch(cache_gb=1.9 * one / 1e9).is_dir()
    assert fetch("1521p005", cache_gb=2.1 * one / 1e9).is_dir()


def test_sweeps_and_brick_tables_are_fetched_and_checked(archive, tmp_path):
    for url in (
        sweep_url(archive.base, "sweep-150p000-155p005"),
        brick_table_url(archive.base, "all"),
        brick_table_url(archive.base, "south"),
    ):
        path = local_path(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        fitsio.write(path, np.zeros(3, [("BRICKNAME", "S8")]), clobber=True)
    retrieve_sweep(archive.base, "sweep-150p000-155p005", tmp_path / "sweep.fits", ONCE)
    for which in ("all", "south"):
        retrieve_brick_table(archive.base, which, tmp_path / f"{which}.fits.gz", ONCE)
    assert fitsio.read(tmp_path / "sweep.fits").size == fitsio.read(tmp_path / "south.fits.gz").size == 3
    local_path(sweep_url(archive.base, "sweep-150p000-155p005")).write_bytes(b"SIMPLE  = garbage")
    with pytest.raises(BadFits):
        retrieve_sweep(archive.base, "sweep-150p000-155p005", tmp_path / "other.fits", ONCE)
    assert not (tmp_path / "other.fits").exists()
