"""A folder of cutouts of any survey: what its files hold, and resampling that keeps surface brightness and flux."""

import numpy as np
import pytest
from astropy.io import fits
from pydantic import ValidationError

from darkhaloscope.config.cutouts import CutoutFolder
from darkhaloscope.surveys.cutouts import CutoutSource, overlaps, resampled
from darkhaloscope.surveys.folder import CutoutError, FolderOfCutouts

RNG = np.random.default_rng(7)
IMAGE = RNG.normal(1.0, 0.1, (3, 101, 101)).astype(np.float32)


def folder(tmp_path, **changes):
    settings = {"path": str(tmp_path), "bands": ("g", "r", "i"), "pixel_scale_arcsec": 0.2, "zero_point": 30.0}
    return FolderOfCutouts(CutoutFolder(**settings | changes))


def test_npz_with_bands_first_or_last(tmp_path):
    np.savez(tmp_path / "a.npz", image=IMAGE, ra=150.1, dec=2.2)
    np.savez(tmp_path / "b.npz", cutout=np.moveaxis(IMAGE, 0, 2), meta_ra=150.2, meta_dec=2.2)
    cutouts: CutoutSource = folder(tmp_path, psf_fwhm_arcsec={"g": 0.8})
    assert cutouts.names == ["a", "b"]
    for name in cutouts.names:
        np.testing.assert_array_equal(cutouts.named(name).image, IMAGE)
    assert cutouts.named("a").psfsize.tolist() == [pytest.approx(0.8), 0, 0]
    found = cutouts.cutout(150.2, 2.2 + 1 / 3600, 64)
    np.testing.assert_array_equal(found.image, IMAGE[:, 18:82, 18:82])
    assert found.x_offset_arcsec == pytest.approx(0.1)  # the middle of 64 pixels lies between pixels, that of 101 on one
    with pytest.raises(CutoutError, match=r"no file has a position within 2 arcsec of 150\.10000, 3\.00000"):
        cutouts.cutout(150.1, 3.0, 64)


def test_fits_as_cube_as_images_and_with_noise(tmp_path):
    fits.PrimaryHDU(IMAGE).writeto(tmp_path / "cube.fits")
    noise = np.full_like(IMAGE, 0.5)
    noise[0, :10] = 0
    pairs = [fits.ImageHDU(p) for both in zip(IMAGE, noise, strict=True) for p in both]
    fits.HDUList([fits.PrimaryHDU(), *pairs]).writeto(tmp_path / "pairs.fits")
    np.testing.assert_array_equal(folder(tmp_path).named("cube").image, IMAGE)
    cutouts = folder(tmp_path, image_hdus=(1, 3, 5), noise_hdus=(2, 4, 6), noise="rms")
    found = cutouts.named("pairs")
    np.testing.assert_array_equal(found.image, IMAGE)
    assert found.invvar[1].max() == 4.0
    assert not found.good[0, :10].any()
    assert found.good[1:].all()


def test_pixels_without_a_value_are_bad(tmp_path):
    image = IMAGE.copy()
    image[1, 5, 5] = np.nan
    mask = np.zeros((101, 101), int)
    mask[:2] = 1
    np.savez(tmp_path / "a.npz", image=image, mask=mask)
    found = folder(tmp_path).named("a")
    assert not found.good[:, :2].any()
    assert not found.good[1, 5, 5]
    assert found.image[1, 5, 5] == 0
    assert found.n_not_finite == 3 * 2 * 101 + 1


def test_two_files_of_one_object_do_not_replace_each_other(tmp_path):
    fits.PrimaryHDU(IMAGE).writeto(tmp_path / "a.fits")
    np.savez(tmp_path / "a.npz", image=IMAGE)
    with pytest.raises(CutoutError, match=r"a\.npz: expected one file for 'a', found a\.fits too; rename one, or choose with files"):
        folder(tmp_path)
    assert folder(tmp_path, files="*.npz").names == ["a"]
    for name in ("a_g", "a_g_old", "a_r", "a_i"):
        fits.PrimaryHDU(IMAGE[0]).writeto(tmp_path / f"{name}.fits")
    with pytest.raises(CutoutError, match=r"a_g_old\.fits: expected one file for 'g', found a_g\.fits too"):
        folder(tmp_path, band_files={band: f"*_{band}*.fits" for band in "gri"})


def test_hidden_and_half_written_files_are_passed_over(tmp_path):
    np.savez(tmp_path / "a.npz", image=IMAGE)
    for name in ("._a.npz", ".a.npz.partial", "_SUCCESS", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert folder(tmp_path).names == ["a"]


def test_no_file_is_passed_over_for_the_case_or_length_of_its_ending(tmp_path):
    for name in ("a.FITS", "b.fit", "c.fts"):
        fits.PrimaryHDU(IMAGE).writeto(tmp_path / name)
    with open(tmp_path / "d.NPZ", "wb") as file:
        np.savez(file, image=IMAGE)
    cutouts = folder(tmp_path)
    assert cutouts.names == ["a", "b", "c", "d"]
    for name in cutouts.names:
        np.testing.assert_array_equal(cutouts.named(name).image, IMAGE)


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html></html>", b"PK\x03\x04", b"SIMPLE  =" + b" " * 100, b"\x1f\x8bx"])
def test_damaged_files_are_named(tmp_path, content):
    (tmp_path / "a.fits").write_bytes(content)
    with pytest.raises(CutoutError, match=r"a\.fits: expected a"):
        folder(tmp_path).named("a")


def test_what_does_not_fit_is_said(tmp_path):
    with pytest.raises(CutoutError, match=r"expected a folder with files ending in \.fits"):
        folder(tmp_path)
    np.savez(tmp_path / "a.npz", image=IMAGE)
    with pytest.raises(CutoutError, match=r"expected numbers of shape \(2, size, size\).*found \(3, 101, 101\)"):
        folder(tmp_path, bands=("g", "r")).named("a")
    with pytest.raises(CutoutError, match="are 101 × 101 pixels, expected square ones of 128"):
        folder(tmp_path).named("a", 128)
    with pytest.raises(CutoutError, match="there is no cutout 'b'"):
        folder(tmp_path).named("b")
    with pytest.raises(ValidationError, match="names one band twice"):
        folder(tmp_path, bands=("g", "g", "r"))


@pytest.mark.parametrize(("new_scale", "size"), [(0.262, 64), (0.1, 160), (0.4, 40)])
def test_resampling_keeps_flux_constants_and_middle(tmp_path, new_scale, size):
    y, x = np.indices((101, 101)) - 50
    star = np.exp(-(x**2 + y**2) / (2 * 5.0**2))
    np.savez(tmp_path / "a.npz", image=np.stack([star, np.full_like(star, 3.0), star]))
    cutout = folder(tmp_path).named("a")
    new = resampled(cutout, 30.0, new_scale, 22.5, size)
    # 30 → 22.5: a thousandth; a new pixel has the flux of its area.
    assert new.image[0].sum(dtype=float) == pytest.approx(star.sum() / 1000, rel=1e-4)
    np.testing.assert_allclose(new.image[1], 3.0 / 1000 * (new_scale / 0.2) ** 2, rtol=1e-5)
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    assert (new.image[0] * columns).sum() / new.image[0].sum() == pytest.approx(0, abs=1e-4)
    assert (new.image[0] * rows).sum() / new.image[0].sum() == pytest.approx(0, abs=1e-4)
    assert new.pixel_scale_arcsec == new_scale
    assert new.good.all()


@pytest.mark.parametrize("scale", [0.15, 0.168, 0.2, 0.396])
def test_noise_of_resampled_pixels_is_that_of_a_point_source(tmp_path, scale):
    """Light weighted by a profile has the variance that its pixels' inverse variances say, although they share old pixels: exact, by propagation.

    Of a profile of 2″ pixels of 0.4″ smooth 3% of the noise away. Squared overlaps as variances were 40% to 75% off.
    """
    side = int(64 * 0.262 / scale) + 9
    np.savez(tmp_path / "a.npz", image=np.ones((3, side, side)), invvar=np.full((3, side, side), 4.0))
    new = resampled(folder(tmp_path, pixel_scale_arcsec=scale).named("a"), 22.5, 0.262, 22.5, 64)
    axis = (np.arange(64) - 31.5) * 0.262
    psf = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * (2.0 / 2.355) ** 2))
    shares = overlaps(side, scale, 64, 0.262)
    said, true = (psf**2 / new.invvar[0]).sum(), ((shares.T @ psf @ shares) ** 2 / 4.0).sum()
    assert said == pytest.approx(true, rel=0.05)


def test_resampling_carries_noise_and_bad_pixels(tmp_path):
    noise = np.full_like(IMAGE, 4.0)
    noise[2, 50, 50] = 0
    np.savez(tmp_path / "a.npz", image=IMAGE, invvar=noise)
    cutout = folder(tmp_path).named("a", 100)
    new = resampled(cutout, 30.0, 0.4, 30.0, 50)
    # Four independent pixels of variance 1/4 add up to 1.
    assert new.invvar[0, 20, 20] == pytest.approx(1.0)
    assert (~new.good).sum() == 1
    outside = resampled(cutout, 30.0, 0.4, 30.0, 60)
    assert not outside.good[:, 0].any()
    assert outside.good[0, 30, 30]


def test_same_pixels_stay_as_they_are(tmp_path):
    np.savez(tmp_path / "a.npz", image=IMAGE)
    cutout = folder(tmp_path, pixel_scale_arcsec=0.263).named("a")
    np.testing.assert_array_equal(resampled(cutout, 22.5, 0.26305, 22.5, 101).image, IMAGE)
    np.testing.assert_allclose(overlaps(7, 1.0, 7, 1.0), np.eye(7))


def test_gzipped_files_and_endings_in_capitals(tmp_path, caplog):
    fits.PrimaryHDU(IMAGE).writeto(tmp_path / "a.fits.gz")
    fits.PrimaryHDU(IMAGE).writeto(tmp_path / "b.FITS")
    fits.PrimaryHDU(IMAGE).writeto(tmp_path / "c.img")
    cutouts = folder(tmp_path)
    assert cutouts.names == ["a", "b"] and "passed over, such as c.img" in caplog.text
    for name in cutouts.names:
        np.testing.assert_array_equal(cutouts.named(name).image, IMAGE)


@pytest.mark.parametrize("order", ["irg", "girz"])
def test_bands_are_found_by_the_names_that_files_give_them(tmp_path, order):
    planes = np.stack([IMAGE["gri".index(b)] if b in "gri" else 9 * IMAGE[0] for b in order])
    fits.PrimaryHDU(planes, fits.Header({"BANDS": order})).writeto(tmp_path / "cube.fits")
    np.savez(tmp_path / "array.npz", image=np.moveaxis(planes, 0, 2), filters=[*order])
    cards = {"BAND": "{}", "EXTNAME": "SCI_{}", "FILTER": "{}.MP9401"}
    for card, name in cards.items():
        hdus = [fits.ImageHDU(plane, fits.Header({card: name.format(band)})) for band, plane in zip(order, planes, strict=True)]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / f"{card}.fits")
    cutouts = folder(tmp_path)
    for name in cutouts.names:
        np.testing.assert_array_equal(cutouts.named(name).image, IMAGE)
        with pytest.raises(CutoutError, match=rf"expected the bands g, r, y, found {', '.join(order)}; set `bands`"):
            folder(tmp_path, bands=("g", "r", "y")).named(name)


def test_bands_whose_names_say_nothing_are_taken_in_order(tmp_path):
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(p, fits.Header({"BAND": "i"})) for p in IMAGE)]).writeto(tmp_path / "same.fits")
    hdus = [fits.PrimaryHDU(IMAGE[0]), *(fits.ImageHDU(p, name=n) for p, n in zip(IMAGE[1:], "ri", strict=True))]
    fits.HDUList(hdus).writeto(tmp_path / "two.fits")
    for name in ("same", "two"):
        np.testing.assert_array_equal(folder(tmp_path).named(name).image, IMAGE)


@pytest.mark.parametrize("layout", ["cubes", "by band"])
def test_the_cutout_service_says_what_is_image_noise_and_mask(tmp_path, layout):
    weight, bits = np.full_like(IMAGE, 4.0), np.zeros((101, 101), np.int32)
    weight[1, :10] = 0
    bits[-5:] = 1 << 3

    def hdu(data, kind, **cards):
        return fits.ImageHDU(data, fits.Header({"IMAGETYP": kind, **cards}))

    if layout == "cubes":
        hdus = [hdu(IMAGE, "IMAGE", BANDS="gri"), hdu(weight, "INVVAR", BANDS="gri")]
    else:
        pairs = zip("gri", IMAGE, weight, strict=True)
        hdus = [h for b, image, w in pairs for h in (hdu(image, "image", BAND=b), hdu(w, "invvar", BAND=b))]
    hdus = [fits.PrimaryHDU(hdus[0].data, hdus[0].header), *hdus[1:], hdu(bits, "MASKBITS")]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    found = folder(tmp_path, mask_bits=(3,)).named("a")
    np.testing.assert_array_equal(found.image[:, :-5], IMAGE[:, :-5])
    assert not found.good[1, :10].any() and not found.good[:, -5:].any() and found.good[0, :-5].all()
    assert found.invvar[0, 0, 0] == 4 and folder(tmp_path, mask_bits=(2,)).named("a").good[0].all()


def test_images_that_nobody_accounts_for_are_refused_and_named_hdus_taken(tmp_path):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(IMAGE, name="SCI"), fits.ImageHDU(IMAGE * 0 + 4, name="WHT")]).writeto(
        tmp_path / "a.fits"
    )
    with pytest.raises(CutoutError, match=r"expected one cube, .*HDU 1 .*HDU 2 .*set `image_hdus`, and `noise_hdus`"):
        folder(tmp_path).named("a")
    found = folder(tmp_path, image_hdus=(1,), noise_hdus=(2,)).named("a")
    np.testing.assert_array_equal(found.image, IMAGE)
    assert (found.invvar == 4).all()
    with pytest.raises(CutoutError, match="HDU 5 holds no image"):
        folder(tmp_path, image_hdus=(5,)).named("a")
    with pytest.raises(ValidationError, match="expected one, or one for each of the 3 bands"):
        folder(tmp_path, image_hdus=(1, 2))


def test_files_of_one_band_with_images_noise_and_flags(tmp_path):
    for band, plane in zip("gri", IMAGE, strict=True):
        hdus = [
            fits.ImageHDU(plane, name="SCI"),
            fits.ImageHDU(plane * 0 + 0.5, name="ERR"),
            fits.ImageHDU(np.zeros((101, 101), np.int16), name="DQ"),
        ]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / f"a_{band}.fits")
    patterns = {band: f"*_{band}.fits" for band in "gri"}
    with pytest.raises(CutoutError, match=r"a_g\.fits: expected one image, found HDU 1 .*set `image_hdus`"):
        folder(tmp_path, band_files=patterns).named("a")
    found = folder(tmp_path, band_files=patterns, image_hdus=(1,), noise_hdus=(2,), noise="rms").named("a")
    np.testing.assert_array_equal(found.image, IMAGE)
    assert (found.invvar == 4).all()
    with pytest.raises(ValidationError, match="image_hdus has 3 HDUs, expected one"):
        folder(tmp_path, band_files=patterns, image_hdus=(1, 2, 3))


def header_of(scale=0.2, kind="CDELT", **cards):
    side = scale / 3600
    matrix = {"CDELT": {"CDELT1": -side, "CDELT2": side}, "CD": {"CD1_1": -side, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": side}}
    matrix["PC"] = {"PC1_1": 0.6, "PC1_2": 0.8, "PC2_1": -0.8, "PC2_2": 0.6, **matrix["CDELT"]}
    return fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 1.0, **matrix[kind], **cards})


@pytest.mark.parametrize("kind", ["CDELT", "CD", "PC"])
def test_a_pixel_scale_that_is_not_the_configs_is_refused(tmp_path, kind):
    fits.PrimaryHDU(IMAGE, header_of(0.168, kind)).writeto(tmp_path / "a.fits")
    with pytest.raises(CutoutError, match=r"a\.fits: expected pixels of 0\.2″ as in the config, .* set `pixel_scale_arcsec: 0\.168`"):
        folder(tmp_path).named("a")
    np.testing.assert_array_equal(folder(tmp_path, pixel_scale_arcsec=0.168).named("a").image, IMAGE)
    fits.PrimaryHDU(IMAGE, header_of(kind="CDELT", CDELT2=0.3 / 3600)).writeto(tmp_path / "oblong.fits")
    with pytest.raises(CutoutError, match=r"the file says 0\.2″ × 0\.3″; make its pixels square"):
        folder(tmp_path).named("oblong")
    np.savez(tmp_path / "b.npz", image=IMAGE, meta_pixel_scale=0.168)
    np.savez(tmp_path / "c.npz", image=IMAGE, pixscale="0.168 arcsec")
    for name in ("b", "c"):
        with pytest.raises(CutoutError, match=r"set `pixel_scale_arcsec: 0\.168`"):
            folder(tmp_path).named(name)


@pytest.mark.parametrize(
    ("cards", "zero_point"),
    [
        ({"MAGZERO": 30.0}, "30"),
        ({"ZP": "27.0 mag"}, "27"),
        ({"ABZP": 25.96}, "25.96"),
        ({"PHOTZP": 26.5}, "26.5"),
        ({"FLUXMAG0": 10**10.8}, "27"),
        ({"BUNIT": "nJy"}, "31.4"),
        ({"BUNIT": "MJy/sr"}, "23.967"),  # 3631 Jy over 10⁶ Jy/sr times 0.04 arcsec² = 9.4e-13 sr
    ],
)
def test_a_zero_point_that_is_not_the_configs_is_refused(tmp_path, cards, zero_point):
    fits.PrimaryHDU(IMAGE, fits.Header(cards)).writeto(tmp_path / "a.fits")
    with pytest.raises(CutoutError, match=rf"the file says zero point {zero_point}.*set `zero_point: {zero_point}`"):
        folder(tmp_path, zero_point=22.5).named("a")
    np.testing.assert_array_equal(folder(tmp_path, zero_point=float(zero_point)).named("a").image, IMAGE)


@pytest.mark.parametrize(
    ("cards", "given"),
    [({"MAGZERO": 27.0}, 30.0), ({"FLUXMAG0": 10**10.8}, 30.0), ({"BUNIT": "nJy"}, 27.0), ({"BUNIT": "nanomaggies"}, 27.0)],
)
def test_a_zero_point_of_the_config_that_files_contradict_is_refused_unless_they_are_to_be_ignored(tmp_path, cards, given):
    fits.PrimaryHDU(IMAGE, fits.Header(cards)).writeto(tmp_path / "a.fits")
    with pytest.raises(
        CutoutError, match=rf"a\.fits: expected fluxes of zero point {given:g} as in the config, but the file says zero point"
    ) as error:
        folder(tmp_path, zero_point=given).named("a")
    assert "set `zero_point: " in str(error.value) and "where the file is wrong, `ignore_zero_points: true`" in str(error.value)
    np.testing.assert_array_equal(folder(tmp_path, zero_point=given, ignore_zero_points=True).named("a").image, IMAGE)


def test_units_without_a_zero_point_are_refused_and_nanomaggies_taken(tmp_path):
    fits.PrimaryHDU(IMAGE, fits.Header({"BUNIT": "electrons/s"})).writeto(tmp_path / "counts.fits")
    fits.PrimaryHDU(IMAGE, fits.Header({"BUNIT": "nanomaggy", "MAGZERO": 22.5})).writeto(tmp_path / "flux.fits")
    with pytest.raises(CutoutError, match="found the unit 'electrons/s' and no zero point; set `zero_point`"):
        folder(tmp_path, zero_point=22.5).named("counts")
    np.testing.assert_array_equal(folder(tmp_path, zero_point=22.5).named("flux").image, IMAGE)


def test_noise_is_what_its_name_says(tmp_path):
    np.savez(tmp_path / "a.npz", image=IMAGE, variance=np.full_like(IMAGE, 0.25))
    assert (folder(tmp_path).named("a").invvar == 4).all()


@pytest.mark.parametrize("settings", [{}, {"band_files": {b: f"{b}_*.fits" for b in "gri"}}])
def test_a_fits_file_that_is_cut_is_told_as_such(tmp_path, settings):
    for band in "gri":
        path = tmp_path / f"{band}_a.fits"
        fits.PrimaryHDU(IMAGE if not settings else IMAGE[0]).writeto(path)
        path.write_bytes(path.read_bytes()[:-2880])
    cutouts = folder(tmp_path, **settings)
    with pytest.raises(CutoutError, match=r"g_a\.fits: .*truncated"):
        cutouts.named(cutouts.names[0])


@pytest.mark.parametrize(
    "cards",
    [
        {"BANDS": "DECam_i,DECam_r,DECam_g"},
        {"FILTERS": "i,r,g"},
        {"FILTER": "i r g"},
        {"BAND": "irg"},
        {"BAND0": "i", "BAND1": "r", "BAND2": "g"},
        {"FILTER1": "HSC-I", "FILTER2": "HSC-R", "FILTER3": "HSC-G"},
    ],
)
def test_bands_of_a_cube_are_found_under_every_usual_key(tmp_path, cards):
    fits.PrimaryHDU(IMAGE[::-1], fits.Header(cards)).writeto(tmp_path / "cube.fits")
    np.savez(tmp_path / "array.npz", image=IMAGE[::-1], **{key.lower(): value for key, value in cards.items() if not key[-1].isdigit()})
    if len(cards) > 1:
        np.savez(tmp_path / "array.npz", image=IMAGE[::-1], band=[*cards.values()])
    for name in ("cube", "array"):
        np.testing.assert_array_equal(folder(tmp_path).named(name).image, IMAGE)


@pytest.mark.parametrize("cards", [{"FILTER": "HSC"}, {"FILTER1": "CLEAR1L", "FILTER2": "F814W", "FILTER3": "x"}, {"BAND": "g"}])
def test_cards_of_a_cube_that_name_no_bands_leave_its_order(tmp_path, cards):
    fits.PrimaryHDU(IMAGE, fits.Header(cards)).writeto(tmp_path / "a.fits")
    np.testing.assert_array_equal(folder(tmp_path).named("a").image, IMAGE)


def test_hdus_and_files_whose_headers_name_the_bands_in_another_order_are_refused(tmp_path):
    one, many = (tmp_path / name for name in ("one", "many"))
    one.mkdir()
    many.mkdir()
    hdus = [fits.ImageHDU(plane, name=name) for plane, name in zip(IMAGE[::-1], "irg", strict=True)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(one / "a.fits")
    with pytest.raises(CutoutError, match="expected images of g, r, i as `image_hdus` has them, but headers name i, r, g"):
        folder(one, image_hdus=(1, 2, 3)).named("a")
    np.testing.assert_array_equal(folder(one, image_hdus=(3, 2, 1)).named("a").image, IMAGE)
    for number, hdu in enumerate(hdus):
        fits.PrimaryHDU(hdu.data, fits.Header({"FILTER": hdu.name})).writeto(many / f"a_{number}.fits")
    patterns = {band: f"*_{number}.fits" for number, band in enumerate("gri")}
    with pytest.raises(CutoutError, match="headers name i, r, g; put `band_files` in the order"):
        folder(many, band_files=patterns).named("a")


def test_zero_points_that_differ_between_bands_are_told_as_such(tmp_path):
    hdus = [fits.ImageHDU(plane, fits.Header({"MAGZERO": zero})) for plane, zero in zip(IMAGE, (30.0, 30.2, 30.4), strict=True)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "a.fits")
    with pytest.raises(CutoutError, match=r"expected one zero point of all bands, found 30, 30\.2, 30\.4; bring the bands to one"):
        folder(tmp_path, zero_point=30.0).named("a")
    np.testing.assert_array_equal(folder(tmp_path, zero_point=30.0, ignore_zero_points=True).named("a").image, IMAGE)


@pytest.mark.parametrize("unit", ["uJy/arcsec2", "uJy/arcsec**2", "uJy arcsec-2", "uJy.arcsec^-2"])
def test_surface_brightness_is_brought_to_flux_by_its_zero_point(tmp_path, unit):
    """1 µJy/arcsec² is 0.04 µJy in a pixel of 0.2″: zero point 23.9 − 2.5 log₁₀ 0.04."""
    fits.PrimaryHDU(IMAGE, fits.Header({"BUNIT": unit})).writeto(tmp_path / "a.fits")
    with pytest.raises(CutoutError, match=r"the file says zero point 27\.395 .*set `zero_point: 27\.395`"):
        folder(tmp_path, zero_point=23.9).named("a")
    np.testing.assert_array_equal(folder(tmp_path, zero_point=27.395).named("a").image, IMAGE)


def test_the_wcs_of_an_empty_primary_header_is_that_of_the_images(tmp_path):
    fits.HDUList([fits.PrimaryHDU(None, header_of(0.168, CRPIX1=51.0, CRPIX2=51.0)), fits.ImageHDU(IMAGE)]).writeto(tmp_path / "a.fits")
    with pytest.raises(CutoutError, match=r"set `pixel_scale_arcsec: 0\.168`"):
        folder(tmp_path).named("a")
    assert folder(tmp_path, pixel_scale_arcsec=0.168).read("a").place == pytest.approx((10.0, 1.0))
    # That of a primary image is its own.
    fits.HDUList([fits.PrimaryHDU(IMAGE[0], header_of(0.168)), fits.ImageHDU(IMAGE)]).writeto(tmp_path / "b.fits")
    np.testing.assert_array_equal(folder(tmp_path, image_hdus=(1,)).named("b").image, IMAGE)


def test_pictures_are_no_fluxes(tmp_path):
    picture = np.clip(40 * IMAGE, 0, 255).astype(np.uint8)
    np.savez(tmp_path / "a.npz", image=np.moveaxis(picture, 0, 2))
    fits.PrimaryHDU(picture).writeto(tmp_path / "b.fits")
    for name in ("a", "b"):
        with pytest.raises(CutoutError, match="expected fluxes, found numbers of 8 bits as pictures have them"):
            folder(tmp_path).named(name)


def test_noise_below_nothing_is_no_measurement_and_fluxes_may_be_tiny(tmp_path):
    rms = np.full_like(IMAGE, 0.5)
    rms[:, :9] = -99
    np.savez(tmp_path / "a.npz", image=IMAGE, rms=rms)
    erg = 10 ** (-0.4 * (48.6 + 22.5))
    np.savez(tmp_path / "b.npz", image=IMAGE * erg, rms=rms * erg)
    found, tiny = folder(tmp_path, zero_point=22.5).named("a"), folder(tmp_path, zero_point=-48.6).named("b")
    assert not found.good[:, :9].any() and found.good[:, 9:].all()
    one, other = (resampled(c, zero_point, 0.2, 22.5, 64) for c, zero_point in ((found, 22.5), (tiny, -48.6)))
    np.testing.assert_array_equal(one.good, other.good)
    np.testing.assert_allclose(one.image, other.image, rtol=1e-5)
    np.testing.assert_allclose(one.invvar, other.invvar, rtol=1e-5)


def test_a_mask_of_another_shape_and_arrays_that_nobody_reads_are_named(tmp_path, caplog):
    np.savez(tmp_path / "a.npz", image=IMAGE, mask=np.zeros((99, 99), bool))
    np.savez(tmp_path / "b.npz", image=IMAGE, ivar=IMAGE, psf=np.ones((15, 15)))
    with pytest.raises(CutoutError, match=r"a mask of \(99, 99\) pixels, expected \(101, 101\) as the image has"):
        folder(tmp_path).named("a")
    cutouts = folder(tmp_path)
    cutouts.named("b")
    cutouts.named("b")
    assert [m for m in caplog.messages if "passed over" in m] == [
        f"{tmp_path}: ivar is passed over; noise and masks are read from mask, invvar, variance, rms"
    ]


def test_a_table_of_fits_says_that_it_is_no_image(tmp_path):
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])]).writeto(tmp_path / "a.fits")
    with pytest.raises(CutoutError, match="expected one cube, or one image for each of g, r, i, found no image"):
        folder(tmp_path).named("a")
