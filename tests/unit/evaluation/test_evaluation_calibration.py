"""Calibration and purity against scikit-learn, analytic cases and simulations."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.calibration import calibration_curve as sklearn_curve
from sklearn.metrics import brier_score_loss, precision_score

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.core.intervals import wilson
from darkhaloscope.evaluation.calibration import brier, calibration_curve, expected_calibration_error, purity, purity_interval
from darkhaloscope.evaluation.evaluate import evaluate_network


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    score = rng.beta(0.5, 0.7, 5000)
    return score, rng.random(5000) < score**1.5


def test_brier_score_and_curve_are_those_of_sklearn(sample):
    score, label = sample
    assert brier(score, label)[0] == pytest.approx(brier_score_loss(label, score), rel=1e-12)
    curve = calibration_curve(score, label)
    share, mean = sklearn_curve(label, score, n_bins=10)
    np.testing.assert_allclose(curve["positives"], share, rtol=1e-12)
    np.testing.assert_allclose(curve["mean_score"], mean, rtol=1e-12)
    assert curve["n"].sum() == 5000 and (curve["low"] < share).all() and (share < curve["high"]).all()


def test_calibration_error_of_a_known_miscalibration():
    # Every score is 0.1 too high, in the middle of its bin: 0.05 of 0.15, 0.15 of 0.25, …
    score = np.repeat(np.arange(0.15, 1, 0.1), 2000)
    label = np.concatenate([np.arange(2000) < round(2000 * (p - 0.1)) for p in np.arange(0.15, 1, 0.1)])
    assert expected_calibration_error(calibration_curve(score, label)) == pytest.approx(0.1, abs=1e-12)
    # 1 belongs to the last bin; bins without stamps are left out.
    assert calibration_curve([0.0, 1.0], [0, 1])["bin_high"].tolist() == [0.1, 1.0]


def test_purity_at_the_prevalence_of_the_sample_is_precision(sample):
    score, label = sample
    passed = score > 0.6
    found = purity(label.mean(), passed[label].mean(), passed[~label].mean())
    assert found == pytest.approx(precision_score(label, passed), rel=1e-12)


def test_coverage_of_the_purity():
    prevalence, t, f, n_positives, n_negatives = 1e-3, 0.7, 3e-3, 500, 20_000
    rng, truth, runs = np.random.default_rng(1), purity(1e-3, 0.7, 3e-3), 4000
    hits = 0
    for tp, fp in zip(rng.binomial(n_positives, t, runs), rng.binomial(n_negatives, f, runs), strict=True):
        triples = [(k / n, *map(float, wilson(k, n))) for k, n in ((tp, n_positives), (fp, n_negatives))]
        low, high = purity_interval(prevalence, *triples)
        hits += low <= truth <= high
    # 4,000 runs: standard error 0.35%.
    assert 0.93 <= hits / runs <= 0.97


def test_an_exact_fpr_carries_the_interval_of_the_recall_and_no_recall_gives_no_purity():
    assert purity_interval(0.01, (0.5, 0.4, 0.6), (0.01, 0.01, 0.01)) == pytest.approx((purity(0.01, 0.4, 0.01), purity(0.01, 0.6, 0.01)))
    assert purity_interval(0.01, (0.0, 0.0, 0.1), (0.01, 0.005, 0.02)) == pytest.approx((0.0, purity(0.01, 0.1, 0.005)))


def test_tables_of_a_network(make_table):
    evaluation = Evaluation(strata={}, bootstrap=100, fprs=(0.1, 0.01, 1e-4), prevalences=(0.01,))
    table = make_table(n=4000)
    frames = evaluate_network({("a", 1): table}, evaluation)
    rates, found = (frames[k][frames[k].seed == "1"] for k in ("rates", "purity"))
    assert found.fpr.tolist() == [0.1, 0.01, 1e-4] and found.purity.isna().tolist() == [False, False, True]
    recall = rates[(rates.metric == "tpr_at_fpr") & (rates["at"] == 0.01)].value.item()
    assert found.purity.iloc[1] == pytest.approx(0.01 * recall / (0.01 * recall + 0.99 * 0.01))
    assert "controls needed" in found.note.iloc[2]
    score, label = np.asarray(table.column("score")), np.asarray(table.column("label"))
    assert rates[rates.metric == "brier"].value.item() == pytest.approx(brier_score_loss(label, score))
    at_none = rates[(rates.metric == "tpr_at_false_positives") & (rates["at"] == 0)].iloc[0]
    assert at_none.value == np.mean(score[label == 1] > score[label == 0].max())
    # No false positive among 2,000 controls: the FPR is below 1 − 0.025^(1/2000).
    assert "FPR is below 0.0018" in at_none.note


def test_thresholds_from_validation_give_purity_at_the_realised_fpr(make_table):
    table = pa.concat_tables([make_table(n=4000), make_table(n=4000, split="validation")])
    frames = evaluate_network({("a", 1): table}, Evaluation(strata={}, bootstrap=100, fprs=(0.05,), prevalences=(0.1,)))
    [row] = frames["purity"][frames["purity"].seed == "1"].to_dict("records")
    realised = frames["rates"].query("metric == 'realised_fpr' and seed == '1'").iloc[0]
    assert row["realised_fpr"] == realised.value != 0.05
    assert row["purity"] == pytest.approx(purity(0.1, row["recall"], realised.value)) and row["low"] < row["purity"] < row["high"]
