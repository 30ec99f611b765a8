"""Weighted resamples against rates of the repeated rows."""

import numpy as np
import pytest
from scipy import stats

from darkhaloscope.core import resampling
from darkhaloscope.core.intervals import delong_components, percentiles
from darkhaloscope.core.rates import auc, fpr_at_tpr, rank, tpr_at_fpr
from darkhaloscope.core.resampling import Draws, Resampled, row_weights


def sample(tied=False, n=600, seed=1):
    rng = np.random.default_rng(seed)
    label = rng.random(n) < 0.4
    score = rng.normal(size=n) + label
    return (np.round(score, 1) if tied else score), label


@pytest.mark.parametrize("tied", [False, True])
def test_weighted_rates_are_those_of_repeated_rows(tied):
    score, label = sample(tied)
    rows = np.arange(50, 550)
    fprs, tprs, cuts = (0.02, 0.1), (0.5, 0.9), (0.3,)
    [weights] = row_weights(label, np.random.default_rng(2), 20)
    draws = Resampled(score, label, rows, fprs, tprs, cuts).rates(weights)
    for i, w in enumerate(weights):
        again = np.repeat(rows, w[rows])
        ranked = rank(score[again], label[again])
        assert draws.auc[i] == pytest.approx(auc(ranked), abs=1e-12)
        np.testing.assert_allclose(draws.tpr[i], tpr_at_fpr(ranked, fprs), atol=1e-12)
        np.testing.assert_allclose(draws.fpr[i], fpr_at_tpr(ranked, tprs), atol=1e-12)
        assert draws.passed_positives[i, 0] == pytest.approx(np.mean(ranked.positives > cuts[0]))
        assert draws.passed_negatives[i, 0] == pytest.approx(np.mean(ranked.negatives > cuts[0]))


def test_row_weights_keep_class_sizes_and_have_the_variance_of_drawing_with_replacement():
    label = np.arange(300) < 100
    [weights] = row_weights(label, np.random.default_rng(3), 4000)
    assert np.all(weights[:, label].sum(axis=1) == 100) and np.all(weights[:, ~label].sum(axis=1) == 200)
    # Multinomial: variance 1 − 1/n; 300 × 4000 draws leave 0.2%.
    assert weights[:, label].astype(float).var() == pytest.approx(0.99, rel=0.02)


def test_chunks_join_to_the_asked_number(monkeypatch):
    score, label = sample()
    monkeypatch.setattr(resampling, "CHUNK_BYTES", 7 * len(label))
    prepared = Resampled(score, label, np.arange(len(label)), (0.1,))
    parts = [prepared.rates(w) for w in row_weights(label, np.random.default_rng(6), 30)]
    assert len(parts) == 5 and Draws.join(parts).auc.shape == (30,)


def test_bootstrap_error_of_the_auc_is_delongs():
    score, label = sample(n=2000, seed=9)
    draws = [Resampled(score, label, np.arange(2000), ()).rates(w) for w in row_weights(label, np.random.default_rng(7), 2000)]
    p, n = delong_components(score, label)
    error = np.sqrt(p.var(ddof=1) / len(p) + n.var(ddof=1) / len(n))
    # The error of 2000 resamples is itself known to 1/√4000 = 1.6%.
    assert Draws.join(draws).auc.std() == pytest.approx(error, rel=0.06)


@pytest.mark.parametrize("n", [8, 20, 100])
def test_percentiles_of_a_mean_of_few_numbers_are_students_interval(n):
    values = np.random.default_rng(n).normal(size=n)
    draws = np.random.default_rng(1).choice(values, size=(40_000, n)).mean(1)
    length, students = (np.diff(ends)[0] for ends in (percentiles(draws, 0.95, n), stats.t.interval(0.95, n - 1, 0, stats.sem(values))))
    # The mean of so few is not quite normal; the percentiles themselves have errors of 0.5% of the length.
    assert length == pytest.approx(students, rel=0.03)
    if n == 8:  # a quarter shorter without the expansion
        assert np.diff(np.percentile(draws, [2.5, 97.5]))[0] < 0.8 * students


def test_draws_know_how_many_stamps_of_the_rarer_class_they_are_of():
    score, label = sample(n=600)
    rows = np.flatnonzero(label)[:7].tolist() + np.flatnonzero(~label)[:90].tolist()
    prepared = Resampled(score, label, np.array(rows), (0.1,))
    assert Draws.join([prepared.rates(w) for w in row_weights(label, np.random.default_rng(6), 5)]).units == 7
