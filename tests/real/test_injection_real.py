"""Real COSMOS galaxies lensed into real DECam galaxies, with the checks that an astronomer would make."""

import galsim
import numpy as np
import pytest
from astropy.io import fits

from darkhaloscope.config.sources import CosmosSources
from darkhaloscope.core.tables import images
from darkhaloscope.sources.cosmos import isolate, list_sources
from darkhaloscope.sources.source import SourceError
from darkhaloscope.tasks.lensfinder.without_arcs import remove_arcs
from real.real_stamps import SOURCE_COLOURS, checks, draw, make_real_stamps, scored_by_a_mock_network


@pytest.fixture(scope="module")
def made(real, tmp_path_factory):
    return make_real_stamps(real, tmp_path_factory.mktemp("cosmos"))


def test_the_background_is_as_noisy_as_before(made):
    """The sky is in the cutout already: far from the arc nothing is added. The arcs' faint wings take 2%."""
    for check in checks(made):
        assert check["noise_after"] == pytest.approx(check["noise_before"], rel=0.02)


def test_arcs_have_the_colours_that_were_asked_for_and_are_bluer_than_their_hosts(made):
    for check in checks(made):
        # The arc's own Poisson noise, 150 electrons per nanomaggy, is a few hundredths of a magnitude.
        assert check["arc_gr"] == pytest.approx(SOURCE_COLOURS[0], abs=0.1)
        assert check["arc_rz"] == pytest.approx(SOURCE_COLOURS[1], abs=0.1)
        assert check["host_gr"] > check["arc_gr"] + 0.5


def test_rings_are_seen_at_their_einstein_radius(made):
    """The profile of a ring behind a PSF peaks inside θ_E, more so for an extended source: up to 0.3 arcsec here."""
    found = np.array([(c["theta_e"], c["ring"]) for c in checks(made)])
    assert found[:, 0].min() > 1 and np.abs(found[:, 0] - found[:, 1]).max() < 0.35
    assert np.corrcoef(found.T)[0, 1] > 0.95


def test_every_stamp_is_valid_and_its_flux_closes(made):
    rows = made.stamps.drop_columns(["image"]).to_pylist()
    assert all(r["physics_valid"] and r["metrics_ok"] and r["flux_closure"] < 1e-3 for r in rows)
    assert all(r["arc_snr_matched"] > r["arc_snr"] > 1 for r in rows)


def test_null_injections_give_the_real_cutouts_back_to_the_bit(real, tmp_path):
    nothing = make_real_stamps(real, tmp_path, src_dmag=200.0)
    before = np.stack([c.image for c in nothing.cutouts])
    assert np.array_equal(images(nothing.stamps, "image").view(np.uint32), before.view(np.uint32))


def test_arcs_that_are_taken_away_leave_the_real_cutouts(made):
    """But for the rounding of one float32 sum, which is that of the stamp with its arc."""
    removed, bare = (images(t, "image") for t in remove_arcs(made.stamps, made.dataset, made.stills))
    before, after = np.stack([c.image for c in made.cutouts]), images(made.stamps, "image")
    assert (np.abs(bare - before) <= np.spacing(np.maximum(np.abs(before), np.abs(after)))).all()
    # With the arc's noise in place the light is gone all the same: to 5 deviations of √(flux/150) in a band.
    for left, arc in zip((removed - before).sum((2, 3)), (after - before).sum((2, 3)), strict=True):
        assert (np.abs(left) < 5 * np.sqrt(arc / 150)).all()


def test_real_galaxies_keep_their_light_and_lose_their_noise(real, tmp_path):
    """Faded galaxies have the flux of their Sérsic fits: 3% less in the median, 14% in the one that its image cuts off; no edge is left."""
    catalog = real / "cosmos/paltas-real_galaxy_catalog_23.5.fits"
    sources, _ = list_sources(CosmosSources(exclusion="none"), catalog)
    with fits.open(catalog.with_name(catalog.stem + "_fits.fits")) as hdus:
        fitted = {str(r["IDENT"]): r["flux"][0] for r in hdus[1].data}
    ratios = []
    with fits.open(real / "cosmos/paltas-real_galaxy_images_23.5_n1.fits") as hdus:
        for row in sources.to_pylist():
            light = isolate(hdus[row["hdu"]].data.astype(float) - row["noise_mean"], row["ident"])
            ratios.append(light.sum() / fitted[row["ident"]])
            edge = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
            assert np.abs(edge).max() < 1e-2 * light.max()
    assert np.median(ratios) == pytest.approx(0.97, abs=0.03) and min(ratios) > 0.85 and max(ratios) < 1.05


def test_the_selection_of_galsims_example_is_galsims(real):
    catalog = real / "cosmos/galsim-real_galaxy_catalog_23.5_example.fits"
    theirs = galsim.COSMOSCatalog(str(catalog), use_real=False, exclusion_level="marginal")
    ours, _ = list_sources(CosmosSources(half_light_radius_arcsec=(0, 99), magnitude=(0, 99)), catalog)
    with fits.open(catalog) as hdus:
        assert sorted(map(int, ours["ident"].to_pylist())) == sorted(hdus[1].data["IDENT"][theirs.orig_index].tolist())


def test_a_sample_without_its_selection_file_says_so(real):
    with pytest.raises(SourceError, match=r"_selection\.fits is missing"):
        list_sources(CosmosSources(), real / "cosmos/paltas-real_galaxy_catalog_23.5.fits")


def test_a_network_of_the_mock_survey_scores_real_galaxies_higher_with_their_arcs(made, tmp_path):
    """Real pixels through shards, training, weights on disk and scores. Ten galaxies say nothing of rates: bright arcs are to raise each score."""
    with_arc, without = scored_by_a_mock_network(made, tmp_path)
    assert ((with_arc > 0) & (with_arc < 1) & (without > 0) & (without < 1)).all()
    # Measured: 0.38 to 0.96 with arcs, at most 0.05 without.
    assert (with_arc > without).all() and np.sort(with_arc)[1] > without.max()
    draw(made, tmp_path / "stamps.png", (with_arc, without))
    assert (tmp_path / "stamps.png").stat().st_size > 100_000
