"""One network's tables: rates, resolution, thresholds from validation, committees, clusters, bad tables."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from darkhaloscope.config.experiment import Evaluation, Stratum
from darkhaloscope.core.intervals import wilson
from darkhaloscope.core.rates import EvaluationError
from darkhaloscope.evaluation.evaluate import ROC, evaluate_network
from darkhaloscope.evaluation.tidy import TIDY

STRATA = {"mass_bin": Stratum(), "theta_e_arcsec": Stratum(edges=(0.8, 1.0, 1.2)), "theta_over_psf": Stratum(quantiles=3)}
EVALUATION = Evaluation(strata=STRATA, bootstrap=200, d_prime_edges=(0, 1, 2, 5))


def both(make_table, n=2000, **settings):
    return pa.concat_tables([make_table(n=n, **settings), make_table(n=4000, split="validation", **settings)])


def one(frame, **where):
    for name, value in where.items():
        frame = frame[np.isclose(frame[name], value)] if name == "at" else frame[frame[name] == value]
    assert len(frame) == 1, where
    return frame.iloc[0]


def test_frames_are_tidy_and_complete(make_table):
    frames = evaluate_network({("a", 1): both(make_table), ("a", 2): both(make_table, seed=2)}, EVALUATION, channels="flux")
    for name in ("rates", "strata", "information"):
        assert tuple(frames[name].columns) == TIDY
        assert set(frames[name].seed) == {"1", "2", "committee"}
        unresolved = frames[name][~frames[name].resolved]
        assert unresolved[["value", "low", "high"]].isna().all(axis=None)
        assert (unresolved.note != "").all()
        given = frames[name].dropna(subset=["value", "low", "high"])
        assert ((given.low <= given.value) & (given.value <= given.high)).all()
    assert tuple(frames["roc"].columns) == ROC
    assert list(frames["strata"].groupby(["column", "stratum"], sort=False).groups) == [
        ("mass_bin", "9.0-9.5"),
        ("mass_bin", "9.5-10.0"),
        ("theta_e_arcsec", "0.8–1"),
        ("theta_e_arcsec", "1–1.2"),
        ("theta_over_psf", "inf"),
    ]


def test_rates_are_counts_of_test_rows_alone(make_table):
    table = both(make_table)
    rates = evaluate_network({("a", 1): table}, EVALUATION)["rates"]
    test = table.slice(0, 2000)
    label, score = np.asarray(test.column("label")), np.asarray(test.column("score"))
    assert one(rates, seed="1", metric="auc").value == pytest.approx(roc_auc_score(label, score))
    assert one(rates, seed="1", metric="auc").n_positives == 1000
    accuracy = one(rates, seed="1", metric="accuracy")
    assert accuracy.value == pytest.approx(np.mean((score >= 0.5) == (label == 1)))
    assert (accuracy.low, accuracy.high) == pytest.approx(tuple(map(float, wilson(round(accuracy.value * 2000), 2000))))


def test_unresolved_rates_are_not_numbers(make_table):
    rates = evaluate_network({("a", 1): make_table()}, EVALUATION)["rates"]
    found = rates[(rates.metric == "tpr_at_fpr") & (rates.seed == "1")].set_index("at")
    # 1,000 controls: 10 expected false positives at 10⁻², 1 at 10⁻³.
    assert found.resolved.to_dict() == {0.05: True, 0.1: True, 0.01: True, 0.001: False, 1e-4: False, 1e-5: False, 1e-6: False}
    assert found.negatives_needed.dropna().to_dict() == {0.001: 10_000, 1e-4: 100_000, 1e-5: 1_000_000, 1e-6: 10_000_000}
    assert "1000 controls give 1 expected false positives" in found.note[0.001]


def test_fpr_at_tpr_needs_false_positives_and_missed_positives(make_table):
    rates = evaluate_network({("a", 1): make_table(separation=4.0)}, EVALUATION)["rates"]
    few = one(rates, seed="1", metric="fpr_at_tpr", at=0.5)
    assert not few.resolved and few.negatives_needed >= 10_000 and "controls pass" in few.note
    small = evaluate_network({("a", 1): make_table(n=400, separation=0.5)}, EVALUATION)["rates"]
    rare = one(small, seed="1", metric="fpr_at_tpr", at=0.99)
    assert not rare.resolved and "1000 positives needed" in rare.note
    assert one(small, seed="1", metric="fpr_at_tpr", at=0.9).resolved


def test_thresholds_come_from_validation_and_are_applied_to_test(make_table):
    table = both(make_table, n=10_000)
    rates = evaluate_network({("a", 1): table}, EVALUATION)["rates"].query("seed == '1'")
    validation, test = table.slice(10_000), table.slice(0, 10_000)
    controls = np.asarray(validation.column("score"))[np.asarray(validation.column("label")) == 0]
    cut = one(rates, metric="threshold", at=0.01).value
    assert np.mean(controls > cut) == pytest.approx(0.01)
    label, score = np.asarray(test.column("label")) == 1, np.asarray(test.column("score"))
    tpr, fpr = one(rates, metric="tpr_at_validation_fpr", at=0.01), one(rates, metric="realised_fpr", at=0.01)
    assert tpr.value == pytest.approx(np.mean(score[label] > cut)) and tpr.interval == "Wilson"
    assert fpr.value == pytest.approx(np.mean(score[~label] > cut))
    assert (fpr.low, fpr.high) == pytest.approx(tuple(map(float, wilson(round(fpr.value * 5000), 5000))))
    # 2,000 validation controls fix no threshold at 10⁻³, although 5,000 × 10⁻³ would not be resolved on test either.
    lost = one(rates, metric="tpr_at_validation_fpr", at=0.001)
    assert not lost.resolved and "2000 validation controls" in lost.note and lost.negatives_needed == 10_000


def test_thresholds_of_the_training_dataset_serve_a_shifted_test(make_table):
    shifted = make_table(n=4000, seed=5, mapping=lambda s: 1 / (1 + np.exp(-s - 0.5)))
    tables = {("a", 1): both(make_table), ("shifted", 1): shifted}
    frames = evaluate_network(tables, EVALUATION, validation="a", tests=["shifted"])
    assert set(frames["rates"].test_dataset) == {"shifted"}
    realised = one(frames["rates"], seed="1", metric="realised_fpr", at=0.05)
    # Scores half a unit higher: normal tail beyond 1.645 − 0.5. The cut itself rests on 2,000 controls.
    assert realised.value == pytest.approx(stats.norm.sf(stats.norm.isf(0.05) - 0.5), abs=0.02)
    assert realised.low > 0.05
    own = evaluate_network(tables, EVALUATION, tests=["shifted"])["rates"]
    assert "realised_fpr" not in set(own.metric)


def test_a_stratum_of_positives_alone_uses_all_controls(make_table):
    n = 2000
    label = np.arange(n) % 2 == 1
    arc_snr = np.where(label, np.random.default_rng(0).uniform(1, 10, n), np.nan)
    for how, controls in ((Stratum(edges=(1, 5, 10), of_positives=True), 1000), (Stratum(edges=(1, 5, 10)), 0)):
        evaluation = EVALUATION.model_copy(update={"strata": {"arc_snr": how}})
        strata = evaluate_network({("a", 1): make_table(extra={"arc_snr": arc_snr})}, evaluation)["strata"]
        row = one(strata, seed="1", stratum="1–5", metric="tpr_at_fpr", at=0.01)
        assert row.n_negatives == controls and row.resolved == (controls > 0)
        if not controls:
            assert "of_positives" in row.note


def test_strata_without_validation_have_the_rate_at_the_global_threshold(make_table):
    table = make_table()
    strata = evaluate_network({("a", 1): table}, EVALUATION)["strata"]
    row = one(strata, seed="1", stratum="9.0-9.5", metric="tpr_at_global_fpr", at=0.05)
    label, score = np.asarray(table.column("label")) == 1, np.asarray(table.column("score"))
    inside = np.asarray(table.column("mass_bin")) == "9.0-9.5"
    cut = np.sort(score[~label])[-51]
    assert row.value == pytest.approx(np.mean(score[label & inside] > cut))
    assert row.n_negatives == 1000
    own = one(strata, seed="1", stratum="9.0-9.5", metric="tpr_at_fpr", at=0.05)
    assert own.n_negatives == np.sum(inside & ~label)


def test_the_committee_is_the_mean_score_whatever_the_row_order(make_table):
    a, b = make_table(seed=1), make_table(seed=2)
    order = np.random.default_rng(0).permutation(2000)
    frames = evaluate_network({("a", 1): a, ("a", 7): b.take(order)}, EVALUATION)
    mean = (np.asarray(a.column("score")) + np.asarray(b.column("score"))) / 2
    expected = roc_auc_score(np.asarray(a.column("label")), mean)
    assert one(frames["rates"], seed="committee", metric="auc").value == pytest.approx(expected)


def test_few_galaxies_are_said_and_enough_are_clusters(make_table):
    few = evaluate_network({("a", 1): make_table(galaxies=7)}, EVALUATION)["rates"]
    note = one(few, seed="1", metric="auc").note
    assert "7 galaxies, 20 needed" in note and one(few, seed="1", metric="auc").interval == "DeLong"
    many = evaluate_network({("a", 1): make_table(galaxies=40)}, EVALUATION)["rates"]
    row = one(many, seed="1", metric="auc")
    # Stamps of a galaxy are no more alike here than others: either interval may be the wider one.
    assert row.note == "" and row.interval == {"stamp": "DeLong", "physical_id": "bootstrap over galaxies"}[row.unit]
    disks = evaluate_network({("a", 1): make_table()}, EVALUATION)["rates"]
    assert one(disks, seed="1", metric="auc").note == ""


def test_galaxies_that_differ_widen_every_interval(make_table):
    rng, n = np.random.default_rng(4), 2000
    galaxy = rng.integers(0, 40, n)
    score = rng.normal(size=n) + (np.arange(n) % 2) * (1.5 + rng.normal(size=40)[galaxy])
    names = [f"1-{g}" for g in galaxy]
    clustered = evaluate_network({("a", 1): make_table(extra={"score": score, "physical_id": names})}, EVALUATION)["rates"]
    independent = evaluate_network({("a", 1): make_table(extra={"score": score})}, EVALUATION)["rates"]
    for metric, at in (("auc", None), ("tpr_at_fpr", 0.05), ("fpr_at_tpr", 0.8)):
        where = {"seed": "1", "metric": metric} | ({} if at is None else {"at": at})
        wide, narrow = one(clustered, **where), one(independent, **where)
        assert wide.value == narrow.value
        assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)
        assert (wide.unit, wide.interval) == ("physical_id", "bootstrap over galaxies") and narrow.unit == "stamp"


def test_the_same_tables_give_the_same_figures(make_table):
    tables = {("a", 1): both(make_table, galaxies=30)}
    first, second = (evaluate_network(tables, EVALUATION) for _ in range(2))
    for name in first:
        assert first[name].equals(second[name])


def spoil(table, column, values, kind=None):
    return table.set_column(table.column_names.index(column), column, pa.array(values, kind))


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("stamp_id", ["same"] * 10, r"1 stamp_ids appear more than once \(first same\)"),
        ("stamp_id", [None, *map(str, range(9))], "1 rows have no stamp_id"),
        ("label", [0, 1, 2, 0, 1, 0, 1, 0, 1, 0], "labels must be 0 or 1, found also 2"),
        ("label", [1] * 10, "no control among them"),
        ("label", [0] * 10, "no positive among them"),
        ("score", [np.nan] + [0.5] * 9, "1 scores are missing, NaN or infinite, first that of test-000000"),
        ("score", [None] + [0.5] * 9, "1 scores are missing"),
        ("score", [np.inf] + [0.5] * 9, "1 scores are missing, NaN or infinite"),
        ("split", ["train"] * 10, "no table of scores holds a row of the test split"),
    ],
)
def test_bad_tables_are_refused_in_words(make_table, column, values, words):
    with pytest.raises(EvaluationError, match=words):
        evaluate_network({("a", 1): spoil(make_table(n=10), column, values)}, EVALUATION)


def test_a_missing_column_and_a_missing_dataset_are_named(make_table):
    with pytest.raises(EvaluationError, match="column `score` is missing"):
        evaluate_network({("a", 1): make_table(n=10).drop_columns(["score"])}, EVALUATION)
    with pytest.raises(EvaluationError, match="no scores of b; there are tables of: a"):
        evaluate_network({("a", 1): make_table(n=100)}, EVALUATION, tests=["b"])


def test_seeds_on_other_stamps_or_labels_are_refused(make_table):
    a = make_table(n=100)
    with pytest.raises(
        EvaluationError, match=r"do not hold the same stamps: 20 are in the first alone \(first test-000080\), 0 in the second"
    ):
        evaluate_network({("a", 1): a, ("a", 2): a.slice(0, 80)}, EVALUATION)
    flipped = spoil(a, "label", 1 - np.asarray(a.column("label")))
    with pytest.raises(EvaluationError, match="disagree on the label of 100 stamps"):
        evaluate_network({("a", 1): a, ("a", 2): flipped}, EVALUATION)


def test_seeds_of_validation_must_be_those_of_test(make_table):
    tables = {("a", 1): both(make_table), ("a", 2): make_table(seed=2)}
    with pytest.raises(EvaluationError, match="but on validation with 1, committee"):
        evaluate_network(tables, EVALUATION)
