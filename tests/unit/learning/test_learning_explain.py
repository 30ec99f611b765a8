"""Integrated gradients: exact for a linear network, complete for deep ones, at the place that a network was made to look at."""

import numpy as np
import pytest
import torch
from torch import nn

from darkhaloscope.config.experiment import Explanations
from darkhaloscope.config.network import Network
from darkhaloscope.learning.explain import attribute, explain_stamps
from darkhaloscope.learning.index import index_stamps, measure_bands
from darkhaloscope.learning.networks import Classifier, build_network
from darkhaloscope.learning.score import score_split
from unit.learning.band_shards import band_columns, write_band_shards
from unit.learning.stamp_shards import classify, read_stamps, stamp_columns, write_shards

SETTINGS = Explanations(stamps=4, steps=16)
C, SIZE = 3, 16


def stamps(n=5, seed=1):
    return torch.tensor(np.random.default_rng(seed).normal(size=(n, C, SIZE, SIZE)), dtype=torch.float32)


def test_a_linear_network_is_explained_by_weight_times_input():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(C * SIZE**2, 2))
    inputs = stamps()
    found = attribute(network, inputs, torch.zeros(1, C, SIZE, SIZE), SETTINGS)
    weight = (network[1].weight[1] - network[1].weight[0]).detach().view(1, C, SIZE, SIZE)
    # Single precision: sums of 768 products.
    np.testing.assert_allclose(found.values, (weight * inputs).numpy(), atol=2e-6)
    assert np.abs(found.error).max() < 1e-5 and found.complete.all() and (found.steps == 16).all()
    # Against another baseline, what is explained is the way from it.
    moved = attribute(network, inputs, torch.full((1, C, 1, 1), 0.5), SETTINGS)
    np.testing.assert_allclose(moved.values, (weight * (inputs - 0.5)).numpy(), atol=2e-6)


def test_steps_are_doubled_until_the_sum_is_complete_and_a_failure_is_said():
    def curved(x):  # exp(4 Σ x) along the path: quadrature of few steps misses it
        return torch.stack([torch.zeros(len(x)), torch.exp(4 * x.sum((1, 2, 3)))], 1)

    inputs = torch.zeros(1, 1, 2, 2)
    inputs[0, 0, 0, 0] = 2.0
    easy = attribute(curved, inputs, torch.zeros(1, 1, 1, 1), Explanations(steps=8, tolerance=1e-4))
    assert easy.complete.all() and easy.values[0, 0, 0, 0] == pytest.approx(np.exp(8) - 1, rel=1e-4)

    def step(x):  # no gradient anywhere: nothing adds up to the step
        return torch.stack([torch.zeros(len(x)), 5.0 * (x.sum((1, 2, 3)) > 1) + 0 * x.sum((1, 2, 3))], 1)

    lost = attribute(step, inputs, torch.zeros(1, 1, 1, 1), Explanations(steps=8))
    assert not lost.complete.any() and lost.steps[0] == 8 * 16 and lost.error[0] == pytest.approx(-5)


@pytest.mark.parametrize(("architecture", "channels"), [("deep_dual_stream", "both"), ("toy", "flux")])
def test_attributions_of_a_deep_network_add_up_to_its_own_margins(tmp_path, architecture, channels):
    paths = write_shards(tmp_path, stamp_columns(8), [0, 8])
    network = Network.model_validate({"architecture": architecture, "channels": channels, "width": 4})
    torch.manual_seed(3)
    data = read_stamps(paths, network)
    classifier = Classifier(build_network(network).eval(), network, data.normalisation, 16, 1)
    found = explain_stamps(classifier, paths[0], Explanations(steps=64, tolerance=0.01))
    score = classify(classifier, data)
    np.testing.assert_allclose(found.attributions.margin, np.log(score) - np.log1p(-score), atol=1e-4)
    assert found.inputs == data.normalisation.inputs and found.attributions.complete.all()
    gap = found.attributions.margin - found.attributions.baseline_margin
    sums = found.attributions.values.sum((1, 2, 3), dtype=np.float64)
    assert np.abs(sums - gap).max() <= 0.01 * max(1, np.abs(gap).max())
    # The baseline is one empty stamp, the same for all.
    assert np.ptp(found.attributions.baseline_margin) == 0


def test_bands_are_explained_behind_their_stretch(tmp_path):
    paths = write_band_shards(tmp_path, band_columns(10), [0, 10])
    network = Network.model_validate({"architecture": "slim", "channels": "bands", "width": 4, "scalars": "late"})
    torch.manual_seed(2)
    module, read = build_network(network).eval(), index_stamps(paths)
    images = np.concatenate([read.decode(g) for g in range(len(read.groups))])
    normalisation = measure_bands(images, read.scalars, network.scaling)
    module.set_normalisation(normalisation)
    classifier = Classifier(module, network, normalisation, 16, 1)
    found = explain_stamps(classifier, paths[0], Explanations(steps=64, tolerance=0.02))
    scored = score_split(paths, classifier)
    order = np.argsort(found.numbers)
    np.testing.assert_array_equal(found.numbers[order], scored.numbers)
    np.testing.assert_allclose(found.attributions.margin[order], scored.margins, atol=1e-4)
    assert found.inputs == ("g", "r", "z") and found.attributions.complete.all()
