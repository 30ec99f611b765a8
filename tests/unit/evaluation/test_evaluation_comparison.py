"""Two networks on the same stamps: signs, pairing, coverage, strata, refused mismatches."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from darkhaloscope.config.experiment import Evaluation, Stratum
from darkhaloscope.core.intervals import delong_interval
from darkhaloscope.core.rates import EvaluationError, rank
from darkhaloscope.evaluation.comparison import COMPARISON, compare_networks

EVALUATION = Evaluation(fprs=(0.05, 0.1, 0.001), strata={"mass_bin": Stratum()}, bootstrap=200, d_prime_edges=(0, 1, 2, 5))


def pair(make_table, n=2000, seed=1, gain=0.5, galaxies=0):
    """Two scores of the same stamps that share most of their noise; b sees `gain` more."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    shared = rng.normal(size=n)
    a = label * 1.0 + shared + 0.3 * rng.normal(size=n)
    b = label * (1.0 + gain) + shared + 0.3 * rng.normal(size=n)
    return [make_table(n=n, network=name, galaxies=galaxies, extra={"score": s}) for name, s in (("flux", a), ("both", b))]


def row(frame, **where):
    for name, value in where.items():
        frame = frame[np.isclose(frame[name], value)] if name == "at" else frame[frame[name] == value]
    assert len(frame) == 1, where
    return frame.iloc[0]


def test_difference_is_network_less_baseline(make_table):
    a, b = pair(make_table)
    found = compare_networks({("x", 1): a}, {("x", 1): b}, EVALUATION)
    assert tuple(found.columns) == COMPARISON
    assert set(found.baseline) == {"flux"} and set(found.detector) == {"both"}
    overall = row(found, seed="committee", column="all", metric="delta_auc")
    label = np.asarray(a.column("label"))
    assert overall.value == pytest.approx(roc_auc_score(label, b.column("score")) - roc_auc_score(label, a.column("score")))
    assert 0 < overall.low < overall.value < overall.high and overall.p_value < 1e-6
    # Two routes to the same interval: 200 resamples know their percentiles to some 10%.
    assert overall.high - overall.low == pytest.approx(overall.delong_high - overall.delong_low, rel=0.25)
    rate = row(found, seed="committee", column="all", metric="delta_tpr_at_fpr", at=0.05)
    assert rate.value == pytest.approx(rate.detector_value - rate.baseline_value) and rate.low > 0
    lost = row(found, seed="committee", column="all", metric="delta_tpr_at_fpr", at=0.001)
    assert not lost.resolved and np.isnan(lost.value) and lost.negatives_needed == 10_000


def test_pairing_narrows_the_interval(make_table):
    a, b = pair(make_table)
    paired = row(compare_networks({("x", 1): a}, {("x", 1): b}, EVALUATION), seed="1", column="all", metric="delta_auc")
    # As if from different stamps: the variances of both would add up, each about the variance of one AUC.
    low, high = delong_interval(rank(a.column("score").to_numpy(), a.column("label").to_numpy()))
    assert paired.high - paired.low < 0.5 * np.sqrt(2) * (high - low)


def test_strata_and_d_prime_bins_for_the_committee_alone(make_table):
    tables = [pair(make_table, seed=s) for s in (1, 2)]
    found = compare_networks({("x", s): t[0] for s, t in enumerate(tables)}, {("x", s): t[1] for s, t in enumerate(tables)}, EVALUATION)
    assert set(found[found.seed == "0"].column) == {"all"}
    of_committee = found[found.seed == "committee"]
    assert list(of_committee.groupby(["column", "stratum"], sort=False).groups) == [
        ("all", "all"),
        ("mass_bin", "9.0-9.5"),
        ("mass_bin", "9.5-10.0"),
        ("d_prime_both", "1–2"),
    ]


def test_a_network_against_itself_is_nothing(make_table):
    a, _ = pair(make_table)
    found = row(compare_networks({("x", 1): a}, {("x", 1): a}, EVALUATION), seed="1", column="all", metric="delta_auc")
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert "same difference" in found.note


def test_coverage_of_the_paired_bootstrap(make_table):
    """Differences of normal scores with known AUC and TPR; 150 runs: standard error 1.8%, so the band is 88 to 100%."""
    evaluation = Evaluation(fprs=(0.05,), strata={}, bootstrap=200, d_prime_edges=(0, 1))
    spread = np.sqrt(1.09)
    auc_gain = stats.norm.cdf(1.5 / spread / np.sqrt(2)) - stats.norm.cdf(1 / spread / np.sqrt(2))
    tpr_gain = stats.norm.sf(stats.norm.isf(0.05) - 1.5 / spread) - stats.norm.sf(stats.norm.isf(0.05) - 1 / spread)
    hits = np.zeros(2)
    for seed in range(150):
        a, b = pair(make_table, n=600, seed=100 + seed)
        found = compare_networks({("x", 1): a}, {("x", 1): b}, evaluation)
        for i, (metric, truth) in enumerate((("delta_auc", auc_gain), ("delta_tpr_at_fpr", tpr_gain))):
            line = row(found, seed="1", metric=metric)
            hits[i] += line.low <= truth <= line.high
    assert np.all(hits / 150 >= 0.88)


def test_galaxies_are_drawn_as_wholes_where_there_are_enough(make_table):
    for galaxies, interval, words in (
        (40, "bootstrap over galaxies", ""),
        (5, "paired bootstrap of both classes", "5 galaxies, 20 needed"),
    ):
        a, b = pair(make_table, galaxies=galaxies)
        found = row(compare_networks({("x", 1): a}, {("x", 1): b}, EVALUATION), seed="1", column="all", metric="delta_auc")
        assert found.interval == interval and words in found.note


def test_mismatched_stamps_are_refused(make_table):
    a, b = pair(make_table, n=200)
    with pytest.raises(EvaluationError, match="do not hold the same stamps: 50 are in the first alone"):
        compare_networks({("x", 1): a}, {("x", 1): b.slice(0, 150)}, EVALUATION)
    with pytest.raises(EvaluationError, match="flux and both have no test dataset in common"):
        compare_networks({("x", 1): a}, {("y", 1): b}, EVALUATION)


def test_row_order_does_not_matter(make_table):
    a, b = pair(make_table, n=400)
    shuffled = b.take(np.random.default_rng(0).permutation(400))
    first, second = (compare_networks({("x", 1): a}, {("x", 1): t}, EVALUATION) for t in (b, shuffled))
    assert first.equals(second)


def test_small_strata_say_so(make_table):
    a, b = pair(make_table, n=30)
    found = compare_networks({("x", 1): a}, {("x", 1): b}, EVALUATION)
    small = found[(found.column == "mass_bin") & (found.metric == "delta_auc")]
    assert (~small.resolved).all() and small.note.str.contains("fewer than 10").all()
