"""Intervals against scipy and definitions, and their coverage in simulations (95% nominal)."""

import numpy as np
import pytest
from scipy import stats

from darkhaloscope.core.intervals import (
    clopper_pearson,
    delong_components,
    delong_difference,
    delong_interval,
    exact_fpr_at_tpr_interval,
    fpr_at_tpr_interval,
    newcombe_auc_interval,
    tpr_at_fpr_interval,
    wilson,
)
from darkhaloscope.core.rates import Ranked, auc, rank, tpr_at_fpr

COUNTS = [(0, 10), (1, 10), (10, 10), (3, 1000), (999, 1000), (450, 1000)]


@pytest.mark.parametrize(("function", "method"), [(wilson, "wilson"), (clopper_pearson, "exact")])
@pytest.mark.parametrize("confidence", [0.68, 0.95])
def test_binomial_intervals_are_those_of_scipy(function, method, confidence):
    for k, n in COUNTS:
        expected = stats.binomtest(k, n).proportion_ci(confidence, method)
        low, high = function(k, n, confidence)
        np.testing.assert_allclose((low, high), expected, atol=1e-9)
        assert (k > 0 or low == 0) and (k < n or high == 1)


def covered(low, high, truth):
    return np.mean((low <= truth) & (truth <= high))


@pytest.mark.parametrize("p", [0.003, 0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("n", [1000, 5000])
def test_coverage_at_a_fixed_threshold(p, n):
    # A threshold fixed beforehand passes a binomial number. 200,000 draws: standard error 0.05%; 0.2% is allowed for it.
    k = np.random.default_rng(1).binomial(n, p, 200_000)
    assert 0.92 <= covered(*wilson(k, n), p) <= 0.98
    assert covered(*clopper_pearson(k, n), p) >= 0.95 - 0.002


@pytest.mark.parametrize("separation", [1.0, 2.0, 3.0])
@pytest.mark.parametrize(("n_negatives", "n_positives", "fpr"), [(1000, 1000, 0.01), (1000, 300, 0.05), (10_000, 2000, 0.001)])
def test_coverage_of_tpr_at_fpr(separation, n_negatives, n_positives, fpr):
    # The true TPR at a true FPR of f, for normal scores; resolved (10 or more expected false positives).
    truth = stats.norm.sf(stats.norm.isf(fpr) - separation)
    rng, runs = np.random.default_rng(2), 800
    # 800 runs: standard error 0.8%, small against the band from 90 to 98%.
    hits = 0
    for _ in range(runs):
        ranked = Ranked(np.sort(rng.normal(separation, size=n_positives)), np.sort(rng.normal(size=n_negatives)))
        low, high = tpr_at_fpr_interval(ranked, [fpr], rng, 400)
        hits += low[0] <= truth <= high[0]
    assert 0.90 <= hits / runs <= 0.98


def test_wilson_at_a_threshold_of_the_same_sample_covers_too_little():
    """The reason for the bootstrap: 51% instead of 95% at 10³ controls and FPR 10⁻², as the science notes found."""
    truth = stats.norm.sf(stats.norm.isf(0.01) - 2)
    rng, runs, hits = np.random.default_rng(3), 800, 0
    for _ in range(runs):
        ranked = Ranked(np.sort(rng.normal(2, size=1000)), np.sort(rng.normal(size=1000)))
        low, high = wilson(tpr_at_fpr(ranked, [0.01]) * 1000, 1000)
        hits += low[0] <= truth <= high[0]
    assert hits / runs < 0.65


@pytest.mark.parametrize(("tpr", "separation"), [(0.5, 1.0), (0.9, 2.0), (0.95, 1.0)])
def test_coverage_of_fpr_at_tpr(tpr, separation):
    truth = stats.norm.sf(stats.norm.isf(tpr) + separation)
    rng, runs, hits = np.random.default_rng(4), 800, 0
    for _ in range(runs):
        ranked = Ranked(np.sort(rng.normal(separation, size=500)), np.sort(rng.normal(size=1000)))
        low, high = fpr_at_tpr_interval(ranked, [tpr], rng, 400)
        hits += low[0] <= truth <= high[0]
    assert 0.90 <= hits / runs <= 0.98


@pytest.mark.parametrize("n_positives", [1, 5, 12, 40])
@pytest.mark.parametrize("truth", [1e-3, 0.02])
def test_exact_interval_of_fpr_at_tpr_covers_however_few_positives_there_are(truth, n_positives):
    """Bonferroni's interval: 95% or more. 300 runs of 95% coverage fall below 92% in one of a hundred."""
    separation = stats.norm.isf(truth) - stats.norm.isf(0.8)
    rng, runs, hits = np.random.default_rng(19), 300, 0
    for _ in range(runs):
        low, high = exact_fpr_at_tpr_interval(
            Ranked(np.sort(rng.normal(separation, size=n_positives)), np.sort(rng.normal(size=4000))), 0.8
        )
        hits += low <= truth <= high
    assert hits / runs >= 0.92


def test_exact_interval_of_fpr_at_tpr_by_hand():
    """100 positives 1 to 100 and T = 0.5: B(100, ½) lies within 39 and 61 with 97.5%, so that the threshold lies above 39 and up to 62."""
    ranked = Ranked(np.arange(1, 101.0), np.array([10.0, 39.0, 39.5, 62.0, 90.0]))
    low, high = exact_fpr_at_tpr_interval(ranked, 0.5)
    assert [int(stats.binom.ppf(0.0125, 100, 0.5)), int(stats.binom.isf(0.0125, 100, 0.5))] == [39, 61]
    # At or above 62 lie two controls, above 39 three.
    assert (low, high) == pytest.approx((float(clopper_pearson(2, 5, 0.975)[0]), float(clopper_pearson(3, 5, 0.975)[1])))


@pytest.mark.parametrize("tied", [False, True])
def test_drawing_ranks_is_resampling_rows(tied):
    """The distribution of the TPR at FPR from Beta and binomial draws is that of resampled rows."""
    rng = np.random.default_rng(5)
    positives, negatives = rng.normal(1.5, size=200), rng.normal(size=400)
    if tied:
        positives, negatives = np.round(positives, 1), np.round(negatives, 1)
    ranked = Ranked(np.sort(positives), np.sort(negatives))
    drawn_p = np.sort(rng.choice(positives, (20_000, 200)), axis=1)
    drawn_n = np.sort(rng.choice(negatives, (20_000, 400)), axis=1)
    literal = (drawn_p > drawn_n[:, 400 - 1 - 20, None]).mean(axis=1)
    low, high = tpr_at_fpr_interval(ranked, [0.05], rng, 20_000, 0.95)
    low68, high68 = tpr_at_fpr_interval(ranked, [0.05], rng, 20_000, 0.68)
    expected = np.percentile(literal, [2.5, 97.5, 16, 84])
    # Percentiles of 20,000 draws in steps of 1/200.
    np.testing.assert_allclose([low[0], high[0], low68[0], high68[0]], expected, atol=0.0101)


def test_a_perfect_sample_does_not_claim_certainty():
    ranked = Ranked(np.full(100, 9.0), np.linspace(0, 1, 1000))
    low, high = tpr_at_fpr_interval(ranked, [0.05], np.random.default_rng(0))
    assert (low[0], high[0]) == (pytest.approx(wilson(100, 100)[0]), 1.0)


@pytest.mark.parametrize("tied", [False, True])
def test_delong_components_are_those_of_all_pairs(tied):
    rng = np.random.default_rng(6)
    label = rng.random(300) < 0.3
    score = rng.normal(size=300) + label
    score = np.round(score, 1) if tied else score
    kernel = (score[label][:, None] > score[~label]) + 0.5 * (score[label][:, None] == score[~label])
    of_positives, of_negatives = delong_components(score, label)
    np.testing.assert_allclose(of_positives, kernel.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(of_negatives, kernel.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize(("separation", "n"), [(0.0, 100), (1.5, 100), (3.0, 300)])
def test_coverage_of_delong(separation, n):
    truth = stats.norm.cdf(separation / np.sqrt(2))
    rng, label, runs, hits = np.random.default_rng(7), np.arange(2 * n) < n, 1500, 0
    for _ in range(runs):
        low, high = delong_interval(rank(rng.normal(size=2 * n) + separation * label, label))
        hits += low <= truth <= high
    assert 0.92 <= hits / runs <= 0.98


@pytest.mark.parametrize("spread", [1.0, 2.0])
@pytest.mark.parametrize(("truth", "n_positives", "n_controls"), [(0.99, 10, 1000), (0.95, 20, 1000), (0.99, 40, 1000), (0.999, 300, 3000)])
def test_coverage_of_delong_where_few_stamps_decide(truth, n_positives, n_controls, spread):
    """DeLong's own interval covers 62% to 89% here: few positives, wide ones above all, make up what the AUC lacks.

    Scores are normal, so that the AUC is Φ(separation/√(1 + spread²)). 400 runs know a coverage of 95% to 1.1%: below 92% is too few.
    """
    rng, runs, hits = np.random.default_rng(17), 400, 0
    separation = stats.norm.ppf(truth) * np.sqrt(1 + spread**2)
    for _ in range(runs):
        positives = separation + spread * rng.normal(size=n_positives)
        low, high = delong_interval(Ranked(np.sort(positives), np.sort(rng.normal(size=n_controls))))
        hits += low <= truth <= high
    assert hits / runs >= 0.92


@pytest.mark.parametrize("truth", [0.6, 0.95, 0.995])
def test_delong_interval_is_the_mirrored_one_where_the_classes_change_names(truth):
    rng = np.random.default_rng(18)
    positives, controls = np.sort(rng.normal(stats.norm.ppf(truth) * 1.414, size=50)), np.sort(rng.normal(size=500))
    low, high = delong_interval(Ranked(positives, controls))
    assert delong_interval(Ranked(controls, positives)) == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_newcombe_interval_has_a_length_where_classes_are_apart():
    low, high = newcombe_auc_interval(1.0, 50, 50)
    assert 0.9 < low < 1 and high == 1
    # At one stamp per class it solves (1 − θ)² = z²θ(1 − θ), so θ = 1/(1 + z²).
    z2 = stats.norm.ppf(0.975) ** 2
    assert newcombe_auc_interval(1.0, 1, 1)[0] == pytest.approx(1 / (1 + z2), rel=1e-6)
    assert newcombe_auc_interval(0.0, 50, 50) == pytest.approx((0, 1 - low), abs=1e-6)


def test_delong_difference_under_no_difference_is_uniform():
    rng, label = np.random.default_rng(8), np.arange(400) < 200
    p, covered_zero = [], 0
    for _ in range(800):
        shared = rng.normal(size=400) + label
        a, b = shared + rng.normal(size=400), shared + rng.normal(size=400)
        test = delong_difference(a, b, label)
        assert test.value == pytest.approx(auc(rank(b, label)) - auc(rank(a, label)), abs=1e-12)
        p.append(test.p_value)
        covered_zero += test.low <= 0 <= test.high
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert 0.92 <= covered_zero / 800 <= 0.98


def test_delong_of_equal_scores_is_no_difference():
    score, label = np.arange(20.0), np.arange(20) % 2
    test = delong_difference(score, 3 * score, label)
    assert (test.value, test.low, test.high, test.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize("tied", [False, True])
def test_delong_interval_has_the_variance_of_the_components(tied):
    """The interval sums over positives alone; the components are of every stamp."""
    rng = np.random.default_rng(8)
    label = rng.random(400) < 0.4
    score = rng.normal(size=400) + label
    score = np.round(score, 1) if tied else score
    of_positives, of_negatives = delong_components(score, label)
    value = of_positives.mean()
    error = np.sqrt(of_positives.var(ddof=1) / label.sum() + of_negatives.var(ddof=1) / (~label).sum())
    half = stats.norm.ppf(0.975) * error / (value * (1 - value))
    expected = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + np.array([-half, half]))))
    np.testing.assert_allclose(delong_interval(rank(score, label)), expected, rtol=1e-12)
