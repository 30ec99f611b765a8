"""What lensing did to a source, against lenstronomy and closed cases."""

import numpy as np
import pytest
import torch
from lenstronomy.LensModel.Solver.lens_equation_solver import LensEquationSolver

from darkhaloscope.lensing.lens import critical_curve, macro_lens
from darkhaloscope.lensing.products import count_images, half_light_radius, stretches
from darkhaloscope.lensing.reference import lens_model
from darkhaloscope.lensing.render import Grid


@pytest.mark.parametrize("profile", ["sie", "epl"])
def test_images_are_as_many_as_lenstronomy_finds(example, profile):
    n = 30
    lens, rng = example.lens(n, profile), np.random.default_rng(8)
    x, y = rng.uniform(-0.5, 0.5, (2, n))
    counted = count_images(lens, critical_curve(lens), torch.as_tensor(x), torch.as_tensor(y)).numpy()
    found = []
    for row in range(n):
        model, arguments = lens_model(lens, None, row)
        images = LensEquationSolver(model).image_position_from_source(
            x[row], y[row], arguments, min_distance=0.02, search_window=8, precision_limit=1e-8, num_iter_max=100
        )
        xx, xy, _, yy = model.hessian(*images, arguments)
        # The image in the middle is a maximum: both eigenvalues negative.
        found.append(int((((1 - xx) * (1 - yy) - xy**2 < 0) | (2 - xx - yy > 0)).sum()))
    assert set(counted) >= {2, 4}
    assert counted.tolist() == found


def test_a_source_outside_the_cut_of_an_sis_has_one_image():
    lens = macro_lens("sis", torch.ones(3, dtype=torch.float64))
    x = torch.tensor([0.2, 0.95, 1.05], dtype=torch.float64)
    assert count_images(lens, critical_curve(lens), x, torch.zeros(3, dtype=torch.float64)).tolist() == [2, 2, 1]


def test_stretches_of_a_point_of_light():
    lens, grid = macro_lens("sis", torch.ones(1, dtype=torch.float64)), Grid(41, 0.1)
    image = torch.zeros(1, 41, 41, dtype=torch.float64)
    image[0, 20, 34] = 2.0  # at (1.4, 0): 1 − κ − γ = 1 − 1/1.4
    tangential, radial = stretches(lens, image, grid)
    assert (tangential.item(), radial.item()) == pytest.approx((1.4 / 0.4, 1.0))


def test_half_of_a_gaussian_lies_within_its_half_light_radius():
    axis = (np.arange(101) - 50) * 0.1
    image = np.exp(-((axis[None, :] - 0.5) ** 2 + axis[:, None] ** 2) / 2)[None]
    # σ √(2 ln 2), to a fraction of a pixel.
    assert half_light_radius(image, np.array([[0.5, 0.0]]), 0.1) == pytest.approx([1.1774], abs=0.02)
