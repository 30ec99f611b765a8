"""Elliptical power laws: the isothermal ellipsoid and the general one. Their compiled loop is that of `kernels`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .profile import Pair, Profile, Triple, radius

#: Below this ellipticity the isothermal closed form (0/0 for a round lens) gives way to its series.
NEARLY_ROUND = 0.03
#: Relative size at which the series of the elliptical power law is cut, by dtype.
SERIES_CUT = {torch.float32: 1e-8, torch.float64: 1e-13}


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
    psi = radius(q * u, v)
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


def epl_hessian(x: Tensor, y: Tensor, theta_e: Tensor, slope: Tensor, e1: Tensor, e2: Tensor) -> Triple:
    """Second derivatives of the potential of `epl`.

    Tessore & Metcalf (2015), eq. 17: γ = −e^{2iφ} κ + (1 − t) e^{iφ} α/r.
    """
    t = slope - 1
    ax, ay = epl(x, y, theta_e, slope, e1, e2)
    r = radius(x, y)
    cos, sin = x / r, y / r
    wx, wy = x - e1 * x - e2 * y, y - e2 * x + e1 * y
    kappa = (2 - t) / 2 * torch.exp(t * torch.log(theta_e * (1 - e1 * e1 - e2 * e2).sqrt() / radius(wx, wy)))
    g1 = (1 - t) * (cos * ax - sin * ay) / r - kappa * (cos * cos - sin * sin)
    g2 = (1 - t) * (cos * ay + sin * ax) / r - kappa * 2 * sin * cos
    return kappa + g1, g2, kappa - g1


def _largest(count: Tensor) -> int:
    """Largest value of a small tensor; under vmap, where no value can be read, the cap."""
    try:
        return max(1, int(count.max()))
    except RuntimeError:
        return 90


def _power_law(x: Tensor, y: Tensor, theta_e: Tensor, t: Tensor, e1: Tensor, e2: Tensor, terms: int, cut: Tensor) -> Pair:
    wx, wy = x - e1 * x - e2 * y, y - e2 * x + e1 * y
    r = radius(wx, wy)
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


SIE = Profile("sie", ("theta_e", "e1", "e2"), sie, ("SIE", ("theta_E", "e1", "e2")), power_law=True)
EPL = Profile("epl", ("theta_e", "slope", "e1", "e2"), epl, ("EPL", ("theta_E", "gamma", "e1", "e2")), power_law=True)
