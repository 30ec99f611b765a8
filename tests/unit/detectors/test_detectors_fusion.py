"""Several detectors as one: independent margins add in quadrature, useless ones add nothing."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit
from scipy.stats import norm

from darkhaloscope.core.intervals import delong_difference
from darkhaloscope.core.rates import auc, rank
from darkhaloscope.detectors.fusion import FusionError, fit_fusion, fuse_scores
from darkhaloscope.detectors.schema import SCORES

N = 40000


def scores(detector, margin, label, split, seed=1):
    blank = {"string": "x", "bool": False}
    columns = {c.name: pa.repeat(pa.scalar(blank.get(c.dtype, 0), pa.type_for_alias(c.dtype)), len(label)) for c in SCORES.columns}
    score = expit(margin)
    columns |= {
        "stamp_id": [f"s{i}" for i in range(len(label))],
        "split": split,
        "label": label.astype(np.int8),
        "seed": [seed] * len(label),
    }
    columns |= {"detector": [detector] * len(label), "score": score, "calibrated": score}
    return SCORES.table(columns)


def fused(**members):
    """Return the fusion of members, and its score table's scores, labels and splits."""
    given = {name: table if isinstance(table, list) else [table] for name, table in members.items()}
    fusion = fit_fusion(given)
    table = SCORES.table(fuse_scores(fusion, given, dataset="d", detector="joined"))
    assert set(table["detector"].to_pylist()) == {"joined"} and set(table["seed"].to_pylist()) == {0}
    return fusion, table


def judged(table):
    rows = table["split"].to_numpy(zero_copy_only=False) == "test"
    return table["score"].to_numpy()[rows], table["label"].to_numpy()[rows] == 1


@pytest.fixture
def drawn():
    rng = np.random.default_rng(1)
    label, split = np.arange(N) % 2, np.where(np.arange(N) < 4000, "validation", "test")
    # Log-odds of unit normals d′ apart: d′ x − d′²/2.
    return label, split, lambda d: d * rng.normal(d * label, 1) - d * d / 2


def test_independent_detectors_add_in_quadrature(drawn):
    label, split, margins = drawn
    a, b = scores("a", margins(1.5), label, split), scores("b", 3 * margins(2.0), label, split)
    fusion, joined = fused(a=a, b=b)
    # AUC Φ(d′/√2); 36,000 test stamps have a standard error of 0.002 at most.
    for table, d in ((a, 1.5), (b, 2.0), (joined, 2.5)):
        assert auc(rank(*judged(table))) == pytest.approx(norm.cdf(d / np.sqrt(2)), abs=0.008)
    # The second detector's margins are three times too large: its weight is a third.
    assert fusion.weights[0] == pytest.approx(1, abs=0.15) and fusion.weights[1] == pytest.approx(1 / 3, abs=0.05)
    added = delong_difference(judged(b)[0], *judged(joined))
    assert 0 < added.low < added.value < added.high


def test_three_detectors_add_in_quadrature_and_seeds_are_averaged(drawn):
    label, split, margins = drawn
    tables = {name: scores(name, margins(d), label, split) for name, d in (("a", 1.0), ("b", 1.0), ("c", 1.0))}
    assert auc(rank(*judged(fused(**tables)[1]))) == pytest.approx(norm.cdf(np.sqrt(3) / np.sqrt(2)), abs=0.008)
    # Two seeds of one detector, with independent noise: their mean has d′ √2 times as large.
    seeds = [scores("a", margins(1.0), label, split, seed) for seed in (1, 2)]
    assert auc(rank(*judged(fused(a=seeds, b=tables["b"])[1]))) == pytest.approx(norm.cdf(np.sqrt(3) / np.sqrt(2)), abs=0.008)


def test_a_detector_at_chance_neither_helps_nor_harms(drawn):
    label, split, margins = drawn
    useless = np.random.default_rng(2).normal(size=N)
    a = scores("a", margins(1.5), label, split)
    joined = fused(a=a, noise=scores("noise", useless, label, split))[1]
    assert abs(auc(rank(*judged(joined))) - auc(rank(*judged(a)))) < 0.002


def test_rows_are_matched_by_stamp_and_saturated_scores_stay_finite(drawn):
    label, split, margins = drawn
    one, other = scores("a", margins(1.5), label, split), scores("b", 80 * margins(2.0), label, split)
    shuffled = other.take(np.random.default_rng(3).permutation(N))
    found = fused(a=one, b=shuffled)[1]["score"].to_numpy()
    assert np.isfinite(found).all() and np.allclose(found, fused(a=one, b=other)[1]["score"].to_numpy())


def test_what_cannot_be_joined_is_named(drawn):
    label, split, margins = drawn
    one, other = scores("a", margins(1.0), label, split), scores("b", margins(1.0), label, split)
    with pytest.raises(FusionError, match="a and b are of other stamps"):
        fused(a=one, b=other.slice(1))
    with pytest.raises(FusionError, match="other labels"):
        fused(a=one, b=scores("b", margins(1.0), 1 - label, split))
    with pytest.raises(FusionError, match="no validation stamps of both classes"):
        fused(a=one.slice(4000), b=other.slice(4000))
