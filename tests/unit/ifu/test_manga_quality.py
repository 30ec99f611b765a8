"""Quality metrics against analytic maps, scipy's Pearson r, and the definitions of flags at their bounds."""

import json

import numpy as np
import pytest
from scipy import stats

from darkhaloscope.config.manga import Quality
from darkhaloscope.ifu.quality import TooFewSpaxels, correlation, inclination_deg, measure_quality, spread, velocity_gradient

KEYS = {
    *("vel_grad", "vel_std", "vel_min", "vel_max", "flux_min", "flux_max", "flux_mean", "flux_vel_corr", "mask_fraction"),
    *("n_valid_spaxels", "total_spaxels", "frac_valid_in_1p5re", "low_rotation", "heavily_masked", "low_flux", "usable"),
    *("galaxy_id", "physical_id", "z", "ba", "inclination_deg", "pa_deg", "reff_arcsec", "drp3qual", "dapqual", "layout", "line"),
}


def test_velocity_gradient_of_a_tilted_plane():
    y, x = np.indices((40, 42))
    velocity = 3.0 * x - 4.0 * y + 120.0
    assert velocity_gradient(velocity, np.ones_like(velocity, bool)) == pytest.approx(5.0)


def test_velocity_gradient_ignores_masked_spaxels():
    y, x = np.indices((40, 40))
    valid = np.hypot(x - 12, y - 20) < 9
    velocity = np.where(valid, 3.0 * x - 4.0 * y + 120.0, 0.0)
    assert velocity_gradient(velocity, valid) == pytest.approx(5.0)


def test_velocity_gradient_needs_two_dimensions():
    valid = np.zeros((30, 30), bool)
    valid[4] = True
    with pytest.raises(TooFewSpaxels, match="lie on one line"):
        velocity_gradient(np.ones((30, 30)), valid)
    with pytest.raises(TooFewSpaxels, match="needs 10 valid spaxels, found 0"):
        velocity_gradient(np.ones((30, 30)), np.zeros((30, 30), bool))


def test_correlation_is_pearsons():
    rng = np.random.default_rng(2)
    a = rng.normal(size=(20, 20))
    b = 0.3 * a + rng.normal(size=(20, 20))
    valid = rng.random((20, 20)) < 0.5
    assert correlation(a, b, valid) == pytest.approx(stats.pearsonr(a[valid], b[valid]).statistic, abs=1e-12)
    with pytest.raises(TooFewSpaxels):
        correlation(a, np.ones_like(b), valid)


def test_spread_is_of_the_population():
    assert spread(np.array([1.0, 3.0, 5.0])) == pytest.approx(np.sqrt(8 / 3))


def test_inclination():
    assert inclination_deg(0.5) == pytest.approx(60.0)
    assert inclination_deg(1.0) == 0


def test_metrics_of_a_known_map(make_maps):
    y, x = np.indices((34, 34)) - 16.5
    good = x > -9
    flux = 10 + x + 0 * y
    maps = make_maps(good=good, flux=flux, velocity=6.0 * x + 8.0 * y)
    metrics = measure_quality(maps, Quality())
    inside = 0.5 * np.hypot(x, y) / 4 <= 1.5
    expected = {
        "vel_grad": 10.0,
        "vel_std": np.std((6 * x + 8 * y)[good]),
        "vel_min": (6 * x + 8 * y)[good].min(),
        "vel_max": (6 * x + 8 * y)[good].max(),
        "flux_min": flux[good].min(),
        "flux_max": 26.5,
        "flux_mean": flux[good].mean(),
        "flux_vel_corr": stats.pearsonr(flux[good], (6 * x + 8 * y)[good]).statistic,
        "mask_fraction": 1 - good.mean(),
        "n_valid_spaxels": good.sum(),
        "total_spaxels": 34 * 34,
        "frac_valid_in_1p5re": good[inside].mean(),
    }
    # The file holds float32.
    assert {k: metrics[k] for k in expected} == pytest.approx(expected, rel=1e-5)
    assert set(metrics) >= KEYS
    assert metrics["usable"] is True
    assert metrics["unusable_because"] == []


def test_flux_and_velocity_masks_are_counted_apart(make_maps):
    flux_valid = np.ones((34, 34), bool)
    flux_valid[16:18, 16:18] = False
    velocity_valid = np.ones((34, 34), bool)
    velocity_valid[:17] = False
    metrics = measure_quality(make_maps({"flux_valid": flux_valid, "velocity_valid": velocity_valid}), Quality())
    y, x = np.indices((34, 34)) - 16.5
    inside = np.hypot(x, y) / 8 <= 1.5
    assert metrics["mask_fraction"] == 0.5
    assert metrics["frac_valid_in_1p5re"] == pytest.approx(1 - 4 / inside.sum())


@pytest.mark.parametrize(("slope", "flagged"), [(1.999, True), (2.001, False)])
def test_low_rotation(make_maps, slope, flagged):
    _, x = np.indices((34, 34))
    metrics = measure_quality(make_maps(velocity=slope * (x - 16.5)), Quality())
    assert metrics["low_rotation"] is flagged
    assert metrics["usable"] is not flagged
    assert any("low rotation" in reason for reason in metrics["unusable_because"]) is flagged


@pytest.mark.parametrize(("peak", "flagged"), [(4.99, True), (5.0, False)])
def test_low_flux(make_maps, peak, flagged):
    metrics = measure_quality(make_maps(flux=np.full((34, 34), peak)), Quality())
    assert metrics["low_flux"] is flagged


@pytest.mark.parametrize(("rows", "flagged"), [(12, False), (11, True)])
def test_heavily_masked(make_maps, rows, flagged):
    # 28 of 40 rows masked is exactly 0.7, which still passes.
    good = np.zeros((40, 40), bool)
    good[:rows] = True
    metrics = measure_quality(make_maps(size=40, good=good), Quality())
    assert metrics["heavily_masked"] is flagged


@pytest.mark.parametrize("card", ["DRP3QUAL", "DAPQUAL"])
def test_critical_quality_is_unusable_with_a_reason(make_maps, card):
    metrics = measure_quality(make_maps(cards={card: 1 << 30}), Quality())
    assert not metrics["usable"]
    assert "critical quality" in metrics["unusable_because"][0]
    assert measure_quality(make_maps(cards={card: 1 << 4}), Quality())["usable"]


@pytest.mark.parametrize("n_valid", [0, 1, 2])
def test_too_few_spaxels_give_nulls_and_a_reason(make_maps, n_valid):
    good = np.zeros((34, 34), bool)
    good.flat[:n_valid] = True
    metrics = measure_quality(make_maps(good=good), Quality())
    assert metrics["usable"] is False
    assert metrics["vel_grad"] is metrics["vel_std"] is metrics["flux_vel_corr"] is None
    assert (metrics["flux_max"] is None) == (n_valid == 0)
    assert any("no spaxel has a valid velocity" in reason for reason in metrics["unusable_because"]) == (n_valid == 0)
    json.dumps(metrics, allow_nan=False)
