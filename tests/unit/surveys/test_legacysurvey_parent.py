"""The parent sample: magnitudes by hand, each cut with its count, order, duplicates, marks, errors in words."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units

from darkhaloscope.config.legacysurvey import LrgCuts
from darkhaloscope.surveys.legacysurvey.parent import CutFlow, magnitude, object_ids, select_lrgs
from darkhaloscope.surveys.legacysurvey.schema import PARENT
from darkhaloscope.surveys.legacysurvey.sweeps import BrickTable, SweepError, read_sweep


def flux(mag):
    return 10 ** (0.4 * (22.5 - mag))


@pytest.fixture
def select(write_brick_tables):
    """Return a function that gives the parent sample as a frame, and the cut flow."""

    def run(paths, cuts=None, **settings):
        flow = CutFlow()
        tables = list(select_lrgs(paths, cuts or LrgCuts(), BrickTable(*write_brick_tables()), flow, **settings))
        table = pa.concat_tables(tables)
        PARENT.check(table.schema, "parent")
        return table.to_pandas(), flow.frame().set_index("cut")

    return run


def test_magnitudes_are_ab_of_dereddened_nanomaggies():
    # 1 nanomaggy is 22.5; a hundred times as much is 5 mag brighter; half of the light lost is 0.7526 mag.
    assert magnitude(np.array([1.0, 100.0])) == pytest.approx([22.5, 17.5])
    assert magnitude(np.array([1.0]), np.array([0.5])) == pytest.approx([22.5 - 0.752575], abs=1e-6)
    assert np.isnan(magnitude(np.array([0.0, -3.0, np.nan]))).all()
    # astropy: a maggy is the flux of an AB source of magnitude 0.
    values = np.array([0.3, 2.7, 61.0])
    jansky = (values * units.nmgy).to(units.Jy, units.zero_point_flux(units.Magnitude(0, units.ABmag).to(units.Jy)))
    assert magnitude(values) == pytest.approx(jansky.to_value(units.ABmag), abs=1e-9)


def test_object_ids_are_the_surveys_own():
    # Tractor's documented packing: 22 bits of OBJID, 20 of BRICKID, then RELEASE.
    assert object_ids(np.array([10001]), np.array([333850]), np.array([7]))[0] == 10001 * 2**42 + 333850 * 2**22 + 7


#: For each cut a row that fails it alone.
FAILS = {
    "brick in the survey": {"BRICKNAME": b"1511p005"},
    "NOBS in g, r, z at least 1": {"NOBS_R": 0},
    "FLUX_IVAR in g, r, z above 0": {"FLUX_IVAR_G": 0.0},
    "flux in g, r, z, W1 above 0": {"FLUX_G": -0.1},
    "TYPE not PSF, DUP": {"TYPE": b"PSF"},
    "E(B-V) below 0.1": {"EBV": 0.1},
    "MASKBITS 1, 2, 3, 4, 5, 6, 7, 10 clear": {"MASKBITS": 1 << 10},
    "z fainter than 17": {"FLUX_Z": flux(16.9), "FLUX_R": flux(17.9), "FLUX_W1": flux(16.0)},
    "z brighter than 21": {"FLUX_Z": flux(21.1), "FLUX_R": flux(22.1)},
    "r brighter than 23": {"FLUX_Z": flux(20.9), "FLUX_R": flux(23.1), "FLUX_W1": flux(18.0)},
    # r − z = 1: z − W1 must exceed 0.2.
    "z - W1 above 0.8 (r - z) -0.6": {"FLUX_W1": flux(18.81)},
}


def test_every_cut_is_counted_by_itself(write_sweep, select):
    parent, flow = select([write_sweep([{}, *FAILS.values(), {"OBJID": 1}])])
    assert list(flow.index) == [*FAILS, "not a duplicate"]
    assert flow["before"].tolist() == list(range(13, 1, -1))
    assert flow["after"].tolist() == list(range(12, 0, -1))
    assert flow["kept"].iloc[0] == pytest.approx(12 / 13)
    assert parent["objid"].tolist() == [1]


def test_just_inside_each_bound_passes(write_sweep, select):
    rows = [
        {"FLUX_Z": flux(17.01), "FLUX_R": flux(18.0), "FLUX_W1": flux(16.0)},
        {"FLUX_Z": flux(20.99), "FLUX_R": flux(22.0)},
        {"FLUX_Z": flux(20.9), "FLUX_R": flux(22.99), "FLUX_W1": flux(18.0)},
        {"FLUX_W1": flux(18.79)},
        {"EBV": 0.0999},
        # NPRIMARY, the WISE bits and SUB_BLOB say nothing about g, r and z.
        {"MASKBITS": 1 | 1 << 8 | 1 << 9 | 1 << 16},
    ]
    parent, _ = select([write_sweep(rows)])
    assert len(parent) == len(rows)


def test_dereddening_decides_and_is_a_choice(write_sweep, select):
    # z is 21.2 as observed, and 20.76 once the 33% that the Galaxy took are given back.
    row = {"FLUX_Z": flux(21.2), "FLUX_R": flux(22.2), "MW_TRANSMISSION_Z": 2 / 3, "MW_TRANSMISSION_R": 2 / 3, "MW_TRANSMISSION_G": 2 / 3}
    path = write_sweep([row])
    parent, _ = select([path])
    assert parent["mag_z"].tolist() == pytest.approx([21.2 + 2.5 * np.log10(2 / 3)], abs=1e-5)
    assert parent["flux_z"].tolist() == pytest.approx([flux(21.2)])
    assert select([path], LrgCuts(dereddened=False))[0].empty


def test_every_number_of_the_cuts_is_configurable(write_sweep, select):
    rows = [{}, {"TYPE": b"REX"}, {"MASKBITS": 1 << 12}, {"EBV": 0.15}, {"NOBS_G": 2}]
    path = write_sweep(rows)
    assert len(select([path])[0]) == 4
    strict = LrgCuts(excluded_types=("REX",), maskbits=(12,), max_ebv=0.2, min_nobs=3)
    assert select([path], strict)[0]["objid"].tolist() == [1, 4]


def test_sweeps_keep_their_order_and_objects_come_once(write_sweep, select):
    first = write_sweep([{"OBJID": 5}, {"OBJID": 3}, {"OBJID": 5}], "first.fits")
    second = write_sweep([{"OBJID": 9}, {"OBJID": 3}, {"OBJID": 5, "BRICKID": 1}], "second.fits")
    parent, flow = select([first, second])
    assert list(zip(parent["brickid"], parent["objid"], strict=True)) == [(333850, 5), (333850, 3), (333850, 9), (1, 5)]
    assert flow.loc["not a duplicate", ["before", "after"]].tolist() == [6, 4]
    assert parent["object_id"].is_unique


def test_chunks_do_not_matter(write_sweep, select, monkeypatch):
    rows = [{"OBJID": i % 7, "FLUX_Z": flux(18 + 0.01 * i)} for i in range(40)]
    path = write_sweep(rows)
    whole, flow = select([path])
    monkeypatch.setattr("darkhaloscope.surveys.legacysurvey.parent.read_sweep", lambda p, **k: read_sweep(p, chunk_rows=3, **k))
    parts, part_flow = select([path])
    pd.testing.assert_frame_equal(whole, parts)
    pd.testing.assert_frame_equal(flow, part_flow)


def test_columns_come_from_the_sweep_or_the_brick_table(write_sweep, select):
    path = write_sweep([{"PSFSIZE_R": 1.51, "PSFDEPTH_R": 321.0, "NOBS_Z": 7, "BRICKNAME": b"1508p005", "MASKBITS": 2048}])
    row = select([path])[0].iloc[0]
    assert (row["psfsize_r"], row["psfdepth_r"]) == (np.float32(1.51), np.float32(321.0))
    assert (row["nobs_z"], row["brickname"], row["maskbits"], row["release"], row["type"]) == (7, "1508p005", 2048, 10001, "DEV")
    row = select([path], conditions="bricks")[0].iloc[0]
    assert row[["psfsize_g", "psfsize_r", "psfsize_z"]].tolist() == pytest.approx([1.1, 1.2, 1.3])


def test_known_lenses_and_labels_are_marked_by_position(write_sweep, select):
    path = write_sweep([{}, {"DEC": 0.51}, {"DEC": 0.52}])
    near = 2.0 / 3600
    lenses = pd.DataFrame({"ra": [150.6], "dec": [0.51 + near]})
    labels = pd.DataFrame({"ra": [150.6, 10.0], "dec": [0.52 + 1.0 / 3600, 0.0], "class": ["spiral", "ring"]})
    parent, _ = select([path], lenses=lenses, labels=labels)
    assert parent["known_lens"].tolist() == [False, True, False]
    assert parent["contaminant_class"].tolist() == ["", "", "spiral"]
    assert not select([path], lenses=lenses, lens_radius_arcsec=1.0)[0]["known_lens"].any()


def test_an_older_sweep_is_refused_in_words_or_takes_psf_sizes_from_the_bricks(write_sweep, select):
    path = write_sweep([{}], without=("PSFSIZE_G", "PSFSIZE_R", "PSFSIZE_Z"))
    with pytest.raises(SweepError, match=r"sweep\.fits lacks PSFSIZE_G, PSFSIZE_R, PSFSIZE_Z; .*`conditions: bricks`"):
        select([path])
    assert len(select([path], conditions="bricks")[0]) == 1


def test_missing_columns_are_all_named_with_the_nearest(write_sweep, select):
    path = write_sweep([{}], without=("FLUX_W1", "MASKBITS", "EBV"))
    with pytest.raises(SweepError, match=r"lacks EBV, MASKBITS, FLUX_W1.*DR8 or later"):
        select([path])


def test_lower_case_columns_are_read_and_no_fits_is_refused(write_sweep, select, tmp_path):
    assert len(select([write_sweep([{}], lower=True)])[0]) == 1
    (tmp_path / "page.fits").write_text("<html>down</html>")
    with pytest.raises(SweepError, match=r"page\.fits cannot be read as FITS"):
        select([tmp_path / "page.fits"])


def test_an_empty_sweep_gives_an_empty_sample(write_sweep, select):
    path = write_sweep([{"TYPE": b"PSF"}])
    parent, flow = select([path])
    assert parent.empty
    assert flow["after"].iloc[-1] == 0


def test_bricks_are_found_by_position(write_brick_tables):
    bricks = BrickTable(*write_brick_tables())
    ra, dec = [150.5, 150.7499, 150.75, 150.9, 151.1, 150.6, 150.6, 510.6], [0.5, 0.5, 0.5, 0.624, 0.5, 0.625, 0.3749, 0.5]
    # 1511p005 has bounds, but no observations.
    assert bricks.brick_at(np.array(ra), np.array(dec)).tolist() == ["1506p005", "1506p005", "1508p005", "1508p005", "", "", "", "1506p005"]
    assert "1506p005" in bricks and "1511p005" not in bricks
    assert np.isnan(bricks.values("PSFSIZE_G", np.array(["1511p005"]))).all()
