"""The linear probe and the Fréchet distance against theory: shifted Gaussians, closed forms, coverage."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import norm

from darkhaloscope.evaluation.likeness import frechet_distance, frechet_excess, linear_probe


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 2.0])
def test_the_probe_finds_the_auc_of_shifted_gaussians(shift):
    """The best that any line can do is Φ(δ/√2); standard deviation of an AUC of 1000 and 1000 is below 0.013, four of them are allowed."""
    rng = np.random.default_rng(0)
    real, injected = rng.normal(size=(1000, 10)), rng.normal(size=(1000, 10))
    real[:, 3] += shift
    value, low, high = linear_probe(real, injected)
    assert value == pytest.approx(norm.cdf(shift / np.sqrt(2)), abs=0.05)
    assert low < value < high < low + 0.06


def test_the_probe_sees_a_shift_whatever_the_scale_of_the_feature():
    rng = np.random.default_rng(1)
    real, injected = rng.normal(size=(300, 30)), rng.normal(size=(300, 30))
    real[:, 0] += 2
    scales = np.logspace(-4, 4, 30)
    assert linear_probe(real * scales, injected * scales)[0] == pytest.approx(linear_probe(real, injected)[0], abs=1e-3)


def test_the_probe_does_not_see_its_own_training_stamps():
    """More features than stamps: a regression judged on its own stamps would part them perfectly. Six deviations of an AUC of ½ are allowed."""
    rng = np.random.default_rng(2)
    value, _, _ = linear_probe(rng.normal(size=(200, 500)), rng.normal(size=(200, 500)))
    assert abs(value - 0.5) < 6 * np.sqrt(401 / (12 * 200 * 200))


def gaussians(k, seed):
    """Two random Gaussians: means and covariances."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(2, k, k + 2))
    return [value for mean, root in zip(rng.normal(size=(2, k)), roots, strict=True) for value in (mean, root @ root.T)]


@pytest.mark.parametrize("k", [1, 2, 10])
def test_the_frechet_distance_is_that_of_the_root_of_the_matrix(k):
    """scipy's square root of a matrix, as in the paper; rounding of a root of eigenvalues near 0 is below 10⁻⁶."""
    mean_a, cov_a, mean_b, cov_b = gaussians(k, k)
    expected = np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a + cov_b - 2 * np.real(sqrtm(cov_a @ cov_b)))
    assert frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(mean_b, cov_b, mean_a, cov_a) == pytest.approx(expected, rel=1e-6)
    assert abs(frechet_distance(mean_a, cov_a, mean_a, cov_a)) < 1e-6 * np.trace(cov_a)


def test_the_frechet_distance_of_spheres_and_of_few_stamps_in_closed_form():
    """|μ|² + k (σ_a − σ_b)² for round Gaussians; a covariance without rank is as good."""
    assert frechet_distance(np.full(4, 3.0), 4 * np.eye(4), np.zeros(4), np.eye(4)) == pytest.approx(36 + 4)
    assert frechet_distance(np.zeros(2), np.diag([1.0, 0.0]), np.zeros(2), np.diag([0.0, 4.0])) == pytest.approx(5)


@pytest.mark.parametrize(("shift", "wider"), [(0.0, 1.0), (0.5, 1.0), (1.5, 1.0), (0.0, 1.6)])
def test_the_excess_has_no_bias_and_its_interval_covers(shift, wider):
    """100 and 300 stamps in five features, 40 times: at least 90% of the intervals of 95% cover the true value, δ² + 5 (s − 1)² over 5.

    Deviations within samples are unit, so features are scaled by their pooled value: by √((m s² + n)/(m + n)) where one is wider.
    """
    rng = np.random.default_rng(3)
    scale = np.sqrt((100 * wider**2 + 300) / 400)
    true = (shift**2 + 5 * (wider - 1) ** 2) / scale**2 / (5 / scale**2)
    found = []
    for _ in range(40):
        real, injected = wider * rng.normal(size=(100, 5)), rng.normal(size=(300, 5))
        real[:, 0] += shift
        found.append(frechet_excess(real, injected, rng)[:3])
    value, low, high = np.array(found).T
    assert np.mean((low <= true) & (true <= high)) >= 0.9
    # Four standard deviations of the mean, and 3% for terms of higher order in 1/m.
    assert value.mean() == pytest.approx(true, abs=4 * value.std() / np.sqrt(40) + 0.03 * true)


def test_two_random_parts_are_apart_by_the_bias_that_is_subtracted():
    """The bias of the distance of two samples of s in k features is, to first order, 2k/s of the means and k(k+1)/(2s) of the covariances, over k."""
    rng = np.random.default_rng(4)
    s, k = 400, 5
    *_, null = frechet_excess(rng.normal(size=(s, k)), rng.normal(size=(2 * s, k)), rng)
    assert null == pytest.approx((2 * k / s + k * (k + 1) / (2 * s)) / k, rel=0.1)


def test_components_are_fewer_where_lenses_are_few():
    rng = np.random.default_rng(5)
    value, low, high, null = frechet_excess(rng.normal(size=(50, 200)), rng.normal(size=(400, 200)), rng)
    assert low < 0 < high and abs(value) < 0.1 and 0 < null < 1
