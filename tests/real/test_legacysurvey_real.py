"""The Legacy Survey stage on real files: DR8 sweeps, a DR6 brick, catalogues of lenses."""

import fitsio
import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from darkhaloscope.config.legacysurvey import PIXEL_BITS, LrgCuts
from darkhaloscope.mock.survey_sky import brick_cell
from darkhaloscope.surveys.known_lenses import CatalogueError, merge_known_lenses, read_known_lenses
from darkhaloscope.surveys.legacysurvey.bricks import open_brick
from darkhaloscope.surveys.legacysurvey.parent import CutFlow, select_lrgs
from darkhaloscope.surveys.legacysurvey.retrieve import check_coadd
from darkhaloscope.surveys.legacysurvey.sweeps import BrickTable, SweepError

BRICK = "0959p805"


@pytest.fixture(scope="module")
def sweeps(real):
    folder = real / "legacysurvey"
    return [*sorted(folder.glob("desitarget-sweep-*.fits")), folder / "desitarget-tractor-3301m002.fits"]


@pytest.fixture(scope="module")
def bricks(sweeps, tmp_path_factory):
    """A brick table with PSF sizes for the sweeps' bricks, since the release's own is not at hand."""
    names = np.unique(np.concatenate([fitsio.read(p, columns=["BRICKNAME"])["BRICKNAME"] for p in sweeps]).astype("S8"))
    folder = tmp_path_factory.mktemp("tables")
    bounds = np.zeros(names.size, [("BRICKNAME", "S8"), *((k, "f8") for k in ("RA1", "RA2", "DEC1", "DEC2"))])
    seen = np.zeros(names.size, [("brickname", "S8"), *((f"{n}_{b}", "f4") for n in ("psfsize", "psfdepth") for b in "grz")])
    bounds["BRICKNAME"] = seen["brickname"] = names
    for band in "grz":
        seen[f"psfsize_{band}"] = 1.3
    fitsio.write(folder / "bounds.fits", bounds)
    fitsio.write(folder / "seen.fits", seen)
    return BrickTable(folder / "bounds.fits", folder / "seen.fits")


@pytest.fixture
def brick_folder(real, tmp_path):
    """The real brick under the names that the archive gives its files."""
    for path in (real / "legacysurvey").glob(f"dr6-legacysurvey-{BRICK}-*.fits.fz"):
        (tmp_path / path.name.removeprefix("dr6-")).symlink_to(path)
    return tmp_path


def test_dr8_sweeps_are_refused_in_words(sweeps, bricks):
    for path in sweeps:
        with pytest.raises(SweepError, match=rf"{path.name} lacks PSFSIZE_G, PSFSIZE_R, PSFSIZE_Z; .*`conditions: bricks`"):
            list(select_lrgs([path], LrgCuts(), bricks, CutFlow()))


@pytest.mark.parametrize("dereddened", [True, False])
def test_dr8_sweeps_are_cut_as_by_hand_when_psf_sizes_come_from_the_bricks(sweeps, bricks, dereddened):
    flow = CutFlow()
    parent = pa.concat_tables(select_lrgs(sweeps, LrgCuts(dereddened=dereddened), bricks, flow, conditions="bricks")).to_pandas()
    kept = []
    for path in sweeps:
        for row in fits.getdata(path, 1):
            mag = {}
            for band in ("G", "R", "Z", "W1"):
                flux = row[f"FLUX_{band}"] / (row[f"MW_TRANSMISSION_{band}"] if dereddened else 1)
                mag[band] = 22.5 - 2.5 * np.log10(flux) if flux > 0 else np.nan
            good = all(row[f"NOBS_{b}"] > 0 and row[f"FLUX_IVAR_{b}"] > 0 for b in "GRZ") and np.isfinite(list(mag.values())).all()
            good &= row["TYPE"].strip() not in ("PSF", "DUP") and row["EBV"] < 0.1 and not any(row["MASKBITS"] >> b & 1 for b in PIXEL_BITS)
            good &= bool(17 < mag["Z"] < 21 and mag["R"] < 23 and mag["Z"] - mag["W1"] > 0.8 * (mag["R"] - mag["Z"]) - 0.6)
            if good:
                kept.append((row["BRICKID"], row["OBJID"], mag["Z"]))
    assert len(kept) >= 3
    assert list(zip(parent["brickid"], parent["objid"], strict=True)) == [k[:2] for k in kept]
    assert parent["mag_z"].tolist() == pytest.approx([k[2] for k in kept], abs=1e-4)
    counts = flow.frame()
    assert counts["before"].iloc[0] == 24 and counts["after"].iloc[-1] == len(kept)
    assert (counts["after"] <= counts["before"]).all()
    assert (counts["before"].to_numpy()[1:] == counts["after"].to_numpy()[:-1]).all()


def test_the_real_brick_is_a_coadd_and_lies_where_its_table_says(real, brick_folder):
    pixels = {check_coadd(p) for p in brick_folder.glob("*.fits.fz")}
    assert len(pixels) == 1 and next(iter(pixels))[:2] == (3600, 3600)
    table = BrickTable(real / "legacysurvey/dr6-survey-bricks.fits.gz", real / "legacysurvey/dr6-survey-bricks-dr6.fits.gz")
    assert table.brick_at(np.array([95.95]), np.array([80.5])).tolist() == [BRICK]
    # The brick's own centre, as the survey's table has it, is that of the mock's grid.
    cell = brick_cell(95.95, 80.5)
    row = fitsio.read(real / "legacysurvey/dr6-survey-bricks.fits.gz")[0]
    assert (cell.brickid, cell.row, cell.col) == (row["BRICKID"], row["BRICKROW"], row["BRICKCOL"])
    assert (cell.ra, cell.dec, cell.ra1, cell.ra2) == pytest.approx((row["RA"], row["DEC"], row["RA1"], row["RA2"]), abs=1e-10)


def covered_places(folder, size=64, n=5):
    """Sky positions whose whole stamp is covered in g, by astropy."""
    with fits.open(folder / f"legacysurvey-{BRICK}-invvar-g.fits.fz") as hdus:
        invvar, wcs = hdus[1].data, WCS(hdus[1].header)
    covered = invvar > 0
    assert covered.mean() == pytest.approx(0.12, abs=0.01)
    whole = []
    for y in range(40, 3560, 40):
        for x in range(40, 3560, 40):
            if covered[y - size // 2 : y + size // 2 + 1, x - size // 2 : x + size // 2 + 1].all():
                whole.append((x + 0.3, y - 0.2))
    x, y = np.array(whole)[:: max(1, len(whole) // n)][:n].T
    return wcs, x, y


def test_cutouts_of_the_real_brick_are_astropys_pixels(brick_folder):
    wcs, xs, ys = covered_places(brick_folder)
    image = fits.getdata(brick_folder / f"legacysurvey-{BRICK}-image-g.fits.fz", 1)
    # The brick table's PSF size stands in: releases before DR7 have no psfsize images, nor maskbits.
    with open_brick(brick_folder, BRICK, "g", (), psfsize={"g": 2.23}) as brick:
        assert len(xs) >= 3
        for x, y in zip(xs, ys, strict=True):
            stamp = brick.cutout(*(float(v) for v in wcs.wcs_pix2world(x, y, 0)), 64)
            assert stamp.ok and stamp.bad_fraction == 0 and stamp.psfsize.tolist() == pytest.approx([2.23])
            assert (stamp.x0, stamp.y0) == (round(x - 31.5), round(y - 31.5))
            assert np.allclose(stamp.image[0], image[stamp.y0 : stamp.y0 + 64, stamp.x0 : stamp.x0 + 64], atol=1e-6)
            # The sky's spread is what invvar says, in a sky that is mostly empty (quartiles ignore its sources).
            chi = (stamp.image[0] * np.sqrt(stamp.invvar[0])).ravel()
            assert 0.5 < np.subtract(*np.percentile(chi, [75, 25])) / 1.349 < 1.5


def test_the_edge_of_coverage_counts_as_bad(brick_folder):
    with fits.open(brick_folder / f"legacysurvey-{BRICK}-invvar-g.fits.fz") as hdus:
        invvar, wcs = hdus[1].data, WCS(hdus[1].header)
    image = fits.getdata(brick_folder / f"legacysurvey-{BRICK}-image-g.fits.fz", 1)
    with open_brick(brick_folder, BRICK, "g", (), psfsize={"g": 2.23}) as brick:
        stamp = brick.cutout(*(float(v) for v in wcs.wcs_pix2world(1800, 1800, 0)), 64)
        assert not stamp.good.any() and "100.0% of the pixels in g are bad" in stamp.reason
        # A covered pixel whose neighbour to the right is not.
        rows, columns = np.nonzero((invvar[100:3500, 100:3500] > 0) & (invvar[100:3500, 101:3501] == 0))
        y, x = rows[rows.size // 2] + 100, columns[rows.size // 2] + 100
        stamp = brick.cutout(*(float(v) for v in wcs.wcs_pix2world(x, y, 0)), 64)
    expected = invvar[stamp.y0 : stamp.y0 + 64, stamp.x0 : stamp.x0 + 64] > 0
    assert np.array_equal(stamp.good[0], expected)
    assert 0 < expected.mean() < 1
    assert np.isfinite(image).all()


def test_the_z_image_with_55_good_pixels_is_refused_with_its_reasons(brick_folder):
    invvar = fits.getdata(brick_folder / f"legacysurvey-{BRICK}-invvar-z.fits.fz", 1)
    assert np.count_nonzero(invvar > 0) == 55
    y, x = (int(np.median(v)) for v in np.nonzero(invvar > 0))
    wcs = WCS(fits.getheader(brick_folder / f"legacysurvey-{BRICK}-invvar-z.fits.fz", 1))
    x, y = min(max(x, 40), 3559), min(max(y, 40), 3559)
    place = [float(v) for v in wcs.wcs_pix2world(x, y, 0)]
    with open_brick(brick_folder, BRICK, "gz", PIXEL_BITS) as brick:
        stamp = brick.cutout(*place, 64)
    assert not stamp.ok
    for name in ("maskbits", "psfsize-g", "psfsize-z"):
        assert f"legacysurvey-{BRICK}-{name}.fits.fz is missing" in stamp.reason
    # Where masks and PSF sizes are not asked for, coverage decides; the brick table has 0 for z.
    with open_brick(brick_folder, BRICK, "z", (), psfsize={"z": 0.0}) as brick:
        assert not brick.cutout(*place, 64).ok
    with open_brick(brick_folder, BRICK, "z", (), psfsize={"z": 1.2}) as brick:
        stamp = brick.cutout(*place, 64)
    assert not stamp.ok and "of the pixels in z are bad, more than 20.0%" in stamp.reason
    assert np.count_nonzero(stamp.good) <= 55


def test_real_catalogues_of_lenses_are_read(real):
    slacs = read_known_lenses(real / "lenses/paltax-slacs_catalog_masterlens.csv", "masterlens")
    assert len(slacs) == 88 and slacs["theta_e_arcsec"].isna().sum() == 15 and set(slacs["grade"]) == {"A"}
    first = slacs.iloc[0]
    assert first[["name", "ra", "dec", "theta_e_arcsec", "source"]].tolist() == [
        "SDSS J0008-0004",
        2.01231,
        -0.06896,
        1.16,
        "ApJ682(2008)964",
    ]
    assert slacs["theta_e_arcsec"].dropna().between(0.4, 3.0).all()
    new = read_known_lenses(real / "lenses/stein2021-new_lenses.tsv", "stein")
    training = read_known_lenses(real / "lenses/stein2021-training_lenses.tsv", "stein")
    assert (len(new), len(training)) == (1192, 1615)
    assert set(new["grade"]) <= {"A", "B", "C"} and set(training["grade"]) == {""}
    merged = merge_known_lenses({"slacs": slacs, "new": new, "training": training}, 3.0)
    assert 2800 < len(merged) < 2895
    with pytest.raises(CatalogueError, match=r"stein2021-new_lenses\.tsv has no column system_name"):
        read_known_lenses(real / "lenses/stein2021-new_lenses.tsv", "masterlens")
