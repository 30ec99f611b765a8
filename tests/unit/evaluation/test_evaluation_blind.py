"""The blind ceiling: its templates against the stamps' own subhalos, its scores against closed forms, its table."""

import numpy as np
import pytest
from scipy.special import ndtr

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.detectors.evidence.prior import subhalo_profiles
from darkhaloscope.detectors.evidence.scan import Places
from darkhaloscope.evaluation import blind
from darkhaloscope.evaluation.blind import blind_ceiling, d_prime, templates
from darkhaloscope.evaluation.information import saturation
from darkhaloscope.stamps.columns import row_columns, take
from darkhaloscope.tasks.subhalo.manifest import build_manifest
from darkhaloscope.tasks.subhalo.marginal import residual_norm, whiten
from darkhaloscope.tasks.subhalo.render import StampError, render_rows

COSMOLOGY = Cosmology()
VALUES = {
    "size": {"train": 4, "validation": 0, "test": 0},
    "sources": {"sample": None, "mix": {"disk": 1.0}, "disk": {"n_knots": 4}},
    "lens": {"theta_e_arcsec": {"uniform": [0.75, 0.85]}},
    "subhalo": {"profiles": {"sis": 1.0}, "theta_e_factor": 0.03},
    "instrument": {"stamp_size": 32},
    "rendering": {"supersampling": 2},
}


@pytest.fixture(scope="module")
def dataset():
    return SubhaloDataset.model_validate(VALUES)


@pytest.fixture(scope="module")
def rows(dataset):
    return render_rows(build_manifest("blind", dataset, None, COSMOLOGY), dataset, None, COSMOLOGY)


@pytest.fixture(scope="module")
def table(dataset, rows):
    return blind_ceiling(rows, dataset, COSMOLOGY, 2)


def test_a_template_where_the_subhalo_is_is_its_signal(dataset, rows):
    """To 1% of the signal: templates are made in float32, of rays deflected by a table."""
    one = take(row_columns(rows), np.array([1]))
    seen = whiten(one, dataset, COSMOLOGY)
    where = Places(one["subhalo_x_arcsec"], one["subhalo_y_arcsec"], np.ones(1), np.zeros((1, 2), int))
    found = templates(seen, where, subhalo_profiles(dataset, COSMOLOGY))
    for channel, signal in seen.signal.items():
        assert found[channel].shape == (1, len(signal))
        assert np.linalg.norm(found[channel][0] - signal) < 0.01 * np.linalg.norm(signal), channel


@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_with_one_template_it_is_the_marginal_observer(strength, monkeypatch):
    """Then the score is ln of the likelihood ratio, whose AUC is Φ(d′/√2); 4,000 draws of each class know it to 0.006 (one σ)."""
    rng = np.random.default_rng(1)
    signal, directions = rng.standard_normal(60), rng.standard_normal((7, 60))
    signal *= strength / residual_norm(signal, directions)
    monkeypatch.setattr(blind, "DRAWS", 4000)
    without, with_it = blind._draw(signal, directions, signal[None], np.ones(1), rng)
    assert blind._share_below(without, with_it) == pytest.approx(ndtr(strength / np.sqrt(2)), abs=0.02)
    # ln of a likelihood ratio: mean ∓ d′²/2, variance d′².
    assert (np.mean(without), np.mean(with_it)) == pytest.approx((-(strength**2) / 2, strength**2 / 2), abs=0.1)
    assert np.std(without) == pytest.approx(strength, rel=0.05)


def test_templates_along_lens_and_source_say_nothing():
    rng = np.random.default_rng(2)
    directions = rng.standard_normal((5, 40))
    without, with_it = blind._draw(directions[0], directions, directions[:3] * 30, np.full(3, 1 / 3), rng)
    np.testing.assert_allclose(np.concatenate([without, with_it]), 0, atol=1e-9)


def test_not_knowing_the_place_costs(table):
    most = saturation(blind.DRAWS, blind.DRAWS)
    assert len(table) == 4 and (table["n_templates"] > 20).all()
    for channel in ("flux", "velocity", "both"):
        own, known = table[f"blind_d_prime_{channel}"], table[f"marginal_d_prime_{channel}"].clip(upper=most)
        assert ((own >= 0) & (own <= most)).all()
        # 200 draws of each class know a d′ of some units to 0.15 (one σ).
        assert (own < known + 0.4).all()
        assert table[f"blind_auc_{channel}"].between(0, 1).all()
    assert table["blind_auc_both"].mean() > 0.8


def test_a_stamp_is_judged_by_itself_against_all_controls(dataset, rows, table):
    alone = blind_ceiling(rows.slice(2, 1), dataset, COSMOLOGY, 2)
    one = table[table["stamp_id"] == alone["stamp_id"].item()]
    for channel in ("flux", "both"):
        assert alone[f"blind_d_prime_{channel}"].item() == one[f"blind_d_prime_{channel}"].item()
        # Where it is alone, all controls are its own.
        assert d_prime(alone[f"blind_auc_{channel}"].item()) == alone[f"blind_d_prime_{channel}"].item()


def test_a_channel_that_is_not_there_is_no_number():
    rng = np.random.default_rng(3)
    without, with_it = blind._draw(np.ones(2), np.ones((1, 2)), np.ones((1, 2)), np.ones(1), rng)
    assert np.isnan(blind._share_below(without, with_it))


def test_lensing_itself_has_no_ceiling(dataset, rows):
    with pytest.raises(StampError, match="marginal_stamps"):
        blind_ceiling(rows, dataset.model_copy(update={"contrast": "lensed"}), COSMOLOGY)
