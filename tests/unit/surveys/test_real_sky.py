"""Real galaxies with labels: whole pieces of sky go to one part, labels and pixels stay, what has none is left out."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from pydantic import ValidationError

from darkhaloscope.config.cutouts import RealSky
from darkhaloscope.config.network import Mining
from darkhaloscope.core.tables import write_table
from darkhaloscope.learning.altered import labelled_bands
from darkhaloscope.learning.cutouts import _learnt
from darkhaloscope.learning.mining import training_additions
from darkhaloscope.surveys.real_sky import prepare_real_sky, real_sky_schema, sky_parts

RNG = np.random.default_rng(8)
N, SIZE = 300, 32


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """300 galaxies all over the sky: every third a lens, the next a look-alike, the third between; the settings and their images."""
    folder = tmp_path_factory.mktemp("sky")
    images = RNG.normal(size=(N, 3, SIZE, SIZE)).astype(np.float32)
    names = [f"o{i:03d}" for i in range(N)]
    np.savez(folder / "sky.npz", image=images, name=np.array(names))
    grade = np.array([3.0, 0.3, 1.0])[np.arange(N) % 3]
    ra, dec = RNG.uniform(0, 360, N), np.degrees(np.arcsin(RNG.uniform(-1, 1, N)))
    pd.DataFrame({"id": names, "ra": ra, "dec": dec, "grade": grade}).to_csv(folder / "labels.csv", index=False)
    values = {
        "path": str(folder / "sky.npz"),
        "labels": str(folder / "labels.csv"),
        "label": "grade",
        "positive_from": 2,
        "control_to": 0.3,
    }
    path = folder / "real_sky.parquet"
    write_table(path, real_sky_schema(SIZE), prepare_real_sky(RealSky.model_validate(values), SIZE))
    return path, images


def test_labels_pixels_and_parts_are_kept(sky):
    path, images = sky
    table = pa.parquet.read_table(path)
    frame = table.drop_columns(["image"]).to_pandas()
    assert len(frame) == 200 and frame["label"].sum() == 100 and frame["number"].is_unique
    rows = frame["stamp_id"].str[1:].astype(int).to_numpy()
    np.testing.assert_array_equal(table["image"].combine_chunks().to_numpy_ndarray(), images[rows])
    # Half of the cells: 200 objects in about as many cells, ± 4 standard deviations.
    assert abs((frame["split"] == "train").mean() - 0.5) < 4 * 0.5 / np.sqrt(200)


def test_a_piece_of_sky_is_in_one_part():
    ra, dec = RNG.uniform(30, 40, (2, 2000))
    part = sky_parts(ra, dec, [""] * 2000, 0.5)
    near = np.hypot((ra[:, None] - ra) * np.cos(np.radians(35)), dec[:, None] - dec) < 0.02
    same = np.array(part)[:, None] == np.array(part)
    # Cells of 3.7 degrees have edges, but hardly any of these pairs lies across one.
    assert same[near].mean() > 0.97
    assert set(sky_parts(ra, dec, [""] * 2000, 0.0)) == {"test"} and set(sky_parts(ra, dec, [""] * 2000, 1.0)) == {"train"}
    unknown = np.full(3, np.nan)
    assert sky_parts(unknown, unknown, ["a", "b", "a"], 0.5)[0] == sky_parts(unknown, unknown, ["a", "b", "a"], 0.5)[2]


def test_what_joins_training_is_never_asked_about(sky):
    path, _ = sky
    extras, _ = training_additions([], "d", {}, Mining(), real=[path], real_weight=3.0)
    assert [extra.weight for extra in extras] == [3.0]
    frame = pa.parquet.read_table(path).drop_columns(["image"]).to_pandas().set_index("number")
    assert set(frame.loc[extras[0].numbers, "split"]) == {"train"} and set(frame.loc[extras[0].numbers, "label"]) == {0, 1}
    lenses, lookalikes = labelled_bands([path], "test")
    asked = frame[frame["split"] == "test"]
    assert (len(lenses[0]), len(lookalikes[0])) == (int(asked["label"].sum()), int((asked["label"] == 0).sum()))
    everything = labelled_bands([path])
    assert len(everything[0][0]) == len(everything[1][0]) == 100
    assert training_additions([], "d", {}, Mining(), real=[path], real_weight=0.0) == ([], None)
    assert [len(part[0]) for part in labelled_bands([])] == [0, 0]


def test_networks_that_lack_a_band_are_told_what_stands_in():
    with pytest.raises(ValidationError, match="stand_in"):
        RealSky.model_validate({"path": "a.npz", "bands": ["g", "r", "i"]})
    assert RealSky.model_validate({"path": "a.npz", "bands": ["g", "r", "i"], "stand_in": {"z": "i"}}).sources == ("g", "r", "i")


def test_cutouts_that_a_network_learnt_from_are_known_by_position_and_by_name(sky):
    path, _ = sky
    frame = pa.parquet.read_table(path).drop_columns(["image"]).to_pandas()
    train = frame[frame["split"] == "train"].iloc[0]
    asked = pd.DataFrame(
        {
            "stamp_id": ["x", "y", train["stamp_id"], "z"],
            # Half an arcsecond from it, ten arcseconds from it, by its name alone, and one of the other part of the sky.
            "ra": [train["ra"], train["ra"], np.nan, frame[frame["split"] == "test"].iloc[0]["ra"]],
            "dec": [train["dec"] + 0.5 / 3600, train["dec"] + 10 / 3600, np.nan, frame[frame["split"] == "test"].iloc[0]["dec"]],
        }
    )
    assert _learnt(asked, [path]).tolist() == [True, False, True, False]
    assert not _learnt(asked, []).any()
