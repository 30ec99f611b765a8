"""The mock survey: layout, determinism, photometry, PSF, noise, masks, lenses, sources."""

import hashlib
import math

import fitsio
import galsim
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units
from astropy.io import fits
from astropy_healpix import lonlat_to_healpix
from lenstronomy.LensModel.lens_model import LensModel
from scipy import special

from darkhaloscope.archive.checks import check_fits, read_checksums
from darkhaloscope.config.legacysurvey import MOCK_LABELS, MOCK_LENSES, MOCK_SOURCES, MOCK_SWEEPS, PIXEL_BITS, LrgCuts, MockSky
from darkhaloscope.lensing.observe import moffat_from_psfsize
from darkhaloscope.mock import survey_light as light
from darkhaloscope.mock import survey_population as population
from darkhaloscope.mock import survey_sky as mock_sky
from darkhaloscope.mock.archive import README_NAME, TRUTH_NAME
from darkhaloscope.mock.legacysurvey import make_mock_survey
from darkhaloscope.mock.survey_bricks import GAIN, draw_sky
from darkhaloscope.surveys.known_lenses import find_known_lenses, read_known_lenses, read_labels
from darkhaloscope.surveys.legacysurvey.bricks import open_brick
from darkhaloscope.surveys.legacysurvey.parent import CutFlow, select_lrgs
from darkhaloscope.surveys.legacysurvey.retrieve import check_coadd
from darkhaloscope.surveys.legacysurvey.sweeps import BrickTable

SEED = 20
SKY = MockSky(bricks=3, brick_size=450, lens_fraction=0.15, contaminant_fraction=0.3, sources=5)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mock") / "survey"
    make_mock_survey(folder, SKY, SEED)
    return folder


@pytest.fixture(scope="module")
def truth(survey):
    table = pd.DataFrame(fitsio.read(survey / TRUTH_NAME).tolist(), columns=fitsio.read(survey / TRUTH_NAME).dtype.names)
    return table.assign(kind=table["kind"].str.strip(), brickname=table["brickname"].str.strip())


@pytest.fixture(scope="module")
def parent(survey):
    flow = CutFlow()
    bricks = BrickTable(survey / "survey-bricks.fits.gz", survey / "south/survey-bricks-dr10-south.fits.gz")
    lenses = read_known_lenses(survey / MOCK_LENSES, "lenscat")
    tables = select_lrgs(sweeps(survey), LrgCuts(), bricks, flow, lenses=lenses, labels=read_labels(survey / MOCK_LABELS))
    return pa.concat_tables(tables)


def sweeps(survey):
    return [survey / f"south/sweep/10.1/{name}.fits" for name in MOCK_SWEEPS]


def opened(survey, name):
    return open_brick(survey / f"south/coadd/{name[:3]}/{name}", name, "grz", PIXEL_BITS)


def test_layout_is_that_of_dr10(survey):
    names = {p.relative_to(survey).as_posix() for p in survey.rglob("*") if p.is_file()}
    brick = "south/coadd/150/1506p005/legacysurvey-1506p005"
    assert {f"{brick}-{p}-{b}.fits.fz" for p in ("image", "invvar", "psfsize", "nexp") for b in "grz"} <= names
    assert {f"{brick}-maskbits.fits.fz", "survey-bricks.fits.gz", "south/survey-bricks-dr10-south.fits.gz"} <= names
    assert {README_NAME, TRUTH_NAME, MOCK_LENSES, MOCK_LABELS, MOCK_SOURCES} <= names
    for path in survey.rglob("*.fits*"):
        check_fits(path)
    assert check_coadd(survey / f"{brick}-maskbits.fits.fz") == check_coadd(survey / f"{brick}-image-g.fits.fz")
    header = fitsio.read_header(survey / f"{brick}-image-g.fits.fz", 1)
    assert header["ZCMPTYPE"].strip() in ("RICE_1", "RICE_ONE") and header["ZQUANTIZ"].strip() == "SUBTRACTIVE_DITHER_2"
    assert (header["ZTILE1"], header["ZTILE2"], header["ZNAXIS1"]) == (100, 100, 450)


def test_everything_says_that_it_is_mock(survey):
    assert "Nothing in it exists" in (survey / README_NAME).read_text()
    for path in survey.rglob("*.fits*"):
        with fits.open(path) as hdus:
            assert any(hdu.header.get("MOCK") is True for hdu in hdus), path
    for path in sweeps(survey):
        assert (fitsio.read(path, ext=1, columns=["RELEASE"])["RELEASE"] > 20000).all()


def test_published_sums_are_those_of_the_files(survey):
    told = {p.parent / name: value for p in survey.rglob("*.sha256sum") for name, value in read_checksums(p).items()}
    data = {*survey.glob("south/**/*.fits*"), survey / "survey-bricks.fits.gz"}
    assert set(told) == data
    assert all(hashlib.sha256(p.read_bytes()).hexdigest() == value for p, value in told.items())


def test_same_seed_gives_the_same_bytes_and_replaces_an_older_survey(tmp_path):
    def contents(folder):
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    small = MockSky(bricks=1, brick_size=240, sources=2)
    make_mock_survey(tmp_path / "a", small, 1)
    make_mock_survey(tmp_path / "b", MockSky(bricks=2, brick_size=160, sources=1), 2)
    make_mock_survey(tmp_path / "b", small, 1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_bricks_drawn_side_by_side_are_the_same_bytes(tmp_path):
    sky = MockSky(bricks=3, brick_size=160, sources=1)
    for workers in (1, 2):
        make_mock_survey(tmp_path / str(workers), sky, 1, workers=workers)
    one, two = (
        {p.relative_to(f).as_posix(): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in (tmp_path / "1", tmp_path / "2")
    )
    assert one == two


def test_the_grid_of_bricks_is_the_surveys():
    # The row of survey-bricks.fits that ships with desitarget.
    cell = mock_sky.brick_cell(95.9504, 80.5)
    assert (cell.name, cell.brickid, cell.row, cell.col) == ("0959p805", 657438, 682, 64)
    assert (cell.ra1, cell.ra2) == pytest.approx((95.206611570248, 96.694214876033))
    assert (cell.dec1, cell.dec2) == (80.375, 80.625)
    # The survey's documentation: 662,174 bricks cover the sky.
    assert sum(mock_sky._columns(row) for row in range(721)) == 662174


def test_the_default_survey_is_spread_over_cells_and_both_sweeps():
    cells = mock_sky.draw_bricks(MockSky().bricks)
    assert len({c.name for c in cells}) == len(cells)
    assert len(set(lonlat_to_healpix([c.ra for c in cells] * units.deg, [c.dec for c in cells] * units.deg, 64, order="nested"))) >= 40
    for low, high in ((150, 155), (155, 160)):
        assert sum(low < c.ra < high for c in cells) > 10
    assert all(c.dec1 > 0 and c.dec2 < 5 for c in cells)
    many = mock_sky.draw_bricks(378)
    assert len({c.name for c in many}) == 378 and all(c.dec1 > 0 and c.ra1 > 150 and c.ra2 <= 160 and c.dec2 < 5 for c in many)
    cell = cells[0]
    sites = [t for t in mock_sky.draw_things(cell, MockSky(), SEED) if t.kind not in ("field", "faint", "star")]
    assert len(sites) * len(cells) > 2500


def test_smooth_galaxies_are_galsims():
    seeing = light.Seeing((4.6,))
    image = np.zeros((1, 161, 161), np.float32)
    light.add_galaxy(image, seeing, 80.3, 79.6, np.array([7.0]), 3.0, 1.0, 0.6, 0.4)
    galaxy = galsim.Sersic(1.0, half_light_radius=3.0, flux=7.0).shear(q=0.6, beta=0.4 * galsim.radians)
    profile = galsim.Convolve(galaxy, galsim.Moffat(light.BETA, fwhm=4.6)).shift(0.3, -0.4)
    reference = profile.drawImage(nx=161, ny=161, scale=1, method="no_pixel").array
    # Eight Gaussians for the galaxy and six for the PSF follow the profiles to half a percent of the peak.
    assert np.abs(image[0] - reference).max() < 0.005 * reference.max()
    assert image.sum() == pytest.approx(7.0, rel=0.005)


def test_drawn_shapes_see_the_same_psf_and_keep_their_light():
    seeing = light.Seeing((4.2, 5.1))
    image = np.zeros((2, 161, 161), np.float32)
    canvas = light.Canvas(80.3, 79.6, 2)
    _, _, r = canvas.rotated(0.0, 0.0, 0.4, 0.6)
    canvas.add(np.exp(-r / 0.6), np.array([5.0, 2.0]))
    canvas.put(image, seeing)
    smooth = np.zeros_like(image)
    light.add_galaxy(smooth, seeing, 80.3, 79.6, np.array([5.0, 2.0]), 0.6 * 1.678 / light.PIXEL_ARCSEC, 1.0, 0.6, 0.4)
    assert np.abs(image - smooth).max() < 0.01 * smooth.max()
    assert image.sum((1, 2)) == pytest.approx([5.0, 2.0], rel=0.002)


def test_the_psf_has_the_noise_equivalent_area_that_psfsize_says():
    fwhm = 4.6
    star = np.zeros((1, 201, 201), np.float32)
    light.add_galaxy(star, light.Seeing((fwhm,)), 100.2, 99.7, np.ones(1), 0.0, 1.0)
    area = star.sum() ** 2 / np.sum(star.astype(float) ** 2)
    assert 4 * math.pi * (light.psfsize_of(fwhm) / 2.355) ** 2 == pytest.approx(area, rel=0.005)
    # What the stamps' side of the project makes of psfsize is the Moffat profile that was drawn.
    assert moffat_from_psfsize(light.psfsize_of(fwhm), light.BETA) == pytest.approx(fwhm, rel=1e-3)


def test_colours_are_those_of_the_redshifted_templates():
    """The table against GalSim, which ships the templates of Coleman, Wu & Weedman and LSST's bands."""
    bands = {b: galsim.Bandpass(f"LSST_{b}.dat", "nm").withZeropoint("AB") for b in "griz"}
    for name, (gr, rz, k) in population.TEMPLATES.items():
        template = galsim.SED(f"CWW_{name}_ext.sed", "Ang", "flambda")
        rest = template.calculateMagnitude(bands["r"])
        for i in (0, 4, 8):
            moved = template.atRedshift(population.REDSHIFTS[i])
            g, r, red, z = (moved.calculateMagnitude(bands[b]) for b in "griz")
            assert (gr[i], rz[i], k[i]) == pytest.approx((g - r, r - z, r - rest), abs=0.006)
            assert population.RED_COLOURS_I[name][i] == pytest.approx(r - red, abs=0.006)


def test_two_lights_together_have_the_colours_of_their_sum():
    share, first, second = 0.3, (1.5, 1.2), (0.6, 0.4)
    flux = [np.array([10 ** (-0.4 * gr), 1.0, 10 ** (0.4 * rz)]) for gr, rz in (first, second)]
    both = (1 - share) * flux[0] + share * flux[1]
    found = population.mixed(first, second, share)
    assert found == pytest.approx((-2.5 * np.log10(both[0] / both[1]), 2.5 * np.log10(both[2] / both[1])))


def test_red_galaxies_have_the_brightness_colour_and_size_of_luminous_red_ones():
    """Real ones have r(1″) ≈ 20.9, so r ≈ 20, and g − r of 1.5 to 1.8; one of 10^11.3 M☉ at z ≈ 0.45 is 8 to 9 kpc large, 1.5″."""
    drawn = pd.DataFrame([population.draw_red(np.random.default_rng(k)) for k in range(800)])
    assert ((drawn["z"] > 17) & (drawn["z"] < 21) & (drawn["r"] < 23)).all()
    assert 19.0 < drawn["r"].median() < 20.7 and 1.45 < (drawn["g"] - drawn["r"]).median() < 1.75
    assert 1.0 < drawn["re"].median() < 2.0 and drawn["n"].median() == 4


def test_deflections_are_lenstronomys():
    theta_e, q, phi = 1.3, 0.7, 0.5
    e = (1 - q) / (1 + q)
    lens = LensModel(["SIE"])
    values = {"theta_E": theta_e, "e1": e * math.cos(2 * phi), "e2": e * math.sin(2 * phi), "center_x": 0, "center_y": 0}
    x, y = np.random.default_rng(1).uniform(-3, 3, (2, 200))
    assert np.allclose(light.sie_deflection(x, y, theta_e, q, phi), lens.alpha(x, y, [values]), atol=1e-4)


def test_noise_is_that_of_invvar_and_depth():
    cell = mock_sky.draw_bricks(1)[0]
    conditions = mock_sky.draw_conditions(cell, 400, SEED)
    sky = draw_sky(cell, conditions, [], 400, SEED)
    clean = sky.invvar > 0
    chi = (sky.image * np.sqrt(sky.invvar))[clean]
    # 480,000 pixels: mean and spread are known to 0.0015.
    assert abs(chi.mean()) < 0.006 and chi.std() == pytest.approx(1, abs=0.005)
    for i in range(3):
        # 5 σ of a point source: σ² = noise-equivalent area / invvar (uncorrelated noise, optimal weights).
        area = 4 * math.pi * (conditions.psfsize[i] / 2.355 / 0.262) ** 2
        sigma = math.sqrt(area / conditions.invvar[i])
        assert 22.5 - 2.5 * math.log10(5 * sigma) == pytest.approx(conditions.depth[i], abs=1e-6)
    assert GAIN > 0


def test_objects_are_where_and_as_bright_as_the_sweep_says(survey, parent, truth):
    table = parent.to_pandas()
    bright = table[(table["contaminant_class"] == "") & ~table["known_lens"] & (table["flux_r"] > 5)]
    assert len(bright) > 5
    ratios = []
    for name, rows in bright.groupby("brickname"):
        with opened(survey, name) as brick:
            for row in rows.itertuples():
                stamp = brick.cutout(row.ra, row.dec, 64)
                y, x = (np.indices((64, 64)) - 31.5) * 0.262
                core = np.hypot(x - stamp.x_offset_arcsec, y - stamp.y_offset_arcsec) < 1.0
                light_ = np.where(core, np.maximum(stamp.image[1], 0), 0)
                centroid = (
                    (x * light_).sum() / light_.sum() - stamp.x_offset_arcsec,
                    (y * light_).sum() / light_.sum() - stamp.y_offset_arcsec,
                )
                assert np.hypot(*centroid) < 0.15
                wide = np.hypot(x - stamp.x_offset_arcsec, y - stamp.y_offset_arcsec) < 7
                ratios.append(stamp.image[1][wide & stamp.good[1]].sum() / row.flux_r)
    # What lies within 7 arcsec of profiles that end at 8 half-light radii; PSF and neighbours take and add a little.
    known = bright.merge(truth, on=["brickname", "objid"], suffixes=("", "_true"))
    b = special.gammaincinv(2 * known["n"], 0.5)
    near, whole = (special.gammainc(2 * known["n"], b * r ** (1 / known["n"])) for r in (np.minimum(7 / known["re"], 8), 8.0))
    assert np.median(ratios) == pytest.approx(np.median(near / whole), abs=0.05)


def test_contaminants_and_lenses_are_in_the_parent_sample_and_labelled(parent, truth):
    table = parent.to_pandas()
    counts = table["contaminant_class"].value_counts()
    assert set(mock_sky.CONTAMINANTS) | {"companion"} <= set(counts.index)
    planted = truth[truth["kind"] == "lens"]
    assert table["known_lens"].sum() >= 0.9 * len(planted) > 5
    assert not (table["known_lens"] & (table["contaminant_class"] != "")).any()
    by_id = table.merge(truth.assign(objid=truth["objid"]), on=["brickname", "objid"], suffixes=("", "_true"))
    labelled = by_id[by_id["contaminant_class"] != ""]
    assert (labelled["contaminant_class"] == labelled["kind"]).all()
    assert set(by_id["kind"]) <= {"host", "lens", "companion", *mock_sky.CONTAMINANTS}


def test_stamps_of_different_galaxies_do_not_overlap(parent):
    table = parent.to_pandas()
    for _, rows in table.groupby("brickname"):
        dx = (rows["ra"].to_numpy()[:, None] - rows["ra"].to_numpy()) * np.cos(np.radians(0.5)) * 3600 / 0.262
        dy = (rows["dec"].to_numpy()[:, None] - rows["dec"].to_numpy()) * 3600 / 0.262
        apart = np.maximum(np.abs(dx), np.abs(dy)) + 1e3 * np.eye(len(rows))
        assert apart.min() > 65


def test_nearly_all_cutouts_are_usable_and_the_others_say_why(survey, parent):
    reasons = []
    for name, rows in parent.to_pandas().groupby("brickname"):
        with opened(survey, name) as brick:
            stamps = [brick.cutout(r.ra, r.dec, 64) for r in rows.itertuples()]
        reasons += [s.reason for s in stamps]
        for stamp, row in zip(stamps, rows.itertuples(), strict=True):
            assert stamp.psfsize == pytest.approx([row.psfsize_g, row.psfsize_r, row.psfsize_z], rel=1e-3)
    told = [r for r in reasons if r]
    assert len(told) < 0.05 * len(reasons)
    assert all("bad, more than" in r or "not finite" in r for r in told)


def test_stars_are_masked_and_bad_columns_uncovered(survey, truth):
    bits = {name: fitsio.read(next(survey.glob(f"south/coadd/*/{name}/*maskbits*")), ext=1) for name in truth["brickname"].unique()}
    seen = np.bitwise_or.reduce([np.bitwise_or.reduce(b, axis=None) for b in bits.values()])
    assert all(seen >> bit & 1 for bit in (2, 3, 4, 5, 6, 7, 11))
    for name, mask in bits.items():
        for band, bit in zip("grz", (5, 6, 7), strict=True):
            uncovered = fitsio.read(next(survey.glob(f"south/coadd/*/{name}/*invvar-{band}*")), ext=1) == 0
            assert (mask[uncovered] >> bit & 1).all()
    assert (truth["kind"] == "star-artefact").any()


def test_known_lenses_have_blue_arcs(survey, truth):
    """The light between 0.6 and 1.4 θ_E of lenses is bluer than that of plain galaxies there."""
    colours = {}
    for kind in ("lens", "host"):
        values = []
        for row in truth[(truth["kind"] == kind) & (truth["mag_r"] < 21.5)].itertuples():
            with opened(survey, row.brickname) as brick:
                stamp = brick.cutout(row.ra, row.dec, 64)
            y, x = (np.indices((64, 64)) - 31.5) * 0.262
            r = np.hypot(x - stamp.x_offset_arcsec, y - stamp.y_offset_arcsec)
            ring = (r > 0.9) & (r < 2.1) & stamp.good.all(0)
            values.append(-2.5 * np.log10(max(stamp.image[0][ring].sum(), 0.01) / max(stamp.image[2][ring].sum(), 0.01)))
        colours[kind] = np.median(values)
    assert colours["lens"] < colours["host"] - 0.5


def test_planted_lenses_are_found_with_their_radii(survey, parent, truth):
    bricks = BrickTable(survey / "survey-bricks.fits.gz", survey / "south/survey-bricks-dr10-south.fits.gz")
    lenses = read_known_lenses(survey / MOCK_LENSES, "lenscat")
    found = find_known_lenses(lenses, parent, bricks, 64, 3.0).to_pandas()
    planted = truth[truth["kind"] == "lens"]
    assert len(found) == len(planted)
    assert np.sort(found["theta_e_arcsec"]) == pytest.approx(np.sort(planted["theta_e"]), abs=6e-4)
    assert set(found["grade"]) <= {"confident", "probable"}


def test_galsim_opens_the_sources(survey):
    path = survey / MOCK_SOURCES
    catalogue = galsim.COSMOSCatalog(path.name, dir=str(path.parent), exclusion_level="marginal")
    assert catalogue.nobjects == SKY.sources
    images = galsim.RealGalaxyCatalog(path.name, dir=str(path.parent))
    table = fitsio.read(path)
    for i in range(SKY.sources):
        assert images.getGalImage(i).array.sum() == pytest.approx(table["stamp_flux"][i], rel=1e-4)
        # Magnitudes are AB with COSMOS' zero point; noise of a whole stamp moves the flux by a few percent.
        assert 25.94 - 2.5 * math.log10(table["stamp_flux"][i]) == pytest.approx(table["MAG"][i], abs=0.15)
        galaxy = catalogue.makeGalaxy(i, gal_type="real")
        assert galaxy.flux == pytest.approx(table["stamp_flux"][i], rel=0.02)
    model = catalogue.makeGalaxy(0, gal_type="parametric")
    assert model.flux == pytest.approx(10 ** (0.4 * (25.94 - table["MAG"][0])), rel=0.02)


def test_the_sources_noise_is_as_correlated_as_the_file_says(survey):
    path = survey / MOCK_SOURCES
    images = galsim.RealGalaxyCatalog(path.name, dir=str(path.parent))
    edges = np.concatenate([images.getGalImage(i).array[:8].ravel() for i in range(SKY.sources)])
    assert edges.std() == pytest.approx(math.sqrt(images.variance[0]), rel=0.1)
    neighbours = [np.mean(images.getGalImage(i).array[:8, :-1] * images.getGalImage(i).array[:8, 1:]) for i in range(SKY.sources)]
    told = fits.getdata(path.parent / "mock_noise_cf.fits")
    centre = told.shape[0] // 2
    assert told[centre, centre] == pytest.approx(1.0)
    assert np.mean(neighbours) / edges.var() == pytest.approx(told[centre, centre + 1], abs=0.08)


def test_a_sky_in_g_r_i_is_that_of_the_same_galaxies(survey, parent, tmp_path):
    """Coadds of i in place of z; the parent sample is cut in z and then holds i; red galaxies have the r − i of their spectra."""
    folder = tmp_path / "gri"
    make_mock_survey(folder, SKY, SEED, ("g", "r", "i"))
    names = {p.name for p in folder.rglob("legacysurvey-*-image-*")}
    assert {name.split("-image-")[1][0] for name in names} == set("gri")
    bricks = BrickTable(folder / "survey-bricks.fits.gz", folder / "south/survey-bricks-dr10-south.fits.gz")
    flow = CutFlow()
    own = pa.concat_tables(select_lrgs(sweeps(folder), LrgCuts(), bricks, flow, stand_in={"z": "i"}))
    assert "observed in i" in flow.frame()["cut"].tolist()
    both = own.to_pandas().merge(parent.to_pandas(), on="object_id", suffixes=("", "_z"))
    # The noise of z differs between the two, so that a few galaxies at the cuts' edges are in one alone.
    assert len(both) > 0.97 * parent.num_rows
    fluxes = np.concatenate([fitsio.read(path, ext=1, columns=["FLUX_I", "BRICKID", "OBJID", "PSFSIZE_I"]) for path in sweeps(folder)])
    by_object = {(row["BRICKID"], row["OBJID"]): row for row in fluxes}
    for row in both.itertuples():
        assert row.flux_z == by_object[row.brickid, row.objid]["FLUX_I"] and row.psfsize_z == by_object[row.brickid, row.objid]["PSFSIZE_I"]
    # Between redshift 0.1 and 0.6 an E galaxy's r − i is 0.64 to 0.75 of its r − z, a disk's about 0.6.
    colour = (both["mag_r"] - both["mag_z"]) / (both["mag_r_z"] - both["mag_z_z"])
    assert 0.6 < colour.median() < 0.76
    # The pixels are of that light: half of a smooth galaxy's flux or more within 1.3 arcsec of its middle, and the same share in r.
    name = both["brickname"].iloc[0]
    with open_brick(folder / f"south/coadd/{name[:3]}/{name}", name, "gri", PIXEL_BITS) as brick:
        shares = []
        for row in both[(both["brickname"] == name) & (both["contaminant_class"] == "")].itertuples():
            core = brick.cutout(row.ra, row.dec, 10).image.sum((1, 2))
            shares.append((core[2] / row.flux_z) / (core[1] / row.flux_r))
    assert np.median(shares) == pytest.approx(1, abs=0.08)
