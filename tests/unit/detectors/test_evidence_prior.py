"""Priors: moments of the config's distributions, derivatives of the deflection, tabulated subhalos."""

import numpy as np
import pytest
import torch

from darkhaloscope.config.base import Distribution
from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import Lens, SubhaloDataset
from darkhaloscope.core.random import quantile
from darkhaloscope.detectors.evidence.pixels import DetectorError
from darkhaloscope.detectors.evidence.prior import LensPrior, _moments, halo, subhalo_profiles
from darkhaloscope.detectors.evidence.scan import Places, deflections
from darkhaloscope.lensing.lens import subhalo_deflection


@pytest.mark.parametrize(
    ("value", "draws"),
    [
        (1.5, lambda rng: np.full(10, 1.5)),
        ({"uniform": [0.2, 0.8]}, lambda rng: rng.uniform(0.2, 0.8, 400_000)),
        ({"log_uniform": [1, 20]}, lambda rng: np.exp(rng.uniform(0, np.log(20), 400_000))),
        ({"choice": [1, 2, 6]}, lambda rng: rng.choice([1, 2, 6], 400_000)),
        ({"normal": [2, 0.1, 1.9, 2.3]}, lambda rng: (v := rng.normal(2, 0.1, 900_000))[(v > 1.9) & (v < 2.3)]),
    ],
)
def test_moments_are_those_of_draws(value, draws):
    sample = draws(np.random.default_rng(1))
    mean, variance = _moments(Distribution.model_validate(value))
    assert mean == pytest.approx(sample.mean(), rel=5e-3)
    assert variance == pytest.approx(sample.var(), rel=1e-2, abs=1e-12)


@pytest.mark.parametrize(
    "value",
    [
        {"log_uniform": [1, 1.000001]},
        {"log_uniform": [1e-3, 1e3]},
        {"uniform": [1, 1.0000001]},
        {"normal": [1.0, 1e6, 0.8, 1.2]},
        {"normal": [1.0, 1e-6, 0.8, 1.2]},
        {"normal": [0.0, 0.05, 1.4, 2.6]},
        {"normal": [3.0, 0.1, 1.0, 1.2]},
    ],
)
def test_moments_of_narrow_flat_and_far_distributions_are_those_of_what_is_drawn(value):
    distribution = Distribution.model_validate(value)
    drawn = quantile(distribution, (np.arange(1_000_000) + 0.5) / 1_000_000)
    mean, variance = _moments(distribution)
    assert mean == pytest.approx(drawn.mean(), rel=1e-6)
    assert variance == pytest.approx(drawn.var(), rel=1e-4)


@pytest.mark.parametrize("value", [{"choice": [0.1, 0.1, 0.1]}, {"choice": [0.3]}, {"log_uniform": [0.3, 0.3]}])
def test_what_has_one_value_alone_does_not_vary(value):
    assert _moments(Distribution.model_validate(value)) == (value[next(iter(value))][0], 0.0)


def test_only_what_the_dataset_varies_is_free():
    prior = LensPrior.of(Lens(profile="sie", multipole_m3=0, multipole_m4=0, shear=0))
    assert set(prior.names) == {"theta_e", "x", "y", "e1", "e2"}
    e = np.random.default_rng(1).uniform(0, 0.3, 200_000) * np.cos(np.random.default_rng(2).uniform(0, 2 * np.pi, 200_000))
    assert prior.width[prior.names.index("e1")] == pytest.approx(e.std(), rel=2e-2)


def test_lenses_that_are_all_one_are_refused_in_words():
    one = dict.fromkeys(("shear", "multipole_m3", "multipole_m4", "centre_offset_arcsec"), 0)
    with pytest.raises(DetectorError, match=r"let lens.theta_e_arcsec or another of their parameters vary"):
        LensPrior.of(Lens(profile="sis", theta_e_arcsec=1, **one))


@pytest.mark.parametrize("profile", ["sis", "sie", "epl"])
def test_derivatives_are_finite_differences(profile):
    prior = LensPrior.of(Lens(profile=profile))
    rng = np.random.default_rng(3)
    values = prior.values(torch.as_tensor(rng.uniform(-1, 1, (2, len(prior.names)))))
    x, y = (torch.as_tensor(v) for v in rng.uniform(-1.5, 1.5, (2, 2, 20)))
    deflection, pushed = prior.derivatives(values, x, y)
    np.testing.assert_allclose(deflection, prior.deflect(values, x, y), atol=2e-6)
    step = 1e-3
    for k, width in enumerate(prior.width):
        move = torch.zeros_like(values)
        move[:, k] = step * width
        expected = (prior.deflect(values + move, x, y) - prior.deflect(values - move, x, y)) / (2 * step)
        np.testing.assert_allclose(pushed[:, k], expected, atol=2e-5)


def test_derivatives_by_multipoles_exist_where_there_are_none():
    prior = LensPrior.of(Lens())
    values = torch.as_tensor(prior.mean)[None]
    x, y = torch.tensor([[0.9, -0.3]], dtype=torch.float64), torch.tensor([[0.2, 1.1]], dtype=torch.float64)
    pushed = prior.derivatives(values, x, y)[1][0]
    for name in ("m3_cos", "m3_sin", "m4_cos", "m4_sin"):
        assert float(pushed[prior.names.index(name)].abs().max()) > 1e-4


def test_tabulated_subhalos_are_the_profiles():
    dataset = SubhaloDataset(subhalo={"profiles": {"sis": 0.4, "nfw": 0.3, "tnfw": 0.3}})
    profiles = subhalo_profiles(dataset, Cosmology())
    assert sum(p.share for p in profiles) == pytest.approx(1)
    rng = np.random.default_rng(6)
    x, y = (torch.as_tensor(v) for v in rng.uniform(-1.8, 1.8, (2, 300)))
    where = Places(np.array([0.91, -0.4]), np.array([0.13, 0.77]), np.array([0.5, 0.5]), np.zeros((2, 2), int))
    found = deflections(where, profiles, 1.1, x, y).reshape(len(profiles), 2, 300, 2)
    for profile, some in zip(profiles, found, strict=True):
        at = [torch.as_tensor(v) for v in (where.x, where.y)]
        exact = torch.stack(subhalo_deflection(profile.at(*at, 1.1), x.expand(2, -1), y.expand(2, -1)), -1)
        # Within a step of the centre an SIS turns round; elsewhere the table is good to a part in a thousand.
        near = torch.hypot(x - at[0][:, None], y - at[1][:, None]) < 0.01
        error = (some - exact).abs().amax(-1)
        assert float(error[~near].max()) < 1e-3 * float(exact.abs().max())


def test_heavier_halos_deflect_more():
    dataset = SubhaloDataset()
    light, heavy = (halo("nfw", m, 1.0, dataset, Cosmology()) for m in (9.0, 10.0))
    assert heavy.alpha_rs > 2 * light.alpha_rs
