"""The sample of test stamps that is altered, and a committee's margins of it."""

import numpy as np
import torch

from darkhaloscope.config.network import Network
from darkhaloscope.learning.altered import committee_margins, sample_bands
from darkhaloscope.learning.bands import measure_bands
from darkhaloscope.learning.networks import Classifier, build_network
from darkhaloscope.learning.score_bands import score_bands
from unit.learning.band_shards import band_columns, write_band_shards


def classifier(seed, stamps, images):
    network = Network.model_validate({"architecture": "slim", "channels": "bands", "width": 4})
    torch.manual_seed(seed)
    return Classifier(build_network(network).eval(), network, measure_bands(images, stamps.scalars, network.scaling), stamps.size, seed)


def test_the_sample_is_the_same_whatever_the_shards_and_has_its_own_pixels(tmp_path):
    columns = band_columns(120)
    columns["image"][7, 0, 0, 0] = np.nan
    one = write_band_shards(tmp_path / "one", columns, [0, 120])
    many = write_band_shards(tmp_path / "many", columns, [0, 31, 90, 120], row_group=16)
    stamps, images = sample_bands(one, 60)
    others, same = sample_bands(many, 60)
    assert 58 <= len(stamps) <= 60 and abs(stamps.labels.sum() - len(stamps) / 2) <= 1
    np.testing.assert_array_equal(stamps.numbers, others.numbers)
    np.testing.assert_array_equal(images, same)
    np.testing.assert_array_equal(images, columns["image"][np.searchsorted(columns["number"], stamps.numbers)])
    assert len(sample_bands(one, 10_000)[0]) == 119


def test_a_committee_is_the_mean_margin_of_its_seeds(tmp_path):
    paths = write_band_shards(tmp_path, band_columns(70), [0, 70])
    stamps, images = sample_bands(paths, 1000)
    networks = [classifier(seed, stamps, images) for seed in (1, 2)]
    found = committee_margins(networks, images, stamps.scalars)
    expected = np.mean([score_bands(paths, network).margins for network in networks], axis=0)
    np.testing.assert_array_equal(found, expected)
