"""Addresses against those that the archives publish."""

from pathlib import Path

import pytest

from darkhaloscope.archive.addresses import (
    AddressError,
    brick_table_url,
    coadd_url,
    join,
    legacysurvey_checksum_url,
    local_path,
    manga_catalog_url,
    manga_checksum_url,
    manga_maps_url,
    sweep_url,
    without_credentials,
)
from darkhaloscope.config.manga import Galaxies, Sample

SDSS = "https://data.sdss.org/sas/dr17/manga/spectro"
DR10 = "https://portal.nersc.gov/cfs/cosmo/data/legacysurvey/dr10"


def sample(base: str = SDSS + "/", **changes) -> Sample:
    return Sample(base=base, galaxies=Galaxies(n_top=1), **changes)


@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_dr17_catalogues_whether_or_not_the_base_ends_with_a_slash(slash):
    assert manga_catalog_url(sample(SDSS + slash), "dapall") == f"{SDSS}/analysis/v3_1_1/3.1.0/dapall-v3_1_1-3.1.0.fits"
    assert manga_catalog_url(sample(SDSS + slash), "drpall") == f"{SDSS}/redux/v3_1_1/drpall-v3_1_1.fits"


def test_dr17_maps():
    assert manga_maps_url(sample(), "8593-12705") == (
        f"{SDSS}/analysis/v3_1_1/3.1.0/HYB10-MILESHC-MASTARSSP/8593/12705/manga-8593-12705-MAPS-HYB10-MILESHC-MASTARSSP.fits.gz"
    )


def test_dr15_maps_below_a_relative_file_base():
    old = sample("file://../real/spectro", drp_version="v2_4_3", dap_version="2.2.3dev", daptype="HYB10-GAU-MILESHC")
    assert local_path(manga_maps_url(old, "7815-3702")) == Path(
        "../real/spectro/analysis/v2_4_3/2.2.3dev/HYB10-GAU-MILESHC/7815/3702/manga-7815-3702-MAPS-HYB10-GAU-MILESHC.fits.gz"
    )


@pytest.mark.parametrize("name", ["8593", "../8593-12705", "8593-12705/..", "8593-12705\n", "", "85930000-12705"])
def test_a_galaxy_name_from_a_catalogue_never_becomes_another_path(name):
    with pytest.raises(AddressError, match="plate-ifu such as"):
        manga_maps_url(sample(), name)


def test_an_unknown_catalogue_is_named():
    with pytest.raises(AddressError, match="choose dapall or drpall"):
        manga_catalog_url(sample(), "mapall")


@pytest.mark.parametrize("slash", ["", "/"])
def test_checksum_files_lie_in_the_folder_and_are_named_after_its_path(slash):
    """The rule of manga_morphology_galaxyzoo3d_v4_0_0.sha1sum in dr17/manga/morphology/galaxyzoo3d/v4_0_0."""
    archive = sample(SDSS + slash)
    assert manga_checksum_url(archive, manga_catalog_url(archive, "drpall")) == f"{SDSS}/redux/v3_1_1/manga_spectro_redux_v3_1_1.sha1sum"
    folder = "analysis/v3_1_1/3.1.0/HYB10-MILESHC-MASTARSSP/8593/12705"
    assert manga_checksum_url(archive, manga_maps_url(archive, "8593-12705")) == (
        f"{SDSS}/{folder}/manga_spectro_analysis_v3_1_1_3.1.0_HYB10-MILESHC-MASTARSSP_8593_12705.sha1sum"
    )


def test_a_checksum_file_of_another_archive_is_refused():
    with pytest.raises(AddressError, match="does not lie below"):
        manga_checksum_url(sample(), "https://example.org/a/b.fits")


def test_legacy_survey_addresses():
    assert sweep_url(DR10 + "/", "sweep-310m005-320p000") == f"{DR10}/south/sweep/10.1/sweep-310m005-320p000.fits"
    assert brick_table_url(DR10) == f"{DR10}/south/survey-bricks-dr10-south.fits.gz"
    assert brick_table_url(DR10, "all") == f"{DR10}/survey-bricks.fits.gz"
    folder = f"{DR10}/south/coadd/000/0001m002"
    image = coadd_url(DR10, "0001m002", "image", "r")
    assert image == f"{folder}/legacysurvey-0001m002-image-r.fits.fz"
    assert coadd_url(DR10, "0001m002", "maskbits") == f"{folder}/legacysurvey-0001m002-maskbits.fits.fz"
    # Both checksum files as the survey publishes them.
    assert legacysurvey_checksum_url(DR10, image) == f"{folder}/legacysurvey_dr10_south_coadd_000_0001m002.sha256sum"
    assert legacysurvey_checksum_url(DR10, brick_table_url(DR10)) == f"{DR10}/south/legacysurvey_dr10_south.sha256sum"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("0001m002/..", "image", "r"), "brick name"),
        (("0001m002", "image"), "needs a band"),
        (("0001m002", "image", "Y"), "needs a band"),
        (("0001m002", "maskbits", "r"), "once per brick"),
        (("0001m002", "models", "r"), "no coadd product"),
    ],
)
def test_wrong_coadds_are_refused_in_words(arguments, words):
    with pytest.raises(AddressError, match=words):
        coadd_url(DR10, *arguments)


def test_wrong_sweeps_and_brick_tables_are_refused():
    with pytest.raises(AddressError, match="without its ending"):
        sweep_url(DR10, "sweep-310m005-320p000.fits")
    with pytest.raises(AddressError, match="choose all or south"):
        brick_table_url(DR10, "north")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///a/b.fits", "/a/b.fits"),
        ("file://localhost/a/b.fits", "/a/b.fits"),
        ("file://a/b.fits", "a/b.fits"),
        ("file://./a", "a"),
        ("file://../a", "../a"),
        ("file:///a%20b/c", "/a b/c"),
        ("file:///a b#1?/c", "/a b#1?/c"),
    ],
)
def test_local_paths(url, path):
    assert local_path(url) == Path(path)


def test_network_addresses_have_no_local_path():
    assert local_path("https://data.sdss.org/a") is None
    assert local_path("http://127.0.0.1:8000/a") is None


@pytest.mark.parametrize("url", ["ftp://a/b", "/a/b", "data.sdss.org", "file://", "https://", "HTTP//a"])
def test_other_addresses_are_refused(url):
    with pytest.raises(AddressError, match="is not an address"):
        local_path(url)


@pytest.mark.parametrize("relative", ["", "../a", "a/../b", "/a", "a//b", "./a"])
def test_join_stays_below_its_base(relative):
    with pytest.raises(AddressError, match="not a path below"):
        join(SDSS, relative)


def test_join_below_the_root_folder():
    assert local_path(join("file:///", "a/b")) == Path("/a/b")


def test_credentials_are_not_shown():
    assert without_credentials("https://me:secret@host:8/a/b?token=1") == "https://host:8/a/b"
    assert without_credentials("file:///a@b/c") == "file:///a@b/c"
    with pytest.raises(AddressError) as error:
        local_path("ftp://me:secret@host/a")
    assert "secret" not in str(error.value)
