"""Images: analytic rings, flux, the reference renderer, and bits that do not depend on company."""

import math

import pytest
import torch

from darkhaloscope.lensing.lens import macro_lens
from darkhaloscope.lensing.observe import convolve
from darkhaloscope.lensing.reference import render_with_lenstronomy
from darkhaloscope.lensing.render import Grid, render


def test_point_like_source_behind_a_sphere_is_a_ring_of_the_einstein_radius(example):
    one = torch.ones(1).double()
    light = example.sersic(one[:, None], 0 * one, 0 * one, one * 0.05, one * 0.7, 0 * one, 0 * one)
    grid = Grid(50, 0.08)
    image = render(light, macro_lens("sis", one * 1.1), None, grid, 6)[0, 0]
    x, y = grid.coordinates()
    radius = (x * x + y * y).sqrt()
    # The ring is symmetric about θ_E up to its width squared, 10⁻³.
    assert ((image * radius).sum() / image.sum()).item() == pytest.approx(1.1, abs=2e-3)


@pytest.mark.parametrize("offset", [0.25, 0.6])
def test_magnification_of_a_small_source_behind_a_sphere(example, offset):
    one = torch.ones(1).double()
    light = example.sersic(one[:, None], one * offset, 0 * one, one * 0.02, one * 0.5, 0 * one, 0 * one)
    flux = render(light, macro_lens("sis", one), None, Grid(72, 0.05), 5).sum().item()
    # Two images: μ = 1 + θ_E/β and θ_E/β − 1. A source of 0.02″ changes it by (0.01/β)² and less.
    assert flux == pytest.approx(2 / offset, rel=3e-3)


def test_outside_the_einstein_ring_one_image_is_left(example):
    one = torch.ones(1).double()
    light = example.sersic(one[:, None], one * 1.5, 0 * one, one * 0.02, one, 0 * one, 0 * one)
    flux = render(light, macro_lens("sis", one), None, Grid(80, 0.075), 5).sum().item()
    assert flux == pytest.approx(1 + 1 / 1.5, rel=3e-3)


@pytest.mark.parametrize("kind", ["pixels", "disk"])
def test_images_equal_lenstronomy(example, kind):
    light = example.pixels() if kind == "pixels" else example.disk(2)
    lens, subhalos, grid = example.lens(2), example.subhalos(2), Grid(24, 0.15)
    ours, theirs = (f(light, lens, subhalos, grid, 3) for f in (render, render_with_lenstronomy))
    assert (ours - theirs).abs().max() < 1e-8 * theirs.abs().max()


@pytest.mark.parametrize("kind", ["pixels", "disk"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bits_do_not_depend_on_batch_order_or_threads(example, kind, dtype):
    n = 7
    light = example.many(example.pixels() if kind == "pixels" else example.disk(bar_amplitude=10.0), n)
    light = example.cast(light, dtype)
    lens, subhalos = example.cast(example.lens(n), dtype), example.cast(example.subhalos(n), dtype)
    grid = Grid(23, 0.15)
    axis = torch.arange(-9, 10)
    kernel = torch.exp(-(axis[:, None] ** 2 + axis**2) / 8.0).to(dtype)

    def images(rows):
        raw = render(light[rows], lens[rows], subhalos[rows], grid, 2)
        return torch.cat((raw, convolve(raw, kernel)), 1)

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        together = images(torch.arange(n))
        assert torch.equal(images(torch.arange(n).flip(0)).flip(0), together)
        assert torch.equal(torch.cat([images(torch.tensor([i])) for i in range(n)]), together)
        torch.set_num_threads(3)
        assert torch.equal(images(torch.arange(n)), together)
    finally:
        torch.set_num_threads(threads)


def test_no_ray_count_changes_the_mean_brightness_of_a_constant_sky(example):
    sky = example.pixels()
    sky = type(sky)(**(vars(sky) | {"planes": torch.ones_like(sky.planes), "pixel_scale": sky.pixel_scale * 100}))
    image = render(sky, example.lens(2), None, Grid(12, 0.2), 3)
    # Lensing conserves surface brightness.
    torch.testing.assert_close(image, torch.full_like(image, 0.04), rtol=1e-12, atol=0)


def test_derivatives_by_lens_and_source_parameters_are_finite_at_a_ray_through_the_centre(example):
    light, lens = example.disk(), macro_lens("epl", torch.ones(1).double())

    def image(value):
        moved = type(lens)(**(vars(lens) | {"x": value, "e1": value}))
        return render(light, moved, None, Grid(15, 0.2), 1)

    zero = torch.zeros(1).double()
    _, slope = torch.func.jvp(image, (zero,), (torch.ones(1).double(),))
    assert torch.isfinite(slope).all()
    assert slope.abs().max() < math.inf
