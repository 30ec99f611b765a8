"""The gates find networks that were given a shortcut, and let one pass that looks at arcs."""

import numpy as np
import pytest

from darkhaloscope.config.experiment import ShortcutGates
from darkhaloscope.evaluation.shortcuts import check_shortcuts, matched, summary

SIZE, PIXEL, N = 48, 0.262, 1200
Y, X = (np.indices((SIZE, SIZE)) - (SIZE - 1) / 2) * PIXEL
R = np.hypot(X, Y)
COLOUR = np.array([0.2, 1.0, 2.0])


def stamps(brighter=0.0, seed=0):
    """Red galaxies; positives have a blue arc at 2 arcsec, and are brighter by a factor where a shortcut is planted."""
    rng = np.random.default_rng(seed)
    label = np.arange(N) % 2 == 1
    flux = rng.lognormal(3, 0.4, N) * (1 + brighter * label)
    galaxy = np.exp(-R / 0.5)
    arc = np.exp(-0.5 * ((R - 2) / 0.3) ** 2) * np.exp(-0.5 * ((np.arctan2(Y, X) - 1) / 0.4) ** 2)
    images = flux[:, None, None, None] * COLOUR[:, None, None] * (galaxy / galaxy.sum())
    images = images + label[:, None, None, None] * 2 * np.array([1.0, 0.7, 0.4])[:, None, None] * (arc / arc.sum())
    return (images + rng.normal(0, 0.01, images.shape)).astype(np.float32), label


def sees_brightness(images, rows):
    return images.sum((1, 2, 3)).astype(float)


def sees_core(images, rows):
    return images[:, 2, SIZE // 2 - 2 : SIZE // 2 + 2, SIZE // 2 - 2 : SIZE // 2 + 2].sum((1, 2)).astype(float)


def sees_arcs(images, rows):
    """Light outside the core that is bluer than a red galaxy's."""
    outside = (images * (R > 1.2)).sum((2, 3))
    return (outside[:, 0] - COLOUR[0] / COLOUR[2] * outside[:, 2]).astype(float)


def sees_rings(images, rows):
    return (images * (np.abs(R - 1.5) < 0.5)).sum((1, 2, 3)) / (images * (R < 1)).sum((1, 2, 3))


def verdicts(network, **settings):
    table = check_shortcuts(network, *stamps(**settings), ShortcutGates(), PIXEL, 0.95)
    return table, dict(zip(table["gate"], table["verdict"], strict=True))


def test_a_network_that_looks_at_arcs_passes():
    table, found = verdicts(sees_arcs)
    assert found == {"core": "passed", "brightness": "passed", "ring": "passed"}
    # Beyond the core there is nothing: noise alone, AUC ½ within its interval.
    assert table["low"][0] <= 0.5 <= table["high"][0]


@pytest.mark.parametrize("network", [sees_brightness, sees_core])
def test_brighter_positives_are_caught(network):
    """A planted shortcut: positives 60% brighter, and a network that learnt it."""
    _, found = verdicts(network, brighter=0.6)
    assert found["core"] == "failed" and found["brightness"] == "failed"


def test_a_network_that_takes_any_ring_is_caught():
    table, found = verdicts(sees_rings)
    assert found["ring"] == "failed" and table["value"][2] > 0.95


def test_matched_pairs_are_alike_and_used_once():
    rng = np.random.default_rng(1)
    label = np.arange(400) % 2 == 0
    features = rng.normal(size=(400, 2)) + label[:, None]
    positives, controls = matched(features, label, 0.2)
    scaled = features / features.std(0)
    assert np.hypot(*(scaled[positives] - scaled[controls]).T).max() <= 0.2
    assert label[positives].all() and not label[controls].any()
    assert len(set(positives)) == len(positives) == len(set(controls)) > 50


def test_few_stamps_leave_every_gate_undecided():
    images, label = stamps()
    table = check_shortcuts(sees_arcs, images[:100], label[:100], ShortcutGates(), PIXEL, 0.95)
    assert set(table["verdict"]) == {"undecided"} and "100 of each needed" in table["note"][0]


def test_gates_have_the_form_of_a_datasets_checks():
    table, _ = verdicts(sees_brightness, brighter=0.6)
    first = summary(table.assign(test_dataset="sky"), "resnet")["gates"][0]
    assert first["name"] == "Shortcut of resnet: core (sky)" and first["passed"] is False
    assert first["asked"] == "AUC from the inner 0.8 arcsec at most 0.76"
