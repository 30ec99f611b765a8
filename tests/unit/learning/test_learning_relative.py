"""Bands relative to the core: zero points and the galaxy's own colour are gone, an arc's colour against it stays."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from darkhaloscope.config.network import Network
from darkhaloscope.learning.fit import train_network
from darkhaloscope.learning.index import measure_bands
from darkhaloscope.learning.relative import LEAST_SNR, core_flux, radius_arcsec, relative_to_core
from darkhaloscope.learning.score import margins_of, score_split
from darkhaloscope.learning.weights import load_network, save_network
from unit.learning.band_shards import NOISE, band_columns, write_band_shards

SETTINGS = {
    "architecture": "slim",
    "channels": "bands",
    "width": 4,
    "scaling": {"relative_to_core": True},
    "training": {"epochs": 2, "batch_size": 32, "learning_rate": 5e-3},
}


def test_cores_have_the_flux_of_r_and_arcs_keep_their_colour_against_the_galaxy():
    x, y = np.meshgrid(*[(np.arange(32) - 15.5) * 0.262] * 2)
    galaxy = np.exp(-(x**2 + y**2) / (2 * 0.5**2))
    arc = np.exp(-((np.hypot(x, y) - 2.5) ** 2) / (2 * 0.15**2))
    image = galaxy * np.array([0.3, 1.0, 2.0])[:, None, None] + arc * np.array([0.1, 0.1, 0.1])[:, None, None]
    found = relative_to_core(torch.from_numpy(image[None]))[0].numpy()
    core = np.hypot(x, y) <= 0.8
    # The arc has no light within 0.8″ (11 σ), the galaxy's bands differ by a factor.
    np.testing.assert_allclose(found[:, core].sum(1), image[1, core].sum(), rtol=1e-12)
    np.testing.assert_allclose(found[0] - found[1], (0.1 / 0.3 - 0.1) * arc, atol=1e-12)
    np.testing.assert_allclose(found[1], image[1])


def test_the_distance_of_pixels_is_counted_from_the_middle():
    radius = radius_arcsec(16).numpy()
    assert radius[7, 7] == pytest.approx(0.262 / np.sqrt(2), rel=1e-6) and radius[0, 15] == pytest.approx(
        7.5 * 0.262 * np.sqrt(2), rel=1e-6
    )


def test_a_core_without_flux_counts_with_three_sigma_of_its_noise():
    noise = np.random.default_rng(2).normal(0, 1, (300, 3, 32, 32)) * NOISE[:, None, None]
    images = torch.from_numpy(noise)
    core = radius_arcsec(32).numpy() <= 0.8
    least = LEAST_SNR * np.sqrt(core.sum()) * NOISE
    assert np.allclose(core_flux(images).numpy().mean(0), least, rtol=0.02)  # some sums of noise are beyond 3 σ, errors are 4% each
    # So noise is never blown up: bands without a galaxy have one noise after scaling, that of r.
    assert np.allclose(relative_to_core(images).numpy().std((0, 2, 3)), NOISE[1], rtol=0.05)
    assert torch.isfinite(relative_to_core(torch.zeros(2, 3, 32, 32))).all()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relative")
    train = write_band_shards(folder, band_columns(320, signal=0.4), [0, 320], "train")
    validation = write_band_shards(folder, band_columns(160, first=1000, signal=0.4), [0, 160], "validation")
    result = train_network(train, validation, Network.model_validate(SETTINGS), 1, folder / "c", 1)
    save_network(result, folder / "w.safetensors", folder / "n.json")
    return load_network(folder / "w.safetensors", folder / "n.json"), validation


def test_other_zero_points_change_no_score_and_constants_are_those_of_scaled_stamps(trained):
    classifier, validation = trained
    images = band_columns(160, first=1000, signal=0.4)["image"]
    own = margins_of(classifier, images, np.full((160, 6), np.nan, np.float32))
    np.testing.assert_array_equal(own, score_split(validation, classifier).margins)
    other = images * np.array([3.0, 1.0, 0.2], np.float32)[:, None, None]
    # float32 rounding through three blocks of convolutions.
    np.testing.assert_allclose(margins_of(classifier, other, np.full((160, 6), np.nan, np.float32)), own, atol=2e-4)
    assert np.ptp(own) > 0.1
    measured = band_columns(320, signal=0.4)["image"]
    scaled = relative_to_core(torch.from_numpy(measured)).numpy()
    plain = classifier.network.scaling.model_copy(update={"relative_to_core": False})
    assert measure_bands(scaled, np.zeros((320, 6)), plain).softening == pytest.approx(classifier.normalisation.softening, rel=1e-6)


def test_uses_without_sense_are_refused():
    with pytest.raises(ValidationError, match="relative_to_core scales bands ahead of asinh or linear, but channels is `flux`"):
        Network(channels="flux", scaling={"relative_to_core": True})
    with pytest.raises(ValidationError, match="scaling.bands `stamp`"):
        Network(channels="bands", architecture="slim", scaling={"relative_to_core": True, "bands": "stamp"})
