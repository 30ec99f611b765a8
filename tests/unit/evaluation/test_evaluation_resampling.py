"""Weighted resamples against rates of the repeated rows, and what clusters do to an interval."""

import numpy as np
import pytest

from darkhaloscope.evaluation import resampling
from darkhaloscope.evaluation.intervals import delong_components
from darkhaloscope.evaluation.rates import auc, fpr_at_tpr, rank, tpr_at_fpr
from darkhaloscope.evaluation.resampling import Draws, Resampled, galaxy_weights, row_weights


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


def test_a_galaxy_is_drawn_as_a_whole_and_disks_one_by_one():
    label = np.arange(90) % 2 == 0
    galaxy = np.where(np.arange(90) < 60, np.arange(90) // 3, -1)
    [weights] = galaxy_weights(label, galaxy, np.random.default_rng(4), 50)
    of_galaxy = weights[:, :60].reshape(50, 20, 3)
    assert np.all(of_galaxy == of_galaxy[:, :, :1])
    assert np.all(of_galaxy[:, :, 0].sum(axis=1) == 20)
    assert np.all(weights[:, 60:][:, label[60:]].sum(axis=1) == label[60:].sum())
    assert np.any(weights[:, 60:] != weights[:, 60:61])


def test_no_galaxy_at_all_is_drawing_rows():
    label = np.arange(40) % 2 == 0
    [weights] = galaxy_weights(label, np.full(40, -1), np.random.default_rng(5), 10)
    assert np.all(weights[:, label].sum(axis=1) == 20)


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


def test_galaxies_that_differ_widen_the_interval_as_they_should():
    """Stamps of a galaxy share an offset: over repeated experiments the AUC scatters as the bootstrap over galaxies says."""
    rng = np.random.default_rng(8)

    def experiment():
        galaxy = np.repeat(np.arange(40), 20)
        label = np.arange(800) % 2 == 0
        return rng.normal(size=800) + label * (1 + rng.normal(size=40)[galaxy]), label, galaxy

    truths = [auc(rank(*experiment()[:2])) for _ in range(300)]
    errors, naive = [], []
    for _ in range(20):
        score, label, galaxy = experiment()
        prepared = Resampled(score, label, np.arange(800), ())
        errors.append(Draws.join([prepared.rates(w) for w in galaxy_weights(label, galaxy, rng, 300)]).auc.std())
        naive.append(Draws.join([prepared.rates(w) for w in row_weights(label, rng, 300)]).auc.std())
    # The mean of 20 errors from 40 galaxies each is known to about 3%, the scatter of 300 experiments to 4%.
    assert np.mean(errors) == pytest.approx(np.std(truths), rel=0.15)
    assert np.mean(naive) < 0.75 * np.std(truths)
