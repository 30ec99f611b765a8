"""A lens as HST would observe it, made with lenstronomy and written as the files of an observed lens."""

import numpy as np
from astropy.io import fits
from lenstronomy.Data.imaging_data import ImageData
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from lenstronomy.Util.param_util import phi_q2_ellipticity

SIZE, SCALE = 121, 0.05


def simulate(seed=1, theta_e=1.15, arcs=True, subhalo=None):
    """Return image, noise and PSF (arrays), and the image of the arcs alone; `subhalo` is (θ_E, x, y) of an SIS."""
    random = np.random.default_rng(seed)
    y, x = np.indices((15, 15)) - 7
    kernel = np.exp(-(x**2 + y**2) / (2 * 0.9**2)) + 0.02 * np.exp(-(x**2 + y**2) / (2 * 3.0**2))
    kernel /= kernel.sum()
    grid = {"transform_pix2angle": np.eye(2) * SCALE, "ra_at_xy_0": -60 * SCALE, "dec_at_xy_0": -60 * SCALE}
    data = ImageData(image_data=np.zeros((SIZE, SIZE)), **grid)
    psf = PSF("PIXEL", kernel_point_source=kernel)
    e1, e2 = phi_q2_ellipticity(0.6, 0.75)
    names, lenses = (
        ["EPL", "SHEAR"],
        [
            {"theta_E": theta_e, "gamma": 2.05, "e1": e1, "e2": e2, "center_x": 0.02, "center_y": -0.01},
            {"gamma1": 0.02, "gamma2": -0.015},
        ],
    )
    if subhalo:
        names.append("SIS")
        lenses.append({"theta_E": subhalo[0], "center_x": subhalo[1], "center_y": subhalo[2]})
    source = [{"amp": 12.0, "R_sersic": 0.12, "n_sersic": 1.2, "e1": 0.1, "e2": -0.1, "center_x": 0.09, "center_y": 0.05}]
    l1, l2 = phi_q2_ellipticity(0.65, 0.8)
    galaxy = [{"amp": 2.0, "R_sersic": 1.6, "n_sersic": 4.0, "e1": l1, "e2": l2, "center_x": 0.02, "center_y": -0.01}]
    model = ImageModel(
        data,
        psf,
        LensModel(names),
        LightModel(["SERSIC_ELLIPSE"]),
        LightModel(["SERSIC_ELLIPSE"]),
        kwargs_numerics={"supersampling_factor": 3},
    )
    arc = model.image(lenses, source, galaxy, lens_light_add=False) if arcs else np.zeros((SIZE, SIZE))
    light = model.image(lenses, source, galaxy, source_add=False)
    # Sky and photons, as in an exposure of 2,000 s.
    noise = np.sqrt(0.01**2 + (arc + light) / 2000)
    return arc + light + random.normal(0, 1, arc.shape) * noise, noise, kernel, arc


def write(folder, image, noise, psf):
    """Write the files of an observed lens."""
    folder.mkdir(parents=True)
    for name, values in (("image", image), ("noise", noise), ("psf", psf)):
        fits.writeto(folder / f"{name}.fits", values.astype(np.float32))
    return folder
