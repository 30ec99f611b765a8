"""Still images of sources against GalSim, and what is refused."""

import fitsio
import galsim
import numpy as np
import pyarrow as pa
import pytest

from darkhaloscope.config.sources import CosmosSources
from darkhaloscope.ifu.bank import bank_schema
from darkhaloscope.sources.cosmos import CosmosImages, isolate, list_sources
from darkhaloscope.sources.emission import emission_image
from darkhaloscope.sources.sersic import sersic_image
from darkhaloscope.sources.source import SourceError
from darkhaloscope.sources.still import FRAMES, still_image

PIXEL = 0.03


@pytest.mark.parametrize(("n", "e"), [(1.0, 0.0), (1.0, 0.4), (2.5, 0.2)])
def test_sersic_images_are_galsims_behind_a_ground_based_psf(n, e):
    # GalSim draws the same light from its own profile, cut at the same radius; pixels of an eighth of a radius blur ours by 0.15%.
    psf = galsim.Moffat(beta=3.5, fwhm=1.2)
    scale = galsim.Sersic(n=n, half_light_radius=0.4).scale_radius
    truth = galsim.Sersic(n=n, scale_radius=scale, trunc=6 * 0.4).shear(g=e, beta=0 * galsim.radians)
    ours = sersic_image(0.4, n, e)
    image = galsim.InterpolatedImage(
        galsim.Image(ours.light * ours.pixel_scale_arcsec**2, scale=ours.pixel_scale_arcsec), x_interpolant="linear"
    )
    drawn = [galsim.Convolve(o, psf).drawImage(nx=33, ny=33, scale=0.262, method="no_pixel").array for o in (truth, image)]
    assert np.abs(drawn[0] - drawn[1]).max() < 2e-3 * drawn[0].max()


def test_still_images_have_total_one_per_arcsec_squared_and_a_frame_of_fixed_size():
    still = still_image(np.full((11, 7), 3.0), 0.05, "x")
    assert still.size == FRAMES[0]
    assert still.light.sum() * 0.05**2 == pytest.approx(1)
    assert still.light[32, 32] == still.light.max() and still.light[:27].sum() == 0


@pytest.mark.parametrize("image", [np.ones((4, 5)), np.ones((1001, 3)), np.zeros((5, 5)), np.full((5, 5), np.nan)])
def test_images_that_cannot_be_centred_or_hold_no_light_are_refused(image):
    with pytest.raises(SourceError):
        still_image(image, 0.05, "x")


# --- COSMOS ------------------------------------------------------------------------------------


def write_sample(folder, count=60, seed=3, sample="23.5", selection=True):
    """Write a sample in GalSim's layout, with galaxies that every exclusion level treats otherwise."""
    rng = np.random.default_rng(seed)
    path = folder / f"real_galaxy_catalog_{sample}.fits"
    ident = np.arange(100, 100 + count, dtype="i4")
    images = [gaussian_galaxy(81, 4 + k % 5, 30.0, rng) for k in range(count)]
    main = np.zeros(
        count,
        [("IDENT", "i4"), ("RA", "f8"), ("DEC", "f8"), ("MAG", "f8"), ("BAND", "S5"), ("WEIGHT", "f8"), ("GAL_FILENAME", "S32"), ("PSF_FILENAME", "S32"), ("GAL_HDU", "i4"), ("PSF_HDU", "i4"), ("PIXEL_SCALE", "f8"), ("NOISE_MEAN", "f8"), ("NOISE_VARIANCE", "f8"), ("NOISE_FILENAME", "S26"), ("stamp_flux", "f8")],
    )  # fmt: skip
    main["IDENT"], main["MAG"], main["GAL_FILENAME"], main["GAL_HDU"] = (
        ident,
        rng.uniform(20, 25, count),
        b"real_galaxy_images.fits",
        np.arange(count),
    )
    main["PIXEL_SCALE"], main["NOISE_VARIANCE"], main["stamp_flux"] = PIXEL, 1.0, [im.sum() for im in images]
    fits = np.zeros(
        count,
        [("IDENT", "i4"), ("mag_auto", "f8"), ("flux_radius", "f8"), ("zphot", "f8"), ("sersicfit", "f8", 8), ("bulgefit", "f8", 16), ("fit_status", "i4", 5), ("fit_mad_s", "f8"), ("fit_mad_b", "f8"), ("fit_dvc_btt", "f8"), ("use_bulgefit", "i4"), ("viable_sersic", "i4"), ("hlr", "f8", 3), ("flux", "f8", 4)],
    )  # fmt: skip
    fits["IDENT"], fits["fit_status"] = ident, rng.integers(0, 6, (count, 5))
    fits["sersicfit"][:, 2], fits["hlr"][:, 0] = rng.uniform(0.5, 6, count), rng.uniform(0.05, 1.4, count)
    chosen = np.zeros(count, [("IDENT", "i4")] + [(k, "f8") for k in ("dmag", "sn_ellip_gauss", "min_mask_dist_pixels", "average_mask_adjacent_pixel_count", "peak_image_pixel_count")])  # fmt: skip
    chosen["IDENT"], chosen["dmag"], chosen["sn_ellip_gauss"] = ident, rng.normal(0, 0.5, count), rng.uniform(5, 60, count)
    chosen["min_mask_dist_pixels"], chosen["average_mask_adjacent_pixel_count"] = rng.uniform(0, 30, count), rng.uniform(0, 1, count)
    chosen["peak_image_pixel_count"] = rng.uniform(0, 2, count)
    for ending, table in (("", main), ("_fits", fits), *((("_selection", chosen),) if selection else ())):
        fitsio.write(str(path.with_name(path.stem + ending + ".fits")), table, clobber=True)
    with fitsio.FITS(str(folder / "real_galaxy_images.fits"), "rw", clobber=True) as file:
        for image in images:
            file.write(image.astype("f4"))
    return path


def gaussian_galaxy(size, sigma, peak, rng):
    y, x = np.indices((size, size)) - size // 2
    return peak * np.exp(-(x**2 + y**2) / (2 * sigma**2)) + rng.normal(0, 1, (size, size))


@pytest.mark.parametrize("level", ["none", "bad_stamp", "bad_fits", "marginal"])
@pytest.mark.parametrize("sample", ["23.5", "25.2"])
def test_exclusion_levels_keep_the_galaxies_that_galsim_keeps(tmp_path, level, sample):
    path = write_sample(tmp_path, 200, sample=sample)
    theirs = galsim.COSMOSCatalog(str(path), exclusion_level=level)
    wide = {"half_light_radius_arcsec": (0, 9), "magnitude": (0, 99)}
    ours, _ = list_sources(CosmosSources(exclusion=level, **wide), path)
    idents = fitsio.read(str(path))["IDENT"][theirs.orig_index]
    assert sorted(map(int, ours["ident"].to_pylist())) == sorted(idents.tolist())


def test_cuts_and_order_do_not_depend_on_how_many_are_taken(tmp_path):
    path = write_sample(tmp_path)
    all_of_them, said = list_sources(CosmosSources(exclusion="none"), path)
    few, _ = list_sources(CosmosSources(exclusion="none", most=5), path)
    assert few["ident"].to_pylist() == all_of_them["ident"].to_pylist()[:5]
    radius = all_of_them["half_light_radius_arcsec"].to_numpy()
    assert radius.min() >= 0.1 and radius.max() <= 1.0
    assert "60 galaxies" in said[0]


def test_a_galaxy_can_be_set_aside_and_errors_say_how(tmp_path):
    path = write_sample(tmp_path)
    idents = list_sources(CosmosSources(exclusion="none"), path)[0]["ident"].to_pylist()
    fewer, said = list_sources(CosmosSources(exclusion="none", set_aside=(int(idents[3]),)), path)
    assert fewer["ident"].to_pylist() == idents[:3] + idents[4:]
    assert any("after set_aside" in line for line in said)
    with pytest.raises(SourceError, match=r"does not stand out of its noise; .*`sources\.cosmos\.set_aside`"):
        isolate(np.random.default_rng(3).normal(size=(64, 64)) - 5 * (np.hypot(*(np.indices((64, 64)) - 32)) < 20), "7")


def test_a_missing_selection_file_is_named_with_what_to_do(tmp_path):
    path = write_sample(tmp_path, selection=False)
    with pytest.raises(SourceError, match=r"_selection\.fits is missing.*galsim_download_cosmos"):
        list_sources(CosmosSources(), path)


def test_a_file_name_that_leaves_the_folder_is_refused(tmp_path):
    path = write_sample(tmp_path)
    with fitsio.FITS(str(path), "rw") as file:
        file[1].write_column("GAL_FILENAME", np.full(60, b"../../etc/passwd", "S32"))
    with pytest.raises(SourceError, match="plain file name"):
        list_sources(CosmosSources(exclusion="none"), path)


def test_isolated_galaxies_keep_their_light_and_lose_the_noise_beyond(tmp_path):
    rng = np.random.default_rng(5)
    truth = gaussian_galaxy(121, 5, 40.0, np.random.default_rng(0)) * 0
    y, x = np.indices((121, 121)) - 60
    truth = 40 * np.exp(-((x - 3) ** 2 + (y + 2) ** 2) / 50)
    found = isolate(truth + rng.normal(0, 1, truth.shape), "x")
    assert found.shape[0] % 2 == 1 and found[0].max() < 1
    # The noise of the pixels inside is all that is left: about √(π 25²) of 40·50π.
    assert found.sum() == pytest.approx(truth.sum(), rel=0.03)
    middle = found.shape[0] // 2
    assert np.abs(np.array(np.unravel_index(found.argmax(), found.shape)) - middle).max() <= 2


def test_a_galaxy_without_image_or_light_is_named(tmp_path):
    path = write_sample(tmp_path)
    sources, _ = list_sources(CosmosSources(exclusion="none"), path)
    images = CosmosImages(sources, tmp_path)
    still = images(sources["ident"][0].as_py())
    assert still.pixel_scale_arcsec == PIXEL and still.light.sum() * PIXEL**2 == pytest.approx(1)
    with pytest.raises(SourceError, match="not in the list"):
        images("1")
    (tmp_path / "real_galaxy_images.fits").unlink()
    with pytest.raises(SourceError, match="missing: it holds the image of COSMOS galaxy"):
        CosmosImages(sources, tmp_path)(sources["ident"][0].as_py())


# --- MaNGA -------------------------------------------------------------------------------------


def test_an_emission_map_is_scaled_to_the_half_light_radius_and_centred():
    size = 40
    y, x = np.indices((size, size))
    flux = np.exp(-((x - 17) ** 2 + (y - 23) ** 2) / (2 * 4.0**2))
    row = {c.name: [0.0] for c in bank_schema(size).columns} | {
        "galaxy_id": ["1-1"], "physical_id": ["1-5"], "tier": ["elite"], "source_sha256": [""], "used_although_rejected": [False],
        "instrument": ["MaNGA"], "line": ["Ha-6564"], "flux_unit": [""],
        "pixel_scale_arcsec": [0.5], "centre_x_pix": [17.0], "centre_y_pix": [23.0], "half_light_radius_arcsec": [4.0 * 1.1774 * 0.5],
        "flux": flux[None], "velocity": flux[None], "dispersion": flux[None], "valid": np.ones((1, size, size), np.uint8),
    }  # fmt: skip
    still = emission_image(pa.concat_tables([bank_schema(size).table(row)]), "1-5", 0.3)
    axis = (np.arange(still.size) - still.size // 2) * still.pixel_scale_arcsec
    inside = np.hypot(axis[:, None], axis[None, :]) < 0.3
    # Half of a round Gaussian's light lies within 1.1774 σ; the map is cut at its edges.
    assert (still.light * inside).sum() / still.light.sum() == pytest.approx(0.5, abs=0.04)
    with pytest.raises(SourceError, match="no galaxy 9-9"):
        emission_image(bank_schema(size).table(row), "9-9", 0.3)
