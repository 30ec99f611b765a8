"""MaNGA sources: moment planes, physical scaling, orientation, and what is refused."""

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from scipy.special import gammainc

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.sources.hybrid import HALF_LIGHT_PER_SCALE_RADIUS, fitted_scale_radius
from darkhaloscope.sources.manga import bank_planes, bank_rows, image_centre, manga_source
from darkhaloscope.sources.scaling import kpc_per_arcsec
from darkhaloscope.sources.source import SourceError, moment_planes, turned


def test_kpc_per_arcsec_is_astropys():
    redshift = np.array([[0.3, 1.5], [2.2, 0.3]])
    reference = FlatLambdaCDM(H0=67, Om0=0.32).kpc_proper_per_arcmin(redshift).value / 60
    assert kpc_per_arcsec(redshift, Cosmology(h0=67, om0=0.32)) == pytest.approx(reference, rel=1e-10)


def test_moments_know_masked_from_at_rest():
    valid = np.array([[True, False, True]])
    planes = moment_planes(np.array([[2.0, np.nan, -1.0]]), np.array([[10.0, np.nan, 5.0]]), np.array([[3.0, np.nan, 1.0]]), valid)
    assert planes[:, 0, 0] == pytest.approx([2, 20, 2 * (100 + 9)])
    assert not planes[:, 0, 1:].any()


def test_turned_is_counter_clockwise():
    assert turned(np.pi / 2) @ [1, 0] == pytest.approx([0, 1])


def test_a_galaxy_keeps_its_physical_size(make_bank):
    bank = make_bank()
    source = manga_source(bank, "8001-12701", 1.5, 0.5, Cosmology())
    assert source.pixel_scale_arcsec * kpc_per_arcsec(1.5, Cosmology()) == pytest.approx(0.6 * 0.5)
    assert source.provenance["resolution_arcsec"] * kpc_per_arcsec(1.5, Cosmology()) == pytest.approx(1.5 * 0.5)
    assert source.provenance["physical_id"] == "1-1"
    assert np.array_equal(source.flux, np.asarray(bank.column("flux").combine_chunks().to_numpy_ndarray())[1])


def test_planes_of_a_galaxy_are_its_sources(make_bank):
    bank = make_bank()
    planes = bank_planes(bank, bank_rows(bank, ["8002-12701"]))[0]
    assert np.array_equal(planes, manga_source(bank, "8002-12701", 1.5, 0.5, Cosmology()).planes())
    assert planes[1].any() and not planes[:, 0, 0].any()


def test_the_galaxys_centre_is_the_sources():
    # Its centre 3 columns right of and 2 rows above the image's: the image's lies to the left and below.
    assert image_centre((18.5, 17.5), (32, 32), 0.1, 0.0, False) == pytest.approx([-0.3, -0.2])
    assert image_centre((18.5, 17.5), (32, 32), 0.1, 0.0, True) == pytest.approx([0.3, -0.2])
    assert image_centre((18.5, 17.5), (32, 32), 0.1, np.pi / 2, False) == pytest.approx([0.2, -0.3])


def test_a_missing_galaxy_is_named(make_bank):
    with pytest.raises(SourceError, match="no galaxy 1-1 .*8000-12701"):
        bank_rows(make_bank(), ["1-1"])


@pytest.mark.parametrize("name", ["flux", "velocity", "dispersion"])
def test_maps_that_are_not_finite_are_refused(make_bank, name):
    maps = np.ones((4, 32, 32))
    maps[2, 16, 16] = np.nan
    bank = make_bank(**{name: maps})
    with pytest.raises(SourceError, match=rf"{name} map of galaxy 8002-12701 .* 1 valid pixels"):
        bank_planes(bank, [2])
    with pytest.raises(SourceError, match="not finite"):
        manga_source(bank, "8002-12701", 1.5, 0.5, Cosmology())


def test_not_finite_outside_the_mask_is_harmless(make_bank):
    maps = np.ones((4, 32, 32))
    maps[2, 0, 0] = np.nan
    assert np.isfinite(bank_planes(make_bank(velocity=maps), [2])).all()


def test_maps_without_light_are_refused(make_bank):
    with pytest.raises(SourceError, match="hold no light"):
        bank_planes(make_bank(flux=np.zeros((4, 32, 32))), [0])


def test_half_of_a_hybrids_light_is_inside_the_galaxys_half_light_radius():
    # Light of an exponential disk inside x scale radii is the regularised incomplete gamma function of order 2.
    assert gammainc(2, HALF_LIGHT_PER_SCALE_RADIUS) == pytest.approx(0.5, abs=1e-12)
    radius = fitted_scale_radius(4.0, 0.5, 1.5, Cosmology())
    assert radius * HALF_LIGHT_PER_SCALE_RADIUS * kpc_per_arcsec(1.5, Cosmology()) == pytest.approx(2.0)
