"""Strata: bins, quantiles, categories, and the meaning of a stratum of positives alone."""

import importlib
import re

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from darkhaloscope.config import columns
from darkhaloscope.config.experiment import Evaluation, Stratum
from darkhaloscope.config.run import validate
from darkhaloscope.config.wording import ConfigError
from darkhaloscope.core.rates import EvaluationError
from darkhaloscope.detectors.schema import SCORES
from darkhaloscope.evaluation import strata
from darkhaloscope.evaluation.evaluate import evaluate_network
from darkhaloscope.evaluation.scored import read_split
from darkhaloscope.evaluation.strata import bins, cut_strata


def scored(make_table, **extra):
    return read_split(make_table(n=len(next(iter(extra.values()))), extra=extra), "test", "table")


def test_every_default_stratum_is_a_column_of_the_score_table():
    assert set(Evaluation().strata) <= {c.name for c in SCORES.columns}


def test_bins_hold_their_lower_edge_and_the_last_its_upper():
    codes, names = bins(np.array([0.0, 0.5, 1.0, 1.99, 2.0, 2.01, -0.1, np.nan, np.inf]), (0, 1, 2))
    assert codes.tolist() == [0, 0, 1, 1, 1, -1, -1, -1, -1]
    assert names == ["0–1", "1–2"]
    assert bins(np.array([60.0]), (0, 50, 1e9))[1] == ["0–50", "50 and above"]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_values_of_a_grid_lie_at_their_edges_in_either_precision(make_table, kind):
    """0.08 and 0.7 in single precision lie below the decimal edge, 0.4 above: bins are those of decimal arithmetic."""
    grid = np.repeat([0.05, 0.08, 0.2, 0.4, 0.7], 20)
    groups = list(cut_strata(scored(make_table, x=grid.astype(kind)), {"x": Stratum(edges=(0.05, 0.08, 0.2, 0.4))}))
    assert [len(g.rows) for g in groups] == [20, 20, 40]
    [last] = cut_strata(scored(make_table, x=grid.astype(kind)), {"x": Stratum(edges=(0.7, 0.9))})
    assert len(last.rows) == 20
    assert bins(np.arange(0.1, 0.8, 0.1), (0.3, 0.7, 0.8))[0].tolist() == [-1, -1, 0, 0, 0, 0, 1]


def test_an_edge_beyond_single_precision_stands_for_infinity():
    assert bins(np.array([1.0, 1e40]), (0, 2, 1e300))[0].tolist() == [0, 1]


def test_rows_of_a_stratum_are_in_order_of_score_class_by_class(make_table):
    stamps = scored(make_table, x=np.arange(100) % 7 / 7)
    for positives_alone in (False, True):
        for group in cut_strata(stamps, {"x": Stratum(edges=(0, 0.3, 0.9), of_positives=positives_alone)}):
            for one_class in (stamps.label, ~stamps.label):
                assert np.all(np.diff(stamps.score[group.rows[one_class[group.rows]]]) >= 0)


def test_edges_share_out_both_classes(make_table):
    groups = list(cut_strata(scored(make_table, x=np.arange(100) / 100), {"x": Stratum(edges=(0, 0.25, 0.5))}))
    assert [(g.stratum, len(g.rows)) for g in groups] == [("0–0.25", 25), ("0.25–0.5", 26)]


def test_quantiles_fill_alike_and_keep_equal_values_together(make_table):
    rng = np.random.default_rng(1)
    [a, b, c, d] = cut_strata(scored(make_table, x=rng.normal(size=1000)), {"x": Stratum(quantiles=4)})
    assert {len(g.rows) for g in (a, b, c, d)} == {250}
    tied = np.repeat([1.0, np.inf], [600, 400])
    groups = list(cut_strata(scored(make_table, x=tied), {"x": Stratum(quantiles=3)}))
    assert [len(g.rows) for g in groups] == [600, 400]
    assert [g.stratum for g in cut_strata(scored(make_table, x=np.full(10, np.inf)), {"x": Stratum(quantiles=3)})] == ["inf"]


def test_categories_are_sorted_and_missing_ones_belong_nowhere(make_table):
    values = np.array(["b", "a", None, "b"], object)
    groups = list(cut_strata(scored(make_table, kind=values), {"kind": Stratum()}))
    assert [(g.stratum, sorted(g.rows.tolist())) for g in groups] == [("a", [1]), ("b", [0, 3])]
    numbers = list(cut_strata(scored(make_table, n=np.array([3, 1, 3, 1])), {"n": Stratum()}))
    assert [g.stratum for g in numbers] == ["1", "3"]


def test_a_property_of_positives_alone_is_judged_against_all_controls(make_table):
    n = 200
    label = np.arange(n) % 2 == 1
    arc_snr = np.where(label, np.arange(n), np.nan)
    stamps = scored(make_table, arc_snr=arc_snr)
    groups = list(cut_strata(stamps, {"arc_snr": Stratum(quantiles=4, of_positives=True)}))
    assert len(groups) == 4
    for group in groups:
        assert set(np.flatnonzero(~label)) <= set(group.rows)
        assert stamps.label[group.rows].sum() == 25
    own = list(cut_strata(stamps, {"arc_snr": Stratum(quantiles=4)}))
    assert all(stamps.label[g.rows].all() for g in own)


def test_a_property_of_controls_alone_is_judged_against_all_positives(make_table):
    n = 2000
    label = np.arange(n) % 2 == 1
    kind = np.where(label, None, np.where(np.arange(n) % 8 == 0, "ring", "spiral"))
    table = make_table(n=n, extra={"contaminant_class": pa.array(kind, pa.string())})
    whole = pa.concat_tables([table, make_table(n=n, split="validation", extra={"contaminant_class": pa.array(kind, pa.string())})])
    evaluation = Evaluation(strata={"contaminant_class": Stratum(of_controls=True)}, fprs=(0.05,), bootstrap=100)
    found = evaluate_network({("a", 1): whole}, evaluation)["strata"].query("seed == '1'").set_index(["stratum", "metric"])
    assert set(found.n_positives) == {1000} and found.n_negatives["ring", "auc"] == 250
    rings = np.isin(kind, ["ring"]) | label
    score = np.asarray(table.column("score"))
    assert found.value["ring", "auc"] == pytest.approx(roc_auc_score(label[rings], score[rings]))
    # The share of rings that pass the threshold of the validation's controls; the TPR there is that of all stamps, and left out.
    cut = np.sort(np.asarray(whole.column("score"))[n:][~label])[-51]
    assert found.value["ring", "realised_fpr"] == pytest.approx(np.mean(score[np.isin(kind, ["ring"])] > cut))
    assert not {"accuracy", "tpr_at_validation_fpr"} & set(found.index.get_level_values("metric"))
    with pytest.raises(ValueError, match="of_positives or of_controls, not both"):
        Stratum(of_positives=True, of_controls=True)
    with pytest.raises(ValueError, match="has no stamps"):
        Evaluation(strata={"a": Stratum(of_positives=True), "b": Stratum(of_controls=True)}, pairs=(("a", "b"),))


def test_errors_in_words(make_table):
    stamps = scored(make_table, kind=np.array(["a", "b"]), x=np.array([0.0, 1.0]))
    with pytest.raises(EvaluationError, match=r"no column `nothing`; the table has: .*mass_bin"):
        list(cut_strata(stamps, {"nothing": Stratum()}))
    with pytest.raises(EvaluationError, match="`kind` holds string"):
        list(cut_strata(stamps, {"kind": Stratum(quantiles=2)}))
    with pytest.raises(EvaluationError, match=r"51 different numbers.*evaluation\.strata\.x"):
        list(cut_strata(scored(make_table, x=np.arange(51) + 0.5), {"x": Stratum()}))


def test_empty_strata_are_left_out(make_table):
    groups = list(cut_strata(scored(make_table, x=np.array([0.1, 0.2])), {"x": Stratum(edges=(0, 1, 2))}))
    assert [g.stratum for g in groups] == ["0–1"]


def test_a_dictionary_column_is_a_category(make_table):
    table = make_table(n=4).append_column("kind", pa.array(["a", "b", "a", "b"]).dictionary_encode())
    groups = list(cut_strata(read_split(table, "test", "t"), {"kind": Stratum()}))
    assert [len(g.rows) for g in groups] == [2, 2]


MODULE = '''
import importlib
import re

import numpy as np
from darkhaloscope.evaluation.strata import Cut, stratum


@stratum("odd_and_even")
def odd_and_even(scored, how):
    """Positives with an odd number, and with an even one, against all controls."""
    number = np.asarray(scored.values("number"))
    return Cut(np.where(scored.label, number % 2, -1), ["even", "odd"], of_positives=True)
'''


def test_a_stratum_is_added_by_the_registry_alone(make_table, tmp_path, monkeypatch):
    (tmp_path / "own_strata.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(strata, "REGISTRY", dict(strata.REGISTRY))
    importlib.import_module("own_strata")
    n = 2000
    number = np.arange(n) // 2
    table = make_table(n=n, extra={"number": number})
    evaluation = Evaluation(strata={"odd_and_even": Stratum()}, fprs=(0.1,), bootstrap=50)
    rows = evaluate_network({("d", 1): table}, evaluation)["strata"]
    rows = rows[(rows["seed"] == "1") & (rows["metric"] == "auc")].set_index("stratum")
    frame = table.to_pandas()
    assert rows.index.tolist() == ["even", "odd"] and set(rows["column"]) == {"odd_and_even"}
    for name, rest in (("even", 0), ("odd", 1)):
        part = frame[(frame["label"] == 0) | (frame["number"] % 2 == rest)]
        assert rows.loc[name, "value"] == pytest.approx(roc_auc_score(part["label"], part["score"]))
        assert rows.loc[name, "n_negatives"] == (frame["label"] == 0).sum()
    with pytest.raises(ValueError, match="stratum `odd_and_even` is registered twice, by own_strata and"):
        strata.stratum("odd_and_even")(lambda scored, how: None)


def test_registered_strata_are_known_to_the_config_and_no_columns():
    assert set(strata.REGISTRY) == set(columns.STRATA)
    assert not set(columns.STRATA) & {name for known in columns.COLUMNS.values() for name in known}
    run = {
        "datasets": {"sky": {"kind": "lensfinder", "survey": "main"}},
        "experiments": {"finder": {"question": "?", "dataset": "sky", "detectors": ["flux"], "evaluation": {"strata": {"resolved": {}}}}},
        "run": ["finder"],
    }
    words = "makes strata of `?resolvd"
    with pytest.raises(ConfigError) as caught:
        validate({**run, "experiments": {"finder": {**run["experiments"]["finder"], "evaluation": {"strata": {"resolvd": {}}}}}})
    assert re.search(words, str(caught.value))
    try:
        validate(run)
    except ConfigError as error:
        assert "strata" not in str(error)
