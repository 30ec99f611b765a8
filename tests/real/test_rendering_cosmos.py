"""The adaptive renderer over real galaxies, COSMOS images and MaNGA maps, and 200 random lenses of each."""

import numpy as np
import torch
from astropy.io import fits

from darkhaloscope.config.subhalo import Psf
from darkhaloscope.lensing.engine import render_accurate
from darkhaloscope.lensing.lens import NFW, Subhalos, macro_lens
from darkhaloscope.lensing.light import PixelLight
from darkhaloscope.lensing.observe import convolve, psf_kernel
from darkhaloscope.lensing.render import Grid, render

ACCURACY, N = 1e-3, 200
#: Rays on a side in the reference: those of 8 × 8 err by some 10⁻³, and errors fall as the square.
CONVERGED = 24


def test_two_hundred_lenses_of_cosmos_galaxies_reach_the_accuracy(real):
    with fits.open(real / "cosmos" / "paltas-real_galaxy_images_23.5_n1.fits") as hdus:
        images = [np.asarray(hdu.data, float) for hdu in hdus]
    side = max(max(image.shape) for image in images)
    planes = np.zeros((len(images), 1, side, side))
    for plane, image in zip(planes[:, 0], images, strict=True):
        plane[: image.shape[0], : image.shape[1]] = image
        plane[:] = np.roll(plane, ((side - image.shape[0]) // 2, (side - image.shape[1]) // 2), (0, 1))
    rng = np.random.default_rng(11)
    lens = random_lenses(rng, 0.5, 2.5)
    light = placed(rng, planes / 0.03**2, 0.03, 0.2)
    grid = Grid(32, 0.262)
    errors = relative_errors(light, lens, None, grid, psf_kernel(Psf(kind="moffat", fwhm_arcsec=1.2), grid.pixel_scale))
    assert errors.max() <= ACCURACY, f"worst {errors.max():.1e}, {(errors <= ACCURACY).mean():.1%} within {ACCURACY:g}"


def test_two_hundred_lenses_of_manga_moments_with_subhalos_reach_the_accuracy(real):
    folder = real / "sas" / "dr15" / "manga" / "spectro" / "analysis"
    (path,) = folder.rglob("manga-7815-3702-MAPS-*.fits.gz")
    with fits.open(path) as hdus:
        header = hdus["EMLINE_GFLUX"].header
        channel = next(int(key[1:]) - 1 for key, name in header.items() if key[:1] == "C" and key[1:].isdigit() and name == "Ha-6564")
        good = hdus["EMLINE_GFLUX_MASK"].data[channel] == 0
        flux, velocity, sigma = (
            np.where(good, hdus[k].data[channel], 0).astype(float) for k in ("EMLINE_GFLUX", "EMLINE_GVEL", "EMLINE_GSIGMA")
        )
    planes = np.stack((flux, flux * velocity, flux * (velocity**2 + sigma**2)))[None]
    rng = np.random.default_rng(12)
    lens = random_lenses(rng, 0.8, 1.2)
    angle = rng.uniform(0, 2 * np.pi, N)
    x, y = (lens.theta_e * 1.05 * torch.as_tensor(f(angle)) for f in (np.cos, np.sin))
    nan = torch.full((N, 1), torch.nan, dtype=torch.float64)
    # M200 = 10^9.5 M☉, c = 15, lens at z = 0.3, source at 1.5
    halo = {"r_s": torch.full_like(nan, 0.41), "alpha_rs": torch.full_like(nan, 0.0084)}
    subhalos = Subhalos(torch.full((N, 1), NFW), x[:, None], y[:, None], theta_e=nan, r_t=nan, **halo)
    grid = Grid(40, 0.08)
    light = placed(rng, planes, 0.04, 0.1)
    errors = relative_errors(light, lens, subhalos, grid, psf_kernel(Psf(fwhm_arcsec=0.12), grid.pixel_scale))
    assert errors.max() <= ACCURACY, f"worst {errors.max():.1e}, {(errors <= ACCURACY).mean():.1%} within {ACCURACY:g}"


def random_lenses(rng, low, high):
    e, phi, shear, angle = rng.uniform(0, 0.33, N), rng.uniform(0, np.pi, N), rng.uniform(0, 0.05, N), rng.uniform(0, np.pi, N)
    parts = {"e1": e * np.cos(2 * phi), "e2": e * np.sin(2 * phi), "gamma1": shear * np.cos(2 * angle), "gamma2": shear * np.sin(2 * angle)}
    return macro_lens("sie", torch.as_tensor(rng.uniform(low, high, N)), **{k: torch.as_tensor(v) for k, v in parts.items()})


def placed(rng, planes, scale, spread):
    x, y = torch.as_tensor(rng.normal(0, spread, (2, N)))
    index, phi = torch.as_tensor(rng.integers(0, len(planes), N)), torch.as_tensor(rng.uniform(0, 2 * np.pi, N))
    flip = torch.as_tensor(rng.uniform(size=N) < 0.5)
    return PixelLight(torch.as_tensor(planes), index, torch.full((N,), scale, dtype=torch.float64), x, y, phi, flip)


def relative_errors(light, lens, subhalos, grid, kernel):
    """Largest error of the flux over its peak, behind the PSF."""
    converged = convolve(render(light, lens, subhalos, grid, CONVERGED), kernel)[:, 0]
    image = convolve(render_accurate(light, lens, subhalos, grid, ACCURACY, kernel), kernel)[:, 0]
    errors = ((image - converged).abs().amax((1, 2)) / converged.amax((1, 2))).numpy()
    print(f"error median {np.median(errors):.1e}, worst {errors.max():.1e}, {(errors <= ACCURACY).mean():.1%} within {ACCURACY:g}")
    return errors
