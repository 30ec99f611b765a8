"""Scores that are means over a stamp's orientations do not change when the stamp is turned."""

import dataclasses

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from darkhaloscope.config.experiment import Explanations
from darkhaloscope.config.network import Network
from darkhaloscope.learning.augment import orient_images
from darkhaloscope.learning.explain import explain_stamps
from darkhaloscope.learning.index import index_stamps, measure_bands
from darkhaloscope.learning.networks import Classifier, build_network
from darkhaloscope.learning.score import margins_of, score_split
from unit.learning.band_shards import band_columns, write_band_shards
from unit.learning.stamp_shards import read_stamps, stamp_columns, write_shards

#: float32 sums of some hundred terms, in another order for each orientation.
ROUNDING = 2e-5


@pytest.fixture
def finder(tmp_path):
    """A finder of random weights whose scores are turned, and its stamps."""
    paths = write_band_shards(tmp_path, band_columns(10), [0, 10])
    network = Network.model_validate({"architecture": "slim", "channels": "bands", "width": 4, "scalars": "late", "turned": True})
    torch.manual_seed(2)
    module, read = build_network(network).eval(), index_stamps(paths)
    images = np.concatenate([read.decode(g) for g in range(len(read.groups))])
    normalisation = measure_bands(images, read.scalars, network.scaling)
    module.set_normalisation(normalisation)
    return Classifier(module, network, normalisation, 16, 1), paths, images, read.scalars


def unturned(classifier):
    return dataclasses.replace(classifier, network=classifier.network.model_copy(update={"turned": False}))


def test_a_finders_scores_do_not_know_which_way_is_up(finder):
    classifier, paths, images, scalars = finder
    eight = [
        margins_of(unturned(classifier), orient_images(torch.from_numpy(images), torch.full((10,), code)).numpy(), scalars)
        for code in range(8)
    ]
    own = margins_of(classifier, images, scalars)
    np.testing.assert_allclose(own, np.mean(eight, 0), atol=ROUNDING)
    assert np.ptp(eight, axis=0).min() > 100 * ROUNDING  # the network itself does know
    for code in range(8):
        turned = orient_images(torch.from_numpy(images), torch.full((10,), code)).numpy()
        np.testing.assert_allclose(margins_of(classifier, turned, scalars), own, atol=ROUNDING)
    np.testing.assert_array_equal(score_split(paths, classifier).margins, own)


def test_explanations_are_of_the_turned_score(finder):
    classifier, paths, *_ = finder
    found = explain_stamps(classifier, paths[0], Explanations(steps=64, tolerance=0.02))
    np.testing.assert_allclose(found.attributions.margin[np.argsort(found.numbers)], score_split(paths, classifier).margins, atol=1e-4)
    assert found.attributions.complete.all()


def test_flux_and_velocity_turn_together(tmp_path):
    paths = write_shards(tmp_path, stamp_columns(8), [0, 8])
    network = Network.model_validate({"architecture": "toy", "channels": "both", "width": 4, "turned": True})
    torch.manual_seed(3)
    data = read_stamps(paths, network)
    classifier = Classifier(build_network(network).eval(), network, data.normalisation, 16, 1)
    images, none = data.inputs.numpy(), np.empty((8, 0), np.float32)
    own = margins_of(classifier, images, none)
    assert np.abs(own - margins_of(unturned(classifier), images, none)).max() > 100 * ROUNDING
    for axes in ((0, 2, 1, 3), (0, 1, 2, 3)):
        np.testing.assert_allclose(margins_of(classifier, np.ascontiguousarray(images.transpose(axes)[:, ::-1]), none), own, atol=ROUNDING)


def test_a_head_has_a_key_of_its_own():
    with pytest.raises(ValidationError, match=r"head\.turned; leave out turned"):
        Network.model_validate({"channels": "bands", "architecture": "slim", "head": {}, "turned": True})
