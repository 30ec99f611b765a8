"""The gates find networks that were given a shortcut, and let one pass that looks at arcs."""

import numpy as np
import pytest

from darkhaloscope.config.experiment import ShortcutGates
from darkhaloscope.evaluation.shortcuts import check_hosts, check_likeness, check_shortcuts, matched, summary

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
    images, label = stamps(**settings)
    table = check_shortcuts(network, network(images, np.arange(N)), images, label, ShortcutGates(), PIXEL, 0.95)
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
    own = sees_arcs(images[:100], np.arange(100))
    table = check_shortcuts(sees_arcs, own, images[:100], label[:100], ShortcutGates(), PIXEL, 0.95)
    assert set(table["verdict"]) == {"undecided"} and "100 of each needed" in table["note"][0]


def hosts(redder=0.0, noisier=0.0, seed=1):
    """Positives less their arcs, positives less the arcs' noise as well, controls: margins of what two networks see of them."""
    rng = np.random.default_rng(seed)
    flux = rng.lognormal(3, 0.4, (2, 500))
    galaxy = np.exp(-R / 0.5)
    colour = COLOUR * np.array([1, 1, 1 + redder])
    arc = np.exp(-0.5 * ((R - 2) / 0.3) ** 2)

    def images(flux, colour):
        return flux[:, None, None, None] * colour[:, None, None] * (galaxy / galaxy.sum()) + rng.normal(0, 0.01, (len(flux), 3, SIZE, SIZE))

    bare = images(flux[0], colour)
    return bare + noisier * np.sqrt(arc) * rng.normal(size=bare.shape), bare, images(flux[1], COLOUR)


def sees_colour(images):
    return np.log(images[:, 2].sum((1, 2)) / images[:, 0].sum((1, 2)))


def sees_noise(images):
    return images[:, :, R > 1.5].std((1, 2))


def host_gates(network, **settings):
    table = check_hosts(*map(network, hosts(**settings)), ShortcutGates(), 0.95)
    return table, dict(zip(table["gate"], table["verdict"], strict=True))


@pytest.mark.parametrize("network", [sees_colour, sees_noise, lambda images: images.sum((1, 2, 3))])
def test_hosts_that_are_controls_pass(network):
    table, found = host_gates(network)
    assert found == {"arcs removed": "passed", "null injection": "passed"}
    # Nothing tells the classes apart: AUC ½ and share 5% within their intervals.
    assert table["low"][0] <= 0.5 <= table["high"][0] and table["low"][1] <= 0.05 <= table["high"][1]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_network_that_knows_its_hosts_by_their_colour_is_caught(sign):
    """Hosts redder than controls, with a network that prefers them or avoids them; it sees no arc."""
    table, found = host_gates(lambda images: sign * sees_colour(images), redder=0.3)
    assert found["arcs removed"] == "failed" and table["value"][0] > 0.6
    assert found["null injection"] == ("failed" if sign > 0 else "passed")
    assert ("below controls" in table["note"][0]) == (sign < 0)


def test_noise_that_arcs_leave_fails_the_one_gate_and_not_the_other():
    _, found = host_gates(sees_noise, noisier=0.03)
    assert found == {"arcs removed": "failed", "null injection": "passed"}
    assert set(host_gates(sees_colour, noisier=0.03)[1].values()) == {"passed"}


def test_hosts_that_are_too_few_or_unknown_leave_their_gates_undecided():
    few = check_hosts(np.zeros(99), np.zeros(99), np.zeros(500), ShortcutGates(), 0.95)
    assert set(few["verdict"]) == {"undecided"} and "99 hosts" in few["note"][0]
    unknown = check_hosts(None, None, np.zeros(500), ShortcutGates(), 0.95)
    assert set(unknown["verdict"]) == {"undecided"} and "made elsewhere" in unknown["note"][0]


def test_features_that_differ_by_construction_fail_and_alike_ones_pass():
    rng = np.random.default_rng(2)
    injected, real = rng.normal(size=(400, 20)), rng.normal(size=(200, 20))
    assert set(check_likeness(real, injected, ShortcutGates(), 0.95)["verdict"]) == {"passed"}
    table = check_likeness(real + 1.2, injected, ShortcutGates(), 0.95)
    assert set(table["verdict"]) == {"failed"} and "two random parts" in table["note"][1]


def test_too_few_real_lenses_leave_their_gates_undecided_and_say_how_many_are_needed():
    table = check_likeness(np.zeros((49, 4)), np.zeros((400, 4)), ShortcutGates(), 0.95)
    assert set(table["verdict"]) == {"undecided"} and table["note"][0] == "49 real lenses and 400 injected ones; 50 and 100 needed"


def test_gates_have_the_form_of_a_datasets_checks():
    table, _ = verdicts(sees_brightness, brighter=0.6)
    first = summary(table.assign(test_dataset="sky"), "resnet")["gates"][0]
    assert first["name"] == "Shortcuts of resnet on sky: core" and first["passed"] is False
    assert first["asked"] == "AUC from the inner 0.8 arcsec at most 0.76"
