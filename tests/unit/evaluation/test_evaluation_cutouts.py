"""Rates of cutouts that the user brings: those whose labels say what they are, one class in words, none without labels."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.evaluation.cutouts import RATES, evaluate_cutouts

RNG = np.random.default_rng(2)


def scored(labels, places=True):
    n = len(labels)
    labels = np.array(labels, float)
    return pd.DataFrame(
        {
            "stamp_id": [f"o{k}" for k in range(n)],
            "ra": np.linspace(0, 300, n) if places else np.nan,
            "dec": 0.0 if places else np.nan,
            "label": labels,
            "ok": np.arange(n) != 0,
            "score_a": np.where(np.arange(n) == 0, np.nan, RNG.random(n) / 2 + np.nan_to_num(labels) / 4),
            "score_b": np.where(np.arange(n) == 0, np.nan, RNG.random(n)),
        }
    )


@pytest.mark.parametrize("places", [True, False])
def test_rates_of_each_detector_are_those_of_the_labelled_cutouts_alone(places):
    table = scored([*([1, 0] * 40), *([np.nan] * 20)], places)
    rates = evaluate_cutouts(table, ["a", "b"], Evaluation(bootstrap=50), "mine")
    assert list(rates.columns) == list(RATES) and set(rates["test_dataset"]) == {"mine"}
    known = table[table["label"].notna() & table["ok"]]
    for name in ("a", "b"):
        auc = rates[(rates["detector"] == name) & (rates["metric"] == "auc")].iloc[0]
        assert auc["value"] == pytest.approx(roc_auc_score(known["label"], known[f"score_{name}"]))
        assert (auc["n_positives"], auc["n_negatives"]) == (39, 40)


@pytest.mark.parametrize(("label", "words"), [(1, "no control"), (0, "no lens")])
def test_one_class_is_said_and_stops_nothing(label, words):
    [row] = evaluate_cutouts(scored([label] * 5), ["a"], Evaluation(), "mine").to_dict("records")
    assert not row["resolved"] and row["note"].startswith(words) and row["n_positives"] + row["n_negatives"] == 4


def test_no_labels_no_rates():
    rates = evaluate_cutouts(scored([np.nan] * 5), ["a"], Evaluation(), "mine")
    assert rates.empty and list(rates.columns) == list(RATES)


def test_objects_that_a_network_learnt_from_count_in_none_of_its_rates():
    table = scored([1, 0] * 40)
    table["learnt_a"] = np.arange(80) < 20
    rates = evaluate_cutouts(table, ["a", "b"], Evaluation(bootstrap=50), "mine")
    counts = rates[rates["metric"] == "auc"].set_index("detector")[["n_positives", "n_negatives"]]
    assert counts.loc["a"].tolist() == [30, 30] and counts.loc["b"].tolist() == [39, 40]
