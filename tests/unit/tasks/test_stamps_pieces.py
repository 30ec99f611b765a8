"""A dataset in pieces: verdicts do not depend on its shards, samples are bounded, different values are found in parts, memory does not grow."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from darkhaloscope.core.random import row_keys
from darkhaloscope.core.tables import Column, Schema, TableError, read_table, write_table
from darkhaloscope.stamps import pieces
from darkhaloscope.stamps.gates import run_gates
from darkhaloscope.stamps.pieces import Stamps
from darkhaloscope.stamps.seen import LOOKED
from darkhaloscope.tasks.lensfinder.schema import stamp_schema
from unit.tasks.seeing import measure, see_shards
from unit.tasks.test_injection_gates import SIZE, dataset, honest

__all__ = ["honest"]

SEEN = Schema(
    "seen stamps",
    (
        Column("stamp_id", "uint64", "", "Identifier"),
        Column("number", "int64", "", "Number"),
        Column("split", "string", "", "Split"),
        Column("label", "int8", "", "Class"),
        Column("host", "string", "", "Galaxy", nullable=True),
        Column("mag", "float32", "", "Magnitude"),
        *LOOKED,
    ),
)


@pytest.fixture
def write(tmp_path):
    """Function that writes seen stamps of two splits as some shards each, and returns them as gates are given them."""

    def run(train, test, shards, **changed):
        seen, count, first = {}, {"train": train, "test": test}, 0
        for split, n in count.items():
            number = first + np.arange(n)
            rows = {
                **{"stamp_id": row_keys(number), "number": number, "split": [split] * n, "label": number % 2},
                **{"host": [f"{split}-{k % 7}" if k % 5 else None for k in number], "mag": np.sin(number)},
                **{"usable": np.ones(n, bool), "finite": np.ones(n, bool), "digest": row_keys(number, number)},
            }
            for name, change in changed.items():
                rows[name] = change(split, rows[name])
            table, seen[split], first = SEEN.table(rows), [], first + n
            for k, some in enumerate(np.array_split(np.arange(n), shards)):
                seen[split].append(tmp_path / f"{split}-{shards}-{k}.parquet")
                write_table(seen[split][-1], SEEN, table.take(some), bytes="1000")
        made = SimpleNamespace(kind="none", size=SimpleNamespace(train=train, validation=0, test=test))
        return Stamps(seen, SEEN, made, {"hosts": "host"})

    return run


def verdicts(stamps):
    return {g.name: (g.found, g.passed) for g in run_gates(stamps)}


def test_a_dataset_is_judged_and_shown_alike_in_few_shards_and_in_many(honest, tmp_path):
    many = {}
    for split, (path,) in honest.items():
        table, many[split], start = read_table(path, stamp_schema(SIZE)), [], 0
        for k, count in enumerate((1, 90, table.num_rows - 91)):
            many[split].append(tmp_path / f"{split}-{k}.parquet")
            write_table(many[split][-1], stamp_schema(SIZE), table.slice(start, count), row_group=64)
            start += count
    one, other = (measure(see_shards(shards, dataset()), shards, dataset()) for shards in (honest, many))
    assert one.gates == other.gates and one.distributions.equals(other.distributions)
    for row in (*one.splits.values(), *other.splits.values()):
        assert row.pop("bytes") > 0
    assert one.splits == other.splits
    for a, b in zip(one.pictures, other.pictures, strict=True):
        assert (a.title, a.captions) == (b.title, b.captions) and np.array_equal(a.images, b.images)


@pytest.mark.parametrize("shards", [1, 2])
def test_a_split_whose_shards_are_all_empty_fails_its_gate_and_not_the_check(honest, tmp_path, shards):
    path = tmp_path / "empty.parquet"
    write_table(path, stamp_schema(SIZE), read_table(honest["test"][0], stamp_schema(SIZE)).slice(0, 0), row_group=64)
    shards = honest | {"test": [path] * shards}
    quality = measure(see_shards(shards, dataset()), shards, dataset())
    assert quality.pictures == [] and not all(gate.passed for gate in quality.gates) and "test" not in quality.splits


def test_sums_maxima_and_different_values_are_those_of_all_shards(write):
    stamps = write(700, 300, 9)
    assert stamps.rows == {"train": 700, "test": 300} and stamps.bytes == {"train": 9000, "test": 9000}
    assert stamps.each(lambda t: int((t["label"] == 1).sum())) == {"train": 350, "test": 150}
    assert max(float(piece["mag"].max()) for _, piece in stamps.pieces()) == np.float32(np.sin(np.arange(1000)).max())
    [found] = stamps.different(lambda split, t: {split: t["host"]})
    assert found["train"].tolist() == [f"train-{k}" for k in range(7)] and len(found["test"]) == 7


def test_a_file_that_does_not_say_the_size_of_its_shard_is_named(write, tmp_path):
    write(20, 10, 1)
    path = tmp_path / "train-1-0.parquet"
    write_table(path, SEEN, read_table(path, SEEN))
    with pytest.raises(TableError, match=r"train-1-0\.parquet: its metadata lack `bytes`, .* make the file again"):
        Stamps({"train": [path]}, SEEN, None, {})


def test_a_sample_is_bounded_and_the_same_whatever_the_shards(write, monkeypatch):
    monkeypatch.setattr(pieces, "SAMPLE", 200)
    first, again = (dict(write(700, 150, shards).samples(["mag", "host"])) for shards in (1, 11))
    for split, rows in first.items():
        assert rows.equals(again[split])
    assert first["train"]["number"].tolist() == sorted(np.argsort(row_keys(np.arange(700)))[:200])
    assert first["test"]["number"].tolist() == list(range(700, 850))
    assert write(700, 150, 4).sampled == "200 of 700 stamps of train" and write(200, 200, 4).sampled == ""


@pytest.mark.parametrize("missing", [slice(0, 100), slice(100, None), slice(None)], ids=["first shards", "last shards", "all"])
def test_text_that_a_shard_lacks_is_missing_there_and_known_elsewhere(write, missing):
    def host(split, values):
        return [None if split == "train" and k in range(200)[missing] else value for k, value in enumerate(values)]

    whole, cut = write(200, 40, 1, host=host), write(200, 40, 4, host=host)
    for (split, one), (_, other) in zip(whole.samples(["host"]), cut.samples(["host"]), strict=True):
        expected = host(split, [f"{split}-{k % 7}" if k % 5 else None for k in one["number"]])
        assert one["host"].astype(object).where(one["host"].notna(), None).tolist() == expected
        assert one["host"].dtype.categories.dtype == other["host"].dtype.categories.dtype == "str"
        assert other["host"].astype(object).where(other["host"].notna(), None).tolist() == expected
    assert [{k: v.tolist() for k, v in p.items()} for p in whole.different(lambda split, piece: {split: piece["host"]})] == [
        {k: v.tolist() for k, v in p.items()} for p in cut.different(lambda split, piece: {split: piece["host"]})
    ]


def test_verdicts_on_a_sample_say_of_how_many_stamps_they_are(honest, monkeypatch):
    monkeypatch.setattr(pieces, "SAMPLE", 300)
    quality = measure(see_shards(honest, dataset()), honest, dataset())
    cut = "300 of 600 stamps of train and 300 of 400 stamps of test"
    said = {g.name for g in quality.gates if g.found.endswith(f"; of {cut}")}
    assert said == {"flux scale", "PSF, depth, magnitude", "core colour", "core magnitude", "host size", "bare hosts"}
    assert all(g.passed for g in quality.gates) and quality.notes[-1] == f"Distributions are of {cut}."
    assert quality.splits["train"]["stamps"] == 600


@pytest.mark.parametrize(("at_once", "held"), [(50_000_000, 1_000_000), (60, 1_000_000), (50_000_000, 10), (60, 0)])
def test_duplicates_and_leaks_across_shards_are_found_in_one_part_and_in_many(write, monkeypatch, at_once, held):
    monkeypatch.setattr(pieces, "AT_ONCE", at_once)
    monkeypatch.setattr(pieces, "HELD", held)

    def repeat(split, values):
        """The last three of each split are its first: in the first shard and the last."""
        values[-3:] = values[:3]
        return values

    def leak(split, values):
        return ["b-2" if k == 11 else "a-1" if k == 222 else v for k, v in enumerate(values)]

    sound = verdicts(write(500, 300, 6))
    assert sound["duplicates"] == ("repeated: stamp_id 0, number 0, image 0", True) and sound["leaks"] == ("shared: hosts 0", True)
    found = verdicts(write(500, 300, 6, digest=repeat, number=repeat, host=leak))
    assert found["duplicates"] == ("repeated: stamp_id 0, number 6, image 6", False)
    assert found["leaks"] == ("shared: hosts 2 (a-1 in train and test)", False)


def test_memory_grows_with_a_shard_and_not_with_the_shards(write, monkeypatch):
    monkeypatch.setattr(pieces, "SAMPLE", 10_000)
    monkeypatch.setattr(pieces, "AT_ONCE", 40_000)

    def peak(shards):
        stamps = write(10_000 * shards, 10_000 * shards, shards)
        tracemalloc.start()
        run_gates(stamps)
        for _, rows in stamps.samples(["mag", "host"]):
            assert len(rows) == 10_000
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(1)  # what is imported and cached on first use
    assert peak(12) < 1.5 * peak(3)
