"""Two networks as one detector: independent margins add in quadrature, useless ones add nothing."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit
from scipy.stats import norm

from darkhaloscope.core.tables import write_table
from darkhaloscope.detectors.fusion import FusionError, fuse, main
from darkhaloscope.detectors.schema import SCORES

N = 40000


def scores(network, margin, label, split):
    return pa.table(
        {
            "stamp_id": [f"s{i}" for i in range(len(label))],
            "split": split,
            "label": label.astype(np.int8),
            "detector": [network] * len(label),
            "score": expit(margin),
        }
    )


@pytest.fixture
def drawn():
    rng = np.random.default_rng(1)
    label, split = np.arange(N) % 2, np.where(np.arange(N) < 4000, "validation", "test")
    # Log-odds of unit normals d′ apart: d′ x − d′²/2.
    return label, split, lambda d: d * rng.normal(d * label, 1) - d * d / 2


def test_independent_networks_add_in_quadrature(drawn):
    label, split, margins = drawn
    found = fuse(scores("a", margins(1.5), label, split), scores("b", 3 * margins(2.0), label, split))
    table = found.compared().set_index(["network", "metric"])["value"]
    # AUC Φ(d′/√2); 36,000 test stamps have a standard error of 0.002 at most.
    for name, d in (("a", 1.5), ("b", 2.0), ("a + b", 2.5)):
        assert table[name, "auc"] == pytest.approx(norm.cdf(d / np.sqrt(2)), abs=0.008)
    # The second network's margins are three times too large: its weight is a third.
    assert found.weights[0] == pytest.approx(1, abs=0.15) and found.weights[1] == pytest.approx(1 / 3, abs=0.05)
    added = found.compared().set_index("network").loc["a + b against b"]
    assert 0 < added["low"] < added["value"] < added["high"]


def test_a_network_at_chance_neither_helps_nor_harms(drawn):
    label, split, margins = drawn
    useless = np.random.default_rng(2).normal(size=N)
    added = fuse(scores("a", margins(1.5), label, split), scores("noise", useless, label, split)).compared().set_index("network")
    assert abs(added.loc["a + noise against a", "value"]) < 0.002


def test_rows_are_matched_by_stamp_and_saturated_scores_stay_finite(drawn):
    label, split, margins = drawn
    one, other = scores("a", margins(1.5), label, split), scores("b", 80 * margins(2.0), label, split)
    shuffled = other.take(np.random.default_rng(3).permutation(N))
    found = fuse(one, shuffled)
    assert np.isfinite(found.fused).all() and np.allclose(found.fused, fuse(one, other).fused)


def test_what_cannot_be_joined_is_named(drawn):
    label, split, margins = drawn
    one, other = scores("a", margins(1.0), label, split), scores("b", margins(1.0), label, split)
    with pytest.raises(FusionError, match="a and b are of other stamps"):
        fuse(one, other.slice(1))
    with pytest.raises(FusionError, match="other labels"):
        fuse(one, scores("b", margins(1.0), 1 - label, split))
    with pytest.raises(FusionError, match="no validation stamps of both classes"):
        fuse(one.slice(4000), other.slice(4000))


def test_the_command_prints_the_comparison_and_names_a_missing_file(tmp_path, capsys, make_table):
    paths, blank = [], {"string": "x", "bool": False}
    for name, separation in (("flux", 1.0), ("velocity", 2.0)):
        parts = [make_table(split=split, network=name, separation=separation) for split in ("validation", "test")]
        known = pa.concat_tables(parts).to_pydict()
        columns = {c.name: known.get(c.name, [blank.get(c.dtype, 0)] * 4000) for c in SCORES.columns}
        paths.append(str(tmp_path / f"{name}.parquet"))
        write_table(paths[-1], SCORES, SCORES.table(columns))
    assert main(paths) == 0 and "flux + velocity against velocity" in capsys.readouterr().out
    assert main([paths[0], str(tmp_path / "none.parquet")]) == 1 and "none.parquet" in capsys.readouterr().err
