"""Hard controls: the highest-scored of the training sky, one per object, away from lenses and from what judges the network."""

import numpy as np
import pyarrow as pa
import pytest

from darkhaloscope.config.network import Mining, Network
from darkhaloscope.config.rounds import all_rounds, with_rounds
from darkhaloscope.learning import mining
from darkhaloscope.learning.mining import MINED, mine_hard_negatives, training_additions
from darkhaloscope.learning.scaling import LearningError
from darkhaloscope.learning.score import Scores
from unit.learning.band_shards import band_columns, write_band_shards

ARCSEC = 1 / 3600


@pytest.fixture
def sky(monkeypatch, tmp_path):
    """20 controls a minute of arc apart; number 2k scores k/20. Object 18 comes again as 19 of an extra dataset."""
    scored = {
        "own": pa.table(
            {
                "stamp_id": [f"own-{2 * k}" for k in range(20)],
                "ra": 10 + np.arange(20) / 60,
                "dec": np.full(20, 60.0),
                "contaminant_class": pa.array([None] * 19 + ["ring"]),
            }
        ),
        "extra": pa.table({"stamp_id": ["extra-0", "extra-1"], "ra": [10 + 18 / 60 + 1.2 * ARCSEC, 11.0], "dec": [60.0, 60.0]}),
    }
    scores = {"own": (2 * np.arange(20), np.arange(20) / 20), "extra": (np.array([0, 1]), np.array([0.99, 0.5]))}

    def score(paths, classifier, threads, controls_only):
        assert controls_only
        numbers, score = scores[paths[0]]
        return Scores(numbers, score, score, score, scored[paths[0]], {})

    monkeypatch.setattr(mining, "score_split", score)
    return {"own": ["own"], "extra": ["extra"]}


def held_out(folder, ra, dec):
    columns = band_columns(len(ra)) | {"ra": np.array(ra), "dec": np.array(dec)}
    return write_band_shards(folder, columns, [0, len(ra)], "held-out")


def mine(training, share, tmp_path, lenses=((), ()), judged=((), ()), **keys):
    shards = held_out(tmp_path, *judged) if len(judged[0]) else []
    return mine_hard_negatives(None, training, shards, tuple(map(np.array, lenses)), Mining(share=share, **keys))


def test_the_hardest_controls_one_per_object(sky, tmp_path):
    found = mine(sky, 3 / 22, tmp_path)
    # extra-0 (0.99) and own-36 (0.90) are one object 0.6″ of sky apart; own-38 (0.95) is another.
    assert list(found["stamp_id"]) == ["extra-0", "own-38", "own-34"]
    assert list(found["contaminant_class"]) == [None, "ring", None]
    assert MINED.table(found).num_rows == 3
    assert len(mine(sky, 1.0, tmp_path, most=5)["number"]) == 5
    assert len(mine(sky, 1.0, tmp_path)["number"]) == 21  # all objects, the pair once


def test_known_lenses_and_judged_objects_are_never_mined(sky, tmp_path):
    lens = [10 + 19 / 60 + 4 * ARCSEC * 2], [60.0]  # 4″ from own-38: 8″ in right ascension at declination 60°
    judged = [10 + 17 / 60, 10 + 16 / 60 + 6 * ARCSEC], [60.0, 60.0]  # own-34 itself; 3″ from own-32, another object
    found = mine(sky, 3 / 22, tmp_path, lens, judged)
    assert list(found["stamp_id"]) == ["extra-0", "own-32", "own-30"]
    with pytest.raises(LearningError, match="none of the 22 training controls may be mined"):
        mine(sky, 1.0, tmp_path, judged=([*(10 + np.arange(20) / 60), 10 + 18 / 60 + 1.2 * ARCSEC, 11.0], [60.0] * 22))


def test_mined_controls_join_the_next_round_with_their_weight(tmp_path):
    tables = [
        MINED.table({"dataset": ["d", "e"], "stamp_id": ["d-4", "e-7"], "number": [4, 7], "ra": [0.0, 0], "dec": [0.0, 0], "contaminant_class": [None, None], "score": [0.9, 0.8]}),
        MINED.table({"dataset": ["d"], "stamp_id": ["d-6"], "number": [6], "ra": [0.0], "dec": [0.0], "contaminant_class": [None], "score": [0.9]}),
    ]  # fmt: skip
    extras, emphasis = training_additions(tables, "d", {"e": ["e.parquet"], "unused": ["u.parquet"]}, Mining(weight=5))
    assert emphasis.numbers.tolist() == [4, 6] and emphasis.weight == 5
    assert [(e.paths, e.weight, e.numbers.tolist()) for e in extras] == [(("e.parquet",), 5, [7])]
    assert training_additions([], "d", {}, Mining()) == ([], None)


def test_known_lenses_of_the_training_sky_alone_join(tmp_path):
    columns = band_columns(6) | {"split": np.array(["train", "test", "train", "validation", "test", "train"])}
    paths = write_band_shards(tmp_path, columns, [0, 6], "lenses")
    extras, _ = training_additions([], "d", {}, Mining(), paths, 3.0)
    assert extras[0].numbers.tolist() == [0, 2, 5] and extras[0].weight == 3.0
    assert training_additions([], "d", {}, Mining(), paths, 0.0) == ([], None)


def test_rounds_are_networks_of_their_own():
    networks = {"a": Network(channels="bands", architecture="slim", rounds=3), "b": Network()}
    every = with_rounds(networks)
    assert set(every) == {"a", "b", "a+round=1", "a+round=2"}
    assert [every[n].rounds for n in all_rounds("a", every)] == [1, 2, 3]
    assert all_rounds("a+round=2", every) == ["a+round=1", "a+round=2"] and all_rounds("b", every) == ["b"]
