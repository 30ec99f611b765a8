"""Every rate that an evaluation promises is in its tables, with an interval, and is what scikit-learn and statsmodels say."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import brier_score_loss, precision_score, recall_score, roc_auc_score, roc_curve
from statsmodels.stats.proportion import proportion_confint

from darkhaloscope.config.experiment import LENSFINDER_STRATA, LENSFINDER_SURFACES, SUBHALO_STRATA, SUBHALO_SURFACES, Evaluation, Stratum
from darkhaloscope.evaluation.evaluate import evaluate_network

N = 40_000


@pytest.fixture(scope="module")
def judged(make_table):
    """Return tables of 40,000 test stamps with thresholds from as many of validation, and label and score of the test."""
    whole = pa.concat_tables([make_table(n=N), make_table(n=N, split="validation")])
    evaluation = Evaluation(strata={"mass_bin": Stratum(), "theta_e_arcsec": Stratum(quantiles=2)}, pairs=(("mass_bin", "theta_e_arcsec"),))
    test = whole.slice(0, N)
    return evaluate_network({("a", 1): whole}, evaluation), np.asarray(test.column("label")) == 1, np.asarray(test.column("score"))


def rows(frame, metric):
    return frame[(frame.seed == "1") & (frame.metric == metric)].set_index("at")


def test_rates_at_every_fpr_and_completeness(judged):
    frames, label, score = judged
    rates = frames["rates"]
    fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
    at_fpr = rows(rates, "tpr_at_fpr")
    assert {1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6} <= set(at_fpr.index)
    for f, row in at_fpr.iterrows():
        assert row.resolved == (20_000 * f >= 10)
        if row.resolved:
            assert row.value == pytest.approx(tpr[fpr <= f + 1e-12].max(), abs=1e-12) and row.low < row.value < row.high
        else:
            assert np.isnan(row.value) and row.negatives_needed == round(10 / f)
    at_tpr = rows(rates, "fpr_at_tpr")
    assert {0.5, 0.99} <= set(at_tpr.index)
    for t, row in at_tpr.iterrows():
        assert row.value == pytest.approx(fpr[tpr >= t - 1e-12].min(), abs=1e-12) and row.low < row.value < row.high
    assert rows(rates, "auc").value.item() == pytest.approx(roc_auc_score(label, score))


def test_tpr_at_no_and_at_ten_false_positives(judged):
    frames, label, score = judged
    fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
    found = rows(frames["rates"], "tpr_at_false_positives")
    assert list(found.index) == [0, 10]
    for k, row in found.iterrows():
        assert row.value == pytest.approx(tpr[fpr <= (k + 0.5) / 20_000].max(), abs=1e-12)
        passed = round(row.value * 20_000)
        assert (row.low, row.high) == pytest.approx(proportion_confint(passed, 20_000, method="wilson"), abs=1e-12)


def test_thresholds_of_validation_on_test(judged):
    frames, label, score = judged
    cut = rows(frames["rates"], "threshold").value[0.01]
    for metric, part in (("tpr_at_validation_fpr", label), ("realised_fpr", ~label)):
        row = rows(frames["rates"], metric).loc[0.01]
        passed = int((score[part] > cut).sum())
        assert row.value == pytest.approx(passed / part.sum())
        assert (row.low, row.high) == pytest.approx(proportion_confint(passed, part.sum(), method="wilson"), abs=1e-12)


def test_precision_and_recall_at_every_prevalence(judged):
    frames, label, score = judged
    purity = frames["purity"].query("seed == '1' and fpr == 0.01").set_index("prevalence")
    assert set(purity.index) == {1e-2, 1e-3, 1e-4}
    passed = score > rows(frames["rates"], "threshold").value[0.01]
    for prevalence, row in purity.iterrows():
        weight = np.where(label, prevalence, 1 - prevalence)  # as many of each class in the sample
        assert row.purity == pytest.approx(precision_score(label, passed, sample_weight=weight))
        assert row.recall == pytest.approx(recall_score(label, passed)) and row.low < row.purity < row.high


def test_calibration(judged):
    frames, label, score = judged
    assert rows(frames["rates"], "brier").value.item() == pytest.approx(brier_score_loss(label, score))
    curve = frames["calibration"].query("seed == '1'")
    number = np.minimum((score * 10).astype(int), 9)
    gaps = [abs(score[number == k].mean() - label[number == k].mean()) * np.mean(number == k) for k in range(10)]
    assert rows(frames["rates"], "ece").value.item() == pytest.approx(sum(gaps))
    for row in curve.itertuples():
        interval = proportion_confint(round(row.positives * row.n), row.n, method="wilson")
        assert (row.low, row.high) == pytest.approx(interval, abs=1e-12)


def test_strata_at_their_own_threshold_and_at_the_global_one(judged):
    strata = judged[0]["strata"]
    assert set(strata["column"]) == {"mass_bin", "theta_e_arcsec", "mass_bin × theta_e_arcsec"}
    for _, part in strata[strata.seed == "1"].groupby(["column", "stratum"]):
        assert {"auc", "tpr_at_fpr", "fpr_at_tpr", "tpr_at_validation_fpr", "realised_fpr"} <= set(part.metric)


def test_default_strata_and_surfaces_are_those_of_the_list():
    assert {"theta_e_arcsec", "theta_over_psf", "arc_snr", "psfsize_r", "psfdepth_r", "source_kind", "contaminant_class"} <= set(
        LENSFINDER_STRATA
    )
    assert {
        "theta_e_arcsec",
        "theta_over_psf",
        "arc_snr_matched",
        "source_kind",
        "mass_bin",
        "subhalo_arc_distance_arcsec",
        "galaxy_id",
    } <= set(SUBHALO_STRATA)
    assert {("theta_e_arcsec", "psfsize_r", "psfdepth_r"), ("theta_e_arcsec", "arc_snr"), ("theta_over_psf", "mag_r")} == set(
        LENSFINDER_SURFACES
    )
    assert ("log10_mass_msun", "peak_snr") in SUBHALO_SURFACES
