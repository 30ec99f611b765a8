"""Observed lenses are read from FITS, and what is missing or damaged is said in words."""

import shutil

import numpy as np
import pytest
from astropy.io import fits

from darkhaloscope.config.observed import Observed
from darkhaloscope.surveys.observed import published, read_lens
from darkhaloscope.surveys.observed_names import ObservedError, lens_names

RNG = np.random.default_rng(5)


@pytest.fixture
def lens(tmp_path):
    folder = tmp_path / "lenses/J0000+0000"
    folder.mkdir(parents=True)
    y, x = np.indices((9, 9)) - 4
    fits.writeto(folder / "image.fits", RNG.normal(0, 1, (41, 43)).astype(np.float32))
    fits.writeto(folder / "noise.fits", np.full((41, 43), 0.5, np.float32))
    fits.writeto(folder / "psf.fits", np.exp(-(x**2 + y**2) / 2) / np.exp(-(x**2 + y**2) / 2).sum())
    return folder


def test_a_lens_is_read_and_what_it_lacks_is_said(lens):
    found = read_lens(lens, Observed(path=str(lens.parent)))
    assert found.name == "J0000+0000" and found.image.shape == (41, 43) and found.good.all()
    assert found.psf.sum() == pytest.approx(1) and np.isnan(found.z_lens) and found.velocity is None
    assert ["mask" in found.missing[0], "redshifts" in found.missing[1], "velocity" in found.missing[2]] == [True] * 3
    for kept in (".Trash", "_old", "__MACOSX"):
        shutil.copytree(lens, lens.parent / kept)
    assert lens_names(lens.parent) == ["J0000+0000"]


def test_weights_masks_and_pixels_of_huge_noise_are_understood(lens):
    (lens / "noise.fits").unlink()
    weight = np.full((41, 43), 4.0)
    weight[3, 4] = 0
    fits.writeto(lens / "weight.fits", weight)
    mask = np.zeros((41, 43), np.int16)
    mask[7, 8] = 2
    fits.writeto(lens / "mask.fits", mask)
    found = read_lens(lens, Observed(path=str(lens.parent)))
    assert not found.good[3, 4] and not found.good[7, 8] and found.good.sum() == 41 * 43 - 2
    assert found.noise[20, 20] == pytest.approx(0.5)


def test_redshifts_and_published_values_come_from_the_table(lens, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text('system_name,theta_e,z_lens,z_source\nSDSS J0000+0000," 1.2",0.2,0.6\nSDSS J0001+0000,1.1,0.9,0.3\n')
    settings = Observed(path=str(lens.parent), table=str(table), name_prefix="SDSS ")
    found = read_lens(lens, settings)
    assert (found.z_lens, found.z_source) == (0.2, 0.6) and published("J0000+0000", settings)["theta_e"] == 1.2
    assert published("J0002+0000", settings) == {}
    # A lens behind its source is a mistake of the table.
    lens.rename(lens.parent / "J0001+0000")
    assert np.isnan(read_lens(lens.parent / "J0001+0000", settings).z_lens)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("SDSS J0000+0000,1.2,0.2,0.6,7\n", "line 2: 5 fields, expected the 4 of the header"),
        ("SDSS J0000+0000,1.2,about 0.2,0.6\n", "expected a number in column z_lens of J0000\\+0000, found 'about 0.2'"),
        ("SDSS J0000+0000,1.2,0_2,0.6\n", "expected a number in column z_lens of J0000\\+0000, found '0_2'"),
        ("SDSS J0000+0000,1.2,0.2,0.6\nSDSS J0000+0000,1.2,0.3,0.6\n", "expected one row for J0000\\+0000, found 2"),
    ],
)
def test_a_table_that_is_not_clear_is_refused(lens, tmp_path, rows, said):
    (tmp_path / "table.csv").write_text(f"system_name,theta_e,z_lens,z_source\n{rows}")
    with pytest.raises(ObservedError, match=said):
        published("J0000+0000", Observed(path=str(lens.parent), table=str(tmp_path / "table.csv"), name_prefix="SDSS "))


def test_a_comma_at_the_rows_end_shifts_no_column(lens, tmp_path):
    (tmp_path / "table.csv").write_text("system_name,theta_e,z_lens,z_source\nJ0000+0000,1.2,0.2,0.6,\nNA,-,,n/a,\n")
    settings = Observed(path=str(lens.parent), table=str(tmp_path / "table.csv"))
    assert published("J0000+0000", settings) == {"theta_e": 1.2, "z_lens": 0.2, "z_source": 0.6}
    assert published("NA", settings) == {}


def damage(name, values):
    def change(lens):
        fits.writeto(lens / name, values, overwrite=True)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda lens: (lens / "psf.fits").unlink(),
            r"psf\.fits: expected the PSF as a FITS image, but there is no such file; write it there",
        ),
        (lambda lens: (lens / "noise.fits").unlink(), r"expected noise\.fits .* or weight\.fits .*, found neither; write one"),
        (lambda lens: (lens / "image.fits").write_bytes(b"SIMPLE"), r"image\.fits.* fetch it again"),
        (damage("noise.fits", np.ones((40, 43))), r"noise\.fits: expected .* \(41, 43\), found \(40, 43\); cut both alike"),
        (damage("noise.fits", np.zeros((41, 43))), r"expected pixels with a finite value and a positive noise, found none"),
        (damage("psf.fits", np.ones((9, 9))), r"psf\.fits: expected a PSF that sums to 1 and peaks in its middle pixel"),
        (
            damage("psf.fits", np.pad([[1.0, 2, 1], [2, 4, 2], [2, 4, 2], [1, 2, 1]], ((1, 0), (1, 1))) / 24),
            r"psf\.fits: expected a PSF whose light is about the middle of its middle pixel, within 0\.3 pixels, found it 0\.50 beside it; shift",
        ),
        (damage("psf.fits", np.ones((8, 8)) / 64), r"psf\.fits: expected a finite PSF with odd sides, found shape \(8, 8\)"),
        (
            damage("image.fits", np.ones((3, 41, 43))),
            r"image\.fits: expected the image as one image, found an array of shape \(3, 41, 43\)",
        ),
    ],
)
def test_damage_names_file_expectation_and_remedy(lens, change, said):
    change(lens)
    with pytest.raises(ObservedError, match=said):
        read_lens(lens, Observed(path=str(lens.parent)))


@pytest.mark.parametrize("instead", ["nothing", "link to nowhere", "image.fits.gz", "IMAGE.FITS"])
def test_a_lens_without_its_image_is_not_passed_over(lens, instead):
    other = shutil.copytree(lens, lens.parent / "J0001+0001")
    assert lens_names(lens.parent) == ["J0000+0000", "J0001+0001"]
    (lens.parent / "notes").mkdir()
    (lens.parent / "notes/read.me").touch()
    image = (other / "image.fits").rename(other / "kept")
    if instead == "link to nowhere":
        (other / "image.fits").symlink_to("/nowhere/image.fits")
    elif instead != "nothing":
        image.rename(other / instead)
    with pytest.raises(ObservedError, match=r"J0001\+0001/image\.fits: expected the image of a lens, found other FITS files alone"):
        lens_names(lens.parent)


@pytest.mark.parametrize("name", ["SDSS J0000+0000", "-J0000", "J0000,1"])
def test_a_name_that_no_result_can_have_is_refused(lens, name):
    lens.rename(lens.parent / name)
    with pytest.raises(ObservedError, match=r"expected a name of letters, digits and any of _\.=\+-.*; rename the folder"):
        lens_names(lens.parent)


def test_numbers_that_say_that_nothing_is_known_are_not_taken(tmp_path):
    (tmp_path / "table.csv").write_text("system_name,z_lens,z_source,theta_e\nJ1,0.2,-99,-1\n")
    assert published("J1", Observed(path=str(tmp_path), table=str(tmp_path / "table.csv"))) == {"z_lens": 0.2}


def test_a_folder_that_is_not_there_or_empty_is_named_with_a_remedy(tmp_path):
    with pytest.raises(ObservedError, match=r"nowhere: expected a folder of observed lenses .* --config observed=FOLDER"):
        lens_names(tmp_path / "nowhere")
    with pytest.raises(ObservedError, match="expected folders with image.fits in them"):
        lens_names(tmp_path)
    settings = Observed(path=str(tmp_path), table=str(tmp_path / "none.csv"))
    with pytest.raises(ObservedError, match=r"none\.csv: expected the table of the sample"):
        published("J", settings)
