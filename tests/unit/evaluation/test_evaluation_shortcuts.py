"""The gates find networks that were given a shortcut, and let one pass that looks at arcs."""

import numpy as np
import pytest

from darkhaloscope.config.experiment import ShortcutGates
from darkhaloscope.evaluation.shortcuts import (
    check_hosts,
    check_likeness,
    check_real,
    check_shortcuts,
    matched,
    recoloured,
    sky_noise,
    summary,
)

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


def counts_light(images, rows):
    """Light outside the core that is bluer than a red galaxy's."""
    outside = (images * (R > 1.2)).sum((2, 3))
    return (outside[:, 0] - COLOUR[0] / COLOUR[2] * outside[:, 2]).astype(float)


def sees_arcs(images, rows):
    """The same over the noise that the stamp itself has."""
    return counts_light(images, rows) / np.maximum(sky_noise(images, R).mean(1), 0.01)


def sees_core_colour(images, rows):
    core = images[:, :, R < 0.6].sum(2)
    return np.log(core[:, 0] / core[:, 1]).astype(float)


def sees_rings(images, rows):
    return (images * (np.abs(R - 1.5) < 0.5)).sum((1, 2, 3)) / (images * (R < 1)).sum((1, 2, 3))


def verdicts(network, **settings):
    images, label = stamps(**settings)
    table = check_shortcuts(network, network(images, np.arange(N)), images, label, ShortcutGates(), PIXEL, 0.95)
    return table, dict(zip(table["gate"], table["verdict"], strict=True))


def test_a_network_that_looks_at_arcs_passes():
    table, found = verdicts(sees_arcs)
    assert found == {"core": "passed", "brightness": "passed", "ring": "passed", "core colour": "passed", "noise": "passed"}
    # Beyond the core there is nothing: noise alone, AUC ½ within its interval.
    assert table["low"][0] <= 0.5 <= table["high"][0]


def test_a_network_that_counts_light_beyond_the_core_takes_noise_for_arcs():
    """Its score of an empty sky has the noise's width: with twice the noise, Φ(−1.645/2) = 0.205 of the controls pass in place of 0.05."""
    table, found = verdicts(counts_light)
    row = table.set_index("gate").loc["noise"]
    assert found["noise"] == "failed" and row["low"] <= 0.205 <= row["high"]


@pytest.mark.parametrize(("bluer", "verdict"), [(0.0, "passed"), (0.5, "failed")])
def test_a_network_that_looks_at_the_colour_of_cores_is_caught(bluer, verdict):
    """Positives with bluer cores, which is all that the network sees: controls of these colours are positives to it."""
    images, label = stamps()
    images[label, 0] *= 1 + bluer
    table = check_shortcuts(sees_core_colour, sees_core_colour(images, None), images, label, ShortcutGates(), PIXEL, 0.95).set_index("gate")
    assert table.loc["core colour", "verdict"] == verdict
    assert table.loc["core colour", "value"] == pytest.approx(1.0 if bluer else 0.05, abs=0.03)


def test_recoloured_images_have_the_colours_of_the_others_cores_and_change_in_nothing_else():
    images, label = stamps()
    redder = images[label].copy()
    redder[:, 2] *= np.random.default_rng(3).uniform(1.2, 1.6, len(redder)).astype(np.float32)[:, None, None]
    changed = recoloured(redder, images[~label], R, 0.8)
    ratio = [np.sort(np.log(i[:, 2, R <= 0.8].sum(1) / i[:, 1, R <= 0.8].sum(1))) for i in (changed, images[~label])]
    # Quantiles between ranks: the greatest and the least differ most.
    assert ratio[0] == pytest.approx(ratio[1], abs=6e-3)
    assert np.array_equal(changed[:, 1], redder[:, 1])
    assert np.ptp((changed[:, 2] / redder[:, 2]).reshape(len(redder), -1), axis=1).max() < 1e-5


def test_noise_is_measured_beside_galaxies():
    images, _ = stamps()
    assert np.median(sky_noise(images, R), 0) == pytest.approx([0.01] * 3, rel=0.03)


def test_real_lenses_are_held_against_look_alikes_and_controls():
    rng = np.random.default_rng(4)
    controls, lenses, lookalikes = rng.normal(size=4000), rng.normal(3, 1, 60), rng.normal(0.5, 1, 80)
    table = check_real(lenses, lookalikes, controls, ShortcutGates(), 0.95).set_index("gate")
    # Φ((3 − 0.5)/√2) = 0.961; the controls' 99% quantile is 2.33.
    assert table.loc["real look-alikes", "low"] <= 1 - 0.961 <= table.loc["real look-alikes", "high"]
    assert table.loc["real lenses missed", "low"] <= 0.251 <= table.loc["real lenses missed", "high"]
    assert set(table["verdict"]) == {"passed"}
    fooled = check_real(lookalikes, lenses, controls, ShortcutGates(), 0.95)
    assert set(fooled["verdict"]) == {"failed"}


def test_a_network_that_met_no_real_lens_says_so():
    table = check_real(np.empty(0), np.empty(0), np.zeros(2000), ShortcutGates(), 0.95)
    assert set(table["verdict"]) == {"undecided"} and set(table["note"]) == {"never met a real lens"}
    few = check_real(np.ones(30), np.zeros(30), np.zeros(900), ShortcutGates(), 0.95)
    assert few["verdict"].tolist() == ["passed", "undecided"] and "1000 needed" in few["note"][1]


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
    table = check_likeness(np.zeros((39, 4)), np.zeros((400, 4)), ShortcutGates(), 0.95)
    assert set(table["verdict"]) == {"undecided"} and table["note"][0] == "39 real lenses and 400 injected ones; 40 and 100 needed"


def test_gates_have_the_form_of_a_datasets_checks():
    table, _ = verdicts(sees_brightness, brighter=0.6)
    first = summary(table.assign(test_dataset="sky"), "resnet")["gates"][0]
    assert first["name"] == "Shortcuts of resnet on sky: core" and first["passed"] is False
    assert first["asked"] == "AUC from the inner 0.8 arcsec at most 0.76"
