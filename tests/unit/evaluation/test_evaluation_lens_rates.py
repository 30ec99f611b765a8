"""The project's criterion: what its interval claims where lenses or false positives are few."""

import numpy as np
import pytest

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.core.intervals import clopper_pearson
from darkhaloscope.evaluation.answer import judge_criterion
from darkhaloscope.evaluation.lens_rates import judge_resolved
from darkhaloscope.evaluation.scored import read_split


def criterion(make_table, lenses, controls):
    """Return the row of the criterion and the verdict, of margins of lenses and controls."""
    score, label = np.concatenate([lenses, controls]), np.repeat([1, 0], [len(lenses), len(controls)])
    table = make_table(n=len(score), extra={"score": score, "label": label.astype(np.int8)})
    found = judge_resolved(read_split(table, "test", "scores"), None, Evaluation(clusters=(), bootstrap=300), "d")
    [row] = found[found["metric"] == "criterion"].to_dict("records")
    return row, judge_criterion(found, "d", 0.95)["outcome"]


def test_a_dozen_lenses_do_not_show_the_criterion_met(make_table):
    """Their 80% completeness may lie below all of them (0.8¹² = 7%): no number of controls says what passes there."""
    row, outcome = criterion(make_table, np.full(12, 9.0), np.linspace(0, 1, 20_000))
    assert outcome == "undecided" and row["value"] == 0 and row["high"] == 1 and "12 lenses leave open" in row["note"]


def test_many_lenses_do_by_the_number_of_controls(make_table):
    lenses = np.linspace(5, 9, 500)
    row, outcome = criterion(make_table, lenses, np.linspace(0, 1, 20_000))
    # Wilson's limit, to which the bootstrap is widened at 0, is 4% above Clopper and Pearson's.
    assert outcome == "met" and row["low"] == 0 and row["high"] == pytest.approx(float(clopper_pearson(0, 20_000)[1]), rel=0.05)


def test_the_threshold_has_noise_of_its_own_where_few_controls_pass(make_table):
    """Of 100 lenses 20 lie below the threshold; controls lie close beneath it, where resampled thresholds fall."""
    lenses, controls = np.linspace(0, 10, 101)[1:], np.concatenate([np.full(200, 1.75), np.full(9800, -1.0)])
    row, outcome = criterion(make_table, lenses, controls)
    assert row["value"] == 0 and row["high"] >= 0.02 and outcome == "undecided"
