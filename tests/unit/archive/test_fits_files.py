"""FITS files under any path, and what is wrong with one told whenever it shows: at opening or at reading."""

import tempfile

import fitsio
import numpy as np
import pytest

from darkhaloscope.archive.fits_files import FitsFileError, open_fits, told
from darkhaloscope.config.legacysurvey import MockSky
from darkhaloscope.mock.legacysurvey import make_mock_survey
from darkhaloscope.sources.cosmos import COSMOS_SOURCES, CosmosImages
from darkhaloscope.sources.source import SourceError
from darkhaloscope.surveys.legacysurvey.bricks import open_brick
from darkhaloscope.surveys.legacysurvey.sweeps import SweepError, read_sweep

ROW = {"ident": ["1"], "file": ["images.fits"], "hdu": np.array([1], "i4")} | {
    k: np.ones(1) for k in ("pixel_scale_arcsec", "magnitude", "half_light_radius_arcsec", "noise_mean", "noise_variance")
}
#: Folders that cfitsio's extended file names would take for something else, and some that they would not.
FOLDERS = ["plain", "run (2)", "run [2]", "data[old]/[1]", "a+b, c'd %20 ü", "$HOME", "/".join(["long" * 25] * 12)]


def made(tmp_path, folder, name):
    """A path in a folder, to which a file is moved that was written where its path means nothing."""
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    return tmp_path / folder / name


def test_a_damaged_file_leaves_nothing_behind_that_fails_the_next_one(tmp_path):
    """cfitsio's messages are the process's: bytes of a damaged file among them made fitsio refuse the next file, a good one."""
    for name in ("damaged.fits", "good.fits"):
        fitsio.write(str(tmp_path / name), np.zeros(2000, [("RA", "f8"), ("DEC", "f8")]))
    content = bytearray((tmp_path / "damaged.fits").read_bytes())
    content[2880 + 240 : 2880 + 2400] = np.random.default_rng(3).bytes(2160)
    (tmp_path / "damaged.fits").write_bytes(content)
    with pytest.raises(SweepError, match=r"damaged\.fits cannot be read as FITS"):
        list(read_sweep(tmp_path / "damaged.fits", psfsize=False, columns=("RA",)))
    assert len(next(read_sweep(tmp_path / "good.fits", psfsize=False, columns=("RA",)))) == 2000


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_sweep_is_read_below_any_folder(tmp_path, folder):
    fitsio.write(str(tmp_path / "x.fits"), np.arange(5, dtype=float).view([("RA", "f8")]))
    path = (tmp_path / "x.fits").rename(made(tmp_path, folder, "sweep.fits"))
    chunks = list(read_sweep(path, psfsize=False, columns=("RA",), chunk_rows=2))
    assert np.concatenate(chunks)["RA"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("name", ["image.fits", "image.fits.gz", "image [1].fits"])
def test_an_image_is_read_below_any_folder_and_name(tmp_path, folder, name):
    image = np.arange(12.0).reshape(3, 4)
    fitsio.write(str(tmp_path / f"x{'.fits.gz' if name.endswith('gz') else '.fits'}"), image)
    path = next(tmp_path.glob("x.fits*")).rename(made(tmp_path, folder, name))
    with open_fits(path) as file:
        np.testing.assert_array_equal(file[0].read(), image)


@pytest.mark.parametrize("folder", ["!run", "~run", " run", "mem:", "@run", "-run", "[0-9]"])
def test_an_image_is_read_by_a_path_from_the_working_folder(tmp_path, folder, monkeypatch):
    image = np.arange(12.0).reshape(3, 4)
    fitsio.write(str(tmp_path / "x.fits"), image)
    (tmp_path / "x.fits").rename(made(tmp_path, folder, "image.fits"))
    monkeypatch.chdir(tmp_path)
    with open_fits(f"{folder}/image.fits") as file:
        np.testing.assert_array_equal(file[0].read(), image)


def test_brackets_in_the_folder_of_temporary_files_are_no_filter(tmp_path, monkeypatch):
    """PBS sets TMPDIR to a folder named after the array's job, such as `pbs.17[3].server`."""
    fitsio.write(str(tmp_path / "x.fits"), np.ones((3, 4)))
    path = (tmp_path / "x.fits").rename(made(tmp_path, "run [2]", "image.fits"))
    (tmp_path / "pbs.17[3].server").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "pbs.17[3].server"))
    with open_fits(path) as file:
        assert file[0].read().sum() == 12
    make_mock_survey(tmp_path / "survey", MockSky(bricks=1, brick_size=200, sources=1), 20)
    assert list((tmp_path / "survey").rglob("*.fits.fz"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_cosmos_images_are_read_below_any_folder(tmp_path, folder):
    y, x = np.indices((65, 65)) - 32
    noise = np.random.default_rng(1).normal(0, 0.01, (65, 65))
    with fitsio.FITS(str(tmp_path / "x.fits"), "rw") as file:
        file.write(None)
        file.write(1 + 20 * np.exp(-(x**2 + y**2) / 18) + noise)
    (tmp_path / "x.fits").rename(made(tmp_path, folder, "images.fits"))
    assert CosmosImages(COSMOS_SOURCES.table(ROW), tmp_path / folder)("1").light.sum() > 0


def test_a_brick_below_brackets_is_read_not_called_bad(tmp_path):
    header = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 1.0, "CRPIX1": 50.5, "CRPIX2": 50.5}
    header |= {"CDELT1": -0.262 / 3600, "CDELT2": 0.262 / 3600}
    for product in ("image", "invvar", "psfsize"):
        fitsio.write(str(tmp_path / "x.fits"), np.ones((100, 100), np.float32), header=header, clobber=True)
        (tmp_path / "x.fits").rename(made(tmp_path, "run [2]", f"legacysurvey-0100p010-{product}-r.fits.fz"))
    with open_brick(tmp_path / "run [2]", "0100p010", ("r",), ()) as brick:
        stamp = brick.cutout(10.0, 1.0, 64)
    assert stamp.ok, stamp.reason


def test_a_sweep_that_a_full_disk_cut_short_is_named(tmp_path):
    fitsio.write(str(tmp_path / "sweep.fits"), np.zeros(9000, [("RA", "f8")]))
    (tmp_path / "sweep.fits").write_bytes((tmp_path / "sweep.fits").read_bytes()[:30000])
    with pytest.raises(SweepError, match=r"sweep\.fits cannot be read as FITS .*cut short; delete it and run again"):
        list(read_sweep(tmp_path / "sweep.fits", psfsize=False, columns=("RA",)))


def test_cosmos_images_that_are_a_web_page_are_named(tmp_path):
    (tmp_path / "images.fits").write_text("<!DOCTYPE html><html><title>Sign in</title></html>")
    with pytest.raises(SourceError, match=r"images\.fits.* is an HTML page titled “Sign in”.*galsim_download_cosmos"):
        CosmosImages(COSMOS_SOURCES.table(ROW), tmp_path)("1")


@pytest.mark.parametrize("damage", ["empty", "truncated", "no such HDU", "a table"])
def test_damaged_cosmos_images_are_named(tmp_path, damage):
    path = tmp_path / "images.fits"
    with fitsio.FITS(str(path), "rw") as file:
        file.write(None)
        if damage != "no such HDU":
            file.write(np.zeros(100, [("x", "f8")]) if damage == "a table" else np.ones((200, 200)))
    if damage in ("empty", "truncated"):
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else 20000])
    with pytest.raises(SourceError, match=r"images\.fits"):
        CosmosImages(COSMOS_SOURCES.table(ROW), tmp_path)("1")


def test_errors_of_the_library_keep_their_words(tmp_path):
    with pytest.raises(SweepError, match="^own words$"), told(tmp_path / "x.fits"):
        raise SweepError("own words")
    with pytest.raises(FitsFileError, match="does not exist, expected a FITS file"):
        open_fits(tmp_path / "none.fits")
