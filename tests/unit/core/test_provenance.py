"""Provenance: what is recorded, and what is called stale."""

import json

from darkhaloscope.files import sha256
from darkhaloscope.provenance import record, record_path, stale


def make(tmp_path, params, wildcards=None, output="out.csv"):
    source = tmp_path / "in.txt"
    source.write_text("input")
    target = tmp_path / "results" / output
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("result")
    record("a_rule", wildcards or {"dataset": "d"}, params, [str(source)], [str(target)])
    return source, target


def test_a_record_says_what_made_a_result(tmp_path):
    source, target = make(tmp_path, {"code": "abc", "x": (1, 2)})
    found = json.loads((tmp_path / "results/provenance/out.csv.json").read_text())
    assert found["rule"] == "a_rule" and found["params"] == {"code": "abc", "x": [1, 2]}
    assert found["inputs"] == {str(source): f"sha256:{sha256(source)}"}
    assert found["outputs"] == [str(target)] and found["packages"]["numpy"]


def test_nothing_is_stale_when_nothing_changed_and_tuples_equal_lists(tmp_path):
    make(tmp_path, {"code": "abc", "x": (1, 2)})
    assert list(stale(str(tmp_path / "results"), lambda rule, wildcards: {"code": "abc", "x": (1, 2)})) == []


def test_changed_code_and_parameters_are_named(tmp_path):
    _, target = make(tmp_path, {"code": "abc", "x": 1, "y": 1})
    found = list(stale(str(tmp_path / "results"), lambda rule, wildcards: {"code": "abd", "x": 2, "y": 1}))
    assert found == [("a_rule", {"dataset": "d"}, [str(target)], ["code", "x"])]


def test_a_rule_that_is_gone_is_left_alone_and_a_broken_record_is_named(tmp_path):
    make(tmp_path, {"code": "abc"})
    assert list(stale(str(tmp_path / "results"), lambda rule, wildcards: None)) == []
    (tmp_path / "results/provenance/out.csv.json").write_text("{half")
    assert next(iter(stale(str(tmp_path / "results"), lambda rule, wildcards: {})))[3] == ["unreadable provenance record"]


def test_shards_share_one_record(tmp_path):
    make(tmp_path, {"code": "abc"}, {"dataset": "d", "shard": "00000"}, "00000.parquet")
    make(tmp_path, {"code": "abc"}, {"dataset": "d", "shard": "00001"}, "00001.parquet")
    assert [p.name for p in (tmp_path / "results/provenance").iterdir()] == ["a_rule.json"]
    path = record_path([str(tmp_path / "results/00001.parquet")], "a_rule", {"shard": "00001"})
    assert "shard" not in json.loads(path.read_text())["wildcards"]
