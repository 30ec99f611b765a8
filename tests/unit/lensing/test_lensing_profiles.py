"""Deflections against lenstronomy over 10³ random parameter sets, in float64."""

import math

import numpy as np
import pytest
import torch
from lenstronomy.LensModel.lens_model import LensModel

from darkhaloscope.lensing import profiles

SETS = 1000
#: lenstronomy's SIE has a core of 10⁻¹⁰ arcsec; all else agrees to rounding. 10⁻⁶ arcsec is far below any use.
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def draws():
    rng = np.random.default_rng(5)
    e = rng.uniform(0, 0.6, SETS)
    e[:100] *= 0.05  # nearly round lenses, where the isothermal closed form is 0/0
    e[0] = 0
    angle = rng.uniform(0, np.pi, SETS)
    r_s = 10 ** rng.uniform(-2, 0.5, SETS)
    return {
        "x": rng.uniform(-3, 3, (SETS, 8)),
        "y": rng.uniform(-3, 3, (SETS, 8)),
        "theta_e": rng.uniform(0.2, 2.5, SETS),
        "slope": rng.uniform(1.4, 2.6, SETS),
        "e1": e * np.cos(2 * angle),
        "e2": e * np.sin(2 * angle),
        "phi": rng.uniform(-np.pi, np.pi, SETS),
        "amplitude": rng.normal(0, 0.05, SETS),
        "r_s": r_s,
        "alpha_rs": 10 ** rng.uniform(-4, -0.5, SETS),
        "r_t": r_s * 10 ** rng.uniform(-0.5, 1.5, SETS),
    }


CASES = {
    "SIS": (profiles.sis, {"theta_E": "theta_e"}),
    "SIE": (profiles.sie, {"theta_E": "theta_e", "e1": "e1", "e2": "e2"}),
    "EPL": (profiles.epl, {"theta_E": "theta_e", "gamma": "slope", "e1": "e1", "e2": "e2"}),
    "SHEAR": (profiles.shear, {"gamma1": "e1", "gamma2": "e2"}),
    "NFW": (profiles.nfw, {"Rs": "r_s", "alpha_Rs": "alpha_rs"}),
    "TNFW": (profiles.tnfw, {"Rs": "r_s", "alpha_Rs": "alpha_rs", "r_trunc": "r_t"}),
}


def columns(draws, names):
    return [torch.as_tensor(draws[name])[:, None] for name in names]


def tensors(draws):
    return torch.as_tensor(draws["x"]), torch.as_tensor(draws["y"])


@pytest.mark.parametrize("name", CASES)
def test_deflection_equals_lenstronomy(name, draws):
    function, arguments = CASES[name]
    ax, ay = function(*tensors(draws), *columns(draws, arguments.values()))
    model = LensModel([name])
    for i in range(SETS):
        bx, by = model.alpha(draws["x"][i], draws["y"][i], [{k: draws[v][i] for k, v in arguments.items()}])
        np.testing.assert_allclose(ax[i], bx, atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(ay[i], by, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("m", [3, 4])
def test_multipole_and_hessian_equal_lenstronomy(m, draws):
    x, y = tensors(draws)
    amplitude, phi = columns(draws, ["amplitude", "phi"])
    ours = (*profiles.multipole(x, y, m, amplitude, phi), *profiles.multipole_hessian(x, y, m, amplitude, phi))
    model = LensModel(["MULTIPOLE"])
    for i in range(0, SETS, 4):
        arguments = [{"m": m, "a_m": draws["amplitude"][i], "phi_m": draws["phi"][i]}]
        fxx, fxy, _, fyy = model.hessian(draws["x"][i], draws["y"][i], arguments)
        theirs = (*model.alpha(draws["x"][i], draws["y"][i], arguments), fxx, fxy, fyy)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a[i], b, atol=TOLERANCE, rtol=1e-9)


def test_power_law_hessian_equals_lenstronomy(draws):
    ours = profiles.epl_hessian(*tensors(draws), *columns(draws, ["theta_e", "slope", "e1", "e2"]))
    model = LensModel(["EPL"])
    for i in range(0, SETS, 4):
        arguments = [{"theta_E": draws["theta_e"][i], "gamma": draws["slope"][i], "e1": draws["e1"][i], "e2": draws["e2"][i]}]
        fxx, fxy, _, fyy = model.hessian(draws["x"][i], draws["y"][i], arguments)
        for a, b in zip(ours, (fxx, fxy, fyy), strict=True):
            np.testing.assert_allclose(a[i], b, atol=TOLERANCE, rtol=1e-9)


def test_isothermal_closed_form_equals_power_law(draws):
    x, y = tensors(draws)
    theta_e, e1, e2 = columns(draws, ["theta_e", "e1", "e2"])
    for a, b in zip(profiles.sie(x, y, theta_e, e1, e2), profiles.epl(x, y, theta_e, torch.full_like(e1, 2.0), e1, e2), strict=True):
        torch.testing.assert_close(a, b, atol=1e-11, rtol=0)


@pytest.mark.parametrize("e1", [0.0, 1e-12, profiles.NEARLY_ROUND, 0.3])
def test_derivatives_by_ellipticity_match_finite_differences(e1):
    x, y, theta_e = (
        torch.tensor([0.7, -1.1], dtype=torch.float64),
        torch.tensor([0.4, 0.9], dtype=torch.float64),
        torch.tensor(1.2).double(),
    )

    for function in (profiles.sie, lambda x, y, t, a, b: profiles.epl(x, y, t, torch.tensor(2.1).double(), a, b)):

        def field(pair, function=function):
            return torch.stack(function(x, y, theta_e, pair[0], pair[1]))

        here = torch.tensor([e1, 0.0], dtype=torch.float64)
        exact = torch.func.jacfwd(field)(here)
        step = 1e-5
        numeric = torch.stack([(field(here + step * d) - field(here - step * d)) / (2 * step) for d in torch.eye(2).double()], -1)
        # Central differences are good to step²; across the change of formula both sides agree to 10⁻¹¹.
        torch.testing.assert_close(exact, numeric, atol=1e-5, rtol=0)


def test_centre_gives_zero_and_finite_derivatives():
    zero, one = torch.zeros(1).double(), torch.ones(1).double()
    cases = [
        lambda x: profiles.sis(x, zero, one),
        lambda x: profiles.sie(x, zero, one, one * 0.2, one * 0.1),
        lambda x: profiles.epl(x, zero, one, one * 2.2, one * 0.2, one * 0.1),
        lambda x: profiles.nfw(x, zero, one, one),
        lambda x: profiles.tnfw(x, zero, one, one, one * 3),
        lambda x: profiles.multipole(x, zero, 4, one, one),
    ]
    for case in cases:
        value, slope = torch.func.jvp(lambda x, case=case: torch.stack(case(x)), (zero,), (one,))
        assert value.abs().max() == 0
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize("truncation", [None, 0.8, 3.0, 30.0])
def test_halos_are_true_in_single_precision_from_their_centre_outwards(truncation):
    """Rays do hit a subhalo's centre, where the logarithms of the textbook formulas cancel."""
    s = torch.logspace(-6, 2, 4001, dtype=torch.float64)
    r_s, alpha = 0.62, 0.009

    def deflection(dtype):
        x, values = s.to(dtype) * r_s, [torch.tensor(v, dtype=dtype) for v in (r_s, alpha)]
        if truncation:
            return profiles.tnfw(x, 0 * x, *values, values[0] * truncation)[0].double()
        return profiles.nfw(x, 0 * x, *values)[0].double()

    exact = deflection(torch.float64)
    # A hundred roundings of float32; far beyond the truncation the whole mass is a difference of larger terms. The textbook
    # formulas lose 10⁻³ at s = 0.02 and everything further in.
    torch.testing.assert_close(deflection(torch.float32), exact, rtol=6e-6, atol=1e-6 * alpha)
    # On a grid of steps of 0.5% the deflection of neighbours differs by less: nothing jumps where formulas meet.
    assert ((exact[1:] / exact[:-1]).log().abs() < 0.01).all()


def test_nfw_is_smooth_at_its_scale_radius():
    # F(s) changes formula around s = 1: a jump of 10⁻¹² would stand out in third differences (2·10⁻¹³ by nature).
    s = torch.linspace(0.9, 1.1, 4001, dtype=torch.float64)
    one = torch.ones(1).double()
    ax, _ = profiles.nfw(s, torch.zeros_like(s), one, one)
    second = ax[2:] - 2 * ax[1:-1] + ax[:-2]
    assert (second[1:] - second[:-1]).abs().max() < 1e-12


def test_truncation_far_out_changes_nothing():
    x, one = torch.linspace(0.01, 3, 50, dtype=torch.float64), torch.ones(1).double()
    # The mass lost by a cut at 10⁴ r_s is of order (r/r_t)² ~ 10⁻⁷.
    torch.testing.assert_close(profiles.tnfw(x, 0 * x, one, one, one * 1e4)[0], profiles.nfw(x, 0 * x, one, one)[0], atol=1e-6, rtol=0)


def test_single_precision_is_good_enough_for_images(draws):
    x, y = tensors(draws)
    arguments = columns(draws, ["theta_e", "slope", "e1", "e2"])
    exact = profiles.epl(x, y, *arguments)
    single = profiles.epl(x.float(), y.float(), *[a.float() for a in arguments])
    assert max((a - b).abs().max() for a, b in zip(exact, single, strict=True)) < 1e-4 / math.sqrt(10)
