"""The sample of test stamps that is altered, and a committee's margins of it."""

import numpy as np
import torch

from darkhaloscope.config.network import Network
from darkhaloscope.learning.altered import all_bands, committee_features, committee_margins, one_of_each_host, sample_bands
from darkhaloscope.learning.index import measure_bands
from darkhaloscope.learning.networks import Classifier, build_network
from darkhaloscope.learning.score import score_split
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
    expected = np.mean([score_split(paths, network).margins for network in networks], axis=0)
    np.testing.assert_array_equal(found, expected)


def test_features_of_seeds_are_side_by_side_and_give_the_margins(tmp_path):
    paths = write_band_shards(tmp_path, band_columns(70), [0, 70])
    stamps, images = sample_bands(paths, 1000)
    networks = [classifier(seed, stamps, images) for seed in (1, 2)]
    found = committee_features(networks, images, stamps.scalars)
    assert found.shape == (70, 2 * 8 * 4) and committee_features(networks, images[:0], stamps.scalars[:0]).shape == (0, 64)
    for network, features in zip(networks, np.split(found, 2, axis=1), strict=True):
        weight, bias = (p.detach().double().numpy() for p in (network.module.head.weight, network.module.head.bias))
        margins = features @ (weight[1] - weight[0]) + bias[1] - bias[0]
        # Sums of 32 float32 products against double ones.
        np.testing.assert_allclose(margins, committee_margins([network], images, stamps.scalars), atol=1e-5)


def test_one_stamp_of_each_host_is_taken_whatever_the_shards(tmp_path):
    columns = band_columns(60)
    columns["object_id"] = 7 + columns["number"] // 6
    paths = write_band_shards(tmp_path, columns, [0, 25, 60])
    numbers = np.array([1, 3, 5, 9, 13, 14, 55, 59])
    expected = [True, False, False, True, True, False, True, False]
    np.testing.assert_array_equal(one_of_each_host(paths, numbers), expected)
    np.testing.assert_array_equal(one_of_each_host(paths[::-1], numbers), expected)


def test_all_usable_stamps_of_a_table_or_of_a_split_are_read(tmp_path):
    columns = band_columns(30)
    columns["split"] = np.where(columns["number"] < 10, "test", "train")
    columns["cutout_ok"] = columns["number"] != 4
    columns["image"][6, 0, 0, 0] = np.nan
    [path] = write_band_shards(tmp_path, columns, [0, 30])
    images, scalars, objects = all_bands(path, "test")
    keep = [k for k in range(10) if k not in (4, 6)]
    np.testing.assert_array_equal(images, columns["image"][keep])
    np.testing.assert_array_equal(scalars[:, 1], columns["psfsize_r"][keep].astype(np.float32))
    assert list(objects.names) == [f"tiny-{k}" for k in keep]
    assert len(all_bands(path)[0]) == 28
    images, scalars, _ = all_bands(path, "validation")
    assert images.shape == (0, 3, 16, 16) and scalars.shape == (0, 6)
