"""Cutouts: the right pixels, which of them are good, and words instead of crashes."""

import numpy as np
import pytest

from darkhaloscope.surveys.legacysurvey.bricks import open_brick

BITS = (1, 2, 3, 4, 5, 6, 7, 10)


@pytest.fixture
def cut(brick_files):
    """Write the brick and return a cutout around a pixel."""

    def run(x=100.3, y=97.8, size=64, bands="grz", bits=BITS, **settings):
        with open_brick(brick_files.folder, brick_files.name, bands, bits, **settings) as brick:
            return brick.cutout(*brick_files.sky(x, y), size)

    return run


def test_pixels_are_those_around_the_object(brick_files, cut):
    brick_files.write()
    stamp = cut()
    # The stamp's middle lies between pixels 31 and 32: 100.3 − 31.5 rounds to 69.
    assert (stamp.x0, stamp.y0) == (69, 66)
    window = np.s_[66:130, 69:133]
    for i, band in enumerate("grz"):
        assert np.array_equal(stamp.image[i], brick_files.image[band][window])
        assert np.array_equal(stamp.invvar[i], brick_files.invvar[band][window])
    assert stamp.image.dtype == stamp.invvar.dtype == np.float32
    assert stamp.good.all() and stamp.ok and stamp.reason == "" and stamp.bad_fraction == 0
    assert stamp.psfsize == pytest.approx([1.4, 1.3, 1.2])
    assert stamp.pixel_scale_arcsec == pytest.approx(0.262)
    assert (stamp.x_offset_arcsec, stamp.y_offset_arcsec) == pytest.approx((-0.2 * 0.262, 0.3 * 0.262), abs=1e-6)


@pytest.mark.parametrize("size", [63, 64])
def test_a_star_is_found_where_the_offsets_say(brick_files, cut, size):
    y, x = np.indices((200, 200))
    for px, py in ((90.0, 80.5), (101.49, 120.51), (77.77, 90.01)):
        star = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 2.0**2)).astype(np.float32)
        brick_files.image = dict.fromkeys("grz", star)
        brick_files.write()
        stamp = cut(px, py, size)
        rows, columns = np.indices((size, size)) - (size - 1) / 2
        light = stamp.image[0] / stamp.image[0].sum()
        measured = (columns * light).sum() * 0.262, (rows * light).sum() * 0.262
        assert (stamp.x_offset_arcsec, stamp.y_offset_arcsec) == pytest.approx(measured, abs=1e-4)
        assert max(abs(stamp.x_offset_arcsec), abs(stamp.y_offset_arcsec)) <= 0.131 + 1e-6


def test_east_is_left_and_north_is_up(brick_files):
    brick_files.write()
    with open_brick(brick_files.folder, brick_files.name, "g", BITS) as brick:
        here = brick.cutout(brick_files.ra, brick_files.dec, 16)
        east = brick.cutout(brick_files.ra + 10 * 0.262 / 3600 / np.cos(np.radians(brick_files.dec)), brick_files.dec, 16)
        north = brick.cutout(brick_files.ra, brick_files.dec + 10 * 0.262 / 3600, 16)
    assert (east.x0 - here.x0, east.y0 - here.y0) == (-10, 0)
    assert (north.x0 - here.x0, north.y0 - here.y0) == (0, 10)


def test_uncovered_pixels_are_bad_even_where_the_image_has_light(brick_files, cut):
    brick_files.invvar["r"][66:76, 69:133] = 0
    brick_files.image["r"][70, 70] = 123.0
    brick_files.write()
    stamp = cut()
    assert not stamp.good[1, :10].any() and stamp.good[1, 10:].all() and stamp.good[[0, 2]].all()
    assert stamp.image[1, 4, 1] == 123.0
    assert stamp.bad_fractions == pytest.approx([0, 10 / 64, 0])
    assert stamp.bad_fraction == pytest.approx(10 / 64) and stamp.ok


def test_only_the_configured_bits_make_a_pixel_bad(brick_files, cut):
    for i, bit in enumerate(range(17)):
        brick_files.maskbits[70 + i, 80] = 1 << bit
    brick_files.write()
    bad = np.flatnonzero(~cut().good[0, 4:21, 11])
    assert bad.tolist() == list(BITS)
    assert np.flatnonzero(~cut(bits=(0, 16)).good[0, 4:21, 11]).tolist() == [0, 16]


def test_too_many_bad_pixels_are_named_with_their_band(brick_files, cut):
    brick_files.invvar["z"][66:82, 69:133] = 0
    brick_files.write()
    stamp = cut()
    assert not stamp.ok
    assert stamp.reason == "25.0% of the pixels in z are bad, more than 20.0%"
    assert cut(max_bad_fraction=0.25).ok


def test_pixels_without_a_number_are_bad_counted_and_told(brick_files, cut):
    brick_files.image["g"][80, 80:83] = np.nan
    brick_files.invvar["r"][90, 90] = np.inf
    brick_files.write()
    stamp = cut()
    assert stamp.n_not_finite == 4 and not stamp.ok and "4 pixels are not finite" in stamp.reason
    assert np.isfinite(stamp.image).all() and np.isfinite(stamp.invvar).all()
    assert not stamp.good[0, 14, 11:14].any() and not stamp.good[1, 24, 21]


@pytest.mark.parametrize(("product", "band"), [("image", "r"), ("invvar", "z"), ("psfsize", "g"), ("maskbits", "")])
def test_a_missing_file_is_named(brick_files, cut, product, band):
    brick_files.write()
    path = brick_files.path(product, band)
    path.unlink()
    stamp = cut()
    assert not stamp.ok and stamp.reason == f"{path.name} is missing"
    assert stamp.good[["g", "r", "z"].index(band)].any() == (product == "psfsize") if band else not stamp.good.any()


def test_a_damaged_file_is_named_and_the_others_are_read(brick_files, cut):
    brick_files.write()
    path = brick_files.path("image", "r")
    content = path.read_bytes()
    path.write_bytes(content[:6000])
    stamp = cut()
    assert not stamp.ok and f"{path.name} cannot be read" in stamp.reason
    assert stamp.good[0].all() and stamp.good[2].all() and not stamp.good[1].any()
    path.write_bytes(b"<html>")
    assert f"{path.name} cannot be read" in cut().reason


def test_an_empty_folder_is_told(tmp_path):
    with open_brick(tmp_path, "1506p005", "grz", BITS) as brick:
        stamp = brick.cutout(150.6, 0.5, 64)
    assert not stamp.ok and stamp.reason == "legacysurvey-1506p005-image-g.fits.fz is missing"
    assert stamp.image.shape == (3, 64, 64) and stamp.bad_fraction == 1


@pytest.mark.parametrize(("x", "y"), [(20, 100), (100, 190), (-5000, 100)])
def test_a_stamp_that_leaves_the_brick_is_told(brick_files, cut, x, y):
    brick_files.write()
    stamp = cut(x, y)
    assert not stamp.ok and "leaves brick 1506p005 of 200 × 200 pixels" in stamp.reason


def test_the_far_side_of_the_sky_is_no_crash(brick_files):
    brick_files.write()
    with open_brick(brick_files.folder, brick_files.name, "grz", BITS) as brick:
        assert not brick.cutout(330.6, -0.5, 64).ok


def test_files_of_other_sizes_are_told(brick_files, cut):
    brick_files.write()
    small = type(brick_files)(brick_files.folder / "small")
    small.size = 120
    small.image["r"] = small.image["r"][:120, :120]
    small.write()
    small.path("image", "r").replace(brick_files.path("image", "r"))
    assert "it has 120 × 120 pixels, others of the brick 200 × 200" in cut().reason


def test_psf_sizes_where_the_brick_has_none(brick_files, cut):
    brick_files.psfsize["g"][:] = 0
    brick_files.write()
    brick_files.path("psfsize", "r").unlink()
    stamp = cut(psfsize={"r": 1.25, "z": 0.0})
    assert stamp.psfsize == pytest.approx([0, 1.25, 1.2])
    assert stamp.reason == "legacysurvey-1506p005-psfsize-g.fits.fz holds 0 at the object"


def test_without_bits_no_mask_is_needed(brick_files, cut):
    brick_files.write()
    brick_files.path("maskbits").unlink()
    assert cut(bits=()).ok
