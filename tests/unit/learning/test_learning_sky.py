"""What a network was trained on is left out where another dataset tests it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darkhaloscope.config.network import Network
from darkhaloscope.learning.networks import Classifier, Trained, build_network
from darkhaloscope.learning.scaling import BANDS, SCALARS, LearningError, Normalisation
from darkhaloscope.learning.score import score_stamps
from darkhaloscope.learning.sky import seen, trained_sky
from darkhaloscope.learning.weights import save_network
from unit.learning.band_shards import band_columns, write_band_shards

ARCSEC = 1 / 3600


@pytest.fixture
def network(tmp_path):
    """An untrained network of bands."""
    section = Network(architecture="toy", channels="bands")
    scaling = Normalisation((*BANDS, *SCALARS), (0.0,) * 9, (1.0,) * 9, (1.0,) * 3)
    module = build_network(section).eval()
    paths = tmp_path / "network.safetensors", tmp_path / "network.json"
    save_network(Trained(Classifier(module, section, scaling, 16, 1), [], 1, {"train": 1, "validation": 1}), *paths)
    return paths


def stamps(folder, name, ra, dec=0.0, **columns):
    n = len(ra)
    return write_band_shards(folder, band_columns(n) | {"ra": np.array(ra), "dec": np.full(n, dec), **columns}, [0, n], name)


def test_stamps_of_objects_that_training_saw_are_left_out_in_words(network, tmp_path, caplog):
    trained = stamps(tmp_path, "train", [10.0, 20.0], split=np.array(["train", "train"]))
    # The first is 1″ from a training stamp, the last a minute of arc.
    tested = stamps(tmp_path, "test", [10.0 + 1 * ARCSEC, 15.0, 20.0 + 60 * ARCSEC])
    known = dict(dataset="new", detector="toy")
    every = score_stamps(tested, *network, **known)
    assert len(every["score"]) == 3
    with caplog.at_level("WARNING", "test"):
        found = score_stamps(tested, *network, trained_on=trained, **known)
    assert found["stamp_id"].to_pylist() == ["tiny-1", "tiny-2"] and found["score"].to_pylist() == every["score"].to_pylist()[1:]
    assert "1 of 3 stamps left out: within 1.5 arcsec of stamps that the network was trained on" in caplog.text
    with pytest.raises(LearningError, match="all 2 stamps lie within 1.5 arcsec"):
        score_stamps(stamps(tmp_path, "same", [10.0, 20.0]), *network, trained_on=trained, **known)


def test_known_lenses_of_the_training_sky_alone_count(tmp_path):
    lenses = stamps(tmp_path, "lenses", [1.0, 2.0, 3.0], split=np.array(["train", "test", "train"]))
    sky, silent = trained_sky(lenses)
    table = pa.table({"ra": [1.0, 2.0, 3.0, np.nan], "dec": [0.0, 0.0, 0.0, 0.0]})
    assert seen(table, sky).tolist() == [True, False, True, False] and silent == []


def test_files_without_positions_are_named(tmp_path):
    pq.write_table(pa.table({"number": [1]}), tmp_path / "silent.parquet")
    sky, silent = trained_sky([tmp_path / "silent.parquet"])
    assert len(sky) == 0 and silent == [str(tmp_path / "silent.parquet")]
    assert not seen(pa.table({"number": [1, 2]}), sky).any()
