"""Deflections of mass profiles, as pure functions of tensors.

Every function takes image-plane positions relative to the profile's centre (`x` to the right, `y` up,
arcsec) and parameters that broadcast against them, and returns the reduced deflection (αx, αy) in
arcsec: the source position is β = θ − α(θ). The `*_hessian` functions return (αx,x, αx,y, αy,y).
Conventions are lenstronomy's. All are differentiable, forward and backward, in positions and
parameters; at a singular centre they return zero and finite derivatives.

Ellipticity is the pair e1 = (1 − q)/(1 + q) cos 2φ, e2 = (1 − q)/(1 + q) sin 2φ, φ being the major
axis, counter-clockwise from x. Nothing here takes the angle out of it, so that derivatives by e1 and e2
exist for a round lens too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
Triple = tuple[Tensor, Tensor, Tensor]

#: Below this distance [arcsec] from a singular centre the profile counts as its centre.
CENTRE = 1e-9
#: Below this ellipticity the isothermal closed form (0/0 for a round lens) gives way to its series.
NEARLY_ROUND = 0.03
#: Relative size at which the series of the elliptical power law is cut, by dtype.
SERIES_CUT = {torch.float32: 1e-8, torch.float64: 1e-13}
#: Smallest radius of (truncated) NFW profiles in units of their scale radius, as in lenstronomy.
NFW_CORE = 1e-6


def sis(x: Tensor, y: Tensor, theta_e: Tensor) -> Pair:
    """Singular isothermal sphere: α = θ_E in the radial direction."""
    inverse = theta_e / _radius(x, y)
    return inverse * x, inverse * y


def sie(x: Tensor, y: Tensor, theta_e: Tensor, e1: Tensor, e2: Tensor) -> Pair:
    """Singular isothermal ellipsoid, κ = θ_E/2 / √(q x² + y²/q) in its own axes.

    Kormann, Schneider & Bartelmann (1994), A&A 284, 285; nearly round lenses take the series of `epl`,
    to which the closed form is equal.
    """
    square = e1 * e1 + e2 * e2
    round_ = square < NEARLY_ROUND**2
    series = _power_law(x, y, theta_e, torch.ones_like(theta_e), e1, e2, terms=8, cut=torch.zeros_like(square))
    # The closed form divides by e: give it a harmless ellipticity where the series is used.
    safe1, safe2 = torch.where(round_, 0.1, e1), torch.where(round_, 0.0, e2)
    e = (safe1 * safe1 + safe2 * safe2).sqrt()
    cosine = ((1 + safe1 / e) / 2).clamp(0, 1)
    # Half-angle formulas lose the small component near φ = 90°; 2 sin φ cos φ = sin 2φ gives it back.
    large_cos = cosine > 0.5
    c_a = torch.where(large_cos, cosine, 0.5).sqrt()
    s_b = torch.where(large_cos, 0.5, 1 - cosine).sqrt()
    c = torch.where(large_cos, c_a, safe2 / e / (2 * s_b))
    s = torch.where(large_cos, safe2 / e / (2 * c_a), s_b)
    q = (1 - e) / (1 + e)
    f = (1 - q * q).sqrt()
    u, v = c * x + s * y, c * y - s * x
    psi = _radius(q * u, v)
    scale = theta_e * q.sqrt() / f
    a, b = scale * torch.atan(f * u / psi), scale * torch.atanh(f * v / psi)
    return torch.where(round_, series[0], c * a - s * b), torch.where(round_, series[1], s * a + c * b)


def epl(x: Tensor, y: Tensor, theta_e: Tensor, slope: Tensor, e1: Tensor, e2: Tensor) -> Pair:
    """Elliptical power law, κ = (3 − γ)/2 (θ_E / √(q x² + y²/q))^(γ − 1) in its own axes.

    Tessore & Metcalf (2015), A&A 580, A79, written in the complex ellipticity ε = e1 + i e2:
    with z = x + i y, w = z − ε z̄, u = w/|w|, t = γ − 1 and s = θ_E √(1 − |ε|²),

        α = s (s/|w|)^(t − 1) u ₂F₁(1, t/2; 2 − t/2; −ε̄ u²).

    The series has a fixed number of terms per row, chosen by the row's ellipticity, so that a row
    gives the same bits whatever stands beside it.

    Parameters
    ----------
    x, y : tensor, arcsec
    theta_e : tensor, arcsec
        Einstein radius of the circularised profile.
    slope : tensor
        γ of the density ρ ∝ r^−γ, between 1 and 3; 2 is isothermal.
    e1, e2 : tensor
        Ellipticity, |e| < 1.
    """
    cut = (e1 * e1 + e2 * e2).detach().clamp(min=1e-12).sqrt()
    count = (math.log(SERIES_CUT[x.dtype]) / cut.log().clamp(max=-1e-3)).ceil()
    return _power_law(x, y, theta_e, slope - 1, e1, e2, terms=_largest(count), cut=count)


def shear(x: Tensor, y: Tensor, gamma1: Tensor, gamma2: Tensor) -> Pair:
    """External shear: α = (γ1 x + γ2 y, γ2 x − γ1 y)."""
    return gamma1 * x + gamma2 * y, gamma2 * x - gamma1 * y


def convergence_sheet(x: Tensor, y: Tensor, kappa: Tensor) -> Pair:
    """Sheet of constant convergence: α = κ θ."""
    return kappa * x, kappa * y


def multipole(x: Tensor, y: Tensor, m: int, amplitude: Tensor, phi: Tensor) -> Pair:
    """Multipole of order m ≥ 2, ψ = a r / (1 − m²) cos m(φ − φ_m).

    Xu et al. (2015), MNRAS 447, 3189, eq. B12. `amplitude` is a in arcsec (a_m of lenstronomy's
    MULTIPOLE): an isophote at θ_E is deformed by a/θ_E.
    """
    inverse = 1 / _radius(x, y)
    ux, uy = x * inverse, y * inverse
    cm, sm = _harmonic(ux, uy, m)
    cp, sp = torch.cos(m * phi), torch.sin(m * phi)
    scale = amplitude / (1 - m * m)
    radial, tangential = scale * (cm * cp + sm * sp), scale * m * (sm * cp - cm * sp)
    return ux * radial + uy * tangential, uy * radial - ux * tangential


def nfw(x: Tensor, y: Tensor, r_s: Tensor, alpha_rs: Tensor) -> Pair:
    """Navarro–Frenk–White halo with scale radius `r_s` and deflection `alpha_rs` at it (arcsec).

    Wright & Brainerd (2000), ApJ 534, 34; Golse & Kneib (2002), A&A 390, 821.
    """
    s = (_radius(x, y) / r_s).clamp(min=NFW_CORE)
    # α(s) = 4 ρ₀ r_s² g(s)/s with g(1) = 1 + ln ½
    scale = alpha_rs / (1 + math.log(0.5)) / r_s * _nfw_fg(s)[1] / (s * s)
    return scale * x, scale * y


def tnfw(x: Tensor, y: Tensor, r_s: Tensor, alpha_rs: Tensor, r_t: Tensor) -> Pair:
    """NFW halo times r_t²/(r² + r_t²); `alpha_rs` is the deflection at `r_s` of the untruncated halo.

    Baltz, Marshall & Oguri (2009), JCAP 01, 015, appendix A.
    """
    s = (_radius(x, y) / r_s).clamp(min=NFW_CORE)
    g = _tnfw_g(s, r_t / r_s)
    scale = alpha_rs / (1 + math.log(0.5)) / r_s * g / (s * s)
    return scale * x, scale * y


def epl_hessian(x: Tensor, y: Tensor, theta_e: Tensor, slope: Tensor, e1: Tensor, e2: Tensor) -> Triple:
    """Second derivatives of the potential of `epl`.

    Tessore & Metcalf (2015), eq. 17: γ = −e^{2iφ} κ + (1 − t) e^{iφ} α/r.
    """
    t = slope - 1
    ax, ay = epl(x, y, theta_e, slope, e1, e2)
    r = _radius(x, y)
    cos, sin = x / r, y / r
    wx, wy = x - e1 * x - e2 * y, y - e2 * x + e1 * y
    kappa = (2 - t) / 2 * torch.exp(t * torch.log(theta_e * (1 - e1 * e1 - e2 * e2).sqrt() / _radius(wx, wy)))
    g1 = (1 - t) * (cos * ax - sin * ay) / r - kappa * (cos * cos - sin * sin)
    g2 = (1 - t) * (cos * ay + sin * ax) / r - kappa * 2 * sin * cos
    return kappa + g1, g2, kappa - g1


def multipole_hessian(x: Tensor, y: Tensor, m: int, amplitude: Tensor, phi: Tensor) -> Triple:
    """Second derivatives of the potential of `multipole`."""
    inverse = 1 / _radius(x, y)
    ux, uy = x * inverse, y * inverse
    cm, sm = _harmonic(ux, uy, m)
    strength = amplitude * inverse * (cm * torch.cos(m * phi) + sm * torch.sin(m * phi))
    return uy * uy * strength, -ux * uy * strength, ux * ux * strength


def _radius(x: Tensor, y: Tensor) -> Tensor:
    """Distance from the centre; 1 at the centre itself, where a direction does not exist."""
    square = x * x + y * y
    return torch.where(square > CENTRE**2, square, 1.0).sqrt()


def _harmonic(ux: Tensor, uy: Tensor, m: int) -> Pair:
    """Cosine and sine of m times the angle of a unit vector."""
    cos, sin = ux, uy
    for _ in range(m - 1):
        cos, sin = cos * ux - sin * uy, sin * ux + cos * uy
    return cos, sin


def _largest(count: Tensor) -> int:
    """Largest value of a small tensor; under vmap, where no value can be read, the cap."""
    try:
        return max(1, int(count.max()))
    except RuntimeError:
        return 90


def _power_law(x: Tensor, y: Tensor, theta_e: Tensor, t: Tensor, e1: Tensor, e2: Tensor, terms: int, cut: Tensor) -> Pair:
    wx, wy = x - e1 * x - e2 * y, y - e2 * x + e1 * y
    r = _radius(wx, wy)
    ux, uy = wx / r, wy / r
    # −ε̄ u²
    u2x, u2y = ux * ux - uy * uy, 2 * ux * uy
    sx, sy = -(e1 * u2x + e2 * u2y), -(e1 * u2y - e2 * u2x)
    fx, fy = torch.ones_like(ux), torch.zeros_like(ux)
    for k in range(terms, 0, -1):
        # Horner's scheme; a row whose own series is shorter starts later.
        a = (2 * k - 2 + t) / (2 * k + 2 - t) * ((cut >= k) | (cut == 0))
        fx, fy = 1 + a * (sx * fx - sy * fy), a * (sx * fy + sy * fx)
    s = theta_e * (1 - e1 * e1 - e2 * e2).sqrt()
    scale = s * torch.exp((t - 1) * torch.log(s / r))
    return scale * (ux * fx - uy * fy), scale * (ux * fy + uy * fx)


def _nfw_fg(s: Tensor) -> Pair:
    """F(s) of an NFW halo and g(s) = ln(s/2) + F(s), its projected mass, without cancellation at small s.

    F is arctanh(p)/p with p = √(1 − s²) inside, arctan(√(s² − 1))/√(s² − 1) outside, and its series around 1. With
    arctanh p = ln((1 + p)/2) − ln(s/2), inside g = [ln(1 − s²/(2(1 + p))) − s² ln(s/2)/(1 + p)]/p: both terms are as small as g.
    """
    d = s * s - 1
    near, half_log = d.abs() < 0.03, torch.log(s / 2)
    p = (-torch.where(near | (d > 0), -0.5, d)).sqrt()
    s_in = torch.where(near | (d > 0), 0.5, s)
    share = s_in * s_in / (1 + p)
    within = (torch.log1p(-share / 2) - share * torch.log(s_in / 2)) / p
    q = torch.where(near | (d < 0), 0.5, d).sqrt()
    beyond = torch.atan(q) / q
    small = torch.where(near, d, 0.0)
    series = torch.zeros_like(small)
    for k in range(9, -1, -1):
        series = 1 / (2 * k + 1) - small * series
    outer = torch.where(near, series, beyond)
    inside = (d < 0) & ~near
    return torch.where(inside, within - half_log, outer), torch.where(inside, within, half_log + outer)


def _tnfw_g(s: Tensor, tau: Tensor) -> Tensor:
    """What stands in the place of g under truncation at τ r_s.

    With q = s²/(τ(τ + √(τ² + s²))) and L = ln(s/(τ + √(τ² + s²))), the formula of Baltz, Marshall & Oguri becomes
    (τ² − 1)(g − ln(1 + q/2) + q L) + 2 s² F − π s²/(τ + √(τ² + s²)), times τ²/(τ² + 1)²: every term is as small as the sum.
    """
    t2 = tau * tau
    f, g = _nfw_fg(s)
    reach = tau + (t2 + s * s).sqrt()
    q = s * s / (tau * reach)
    inner = (t2 - 1) * (g - torch.log1p(q / 2) + q * torch.log(s / reach))
    return t2 / (t2 + 1) ** 2 * (inner + 2 * s * s * f - math.pi * s * s / reach)
