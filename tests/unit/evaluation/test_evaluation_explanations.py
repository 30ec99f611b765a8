"""Which stamps are explained, and how much of a network's attributions lies at what is looked for."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from darkhaloscope.config.experiment import Explanations
from darkhaloscope.config.network import Network
from darkhaloscope.core.tables import TableError, images
from darkhaloscope.evaluation.explanations import GROUPS, choose_stamps, explain_networks, near, summarise_explanations
from darkhaloscope.learning.networks import Classifier
from darkhaloscope.learning.scaling import Normalisation
from darkhaloscope.stamps.rows import read_stamps
from unit.learning.stamp_shards import stamp_columns, write_shards

SIZE, PIXEL = 16, 0.1
#: Where the planted network looks, and where the stamps say that the subhalo is: column 12, row 4 of the pixels.
COLUMN, ROW = 12, 4
X, Y = (COLUMN - 7.5) * PIXEL, (ROW - 7.5) * PIXEL


class Looks(nn.Module):
    """Adds up the flux of one pixel, or of all."""

    def __init__(self, everywhere: bool) -> None:
        super().__init__()
        self.weight = torch.ones(SIZE, SIZE) if everywhere else torch.zeros(SIZE, SIZE)
        self.weight[ROW, COLUMN] = 1.0

    def forward(self, inputs):
        seen = (inputs[:, 0] * self.weight).sum((1, 2))
        return torch.stack([torch.zeros_like(seen), seen], 1)


def network(everywhere):
    settings = Network.model_validate({"channels": "flux", "scaling": {"flux": "noise"}})
    return Classifier(
        Looks(everywhere), settings, Normalisation(("flux", "mask", "inverse_sigma"), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), SIZE, 1
    )


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    columns = stamp_columns(40, size=SIZE)
    columns |= {"subhalo_x_arcsec": np.full(40, X), "subhalo_y_arcsec": np.full(40, Y), "flux": np.ones((40, SIZE, SIZE), np.float32)}
    return write_shards(tmp_path_factory.mktemp("shards"), columns, [0, 17, 40])


def scores(n=40):
    number = np.arange(n)
    return pa.table(
        {
            "stamp_id": [f"tiny-{k}" for k in number],
            "number": number,
            "label": number % 2,
            "score": (number * 7 % n) / n,
            "split": ["test"] * n,
        }
    )


def test_stamps_are_chosen_by_score_and_each_once():
    table = scores()
    with_validation = pa.concat_tables([table, table.set_column(4, "split", [["validation"] * 40])])
    chosen = choose_stamps(with_validation, 3)
    assert list(chosen["group"]) == [g for g in GROUPS for _ in range(3)] and chosen["number"].is_unique
    frame = table.to_pandas()
    positives, controls = (frame[frame["label"] == label].sort_values("score") for label in (1, 0))
    assert set(chosen["number"][:3]) == set(positives["number"][-3:]) and set(chosen["number"][3:6]) == set(positives["number"][:3])
    assert set(chosen["number"][6:9]) == set(controls["number"][-3:]) and (chosen["label"][9:] == 1).all()
    assert choose_stamps(table.slice(0, 6), 3).groupby("label").size().to_dict() == {0: 3, 1: 3}


def test_chosen_stamps_are_read_whole_from_any_shard(shards):
    found = read_stamps(shards, [3, 16, 17, 39])
    assert sorted(found["number"].to_pylist()) == [3, 16, 17, 39]
    whole = pa.concat_tables([pq.read_table(p) for p in shards]).combine_chunks()
    rows = whole.take(found["number"].to_numpy())
    np.testing.assert_array_equal(images(found, "velocity"), images(rows, "velocity"))
    with pytest.raises(TableError, match="1 of 2 stamps"):
        read_stamps(shards, [3, 99])


def test_a_network_that_looks_at_the_subhalo_is_told_from_one_that_looks_everywhere(shards):
    chosen = choose_stamps(scores(), 4)
    settings = Explanations(stamps=4, steps=8, radius_arcsec=0.15)
    networks = {"there": network(False), "everywhere": network(True)}
    table, maps = explain_networks(networks, read_stamps(shards, chosen["number"]), chosen, settings, PIXEL, "subhalo")
    # Nine pixel centres within 1.5 pixels of one, of 256; the flux is the same everywhere.
    inside = 9 / SIZE**2
    there, everywhere = (table[table["network"] == name] for name in networks)
    np.testing.assert_allclose(there["share_near"], 1.0)
    np.testing.assert_allclose(everywhere["share_near"], inside, rtol=1e-6)
    np.testing.assert_allclose(table["share_of_area"], inside)
    np.testing.assert_allclose(table["share_of_flux"], inside, rtol=1e-6)
    assert table["complete"].all() and np.allclose(table["attribution_sum"], table["margin"] - table["baseline_margin"], atol=1e-4)
    # The maps have their pixel where the mark is: rows upwards.
    rows = maps.filter((pc.field("network") == "there") & (pc.field("input") == "flux"))
    assert rows.num_rows == 16
    peak = np.abs(images(rows, "map")).reshape(16, -1).argmax(1)
    assert set(peak) == {ROW * SIZE + COLUMN}
    assert set(maps["network"].to_pylist()) == {"", *networks} and set(maps.filter(pc.field("network") == "")["input"].to_pylist()) == {
        "flux",
        "velocity",
        "mask",
    }
    summary = summarise_explanations(table, 0.95, 200).set_index(["network", "group"])
    assert summary.loc[("there", GROUPS[0]), "share_near"] == pytest.approx(1) and (summary["complete"] == 4).all()
    assert list(summary.loc["everywhere"].index) == list(GROUPS)


def test_near_is_a_disk_about_the_subhalo_or_a_ring_about_the_lens():
    assert near({"subhalo_x_arcsec": X, "subhalo_y_arcsec": Y}, SIZE, PIXEL, 0.01, "subhalo").nonzero() == (ROW, COLUMN)
    ring = near({"theta_e_arcsec": 0.5}, 101, 0.02, 0.05, "ring")
    # 2π θ_E × 2 × half width, in pixels of 0.02 arcsec; a pixel's grid knows areas to some per cent.
    assert ring.sum() * 0.02**2 == pytest.approx(2 * np.pi * 0.5 * 0.1, rel=0.03) and not ring[50, 50]
    assert near({"theta_e_arcsec": 0.0}, SIZE, PIXEL, 0.1, "ring") is None
