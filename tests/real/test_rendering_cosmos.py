"""The adaptive renderer over real COSMOS galaxies and 200 random lenses."""

import numpy as np
import torch
from astropy.io import fits

from darkhaloscope.config.subhalo import Psf
from darkhaloscope.lensing.engine import render_accurate
from darkhaloscope.lensing.lens import macro_lens
from darkhaloscope.lensing.light import PixelLight
from darkhaloscope.lensing.observe import convolve, psf_kernel
from darkhaloscope.lensing.render import Grid, render

ACCURACY = 1e-3


def test_two_hundred_lenses_of_real_galaxies_reach_the_accuracy(real):
    with fits.open(real / "cosmos" / "paltas-real_galaxy_images_23.5_n1.fits") as hdus:
        images = [np.asarray(hdu.data, float) for hdu in hdus]
    side = max(max(image.shape) for image in images)
    planes = np.zeros((len(images), 1, side, side))
    for plane, image in zip(planes[:, 0], images, strict=True):
        plane[: image.shape[0], : image.shape[1]] = image
        plane[:] = np.roll(plane, ((side - image.shape[0]) // 2, (side - image.shape[1]) // 2), (0, 1))
    n, rng = 200, np.random.default_rng(11)
    e, phi, shear, angle = rng.uniform(0, 0.33, n), rng.uniform(0, np.pi, n), rng.uniform(0, 0.05, n), rng.uniform(0, np.pi, n)
    parts = {"e1": e * np.cos(2 * phi), "e2": e * np.sin(2 * phi), "gamma1": shear * np.cos(2 * angle), "gamma2": shear * np.sin(2 * angle)}
    lens = macro_lens("sie", torch.as_tensor(rng.uniform(0.5, 2.5, n)), **{k: torch.as_tensor(v) for k, v in parts.items()})
    x, y = torch.as_tensor(rng.normal(0, 0.2, (2, n)))
    light = PixelLight(
        torch.as_tensor(planes / 0.03**2),
        torch.as_tensor(rng.integers(0, len(planes), n)),
        torch.full((n,), 0.03, dtype=torch.float64),
        x,
        y,
        torch.as_tensor(rng.uniform(0, 2 * np.pi, n)),
        torch.as_tensor(rng.uniform(size=n) < 0.5),
    )
    grid = Grid(32, 0.262)
    kernel = psf_kernel(Psf(kind="moffat", fwhm_arcsec=1.2), grid.pixel_scale)
    # 24 × 24 rays err by about (8/24)² of what 8 × 8 do, some 10⁻⁴.
    converged = convolve(render(light, lens, None, grid, 24), kernel)
    image = convolve(render_accurate(light, lens, None, grid, ACCURACY, kernel), kernel)
    error = (image - converged).abs().amax((1, 2, 3)) / converged.amax((1, 2, 3))
    assert error.max() <= ACCURACY
