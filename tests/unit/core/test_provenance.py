"""Provenance: what is recorded, and what is called stale."""

import json
import os
import shutil

import pytest

from darkhaloscope.core.files import sha256
from darkhaloscope.jobs import provenance
from darkhaloscope.jobs.provenance import (
    MARK,
    ProvenanceError,
    Stale,
    differences,
    made_of,
    record,
    record_path,
    recorded,
    refuse_changed,
    settle,
    stale,
    versions_of,
)


def make(tmp_path, params, wildcards=None, output="out.csv"):
    source = tmp_path / "in.txt"
    source.write_text("input")
    target = tmp_path / "results" / output
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("result")
    record("a_rule", wildcards or {"dataset": "d"}, params, [str(source)], [str(target)])
    return source, target


def compare(tmp_path, params, known=lambda output: False):
    return list(stale(recorded(str(tmp_path / "results")), lambda rule, wildcards: params, known))


def test_a_record_says_what_made_a_result(tmp_path):
    source, target = make(tmp_path, {"code": "abc", "x": (1, 2)})
    found = json.loads((tmp_path / "results/provenance/out.csv.json").read_text())
    assert found["rule"] == "a_rule" and found["params"] == {"code": "abc", "x": [1, 2]}
    assert found["inputs"] == {str(source): f"sha256:{sha256(source)}"}
    assert found["outputs"] == [str(target)] and found["packages"]["numpy"]


def test_nothing_is_stale_when_nothing_changed_and_tuples_equal_lists(tmp_path):
    make(tmp_path, {"code": "abc", "x": (1, 2)})
    assert compare(tmp_path, {"code": "abc", "x": (1, 2)}) == []


def test_changed_code_and_parameters_are_named(tmp_path):
    _, target = make(tmp_path, {"code": "abc", "x": 1, "y": 1})
    found = compare(tmp_path, {"code": "abd", "x": 2, "y": 1})
    assert found == [Stale(str(target), "a_rule", "made by rule a_rule with other code, parameter `x` (x: 1 → 2)")]


def test_what_is_gone_or_decided_elsewhere_is_left_alone(tmp_path):
    _, target = make(tmp_path, {"code": "abc"})
    assert compare(tmp_path, None) == []  # the rule is gone
    assert len(compare(tmp_path, {"code": "abd"})) == 1
    assert compare(tmp_path, {"code": "abd"}, known=lambda output: output == str(target)) == []
    target.unlink()
    assert compare(tmp_path, {"code": "abd"}) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{half", "found no JSON"),
        (b"\xff\xfe", "found no JSON"),
        (b"[1, 2]", "found JSON without a valid `rule` or `wildcards` or `params`"),
        (b'{"rule": "a_rule", "wildcards": {}, "params": 3}', "found JSON without a valid `params`"),
    ],
)
def test_a_record_that_cannot_be_read_is_named_with_what_was_expected_and_a_remedy(tmp_path, content, words):
    _, target = make(tmp_path, {"code": "abc"})
    path = record_path(target)
    path.write_bytes(content)
    [found] = compare(tmp_path, {"code": "abc"})
    assert found.rule is None and found.output == str(target)
    assert str(path) in found.reason and "expected a provenance record" in found.reason and words in found.reason
    assert f"delete {target} to have it made again" in found.reason


def test_a_record_that_is_no_file_is_named_too(tmp_path):
    _, target = make(tmp_path, {"code": "abc"})
    record_path(target).unlink()
    record_path(target).mkdir()
    assert compare(tmp_path, {"code": "abc"}) == []  # a folder is no record
    record_path(target).rmdir()
    record_path(target).symlink_to(tmp_path / "absent")
    [found] = compare(tmp_path, {"code": "abc"})
    assert "cannot be read (No such file or directory)" in found.reason


def test_each_shard_has_its_own_record(tmp_path):
    """After a kill amid a changed run, some shards are of the old parameters and some of the new."""
    for shard, code in (("00000", "new"), ("00001", "old"), ("00002", "old")):
        make(tmp_path, {"code": code}, {"dataset": "d", "shard": shard}, f"{shard}.parquet")
    found = compare(tmp_path, {"code": "new"})
    assert [s.output for s in found] == [str(tmp_path / f"results/{n}.parquet") for n in ("00001", "00002")]


def test_what_differs_is_named_key_by_key():
    before = {"size": {"train": 80, "test": 80}, "mix": {"manga": 1.0}, "kernel": "a.npy", "gone": [1]}
    now = {"size": {"train": 80, "test": 120}, "mix": {"disk": 1.0}, "kernel": "a.npy"}
    assert differences(before, now, "dataset") == [
        "dataset.size.test: 80 → 120",
        "dataset.mix.manga: 1.0 → not there",
        "dataset.mix.disk: not there → 1.0",
        "dataset.gone: [1] → not there",
    ]
    [line] = differences({"a": "x" * 200}, {"a": "y"})
    assert line == f"a: {'x' * 57}… → y"


def chain(folder):
    """Make b of a, and c of b, each with its record, a second apart."""
    folder.mkdir(parents=True)
    for n, (name, source) in enumerate((("a", None), ("b", "a"), ("c", "b"))):
        (folder / name).write_text(name)
        if source:
            record("a_rule", {"name": name}, {"code": "abc"}, [str(folder / source)], [str(folder / name)])
        os.utime(folder / name, (1000 + n, 1000 + n))


def in_order(folder):
    times = [(folder / name).stat().st_mtime_ns for name in "abc"]
    return times == sorted(times)


def test_times_out_of_order_are_settled_where_the_content_is_that_of_the_records(tmp_path):
    folder = tmp_path / "results"
    chain(folder)
    assert settle(recorded(str(folder))) == 0
    os.utime(folder / "a", (2000, 2000))  # touched, or made again with the same bits
    assert not in_order(folder)
    assert settle(recorded(str(folder))) == 2 and in_order(folder)
    assert settle(recorded(str(folder))) == 0


def test_results_that_were_copied_are_settled_under_their_new_name(tmp_path):
    chain(tmp_path / "results")
    shutil.copytree(tmp_path / "results", tmp_path / "moved/results2")
    shutil.rmtree(tmp_path / "results")
    for n, name in enumerate("cba"):
        os.utime(tmp_path / "moved/results2" / name, (3000 + n, 3000 + n))
    assert settle(recorded(str(tmp_path / "moved/results2"))) >= 2 and in_order(tmp_path / "moved/results2")


def test_the_benchmark_file_that_snakemake_counts_as_a_result_is_settled_too(tmp_path):
    folder = tmp_path / "results"
    chain(folder)
    times = folder / "benchmarks.tsv"
    times.write_text("s")
    os.utime(times, (10, 10))  # `cp -r` takes benchmarks before what the jobs read
    before = {name: os.stat(folder / name).st_mtime for name in "abc"}
    found = json.loads((folder / "provenance/c.json").read_text())

    def benchmark(rule, wildcards):
        return str(times) if (rule, wildcards) == (found["rule"], found["wildcards"]) else None

    assert settle(recorded(str(folder)), benchmark) >= 1 and in_order(folder)
    assert times.stat().st_mtime >= os.stat(folder / "b").st_mtime
    assert os.stat(folder / "a").st_mtime == before["a"]
    assert settle(recorded(str(folder)), benchmark) == 0


@pytest.fixture
def bricks(tmp_path):
    """A folder of bricks with the mark that Snakemake leaves, made of a list, and a shard made of both; seconds apart."""
    folder = tmp_path / "results"
    brick, shard, listed = folder / "bricks/1506p005", folder / "shard", folder / "list"
    (brick / "deep").mkdir(parents=True)
    for path in (listed, brick / "image", brick / "deep/mask", brick / MARK, shard):
        path.write_text(path.name)
    record("retrieve", {}, {}, [str(listed)], [str(brick)])
    record("inject", {}, {}, [str(listed), str(brick)], [str(shard)])
    for n, path in enumerate((listed, brick / MARK, shard)):
        os.utime(path, (1000 + n, 1000 + n))
    return listed, brick, shard


def order(listed, brick, shard):
    times = [path.stat().st_mtime_ns for path in (listed, brick / MARK, shard) if path.exists()]
    return times == sorted(times)


def test_folders_are_settled_by_their_content(tmp_path, bricks):
    """As `cp -r` leaves them; what is in them, and not when Snakemake marked them, decides."""
    root, (listed, brick, shard) = str(tmp_path / "results"), bricks
    found = json.loads(record_path(shard).read_text())["inputs"]
    assert found[str(brick)].startswith("folder:sha256:") and settle(recorded(root)) == 0
    os.utime(listed, (3000, 3000))
    assert settle(recorded(root)) == 2 and order(*bricks)
    os.utime(brick / MARK, (4000, 4000))
    assert settle(recorded(root)) == 1 and order(*bricks)
    for change in (lambda: (brick / "image").write_text("other"), lambda: (brick / "deep/mask").rename(brick / "mask")):
        change()
        os.utime(brick / MARK, (5000, 5000))
        assert settle(recorded(root)) == 0 and not order(*bricks)


def test_a_folder_that_went_once_it_was_used_keeps_nothing_from_being_settled(tmp_path, bricks):
    listed, brick, _ = bricks
    shutil.rmtree(brick)
    os.utime(listed, (3000, 3000))
    assert settle(recorded(str(tmp_path / "results"))) == 1 and order(*bricks)


def test_folders_too_large_to_be_hashed_leave_the_hash_of_what_is_beside_them(tmp_path, bricks, monkeypatch):
    listed, brick, shard = bricks
    monkeypatch.setattr(provenance, "HASH_LIMIT_BYTES", 6)
    record("inject", {}, {}, [str(listed), str(brick)], [str(shard)])
    found = json.loads(record_path(shard).read_text())["inputs"]
    assert found == {str(listed): f"sha256:{sha256(listed)}", str(brick): "folder:size:9"}
    os.utime(brick / MARK, (4000, 4000))
    assert settle(recorded(str(tmp_path / "results"))) == 0  # their times decide


def test_another_content_is_left_for_snakemake_to_see(tmp_path):
    folder = tmp_path / "results"
    chain(folder)
    (folder / "a").write_text("other")
    assert settle(recorded(str(folder))) == 0 and not in_order(folder)


def test_what_follows_from_another_content_is_not_settled(tmp_path):
    folder = tmp_path / "results"
    chain(folder)
    (folder / "b").write_text("other")  # newer than c, which was made of what b was
    os.utime(folder / "a", (500, 500))
    assert settle(recorded(str(folder))) == 0


def test_a_result_is_of_other_weights_where_its_record_says_so(tmp_path, monkeypatch):
    weights, shard, table = (tmp_path / name for name in ("network.safetensors", "00000.parquet", "scores.parquet"))
    for path in (weights, shard, table):
        path.write_text("one")
    assert made_of(table, weights)  # no record
    for limit in (provenance.HASH_LIMIT_BYTES, 1):
        monkeypatch.setattr(provenance, "HASH_LIMIT_BYTES", limit)
        weights.write_text("one")
        record("score_stamps", {}, {}, [str(weights), str(shard)], [str(table)])
        assert made_of(table, weights)
        weights.write_text("another")
        assert not made_of(table, weights)
        weights.write_text("two")  # of the same size: told by its hash alone
        assert made_of(table, weights) == (limit == 1)


@pytest.mark.parametrize("change", ["another content", "one more file", "one less"])
def test_a_folder_that_changes_under_a_job_is_refused(tmp_path, change):
    brick = tmp_path / "brick"
    brick.mkdir()
    for name in ("a.fits", "b.fits"):
        (brick / name).write_text("one")
    before = versions_of([str(brick)])
    (brick / ".snakemake_timestamp").write_text("")  # Snakemake's own mark
    refuse_changed(before)
    if change == "another content":
        (brick / "a.fits").write_text("other")
    elif change == "one more file":
        (brick / "c.fits").write_text("")
        os.utime(brick / "c.fits", (5e9, 5e9))
    else:
        (brick / "b.fits").unlink()
    with pytest.raises(ProvenanceError, match=r"brick changed while this job read it"):
        refuse_changed(before)


def test_an_input_that_changes_under_a_job_is_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("one")
    before = versions_of([str(path), str(tmp_path / "absent")])
    assert list(before) == [str(path)]
    refuse_changed(before)
    path.write_text("another")
    with pytest.raises(ProvenanceError, match=r"table.csv changed while this job read it; leave it alone"):
        refuse_changed(before)
    path.unlink()
    with pytest.raises(ProvenanceError, match=r"table.csv changed"):
        refuse_changed(before)
