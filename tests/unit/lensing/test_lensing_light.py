"""Light: closed forms against quadrature and second implementations, pixel images against lenstronomy."""

import math

import numpy as np
import pytest
import torch
from lenstronomy.LightModel.Profiles.interpolation import Interpol
from lenstronomy.LightModel.Profiles.sersic import SersicElliptic

from darkhaloscope.lensing.light import DiskLight, LightError, PixelLight
from darkhaloscope.lensing.render import Grid, render


def test_total_flux_of_a_disk_is_the_given_one(example):
    image = render(example.disk(bulge_fraction=0.0), None, None, Grid(100, 0.06), 4)
    # 6″ hold all but exp(−15) of the disk; the bulge, whose cusp no grid resolves, has its own test by quadrature.
    assert image[0, 0].sum().item() == pytest.approx(3.0, rel=1e-4)


def test_sersic_against_lenstronomy(example):
    x, y = np.random.default_rng(1).uniform(-1, 1, (2, 50))
    e1, e2, n, radius = 0.2, -0.1, 2.5, 0.4
    theirs = SersicElliptic().function(x, y, amp=1.0, R_sersic=radius, n_sersic=n, e1=e1, e2=e2)
    one = torch.ones(1).double()
    light = example.sersic(one[:, None], 0 * one, 0 * one, one * radius, one * n, one * e1, one * e2)
    ours = light.moments(torch.as_tensor(x)[None], torch.as_tensor(y)[None])[0, 0].numpy()
    # lenstronomy's b_n = 1.9992 n − 0.3271 is good to 10⁻³, and its amplitude is that at the half-light radius.
    np.testing.assert_allclose(ours / theirs, np.mean(ours / theirs), rtol=3e-3)


@pytest.mark.parametrize("n", [0.7, 1.0, 4.0])
def test_sersic_total_by_quadrature(example, n):
    r = torch.as_tensor(np.geomspace(1e-9, 200, 200001))
    one = torch.ones(1).double()
    light = example.sersic(one[:, None], 0 * one, 0 * one, one * 0.5, one * n, 0 * one, 0 * one)
    profile = light.moments(r[None], 0 * r[None])[0, 0]
    mass = torch.cumulative_trapezoid(2 * math.pi * r * profile, r)
    assert mass[-1].item() == pytest.approx(1.0, abs=1e-4)
    half = r[1:][mass > mass[-1] / 2][0]
    assert half.item() == pytest.approx(0.5, rel=1e-3)


def test_rotation_on_the_major_axis_and_systemic_on_the_minor(example):
    light = example.disk(pa=0.5, inclination=0.9)
    r = torch.tensor([[0.05, 0.3, 2.0]], dtype=torch.float64)
    f, fv, fs = light.moments(r * math.cos(0.5), r * math.sin(0.5))[0]
    expected = 200 * math.sin(0.9) * (1 - torch.exp(-r[0] / 0.08))
    torch.testing.assert_close(fv / f, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(fs / f - (fv / f) ** 2, torch.full((3,), 900.0, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    f, fv, _ = light.moments(-r * math.sin(0.5), r * math.cos(0.5))[0]
    assert (fv / f).abs().max() < 1e-9


def test_radial_flow_shows_on_the_minor_axis_and_a_bar_has_three_fold_motion(example):
    r = torch.tensor([[1.0]], dtype=torch.float64)
    f, fv, _ = example.disk(pa=0.0, radial_flow=40.0).moments(0 * r, r)[0]
    assert (fv / f).item() == pytest.approx(40 * math.sin(0.9), rel=1e-3)
    angle = torch.linspace(0, 2 * math.pi, 65)[:-1].double()[None]
    flat = example.disk(pa=0.0, inclination=1e-3, v_max=0.0, bar_amplitude=50.0, bar_phi=0.4)
    f, fv, _ = flat.moments(torch.cos(angle), torch.sin(angle))[0]
    power = torch.fft.rfft(fv / f).abs()
    # cos 2(θ − φ) cos θ is half m = 1 and half m = 3.
    assert power[1].item() == pytest.approx(power[3].item(), rel=1e-3)
    assert power[2] < 1e-3 * power[1]


def test_bilinear_pixels_equal_lenstronomy_interpolation(example):
    light = example.pixels()
    x, y = np.random.default_rng(2).uniform(-1.5, 1.5, (2, 2, 400))
    ours = light.moments(torch.as_tensor(x), torch.as_tensor(y)).numpy()
    for row in range(2):
        image = light.planes[light.index[row]].numpy()
        image = image[..., ::-1] if light.flip[row] else image
        for c in range(3):
            theirs = Interpol().function(x[row], y[row], image[c], amp=1, center_x=0.1, center_y=-0.05, phi_G=0.7, scale=0.05)
            np.testing.assert_allclose(ours[row, c], theirs, atol=1e-12)


def test_unlensed_flux_is_conserved(example):
    light = example.pixels()
    image = render(light, None, None, Grid(60, 0.06), 6)
    # An unlensed source keeps its flux to 10⁻⁴, the science page's figure for units at the border.
    torch.testing.assert_close(image.sum((-2, -1)), light.flux, rtol=1e-4, atol=0)


def test_outside_is_dark_and_far_away_is_safe(example):
    far = torch.tensor([[1e3, -1e8, 1e18]] * 2).double()
    assert example.pixels().moments(far, far).abs().max() == 0


def test_forward_derivatives_of_a_disk_match_finite_differences(example):
    base = example.disk(bar_amplitude=20.0, radial_flow=10.0)
    x, y = torch.rand(1, 40).double() - 0.5, torch.rand(1, 40).double() - 0.5
    for name in DiskLight.__dataclass_fields__:

        def planes(value, name=name):
            return type(base)(**(vars(base) | {name: value})).moments(x, y)

        here = getattr(base, name)
        exact = torch.func.jvp(planes, (here,), (torch.ones_like(here),))[1]
        numeric = (planes(here + 1e-6) - planes(here - 1e-6)) / 2e-6
        torch.testing.assert_close(exact, numeric, rtol=1e-5, atol=1e-5 * numeric.abs().max().item() + 1e-4)


def test_planes_of_another_shape_are_named(example):
    with pytest.raises(LightError, match="source, channel, row, column"):
        PixelLight(**(vars(example.pixels()) | {"planes": torch.zeros(3, 3)}))
