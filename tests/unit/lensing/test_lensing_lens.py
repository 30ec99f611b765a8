"""Lenses as a whole: sums of profiles, critical curves, halo masses."""

import math

import numpy as np
import pytest
import torch
from astropy.cosmology import FlatLambdaCDM
from lenstronomy.Cosmo.lens_cosmo import LensCosmo

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.lensing.lens import LensError, Subhalos, critical_curve, deflection, macro_hessian, macro_lens, nfw_angles
from darkhaloscope.lensing.reference import lens_model


@pytest.mark.parametrize("profile", ["sis", "sie", "epl"])
def test_lens_with_subhalos_equals_lenstronomy(example, profile):
    n = 30
    rng = np.random.default_rng(0)
    lens, subhalos = example.lens(n, profile), example.subhalos(n)
    x, y = rng.uniform(-3, 3, (2, n, 20))
    ax, ay = deflection(lens, subhalos, torch.as_tensor(x), torch.as_tensor(y))
    for row in range(n):
        model, arguments = lens_model(lens, subhalos, row)
        bx, by = model.alpha(x[row], y[row], arguments)
        np.testing.assert_allclose(ax[row], bx, atol=1e-6, rtol=0)
        np.testing.assert_allclose(ay[row], by, atol=1e-6, rtol=0)


def test_padding_and_unused_fields_may_hold_nan():
    nan = torch.full((1, 2), math.nan, dtype=torch.float64)
    one = torch.tensor([[1.0, math.nan]], dtype=torch.float64)
    subhalos = Subhalos(kind=torch.tensor([[1, 0]]), x=one, y=one, theta_e=one * 0.1, r_s=nan, alpha_rs=nan, r_t=nan)
    lens = macro_lens("sis", torch.ones(1).double())
    x = torch.zeros(1, 3).double() + 0.5

    def image(scale):
        return torch.stack(deflection(lens, subhalos, x * scale, x))

    value, slope = torch.func.jvp(image, (torch.ones(1).double(),), (torch.ones(1).double(),))
    assert torch.isfinite(value).all() and torch.isfinite(slope).all()


def test_hessian_is_the_derivative_of_the_deflection(example):
    lens = example.lens(20)
    x, y = torch.rand(20, 5).double() * 3 + 0.2, torch.rand(20, 5).double() * 3 + 0.2
    ones, zeros = torch.ones_like(x), torch.zeros_like(x)
    _, by_x = torch.func.jvp(lambda a, b: deflection(lens, None, a, b), (x, y), (ones, zeros))
    _, by_y = torch.func.jvp(lambda a, b: deflection(lens, None, a, b), (x, y), (zeros, ones))
    xx, xy, yy = macro_hessian(lens, x, y)
    for exact, ours in ((by_x[0], xx), (by_x[1], xy), (by_y[0], xy), (by_y[1], yy)):
        torch.testing.assert_close(ours, exact, atol=1e-9, rtol=1e-9)


def test_critical_curve_of_a_sphere_is_the_einstein_ring():
    lens = macro_lens("sis", torch.tensor([0.7, 1.4], dtype=torch.float64), x=torch.tensor([0.1, 0.0], dtype=torch.float64))
    curve = critical_curve(lens)
    torch.testing.assert_close(curve.radius, lens.theta_e, atol=1e-9, rtol=0)
    origin = torch.zeros(2).double()
    # A chord of 256 lies within θ_E (1 − cos π/256) = 7.5·10⁻⁵ θ_E of the circle.
    torch.testing.assert_close(curve.distance(lens.x, origin), lens.theta_e, atol=2e-4, rtol=0)


def test_critical_curve_of_an_isothermal_ellipsoid_has_the_area_of_its_einstein_ring():
    # κ = ½ on the SIE's critical curve: an ellipse of area π θ_E², whatever the axis ratio.
    lens = macro_lens("sie", torch.full((5,), 1.3, dtype=torch.float64), e1=torch.linspace(0, 0.5, 5, dtype=torch.float64))
    torch.testing.assert_close(critical_curve(lens).radius, lens.theta_e, atol=1e-6, rtol=0)


def test_magnification_diverges_on_the_critical_curve(example):
    lens = example.lens(50)
    curve = critical_curve(lens)
    xx, xy, yy = macro_hessian(lens, curve.x, curve.y)
    assert ((1 - xx) * (1 - yy) - xy**2).abs().max() < 1e-9


def test_halo_angles_against_lenstronomy():
    mass, c = 10 ** np.linspace(7, 10, 5), np.linspace(8, 25, 5)
    r_s, alpha = nfw_angles(mass, c, 0.3, 1.5, Cosmology())
    theirs = LensCosmo(0.3, 1.5, FlatLambdaCDM(H0=70, Om0=0.3)).nfw_physical2angle(mass, c)
    np.testing.assert_allclose(r_s, theirs[0], rtol=1e-6)
    # lenstronomy's Σ_cr takes M☉ = 1.9891·10³⁰ kg and an older G: 2.8·10⁻⁴ away from the IAU's G M☉, used here.
    np.testing.assert_allclose(alpha, theirs[1], rtol=4e-4)


def test_halo_angles_refuse_a_source_before_its_lens():
    with pytest.raises(LensError, match="not behind"):
        nfw_angles(1e9, 15, 1.0, 0.5, Cosmology())


def test_unknown_profile_is_named():
    with pytest.raises(LensError, match="piemd"):
        macro_lens("piemd", torch.ones(1))
