"""Rates against scikit-learn, scipy and counting by hand, with and without ties."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, roc_auc_score, roc_curve

from darkhaloscope.core.rates import EvaluationError, accuracy, auc, cuts_at_fpr, fpr_at_tpr, rank, roc, thin, tpr_at_fpr

FPRS = (0.001, 0.01, 0.05, 0.1, 0.3)
TPRS = (0.5, 0.8, 0.9, 0.95, 0.99)


def scores(seed, tied):
    rng = np.random.default_rng(seed)
    label = rng.random(3000) < 0.4
    score = rng.normal(size=3000) + 1.2 * label
    # Rounding to 0.2 leaves some 30 distinct scores: every threshold has ties of both classes.
    return (np.round(score * 5) / 5 if tied else score), label


@pytest.fixture(params=[False, True], ids=["no ties", "ties"])
def sample(request):
    return scores(3, request.param)


def test_auc_is_that_of_sklearn_and_of_mann_whitney(sample):
    score, label = sample
    found = auc(rank(score, label))
    assert found == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    statistic = stats.mannwhitneyu(score[label], score[~label]).statistic
    assert found == pytest.approx(statistic / (label.sum() * (~label).sum()), abs=1e-12)


def test_roc_has_the_vertices_of_sklearn(sample):
    score, label = sample
    curve = roc(rank(score, label))
    fpr, tpr, thresholds = roc_curve(label, score, drop_intermediate=False)
    np.testing.assert_allclose(curve.fpr, fpr, atol=1e-12)
    np.testing.assert_allclose(curve.tpr, tpr, atol=1e-12)
    np.testing.assert_array_equal(curve.threshold, thresholds)


def test_tpr_at_fpr_is_the_best_vertex_and_never_above_interpolation(sample):
    score, label = sample
    fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
    found = tpr_at_fpr(rank(score, label), FPRS)
    np.testing.assert_allclose(found, [tpr[fpr <= f + 1e-12].max() for f in FPRS], atol=1e-12)
    interpolated = np.interp(FPRS, fpr, tpr)
    assert np.all(found <= interpolated + 1e-12)


def test_interpolation_between_tied_vertices_would_be_optimistic():
    score, label = scores(3, True)
    fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
    assert np.any(np.interp(FPRS, fpr, tpr) > tpr_at_fpr(rank(score, label), FPRS) + 0.01)


def test_fpr_at_tpr_is_the_best_vertex(sample):
    score, label = sample
    fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
    np.testing.assert_allclose(fpr_at_tpr(rank(score, label), TPRS), [fpr[tpr >= t - 1e-12].min() for t in TPRS], atol=1e-12)


def test_accuracy_is_that_of_sklearn(sample):
    score, label = sample
    assert accuracy(rank(score, label), 0.5) == pytest.approx(accuracy_score(label, score >= 0.5))


def test_a_whole_number_of_false_positives_survives_floating_point():
    # 0.29 · 100 is 28.999999999999996: 29 false positives are allowed, not 28.
    ranked = rank(np.arange(200.0), np.arange(200) % 2)
    assert tpr_at_fpr(ranked, [0.29])[0] == pytest.approx(0.30)  # the positive above each control comes with it
    assert np.mean(np.arange(0, 200, 2) > cuts_at_fpr(ranked.negatives, [0.29])[0]) == pytest.approx(0.29)


def test_all_scores_equal_reach_nothing_below_fpr_one():
    ranked = rank(np.zeros(40), np.arange(40) % 2)
    assert auc(ranked) == 0.5
    assert tpr_at_fpr(ranked, [0.5])[0] == 0
    assert fpr_at_tpr(ranked, [0.5])[0] == 1


def test_thinned_curve_keeps_exact_vertices_and_the_tail():
    rng = np.random.default_rng(1)
    label = np.arange(200_000) % 2 == 1
    full = roc(rank(rng.normal(size=200_000) + 2 * label, label))
    few = thin(full)
    assert len(few.fpr) <= 3002 and (few.fpr[0], few.tpr[0], few.fpr[-1], few.tpr[-1]) == (0, 0, 1, 1)
    assert set(zip(few.fpr, few.tpr, strict=True)) <= set(zip(full.fpr, full.tpr, strict=True))
    # Drawn as lines it leaves the full curve by less than a linear step of the ladder, 1/1000.
    assert np.abs(np.interp(full.threshold[1:], few.threshold[:0:-1], few.tpr[:0:-1]) - full.tpr[1:]).max() < 1.1e-3
    # Every one of the first ten false positives is there.
    assert set(np.unique(full.fpr)[:10]) <= set(few.fpr)


@pytest.mark.parametrize("label", [np.ones(5), np.zeros(5)])
@pytest.mark.parametrize("rate", [auc, roc, lambda r: tpr_at_fpr(r, [0.1]), lambda r: fpr_at_tpr(r, [0.5])])
def test_a_single_class_is_an_error_in_words(label, rate):
    with pytest.raises(EvaluationError, match="needs both classes"):
        rate(rank(np.arange(5.0), label))
