"""A network of one's own: a function and a line in the registry, and it trains, is written, read and scores."""

import pytest
import torch
from torch import nn

from darkhaloscope.config import network as config
from darkhaloscope.config.network import Network
from darkhaloscope.learning.fit import train_network
from darkhaloscope.learning.networks import ARCHITECTURES, GlobalMax
from darkhaloscope.learning.score import score_stamps
from darkhaloscope.learning.weights import load_network, save_network
from unit.learning.band_shards import band_columns, write_band_shards
from unit.learning.stamp_shards import stamp_columns, write_shards


def one_convolution(inputs, width):
    """Build one convolution and the greatest value of each of its channels."""
    return nn.Sequential(nn.Conv2d(len(inputs), width, 5, padding=2), nn.ReLU(), GlobalMax(), nn.Linear(width, 2))


@pytest.mark.parametrize("channels", ["both", "bands"])
def test_a_network_is_added_by_the_registry_alone(channels, monkeypatch, tmp_path):
    monkeypatch.setitem(ARCHITECTURES, "one_convolution", one_convolution)
    monkeypatch.setattr(config, "OWN", (*config.OWN, "one_convolution"))
    make, write = (band_columns, write_band_shards) if channels == "bands" else (stamp_columns, write_shards)
    train, validation = (
        write(tmp_path, make(n, first=first, signal=0.5), [0, n], name) for name, n, first in (("t", 60, 0), ("v", 40, 1000))
    )
    network = Network.model_validate(
        {"architecture": "one_convolution", "channels": channels, "width": 8, "training": {"epochs": 2, "batch_size": 16}}
    )
    trained = train_network(train, validation, network, 1, tmp_path / "checkpoints", 1)
    files = tmp_path / "network.safetensors", tmp_path / "network.json"
    save_network(trained, *files)
    assert sum(isinstance(m, nn.Conv2d) for m in load_network(*files).module.modules()) == 1
    scores = score_stamps(validation, *files, dataset="d", detector="mine")
    assert len(scores["score"]) == 40 and torch.isfinite(torch.tensor(scores["score"].to_numpy())).all()
    with pytest.raises(ValueError, match="nearest: `one_convolution`"):
        Network.model_validate({"architecture": "one_convolutions", "channels": channels})
