"""Known lenses: layouts, errors in words, matching and merging."""

import logging

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord

from darkhaloscope.config.legacysurvey import LrgCuts
from darkhaloscope.surveys.known_lenses import CatalogueError, find_known_lenses, match, merge_known_lenses, read_known_lenses, read_labels
from darkhaloscope.surveys.legacysurvey.parent import CutFlow, select_lrgs
from darkhaloscope.surveys.legacysurvey.schema import KNOWN_LENSES, PARENT
from darkhaloscope.surveys.legacysurvey.sweeps import BrickTable

LENSCAT = """name,RA [deg],DEC [deg],zlens,type,grading,ref
J0011-0845,2.83435,-8.7643,-,galaxy,confident,https://a https://b
235952+004154,359.9698,0.6985,0.267,cluster,probable,https://c
"""


@pytest.fixture
def write(tmp_path):
    def run(text, name="lenses.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return run


def test_lenscat_is_read(write):
    lenses = read_known_lenses(write(LENSCAT), "lenscat")
    assert lenses["name"].tolist() == ["J0011-0845", "235952+004154"]
    assert lenses["ra"].tolist() == [2.83435, 359.9698] and lenses["dec"].tolist() == [-8.7643, 0.6985]
    assert lenses["grade"].tolist() == ["confident", "probable"]
    assert lenses["source"].tolist() == ["https://a https://b", "https://c"]
    assert lenses["theta_e_arcsec"].isna().all()


def test_lenscat_as_its_package_writes_it_is_read(write):
    text = LENSCAT.replace("RA [deg],DEC [deg]", "RA,DEC").replace(",", "\t")
    assert len(read_known_lenses(write(text, "lenses.tsv"), "lenscat")) == 2


def test_own_columns_quotes_blanks_and_unknown_radii(write):
    text = 'id,where_ra,where_dec,radius\n"A, of B",10.5,-3.25, 1.2\n C ,11,4,nan\n,12,5,0\n'
    columns = {"name": "id", "ra": "where_ra", "dec": "where_dec", "theta_e_arcsec": "radius"}
    lenses = read_known_lenses(write(text), "own", columns)
    assert lenses["name"].tolist() == ["A, of B", "C", "12.00000+5.00000"]
    assert lenses["theta_e_arcsec"].tolist() == pytest.approx([1.2, np.nan, np.nan], nan_ok=True)
    assert lenses["grade"].tolist() == ["", "", ""]


def test_a_missing_column_is_named_with_the_nearest(write):
    with pytest.raises(CatalogueError, match=r"lenses\.csv has no column grading for grade \(nearest: gradings\)"):
        read_known_lenses(write(LENSCAT.replace("grading", "gradings")), "lenscat")
    with pytest.raises(CatalogueError, match="has no column ra_x for ra"):
        read_known_lenses(write(LENSCAT), "own", {"ra": "ra_x", "dec": "DEC [deg]"})


@pytest.mark.parametrize(("old", "new", "words"), [("359.9698", "23:59:52", "row 2: column RA"), ("-8.7643", "-98", "row 1: column DEC")])
def test_positions_that_are_none_are_named(write, old, new, words):
    with pytest.raises(CatalogueError, match=words):
        read_known_lenses(write(LENSCAT.replace(old, new)), "lenscat")


def test_a_catalogue_of_no_rows_or_one_column_for_both_coordinates_or_without_an_end_is_refused(write):
    own = {"ra": "ra", "dec": "dec", "theta_e_arcsec": "r"}
    with pytest.raises(CatalogueError, match=r"lenses\.csv: expected a row for each object, found a header alone"):
        read_known_lenses(write("ra,dec,r\n"), "own", own)
    with pytest.raises(CatalogueError, match="expected a row for each object, found a header alone"):
        read_labels(write("ra,dec,class\n"))
    with pytest.raises(CatalogueError, match="column ra is named for both ra and dec, expected one for each"):
        read_known_lenses(write("ra,dec,r\n10,2,1\n"), "own", own | {"dec": "ra"})
    with pytest.raises(CatalogueError, match="row 1: column r holds 'inf', expected arcseconds or nothing"):
        read_known_lenses(write("ra,dec,r\n10,2,inf\n"), "own", own)


@pytest.mark.parametrize(
    ("full", "high", "unit"), [(24, 60, "hours and degrees"), (2 * np.pi, 1.5, "radians"), (360, 60, ""), (20, 1.2, "")]
)
def test_positions_in_another_unit_are_told(write, caplog, monkeypatch, full, high, unit):
    monkeypatch.setattr(logging.getLogger("darkhaloscope"), "propagate", True)
    rows = "".join(f"{(k + 0.5) * full / 20:.4f},{high * (k / 10 - 1):.4f}\n" for k in range(20))
    read_known_lenses(write("ra,dec\n" + rows), "own", {"ra": "ra", "dec": "dec"})
    assert ("would fit into" in caplog.text) == bool(unit) and unit in caplog.text


def test_missing_and_unreadable_files_are_told(write, tmp_path):
    with pytest.raises(CatalogueError, match="does not exist"):
        read_known_lenses(tmp_path / "none.csv", "lenscat")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01" * 20)
    with pytest.raises(CatalogueError, match="not a readable CSV"):
        read_known_lenses(tmp_path / "binary.csv", "lenscat")


def test_labels_need_their_columns(write):
    assert read_labels(write("ra,dec,class\n1,2,ring\n"))["class"].tolist() == ["ring"]
    with pytest.raises(CatalogueError, match=r"no column class for class \(nearest: classes\)"):
        read_labels(write("ra,dec,classes\n1,2,ring\n"))


def test_match_finds_the_nearest_within_the_radius():
    ra, dec = [10.0, 10.0, 0.0002], [60.0, 61.0, 0.0]
    other_ra, other_dec = [10.001, 10.0002, 359.9999], [60.0, 60.0, 0.0]
    index, separation = match(ra, dec, other_ra, other_dec, 2.0)
    assert index.tolist() == [1, -1, 2]
    # On the sphere, and over the seam at 0: 0.0002° in right ascension at 60° are 0.36 arcsec; 0.0003° at the equator 1.08.
    assert separation[[0, 2]] == pytest.approx([0.36, 1.08], rel=1e-6)
    assert np.isnan(separation[1])
    assert match([], [], other_ra, other_dec, 2.0)[0].size == 0
    assert match(ra, dec, [], [], 2.0)[0].tolist() == [-1, -1, -1]


def frame(*rows):
    return pd.DataFrame(rows, columns=["name", "ra", "dec", "theta_e_arcsec", "grade", "source"])


def test_catalogues_merge_and_the_first_one_stands():
    step = 1.0 / 3600
    a = frame(("a", 10.0, 0.0, np.nan, "", "paper"), ("alone", 20.0, 0.0, 1.5, "B", ""))
    b = frame(("b", 10.0, step, 1.1, "A", ""), ("c", 10.0, 2 * step, 9.9, "C", ""), ("d", 10.0, 30 * step, np.nan, "", ""))
    merged = merge_known_lenses({"one": a, "two": b}, 2.5)
    assert merged["name"].tolist() == ["a", "alone", "d"]
    assert merged["theta_e_arcsec"].tolist() == pytest.approx([1.1, 1.5, np.nan], nan_ok=True)
    assert merged["grade"].tolist() == ["A", "B", ""]
    assert merged["source"].tolist() == ["one: paper", "one", "two"]


def test_no_two_merged_lenses_are_nearer_than_the_radius():
    rng = np.random.default_rng(4)
    many = frame(*((str(i), ra, dec, np.nan, "", "") for i, (ra, dec) in enumerate(zip(*rng.uniform(0, 0.02, (2, 300)), strict=True))))
    merged = merge_known_lenses({"x": many}, 3.0)
    sky = SkyCoord(merged["ra"].to_numpy(), merged["dec"].to_numpy(), unit="deg")
    assert 1 < len(merged) < 300
    assert sky.match_to_catalog_sky(sky, nthneighbor=2)[1].arcsec.min() > 3.0
    assert len(merge_known_lenses({}, 3.0)) == 0


def test_lenses_on_the_survey_are_found_with_their_galaxies(write_sweep, write_brick_tables):
    bricks = BrickTable(*write_brick_tables())
    path = write_sweep([{}, {"RA": 150.7, "PSFSIZE_R": 1.44}])
    parent = pa.concat_tables(select_lrgs([path], LrgCuts(), bricks, CutFlow()))
    lenses = frame(
        ("on a galaxy", 150.7, 0.5 + 1 / 3600, 1.2, "A", "x"),
        ("on a brick alone", 150.9, 0.5, np.nan, "", "x"),
        ("elsewhere", 12.0, 0.5, 1.0, "A", "x"),
    )
    found = find_known_lenses(lenses, parent, bricks, 64, 3.0)
    KNOWN_LENSES.check(found.schema, "known")
    rows = found.to_pandas()
    assert rows["name"].tolist() == ["on a galaxy", "on a brick alone"]
    assert rows["object_id"].tolist() == [parent["object_id"][1].as_py(), -1]
    assert rows["brickname"].tolist() == ["1506p005", "1508p005"]
    # The galaxy's own position and conditions, or the catalogue's and the brick's.
    assert rows["dec"].tolist() == [0.5, 0.5] and rows["separation_arcsec"][0] == pytest.approx(1.0, rel=1e-4)
    assert rows["psfsize_r"].tolist() == pytest.approx([1.44, 1.2])
    assert rows["mag_z"].tolist() == pytest.approx([19.0, np.nan], nan_ok=True, abs=1e-4)
    # 5 σ at 23.5 mag: the flux there is 0.398 nanomaggy, σ a fifth of it.
    assert rows["psfdepth_r"].tolist() == pytest.approx([200.0, (5 / 10**-0.4) ** 2], rel=1e-5)


def test_lenses_are_found_without_any_galaxy(write_brick_tables):
    found = find_known_lenses(
        frame(("a", 150.6, 0.5, 1.0, "A", "")), PARENT.arrow().empty_table(), BrickTable(*write_brick_tables()), 64, 3.0
    )
    assert found.num_rows == 1 and found["object_id"].to_pylist() == [-1]
