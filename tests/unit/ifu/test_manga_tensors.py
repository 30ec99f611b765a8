"""Source tensors: the contract and its way back, conservation of flux, no bleeding of masked zeros."""

import json
import struct

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from scipy.ndimage import map_coordinates

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.manga import Quality, Tensor
from darkhaloscope.ifu.normalised import normalise, write_normalised, write_reason
from darkhaloscope.ifu.quality import measure_quality
from darkhaloscope.ifu.tensors import (
    AllMasked,
    CriticalQuality,
    TensorError,
    UnreadableTensor,
    build_source_tensor,
    compactness,
    elliptical_centre,
    left_out,
    pixel_coordinate,
    read_source_tensor,
    receding_axis_rad,
    resample_flux,
    resample_weighted,
    write_left_out,
    write_source_tensor,
)

SHA = "0" * 64


def build(maps, size=64):
    return build_source_tensor(maps, measure_quality(maps, Quality()), size, Cosmology(), SHA)


def test_contract(make_maps):
    maps = make_maps()
    result = build(maps)
    tensor, side = normalise(result, maps, Tensor())
    assert tensor.shape == (2, 64, 64)
    assert tensor.dtype == np.float32
    assert tensor[0].min() >= 0
    assert tensor[0].max() == 1
    assert np.abs(tensor[1]).max() == 1
    assert not tensor[:, ~result.valid].any()
    assert side["pixel_scale_arcsec"] == pytest.approx(34 * 0.5 / 64)
    assert {"galaxy_id", "physical_id", "z", "inclination_deg", "pa_deg", "metrics", "source_sha256"} <= set(side)
    json.dumps(side, allow_nan=False)


def test_normalisation_is_that_of_the_valid_spaxels(make_maps):
    maps = make_maps()
    _, side = normalise(build(maps), maps, Tensor())
    good = maps.flux_valid & maps.velocity_valid
    low, high = np.percentile(maps.flux[good], [5, 99.5])
    median = np.median(maps.velocity[good])
    assert (side["flux_p5_per_spaxel"], side["flux_p99_5_per_spaxel"]) == pytest.approx((low, high))
    assert side["flux_p5_per_arcsec2"] == pytest.approx(low / 0.25)
    assert side["velocity_median_kms"] == pytest.approx(median)
    assert side["velocity_scale_kms"] == pytest.approx(np.percentile(np.abs(maps.velocity[good] - median), 95))


@pytest.mark.parametrize("spaxels", [42, 54, 64, 74, 80])
@pytest.mark.parametrize("size", [32, 64, 100])
def test_total_flux_is_conserved(make_maps, spaxels, size):
    maps = make_maps(size=spaxels)
    result = build(maps, size)
    total = result.flux_per_arcsec2.sum(dtype=float) * result.facts["pixel_scale_arcsec"] ** 2
    assert total == pytest.approx(maps.flux[maps.flux_valid].sum(), rel=1e-6)
    # The one factor that makes it so is small even where a pixel is more than twice a spaxel.
    assert result.facts["flux_factor"] == pytest.approx(1, abs=0.02)
    assert size * result.facts["pixel_scale_arcsec"] == pytest.approx(spaxels * 0.5)


def test_centre_and_size_do_not_move(make_maps):
    small, large = build(make_maps(), 34), build(make_maps(), 102)
    for result in (small, large):
        side = result.facts
        assert side["centre_x_pix"] == pytest.approx((side["size"] - 1) / 2, abs=1e-3)
        y, x = np.indices(result.valid.shape)
        light = result.flux_per_arcsec2
        assert (light * x).sum() / light.sum() == pytest.approx(side["centre_x_pix"], abs=1e-3)
        assert (light * y).sum() / light.sum() == pytest.approx(side["centre_y_pix"], abs=1e-3)
    # Interpolation blurs by less than a spaxel.
    assert large.facts["r_half_pix"] / 3 == pytest.approx(small.facts["r_half_pix"], rel=0.03)


def test_same_size_changes_nothing(make_maps):
    maps = make_maps()
    result = build(maps, 34)
    np.testing.assert_allclose(result.flux_per_arcsec2, maps.flux / 0.25, rtol=1e-6)
    np.testing.assert_allclose(result.velocity, maps.velocity, atol=1e-4)
    np.testing.assert_allclose(result.dispersion, maps.dispersion, atol=1e-4)
    assert (result.valid == maps.flux_valid).all()


def test_resampling_is_bilinear():
    rng = np.random.default_rng(3)
    image = rng.random((42, 42))
    valid = np.ones_like(image, bool)
    place = (np.arange(64) + 0.5) * 42 / 64 - 0.5
    expected = map_coordinates(image, np.meshgrid(place, place, indexing="ij"), order=1, mode="nearest")
    np.testing.assert_allclose(resample_flux(image, valid, 64)[0], expected, atol=1e-12)
    np.testing.assert_allclose(resample_weighted(image, valid.astype(float), valid, 64), expected, atol=1e-12)
    assert pixel_coordinate(20.5, 42, 64) == 31.5


def test_masked_zeros_do_not_bleed_into_the_edges():
    """Constant flux and velocity stay constant up to the last valid pixel, whatever the mask holds."""
    rng = np.random.default_rng(4)
    valid = rng.random((50, 50)) < 0.6
    flux, new_valid = resample_flux(np.where(valid, 7.0, 0.0), valid, 64)
    velocity = resample_weighted(np.where(valid, -120.0, 0.0), np.where(valid, 7.0, 0.0), valid, 64)
    assert 0.4 < new_valid.mean() < 0.8
    np.testing.assert_allclose(flux[new_valid], 7.0, rtol=1e-12)
    np.testing.assert_allclose(velocity[new_valid], -120.0, rtol=1e-12)
    assert not flux[~new_valid].any()


def test_what_masked_spaxels_hold_does_not_matter():
    rng = np.random.default_rng(5)
    valid = rng.random((50, 50)) < 0.7
    flux, velocity = rng.uniform(1, 2, (50, 50)), rng.normal(size=(50, 50))
    junk = np.where(valid, 0, 1e12)
    np.testing.assert_array_equal(resample_flux(flux, valid, 64)[0], resample_flux(flux + junk, valid, 64)[0])
    np.testing.assert_array_equal(resample_weighted(velocity, flux, valid, 64), resample_weighted(velocity + junk, flux + junk, valid, 64))


def test_velocity_is_weighted_by_flux():
    # A pixel halfway between two spaxels of flux 3 and 1 has the velocity (3·100 + 1·(−100))/4.
    velocity, flux = np.array([[100.0, -100.0]] * 2), np.array([[3.0, 1.0]] * 2)
    assert resample_weighted(velocity, flux, np.ones((2, 2), bool), 1)[0, 0] == pytest.approx(50.0)


def test_velocity_without_flux_counts_only_where_it_is_alone():
    velocity = np.array([[100.0, 100.0, -50.0, -50.0]] * 4)
    flux = np.array([[1.0, 1.0, 0.0, 0.0]] * 4)
    result = resample_weighted(velocity, flux, np.ones((4, 4), bool), 8)
    assert result[3, 7] == -50
    assert result[3, 4] == pytest.approx(100, abs=1e-5)


def test_first_moment_is_conserved_where_velocity_is_smooth(make_maps):
    maps = make_maps(velocity=150 * np.tanh((np.indices((34, 34))[1] - 12) / 6))
    result = build(maps)
    good = maps.flux_valid
    mean = (maps.flux * maps.velocity)[good].sum() / maps.flux[good].sum()
    light = result.flux_per_arcsec2.astype(float)
    # Bilinear weights of neighbouring pixels do not add up to exactly one per spaxel: 1% of the range.
    assert (light * result.velocity).sum() / light.sum() == pytest.approx(mean, abs=3)


def test_pixel_scale_in_kpc_is_astropys(make_maps):
    side = build(make_maps()).facts
    kpc = FlatLambdaCDM(H0=70, Om0=0.3).kpc_proper_per_arcmin(0.03).value / 60
    assert side["kpc_per_arcsec"] == pytest.approx(kpc, rel=1e-6)
    assert side["original_pixel_scale_kpc"] == pytest.approx(0.5 * kpc, rel=1e-6)
    assert side["psf_fwhm_kpc"] == pytest.approx(2.6 * kpc, rel=1e-6)


def test_centre_of_elliptical_coordinates(make_maps):
    y, x = np.indices((34, 34))
    u, v = (x - 14.3) * 0.8 + (y - 19.6) * 0.6, (y - 19.6) * 0.8 - (x - 14.3) * 0.6
    maps = make_maps({"r_re": np.hypot(u, v / 0.6)})
    assert elliptical_centre(maps) == pytest.approx((14.3, 19.6), abs=1e-6)


@pytest.mark.parametrize(
    ("pa", "slope", "expected"), [(0, (0, 1), 90), (0, (0, -1), 270), (90, (-1, 0), 180), (90, (1, 0), 0), (45, (-1, 1), 135)]
)
def test_receding_half_of_the_major_axis(make_maps, pa, slope, expected):
    """North is up, east to the left: PA 0 points up, PA 90 to the left."""
    y, x = np.indices((34, 34))
    maps = make_maps(cards={"ECOOPA": float(pa)}, velocity=5.0 * (slope[0] * x + slope[1] * y))
    assert np.degrees(receding_axis_rad(maps, maps.velocity_valid)) == pytest.approx(expected, abs=1e-9)


def test_speed_and_radius_of_a_known_disk(make_maps):
    x = np.indices((34, 34))[1] - 16.5
    maps = make_maps(velocity=np.where(x > 0, 100.0, -100.0), cards={"ECOOELL": 0.5})
    side = build(maps).facts
    assert side["v_peak_los_kms"] == pytest.approx(100)
    assert side["v_peak_kms"] == pytest.approx(100 / np.sin(np.radians(60)))
    # Face-on flux 100·exp(−r/5): half of what lies inside the valid circle of 15.3 spaxels.
    r = np.linspace(0, 15.3, 20000)
    inside = np.cumsum(r * np.exp(-r / 5))
    assert side["half_light_radius_arcsec"] == pytest.approx(0.5 * np.interp(0.5, inside / inside[-1], r), rel=0.01)


def test_compactness_of_a_gaussian():
    y, x = np.indices((101, 101)) - 50
    sigma = 8.0
    result = compactness(np.exp(-(x**2 + y**2) / (2 * sigma**2)), np.ones((101, 101), bool))
    # Inside r lies 1 − exp(−r²/2σ²); pixels are small beside σ.
    assert result["r_half_pix"] == pytest.approx(sigma * np.sqrt(2 * np.log(2)), rel=0.01)
    assert result["r80_pix"] == pytest.approx(sigma * np.sqrt(2 * np.log(5)), rel=0.01)
    assert result["flux_frac_central_5x5"] == pytest.approx(25 / (2 * np.pi * sigma**2), rel=0.04)


def test_dispersion_fills_from_the_mean_where_unknown(make_maps):
    maps = make_maps()
    known = maps.dispersion_valid.copy()
    known[15:19] = False
    maps = make_maps({"dispersion_valid": known, "dispersion": np.where(known, 48.0, 0.0)})
    result = build(maps)
    np.testing.assert_allclose(result.dispersion[result.valid], 48.0, rtol=1e-5)
    assert result.facts["dispersion_mean_kms"] == pytest.approx(48.0)


def test_all_masked(make_maps):
    with pytest.raises(AllMasked, match=r"galaxy 99999-1901: all 1156 spaxels are masked in flux or velocity of Ha-6564"):
        build(make_maps(good=np.zeros((34, 34), bool)))


@pytest.mark.parametrize("card", ["DRP3QUAL", "DAPQUAL"])
def test_critical_quality(make_maps, card):
    with pytest.raises(CriticalQuality, match=f"{card} (is )?1073741824.*bit 30"):
        build(make_maps(cards={card: 1 << 30}))


def test_constant_maps_cannot_be_normalised(make_maps):
    with pytest.raises(TensorError, match="does not vary over its"):
        build(make_maps(velocity=np.full((34, 34), 10.0)))


def test_files(make_maps, tmp_path):
    maps = make_maps()
    result = build(maps)
    npy, side, npz, png, facts = (tmp_path / f"99999-1901{s}" for s in (".npy", ".json", ".npz", ".png", "-facts.json"))

    def write():
        write_source_tensor(result, npz, facts)
        physical = read_source_tensor(npz, facts)
        normalised = normalise(physical, maps, Tensor())
        write_normalised(physical, normalised, npy, side, png)
        return normalised

    tensor, sidecar = write()
    first = [p.read_bytes() for p in (npy, side, npz, png, facts)]
    np.testing.assert_array_equal(np.load(npy, allow_pickle=False), tensor)
    np.testing.assert_array_equal(tensor, normalise(result, maps, Tensor())[0])
    assert json.loads(side.read_text()) == sidecar
    assert json.loads(facts.read_text()) == result.facts
    with np.load(npz, allow_pickle=False) as found:
        np.testing.assert_array_equal(found["velocity"], result.velocity)
        assert set(found) == {"flux_per_arcsec2", "velocity", "dispersion", "valid"}
    assert struct.unpack(">II", first[3][16:24]) == (1440, 860)
    write()
    assert [p.read_bytes() for p in (npy, side, npz, png, facts)] == first


@pytest.mark.parametrize("content", [b"", b"{", b"PK\x03\x04"])
def test_damaged_files_are_named(make_maps, tmp_path, content):
    npz, facts = tmp_path / "a.npz", tmp_path / "a.json"
    for damaged in (npz, facts):
        write_source_tensor(build(make_maps()), npz, facts)
        damaged.write_bytes(content)
        with pytest.raises(UnreadableTensor, match=rf"a\{damaged.suffix}: expected .*build (the|its) source tensor again"):
            read_source_tensor(npz, facts)


def test_other_percentiles_change_the_tensor_alone(make_maps):
    maps = make_maps()
    result = build(maps)
    tensor, side = normalise(result, maps, Tensor())
    other, other_side = normalise(result, maps, Tensor(flux_percentiles=(1.0, 90.0), velocity_percentile=60))
    assert not np.array_equal(tensor, other)
    changed = {key for key in side if side[key] != other_side[key]}
    assert changed and all(key.startswith(("flux_p", "velocity_percentile", "velocity_scale")) for key in changed)
    assert not changed & set(result.facts)


def test_a_galaxy_that_is_left_out_says_why_in_every_file(make_maps, tmp_path):
    npy, side, npz, png, facts = (tmp_path / f"99999-1901{s}" for s in (".npy", ".json", ".npz", ".png", "-facts.json"))
    write_left_out(make_maps(), "no light", npz, facts)
    found = read_source_tensor(npz, facts)
    assert found == left_out(make_maps(), "no light")
    write_reason(found, npy, side, png)
    assert json.loads(side.read_text())["left_out"] == "no light"
    assert np.load(npy, allow_pickle=False).shape == (2, 0, 0)
    assert png.stat().st_size > 1000
