"""The ideal observer: pooled formula, its fast form, and a network that uses all there is."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.core.rates import EvaluationError, auc, rank
from darkhaloscope.evaluation import information
from darkhaloscope.evaluation.information import d_prime, ideal_auc, judge_information, saturation
from darkhaloscope.evaluation.scored import read_split


def test_equal_d_prime_is_the_textbook_case():
    # Two normal distributions d′ apart: AUC = Φ(d′/√2) (Green and Swets 1966).
    for d in (0.0, 0.5, 2.0, 6.0, 30.0):
        value, back = ideal_auc(np.full(50, d), np.full(70, d))
        assert value == pytest.approx(stats.norm.cdf(d / np.sqrt(2)), abs=1e-14)
        assert back == pytest.approx(d, abs=1e-6)


def test_all_pairs_by_hand():
    rng = np.random.default_rng(1)
    a, b = rng.gamma(1.5, 1.5, 300), rng.gamma(1.5, 1.5, 200)
    expected = stats.norm.cdf(0.5 * np.sqrt(a[:, None] ** 2 + b**2)).mean()
    assert ideal_auc(a, b)[0] == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize(("scale", "bound"), [(0.3, 3e-6), (1.5, 3e-6), (30.0, 3e-6), (0.001, 6e-4)])
def test_cells_keep_to_the_stated_bound(monkeypatch, scale, bound):
    rng = np.random.default_rng(2)
    a, b = rng.gamma(2, scale, 3000), rng.gamma(2, scale, 3000)
    exact = ideal_auc(a, b)[0]
    monkeypatch.setattr(information, "EXACT", 0)
    assert ideal_auc(a, b)[0] == pytest.approx(exact, abs=bound)


def test_d_prime_far_beyond_saturation_stays_finite():
    value, d = ideal_auc([200.0, 300.0], [250.0, 1e9])
    assert value == 1.0 and 200 < d < 1000


def test_d_prime_and_saturation():
    assert d_prime(stats.norm.cdf(2 / np.sqrt(2))) == pytest.approx(2)
    # The science notes give 7.5 at 4,000 stamps per class.
    assert saturation(4000, 4000) == pytest.approx(7.5, abs=0.06)


@pytest.mark.parametrize(
    ("a", "b", "words"), [([], [1.0], "needs positives"), ([1.0], [-1.0], "controls must be 0 or more"), ([np.nan], [1.0], "missing")]
)
def test_bad_d_prime(a, b, words):
    with pytest.raises(EvaluationError, match=words):
        ideal_auc(a, b)


def observer_table(make_table, n=20_000, low=0.2, high=4.0, part=1.0):
    """Log likelihood ratios of the ideal observer: N(±d²/2, d²) on one stamp; `part` of d is all that is used."""
    rng = np.random.default_rng(3)
    d = rng.uniform(low, high, n)
    sign = np.where(np.arange(n) % 2, 1, -1)
    used = part * d
    ratio = sign * used**2 / 2 + used * rng.normal(size=n)
    return make_table(n=n, extra={"score": ratio, "d_prime_flux": d, "d_prime_both": d})


def lines(table, channels="flux", **settings):
    rows = judge_information(read_split(table, "test", "t"), channels, Evaluation(**settings), "key")
    return {(r["stratum"], r["metric"]): r for r in rows}


def test_a_network_that_is_the_ideal_observer_uses_all_of_it(make_table):
    # Ten intervals must hold at once: 99.9% each.
    found = lines(observer_table(make_table), d_prime_edges=(0, 1, 2, 3, 5), confidence=0.999)
    for stratum in ("all", "0–1", "1–2", "2–3", "3–5"):
        share = found[stratum, "share"]
        assert share["low"] < 1 < share["high"], stratum
        assert found[stratum, "auc"]["low"] < found[stratum, "ideal_auc"]["value"] < found[stratum, "auc"]["high"]
    assert found["all", "share"]["high"] - found["all", "share"]["low"] < 0.1


def test_a_network_that_uses_half(make_table):
    table = observer_table(make_table, low=2.0, high=2.0001, part=0.5)
    found = lines(table, d_prime_edges=(0, 5))
    assert found["0–5", "share"]["value"] == pytest.approx(0.5, abs=0.03)


def test_saturation_gives_a_lower_limit(make_table):
    found = lines(observer_table(make_table, n=2000, low=15.0, high=20.0), d_prime_edges=(0, 10, 20))
    share = found["10–20", "share"]
    assert "lower limit" in share["note"] and np.isnan(share["high"]) and share["value"] == share["low"]
    assert 0 < share["value"] < 1
    assert found["all", "auc"]["value"] == 1


def test_a_blind_network_far_below_a_saturated_ideal_is_a_share(make_table):
    found = lines(make_table(separation=0.0, extra={"d_prime_flux": np.full(2000, 20.0)}), d_prime_edges=(0, 50))
    assert found["0–50", "share"]["low"] < 0 < found["0–50", "share"]["high"] < 0.02
    assert found["0–50", "share"]["note"] == ""


def test_channels_choose_the_observer_and_small_bins_say_so(make_table):
    table = make_table(extra={"d_prime_both": np.where(np.arange(2000) < 10, 4.0, 0.5)})
    found = lines(table, "both", d_prime_edges=(0, 1, 5))
    assert {r["column"] for r in found.values()} == {"d_prime_both"}
    assert not found["1–5", "auc"]["resolved"] and "fewer than 10" in found["1–5", "share"]["note"]
    assert found["1–5", "ideal_auc"]["resolved"]
    with pytest.raises(EvaluationError, match="no ideal observer for channels `radio`; known: flux"):
        lines(table, "radio")
    assert lines(table.drop_columns(["d_prime_flux"]), "flux") == {}


def test_missing_d_prime_is_an_error(make_table):
    table = make_table(n=100)
    holes = pa.array([None] + [1.0] * 99)
    table = table.set_column(table.column_names.index("d_prime_flux"), "d_prime_flux", holes)
    with pytest.raises(EvaluationError, match="`d_prime_flux` lacks 1 values"):
        lines(table)


def test_auc_of_the_bin_is_that_of_its_stamps(make_table):
    table = observer_table(make_table, n=2000)
    scored = read_split(table, "test", "t")
    d = np.asarray(table.column("d_prime_flux"))
    inside = (d >= 1) & (d < 2)
    assert lines(table, d_prime_edges=(1, 2, 4))["1–2", "auc"]["value"] == pytest.approx(
        auc(rank(scored.score[inside], scored.label[inside]))
    )
