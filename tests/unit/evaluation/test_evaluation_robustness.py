"""Networks on several test datasets: pairs of twins, intervals against DeLong's, gains, refused mismatches."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.core.intervals import delong_difference
from darkhaloscope.core.rates import EvaluationError
from darkhaloscope.evaluation.robustness import ROBUSTNESS, measure_robustness

EVALUATION = Evaluation(fprs=(0.1, 0.05, 0.001), bootstrap=400)
N = 2000
LABEL = np.arange(N) % 2
SHARED = np.random.default_rng(0).normal(size=N)


def score(shift, seed, n=N):
    """Scores that share most of their noise, stamp by stamp, between networks and variants."""
    return shift * LABEL[:n] + SHARED[:n] + 0.4 * np.random.default_rng(seed).normal(size=n)


def tables(make_table, variant_n=N, galaxies=0, **extra):
    """Two networks on their own test and validation stamps, on twins of which they see less, and on other stamps."""
    out = {}
    for k, (name, shifts) in enumerate({"flux": (1.2, 0.4), "both": (1.6, 1.0)}.items()):

        def table(values, seed, network=name):
            more = {"score": values, "number": np.arange(len(values)), **{k: v[: len(values)] for k, v in extra.items()}}
            return make_table(n=len(values), network=network, galaxies=galaxies, extra=more)

        own, blurred = (table(score(shift, 10 * k + i, n), 1) for i, (shift, n) in enumerate(zip(shifts, (N, variant_n), strict=True)))
        validation = make_table(
            n=N, split="validation", network=name, seed=5, separation=shifts[0], extra={"number": np.arange(N) + 10**6}, mapping=lambda s: s
        )
        other = make_table(n=1000, network=name, seed=9, separation=shifts[1], extra={"number": np.arange(1000)}, mapping=lambda s: s)
        out[name] = {("own", 1): pa.concat_tables([own, validation]), ("own+blur", 1): blurred, ("elsewhere", 1): other}
    return out


def measured(found, **where):
    for name, value in where.items():
        found = found[np.isclose(found[name], value)] if name == "at" else found[found[name] == value]
    assert len(found) == 1, where
    return found.iloc[0]


@pytest.fixture(scope="module")
def given(make_table):
    return tables(make_table)


@pytest.fixture(scope="module")
def found(given):
    return measure_robustness(
        given, EVALUATION, home="own", variants={"blur": "own+blur"}, tests=["own", "elsewhere"], gains=[("flux", "both")]
    )


def column(given, network, dataset, name="score"):
    table = given[network][dataset, 1]
    return table.filter(np.asarray(table["split"]) == "test")[name].to_numpy()


def test_values_and_differences_are_those_of_scikit_learn(given, found):
    assert tuple(found.columns) == ROBUSTNESS
    areas = {
        (n, d): roc_auc_score(LABEL[: len(column(given, n, d))], column(given, n, d))
        for n in given
        for d in ("own", "own+blur", "elsewhere")
    }
    for network in given:
        home = measured(found, detector=network, test_dataset="own", metric="auc", baseline="")
        assert home.value == pytest.approx(areas[network, "own"], abs=1e-12) and np.isnan(home.difference)
        for dataset, variant in (("own+blur", "blur"), ("elsewhere", "")):
            row = measured(found, detector=network, test_dataset=dataset, metric="auc", baseline="")
            assert row.variant == variant and row.value == pytest.approx(areas[network, dataset], abs=1e-12)
            assert row.difference == pytest.approx(areas[network, dataset] - areas[network, "own"], abs=1e-12)
            assert row.difference_low < row.difference < row.difference_high < 0
    gain = measured(found, baseline="flux", variant="blur", metric="delta_auc")
    assert gain.value == pytest.approx(areas["both", "own+blur"] - areas["flux", "own+blur"])
    assert gain.difference == pytest.approx(gain.value - (areas["both", "own"] - areas["flux", "own"])) and gain.low > 0


def test_the_interval_of_a_variants_change_agrees_with_delongs_for_the_same_stamps(given, found):
    row = measured(found, detector="flux", variant="blur", metric="auc", baseline="")
    delong = delong_difference(column(given, "flux", "own"), column(given, "flux", "own+blur"), LABEL == 1)
    # Two routes to one interval: 400 resamples know their percentiles to some 10%.
    assert row.difference_high - row.difference_low == pytest.approx(delong.high - delong.low, rel=0.25)
    assert row.interval == "bootstrap of both classes, paired"
    # What makes a stamp hard is hard in both: apart, the interval would be wider.
    apart = measured(found, detector="flux", test_dataset="elsewhere", metric="auc", baseline="")
    assert apart.interval.endswith("each side resampled alone")
    assert apart.difference_high - apart.difference_low > 1.5 * (row.difference_high - row.difference_low)


def test_thresholds_are_those_of_homes_validation_on_every_dataset(given, found):
    validation = given["both"]["own", 1]
    validation = validation.filter(np.asarray(validation["split"]) == "validation")
    controls = validation["score"].to_numpy()[validation["label"].to_numpy() == 0]
    cut = np.sort(controls)[-1 - round(0.1 * len(controls))]
    scores = column(given, "both", "own+blur")
    for metric, part in (("tpr_at_validation_fpr", LABEL == 1), ("realised_fpr", LABEL == 0)):
        row = measured(found, detector="both", variant="blur", metric=metric, at=0.1, baseline="")
        assert row.value == pytest.approx(np.mean(scores[part] > cut)) and row.low < row.value < row.high
    lost = measured(found, detector="both", variant="blur", metric="tpr_at_fpr", at=0.001, baseline="")
    assert not lost.resolved and np.isnan(lost.value) and lost.negatives_needed == 10_000


def test_a_smaller_variant_is_compared_on_the_stamps_that_both_have(make_table):
    given = tables(make_table, variant_n=600)
    found = measure_robustness(given, EVALUATION, home="own", variants={"blur": "own+blur"})
    row = measured(found, detector="flux", variant="blur", metric="auc")
    assert (row.n_positives, row.n_negatives) == (300, 300)
    assert row.home_value == pytest.approx(roc_auc_score(LABEL[:600], column(given, "flux", "own")[:600]))
    # The order of a table's rows does not matter.
    for network in given:
        table = given[network]["own+blur", 1]
        given[network]["own+blur", 1] = table.take(np.random.default_rng(1).permutation(600))
    again = measure_robustness(given, EVALUATION, home="own", variants={"blur": "own+blur"})
    assert measured(again, detector="flux", variant="blur", metric="auc").difference == pytest.approx(row.difference)


def test_galaxies_are_drawn_as_wholes_where_there_are_enough(make_table):
    for galaxies, words in ((30, "bootstrap over galaxies, paired"), (5, "bootstrap of both classes, paired")):
        found = measure_robustness(tables(make_table, galaxies=galaxies), EVALUATION, home="own", variants={"blur": "own+blur"})
        row = measured(found, detector="flux", variant="blur", metric="auc")
        assert row.interval == words and ("20 needed" in row.note) == (galaxies == 5)


def test_stamps_that_are_no_twins_are_refused(make_table):
    given = tables(make_table)
    table = given["flux"]["own+blur", 1]
    flipped = table.set_column(table.schema.get_field_index("label"), "label", [1 - table["label"].to_numpy()])
    both = {name: {**own, ("own+blur", 1): flipped} for name, own in given.items()}
    with pytest.raises(EvaluationError, match="disagree on the label of 2000 stamps"):
        measure_robustness(both, EVALUATION, home="own", variants={"blur": "own+blur"})
    moved = table.set_column(table.schema.get_field_index("number"), "number", [table["number"].to_numpy() + 10**9])
    with pytest.raises(EvaluationError, match=r"own\+blur has no stamp of own"):
        measure_robustness({"flux": {**given["flux"], ("own+blur", 1): moved}}, EVALUATION, home="own", variants={"blur": "own+blur"})
    with pytest.raises(EvaluationError, match="flux has no scores on the test split of absent"):
        measure_robustness(given, EVALUATION, home="own", variants={"x": "absent"})
