"""Catalogues and ranking, on tables built by hand; scores worked out here from the formula."""

import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from darkhaloscope.config.manga import Ranking, Sample
from darkhaloscope.ifu.manga.catalogs import RANKING, CatalogError, rank_disks, read_catalogs, robust_scale

SAMPLE = Sample()
HA = "Ha-6564"
#: plateifu, mangaid, b/a, Re, σ(1Re), F(1Re): five disks that pass all cuts.
GOOD = [
    ("8001-1901", "1-1", math.cos(math.radians(55)), 4.0, 100.0, 1000.0),
    ("8001-1902", "1-2", 0.5, 5.0, 50.0, 3000.0),
    ("8002-3701", "1-3", 0.8, 3.0, 40.0, 500.0),
    ("8002-3702", "1-4", 0.35, 6.0, 200.0, 200.0),
    ("8003-6101", "1-5", 0.65, 2.5, 30.0, 10000.0),
]
#: One observation for each cut, in order, with the column and value that fail it.
BAD = {
    "DAPDONE": False,
    "DAPQUAL": 16,
    "DRP3QUAL": 1 << 30 | 1,
    "NSA_ELPETRO_BA": 0.3,
    "NSA_ELPETRO_TH50_R": 2.0,
    "HA_GSIGMA_1RE": 10.0,
    "EMLINE_GFLUX_1RE": 0.0,
}


@pytest.fixture
def catalogs(tmp_path, lines):
    """Function that writes dapall and drpall from rows, with the columns that are used and no others, and returns their paths."""

    def make(rows, layout="DR17", names=None, drp=None, changes=None):
        names = lines[layout] if names is None else names
        n = len(rows)
        flux = np.full((n, len(lines[layout])), -5.0, np.float32)
        flux[:, lines[layout].index(HA)] = [r[5] for r in rows]
        columns = {
            "PLATEIFU": [r[0].ljust(12) for r in rows],
            "MANGAID": [r[1] for r in rows],
            "DRPALLINDX": np.arange(n)[::-1],
            "DAPTYPE": ["HYB10-MILESHC-MASTARSSP"] * n,
            "DAPDONE": np.ones(n, bool),
            "DAPQUAL": np.zeros(n, np.int64),
            "DRP3QUAL": np.zeros(n, np.int64),
            "NSA_Z": np.full(n, 0.03, np.float32),
            "NSA_ELPETRO_BA": np.array([r[2] for r in rows], np.float32),
            "NSA_ELPETRO_TH50_R": np.array([r[3] for r in rows], np.float32),
            "HA_GSIGMA_1RE": np.array([r[4] for r in rows], np.float32),
            "STELLAR_SIGMA_1RE": np.full(n, 90.0, np.float32),
            "EMLINE_GFLUX_1RE": flux,
        }
        for row, column, value in changes or ():
            if column == "EMLINE_GFLUX_1RE":
                flux[row, lines[layout].index(HA)] = value
            else:
                columns[column][row] = value
        primary = fits.PrimaryHDU()
        for i, name in enumerate(names, start=1):
            primary.header[f"ELS{i:02d}"] = f"summed-{name}"
            primary.header[f"ELG{i:02d}"] = name
        if layout == "DR17":
            tables = {}
            for daptype in ("SPX-MILESHC-MASTARSSP", "HYB10-MILESHC-MASTARSSP"):
                tables[daptype] = Table(columns)
            tables["SPX-MILESHC-MASTARSSP"]["EMLINE_GFLUX_1RE"] = -1.0
        else:
            both = Table({k: np.concatenate([np.asarray(v)] * 2) for k, v in columns.items()})
            both["DAPTYPE"] = ["VOR10-GAU-MILESHC"] * n + ["HYB10-GAU-MILESHC"] * n
            tables = {"DAPALL": both}
        hdus = fits.HDUList([primary, *(fits.BinTableHDU(t, name=name) for name, t in tables.items())])
        dapall, drpall = tmp_path / "dapall.fits", tmp_path / "drpall.fits"
        hdus.writeto(dapall, overwrite=True)
        reduced = {
            "plateifu": [r[0] for r in rows][::-1],
            "mangaid": [r[1] for r in rows][::-1],
            "drp3qual": np.asarray(columns["DRP3QUAL"])[::-1],
        }
        drp = Table(reduced) if drp is None else drp(Table(reduced))
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(drp, name="MANGA")]).writeto(drpall, overwrite=True)
        return dapall, drpall

    return make


def ranked(catalogs, rows, ranking=None, sample=SAMPLE, **arguments):
    return rank_disks(read_catalogs(*catalogs(rows, **arguments), sample), ranking or Ranking(), HA, sample)


def expected_scores(rows):
    """The formula of the ranking, written out."""

    def z(x):
        low, median, high = (np.quantile(x, q) for q in (0.25, 0.5, 0.75))
        return (x - median) / (high - low)

    ba, sigma, flux = (np.array([r[i] for r in rows], np.float32).astype(float) for i in (2, 4, 5))
    i = np.degrees(np.arccos(ba))
    values = z(np.log10(flux)) - 0.7 * ((i - 55) / 20) ** 2 + 0.5 * z(np.log10(np.maximum(sigma, 5)))
    return dict(zip([r[0] for r in rows], values, strict=True))


def test_scores_and_order(catalogs):
    table = ranked(catalogs, GOOD)
    expected = expected_scores(GOOD)
    assert tuple(table.columns) == RANKING
    assert table["galaxy_id"].tolist() == sorted(expected, key=expected.get, reverse=True)
    assert dict(zip(table["galaxy_id"], table["score"], strict=True)) == pytest.approx(expected, rel=1e-6)
    assert table["rank"].tolist() == [1, 2, 3, 4, 5]


def test_a_score_by_hand(catalogs):
    """σ, flux: quartiles 40, 50, 100 and 500, 1000, 3000; the first disk is at i = 55° with the median flux."""
    table = ranked(catalogs, GOOD).set_index("galaxy_id")
    by_hand = 0 - 0 + 0.5 * (math.log10(100) - math.log10(50)) / (math.log10(100) - math.log10(40))
    assert table.loc["8001-1901", "score"] == pytest.approx(by_hand, abs=1e-5)
    by_hand = math.log10(3000 / 1000) / math.log10(3000 / 500) - 0.7 * ((60 - 55) / 20) ** 2 + 0
    assert table.loc["8001-1902", "score"] == pytest.approx(by_hand, abs=1e-5)


def test_columns(catalogs):
    row = ranked(catalogs, GOOD).set_index("galaxy_id").loc["8001-1902"]
    assert (row["physical_id"], row["re_arcsec"], row["ha_sigma_kms"], row["stellar_sigma_kms"], row["ha_flux"]) == ("1-2", 5, 50, 90, 3000)
    assert row["z"] == pytest.approx(0.03)
    assert row["inclination_deg"] == pytest.approx(60)
    assert row["maps_url"] == (
        "https://data.sdss.org/sas/dr17/manga/spectro/analysis/v3_1_1/3.1.0/HYB10-MILESHC-MASTARSSP/8001/1902/"
        "manga-8001-1902-MAPS-HYB10-MILESHC-MASTARSSP.fits.gz"
    )


def test_each_cut_removes_its_own(catalogs):
    rows = GOOD + [(f"9000-{1901 + i}", f"2-{i}", 0.5, 5.0, 50.0, 3000.0) for i in range(len(BAD))]
    changes = [(len(GOOD) + i, column, value) for i, (column, value) in enumerate(BAD.items())]
    table = ranked(catalogs, rows, changes=changes)
    assert set(table["galaxy_id"]) == {r[0] for r in GOOD}
    assert list(table.attrs["cuts"].values()) == [len(rows), 1, 1, 1, 1, 1, 1, 1, 0]
    # Those that are cut have no part in median and IQR.
    assert table.set_index("galaxy_id")["score"].to_dict() == pytest.approx(expected_scores(GOOD), rel=1e-6)


@pytest.mark.parametrize(("column", "value"), [("NSA_ELPETRO_BA", 0.9), ("NSA_ELPETRO_BA", -9999.0), ("NSA_ELPETRO_TH50_R", np.nan)])
def test_bounds_are_open_and_missing_values_fail(catalogs, column, value):
    table = ranked(catalogs, GOOD, changes=[(0, column, value)])
    assert "8001-1901" not in set(table["galaxy_id"])
    assert len(table) == 4


def test_not_critical_bits_of_drp3qual_pass(catalogs):
    assert len(ranked(catalogs, GOOD, changes=[(0, "DRP3QUAL", 1 << 5)])) == 5


def test_one_row_per_galaxy(catalogs):
    twin = ("8009-1901", "1-5", 0.65, 2.5, 30.0, 9000.0)  # the fifth galaxy again, fainter
    table = ranked(catalogs, [*GOOD, twin])
    assert len(table) == 5
    row = table.set_index("physical_id").loc["1-5"]
    assert (row["galaxy_id"], row["n_observations"]) == ("8003-6101", 2)
    assert table.attrs["cuts"]["repeat observation of a galaxy"] == 1


def test_dispersions_below_the_floor_count_as_the_floor(catalogs):
    ranking = Ranking(sigma_min_kms=0, sigma_floor_kms=35)
    low = ranked(catalogs, GOOD, ranking).set_index("galaxy_id")["score"]
    lower = ranked(catalogs, GOOD, ranking, changes=[(4, "HA_GSIGMA_1RE", 1.0)]).set_index("galaxy_id")["score"]
    assert low.to_dict() == pytest.approx(lower.to_dict())


def test_dr15_layout(catalogs):
    sample = Sample(daptype="HYB10-GAU-MILESHC")
    catalog = read_catalogs(*catalogs(GOOD, layout="DR15"), sample)
    assert len(catalog) == 5
    assert catalog.attrs["lines"].index(HA) == 18
    assert set(rank_disks(catalog, Ranking(), HA, sample)["ha_flux"]) == {r[5] for r in GOOD}


def test_line_index_is_23_in_dr17(catalogs):
    assert read_catalogs(*catalogs(GOOD), SAMPLE).attrs["lines"].index(HA) == 23


def test_unknown_line(catalogs):
    with pytest.raises(CatalogError, match=r"dapall\.fits: no emission line 'Halpha' in EMLINE_GFLUX_1RE \(it has: OII-3727, "):
        rank_disks(read_catalogs(*catalogs(GOOD), SAMPLE), Ranking(), "Halpha", SAMPLE)


def test_unknown_daptype(catalogs):
    with pytest.raises(CatalogError, match=r"no rows for DAPTYPE 'VOR10' \(it has: SPX-MILESHC-MASTARSSP, HYB10"):
        read_catalogs(*catalogs(GOOD), Sample(daptype="VOR10"))


def test_names_that_do_not_count_the_lines(catalogs, lines):
    with pytest.raises(CatalogError, match=r"EMLINE_GFLUX_1RE has 35 lines but the primary header names 22"):
        read_catalogs(*catalogs(GOOD, names=lines["DR15"]), SAMPLE)


def without(column):
    def change(table):
        table.remove_column(column)
        return table

    return change


def renamed(table):
    table["mangaid"][0] = "1-9"
    return table


@pytest.mark.parametrize(
    ("drp", "message"),
    [
        (without("drp3qual"), r"drpall\.fits: column drp3qual is missing"),
        (lambda t: t[1:], r"8003-6101 of dapall\.fits is not in it \(1 such rows\)"),
        (lambda t: t[::-1], r"is not at its DRPALLINDX"),
        (renamed, "has another MANGAID"),
        (lambda t: t[[0, 0, 1, 2, 3, 4]], "comes twice"),
        (lambda t: t[:0], r"is not in it \(5 such rows\)"),
    ],
)
def test_drpall_that_does_not_fit(catalogs, drp, message):
    with pytest.raises(CatalogError, match=message):
        read_catalogs(*catalogs(GOOD, drp=drp), SAMPLE)


def test_unreadable_catalogues(catalogs, tmp_path):
    dapall, drpall = catalogs(GOOD)
    with pytest.raises(CatalogError, match="does not exist"):
        read_catalogs(tmp_path / "absent.fits", drpall, SAMPLE)
    with pytest.raises(CatalogError, match=r"expected the extension MANGA, found PRIMARY"):
        read_catalogs(dapall, dapall, SAMPLE)
    (tmp_path / "page.fits").write_text("<html>")
    with pytest.raises(CatalogError, match="expected a FITS catalogue"):
        read_catalogs(tmp_path / "page.fits", drpall, SAMPLE)
    dapall.write_bytes(dapall.read_bytes()[:20000])
    with pytest.raises(CatalogError, match="fetch it again"):
        read_catalogs(dapall, drpall, SAMPLE)


def test_nothing_passes(catalogs):
    table = ranked(catalogs, GOOD, Ranking(re_min_arcsec=100))
    assert tuple(table.columns) == RANKING
    assert len(table) == 0


def test_robust_scale_without_spread():
    assert robust_scale(np.array([3.0, 3.0, 3.0])).tolist() == [0, 0, 0]
    assert robust_scale(np.array([])).size == 0
