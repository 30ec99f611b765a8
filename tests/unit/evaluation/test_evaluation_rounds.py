"""Rounds of training on one frozen test set, and recall of known lenses at thresholds of validation."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from statsmodels.stats.proportion import proportion_confint

from darkhaloscope.config.experiment import Evaluation, Stratum
from darkhaloscope.core.rates import EvaluationError
from darkhaloscope.evaluation.known_lenses import RECALL, recall_known_lenses
from darkhaloscope.evaluation.rounds import ROUNDS, compare_rounds
from darkhaloscope.evaluation.scored import load_seeds

N = 1500


def tables(shift, seeds=(1, 2), n=N, first=0):
    """Positives at 2, controls at 0, a tenth of these hard ones at `shift`."""
    out = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        label = np.arange(2 * n) % 2
        hard = (label == 0) & (np.arange(2 * n) % 20 < 2)
        score = rng.normal(0, 1, 2 * n) + np.where(label == 1, 2, np.where(hard, shift, 0))
        ids = [f"s{k + first}" for k in range(2 * n)]
        split = np.where(np.arange(2 * n) < n, "validation", "test")
        out["d", str(seed)] = pa.table({"stamp_id": ids, "label": label, "score": score, "split": split, "detector": ["x"] * 2 * n})
    return out


def test_the_change_is_that_of_the_same_stamps_and_its_interval_says_it_fell():
    evaluation = Evaluation(tprs=(0.5, 0.9), bootstrap=300, fprs=(0.1,), min_expected_fp=10)
    before, after = tables(2.0), tables(0.0)
    found = compare_rounds([("a+round=1", before), ("a", after)], evaluation, ["d"])
    assert tuple(found.columns) == ROUNDS and set(found["seed"]) == {"1", "2", "committee"}
    for seed in ("1", "2"):
        for number, given in ((1, before), (2, after)):
            frame = given["d", seed].to_pandas().query("split == 'test'")
            positives, negatives = (frame.loc[frame["label"] == v, "score"] for v in (1, 0))
            threshold = np.sort(positives)[::-1][int(np.ceil(0.9 * len(positives))) - 1]
            row = found[(found["seed"] == seed) & (found["round"] == number) & (found["completeness"] == 0.9)].iloc[0]
            assert row["fpr"] == pytest.approx((negatives >= threshold).mean())
            assert row["low"] <= row["fpr"] <= row["high"]
            assert row["n_negatives"] == len(negatives)
    last = found.query("seed == 'committee' and round == 2")
    assert (last["change_high"] < 0).all()
    first = found.query("round == 1")
    assert first["change"].isna().all()
    # Paired: the interval of the change is narrower than the two intervals together.
    width = found.query("round == 2 and seed == '1' and completeness == 0.9").iloc[0]
    assert width["change_high"] - width["change_low"] < (width["high"] - width["low"]) + 0.1


def test_rounds_of_other_stamps_are_refused():
    with pytest.raises(EvaluationError, match="do not hold the same stamps"):
        compare_rounds([("a", tables(0)), ("b", tables(0, first=7))], Evaluation(bootstrap=50), ["d"])
    with pytest.raises(EvaluationError, match="b: no scores on the test split of d"):
        compare_rounds([("a", tables(0)), ("b", {})], Evaluation(bootstrap=50), ["d"])


def lenses(n):
    rng = np.random.default_rng(4)
    return pd.DataFrame({"theta_e_arcsec": np.where(np.arange(n) % 5, rng.uniform(0.5, 3, n), np.nan), "grade": ["A", "B", ""] * (n // 3)})


def test_recall_is_counted_at_the_validation_threshold_with_wilsons_interval():
    n = 90
    validation = load_seeds(tables(0.0), "d", "validation")
    scores = {seed: np.random.default_rng(5).normal(1.5, 1, n) for seed in ("1", "2")}
    for score in scores.values():
        score[:4] = np.nan
    evaluation = Evaluation(fprs=(0.05, 1e-3), strata={"theta_e_arcsec": Stratum(edges=(0.5, 1.5, 3.0))})
    found = recall_known_lenses(lenses(n), scores, validation, evaluation)
    assert tuple(found.columns) == RECALL and set(found["seed"]) == {"1", "2", "committee"}
    one = found.query("seed == '1' and fpr == 0.05")
    negatives = validation["1"].score[~validation["1"].label]
    cut = one.iloc[0]["threshold"]
    assert (negatives > cut).mean() <= 0.05 < (negatives >= np.sort(negatives)[np.searchsorted(np.sort(negatives), cut) - 1]).mean()
    everything = one.query("stratum == 'all'").iloc[0]
    assert everything["n"] == 86 and everything["found"] == (scores["1"][4:] > cut).sum()
    assert (everything["low"], everything["high"]) == pytest.approx(proportion_confint(everything["found"], 86, 0.05, "wilson"))
    assert one.query("stratum == 'grade'")["n"].sum() == 86
    assert one.query("stratum == 'theta_e_arcsec'")["n"].sum() == 86  # with a bin of the unknown ones
    assert one.query("stratum == 'not scored'").iloc[0]["n"] == 4
    unresolved = found.query("fpr == 0.001 and stratum == 'all'")
    assert not unresolved["resolved"].any() and unresolved["recall"].isna().all()
    assert unresolved.iloc[0]["note"] == "needs 10000 validation controls, there are 750"
