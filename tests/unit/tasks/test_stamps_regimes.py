"""The named datasets of the default config: each makes stamps with the noise, PSF and strength that it says."""

import numpy as np
import pytest

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.presets import preset
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import images
from darkhaloscope.tasks.subhalo.manifest import build_manifest
from darkhaloscope.tasks.subhalo.render import noiseless_pairs, render_rows


@pytest.fixture(scope="module", params=["subhalo", "subhalo-hard", "subhalo-easy", "subhalo-moderate"])
def regime(request):
    """Ten stamps of a regime, of analytic disks since there is no bank here, and their noiseless pairs."""
    values = SubhaloDataset.model_validate(preset("datasets")[request.param]).plain()
    values["sources"] |= {"sample": None, "mix": {"disk": 1.0}}
    values["size"] = {"train": 0, "validation": 0, "test": 10}
    values["rendering"] |= {"accuracy": 0.01, "batch_size": 10}
    dataset = SubhaloDataset.model_validate(values)
    rows = build_manifest(request.param, dataset, None, Cosmology())
    stamps = render_rows(rows, dataset, None, Cosmology())
    return request.param, dataset, stamps, noiseless_pairs(rows, dataset, None, Cosmology())


#: Subhalo's θ_E over the lens', PSF σ in pixels, and flux noise over the peak: what the science page lists.
LISTED = {"subhalo-hard": (0.1, 1.0, 0.08), "subhalo-easy": (0.3, 0.0, 0.0), "subhalo-moderate": (0.3, 0.5, 0.03)}


@pytest.mark.parametrize("regime", sorted(LISTED), indirect=True)
def test_strength_psf_and_noise_are_those_listed(regime):
    name, _dataset, stamps, pairs = regime
    factor, psf_pixels, noise = LISTED[name]
    ratio = stamps["subhalo_theta_e_arcsec"].to_numpy() / stamps["theta_e_arcsec"].to_numpy()
    np.testing.assert_allclose(ratio, factor)
    np.testing.assert_allclose(stamps["theta_e_arcsec"].to_numpy(), 0.5)
    sigma_pixels = stamps["psf_fwhm_arcsec"].to_numpy() / 2.3548 / (2 / 64)
    np.testing.assert_allclose(sigma_pixels, psf_pixels, rtol=1e-3, atol=1e-12)
    label = stamps["label"].to_numpy()[:, None, None]
    truth = np.where(label == 1, pairs["perturbed_flux"], pairs["smooth_flux"])
    residual = images(stamps, "flux") - truth
    # 10 × 64 × 64 independent pixels: the sample deviation of normal noise is known to 1/√(2n) = 0.35%; 4 of those.
    assert residual.std() == pytest.approx(noise, rel=0.014, abs=1e-5)


def test_every_regime_has_a_subhalo_to_find(regime):
    _, _, stamps, _ = regime
    assert (stamps["d_prime_flux"].to_numpy() > 0).all() and np.median(stamps["d_prime_both"].to_numpy()) > 1
