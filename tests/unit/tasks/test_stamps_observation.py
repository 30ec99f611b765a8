"""Flux and velocity of a noiseless stamp: against a spectral cube, and by hand."""

import numpy as np
import pytest
import torch

from darkhaloscope.config.subhalo import Psf
from darkhaloscope.lensing.lens import macro_lens
from darkhaloscope.lensing.light import DiskLight
from darkhaloscope.lensing.observe import convolve, psf_kernel
from darkhaloscope.lensing.render import Grid, render
from darkhaloscope.tasks.subhalo.observation import noiseless, spread


def rotating_disk():
    values = {
        "flux": 3.0, "x": 0.15, "y": 0.0, "pa": 0.5, "inclination": 0.9, "scale_radius": 0.2, "bulge_fraction": 0.2, "bulge_n": 2.0,
        "bulge_radius": 0.15, "v_max": 200.0, "r_turn": 0.08, "v_sys": 0.0, "sigma0": 30.0, "bar_amplitude": 0.0, "bar_phi": 0.4,
        "radial_flow": 0.0,
    }  # fmt: skip
    knots = {"knot_x": (0.1, -0.2), "knot_y": (0.3, 0.1), "knot_share": (0.1, 0.05), "knot_sigma": (0.04, 0.06)}
    return DiskLight(**{k: torch.tensor([v], dtype=torch.float64) for k, v in (values | knots).items()})


@pytest.mark.parametrize("block", [1, 3])
def test_velocity_agrees_with_a_spectral_cube(block):
    """Convolve every channel of a full cube, and take the moment of each element's line afterwards."""
    one = torch.ones(1).double()
    lens = macro_lens("sie", one, e1=one * 0.2, gamma1=one * 0.03)
    light, grid, rays = rotating_disk(), Grid(24, 0.12), 2
    kernel = psf_kernel(Psf(fwhm_arcsec=0.3), grid.pixel_scale)
    seen = noiseless(convolve(render(light, lens, None, grid, rays), kernel)[0].numpy(), 2.0, block)

    # The same rays, each a Gaussian line of its own velocity, binned into channels of 10 km/s.
    fine = render(light, lens, None, Grid(24 * rays, 0.12 / rays), 1)[0]
    channels = torch.arange(-420.0, 421.0, 10.0).double()
    line = torch.exp(-((channels - (fine[1] / fine[0])[..., None]) ** 2) / (2 * 30.0**2)) * (10 / (30 * np.sqrt(2 * np.pi)))
    cube = (fine[0][..., None] * line).reshape(24, rays, 24, rays, -1).sum((1, 3)).movedim(-1, 0)
    blurred = convolve(cube, kernel).reshape(len(channels), 24 // block, block, 24 // block, block).sum((2, 4)).numpy()
    total = blurred.sum(0)
    mean = (blurred * channels.numpy()[:, None, None]).sum(0) / total
    lit = total > 1e-3 * total.max()
    # 10⁻³ of the velocity range is the figure asked for.
    assert np.abs(mean - seen.block_velocity)[lit].max() < 1e-3 * np.ptp(seen.block_velocity[lit])
    np.testing.assert_allclose(seen.block_flux, total / 2.0, rtol=1e-6, atol=1e-12)


def test_velocity_is_weighted_by_flux():
    # A bright pixel at +100 beside a faint one at −100: their common element leans to the bright one.
    flux, velocity = np.array([[1.0, 9.0], [0.0, 0.0]]), np.array([[-100.0, 100.0], [0.0, 0.0]])
    seen = noiseless(np.stack([flux, flux * velocity, flux * velocity**2]), 1.0, 2)
    assert seen.block_velocity == pytest.approx(np.array([[80.0]])) and seen.block_flux == pytest.approx(np.array([[10.0]]))


def test_dark_elements_have_no_velocity_and_no_nan():
    seen = noiseless(np.zeros((3, 4, 4)), 1.0, 2)
    assert not seen.flux.any() and not seen.block_velocity.any()


def test_a_block_is_spread_over_its_pixels():
    blocks = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert spread(blocks, 2).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
