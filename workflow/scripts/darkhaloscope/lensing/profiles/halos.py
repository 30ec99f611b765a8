"""Navarro–Frenk–White halos, whole and truncated."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..compiled import inner
from ..floats import LN2, F, log1p, log2
from .profile import CX, CY, P, Pair, Profile, radius

#: Smallest radius of (truncated) NFW profiles in units of their scale radius, as in lenstronomy.
NFW_CORE = 1e-6
#: arccos(x) = √(1 − x) Σ a_k x^k to 2·10⁻⁸ (Abramowitz & Stegun 1964, 4.4.46).
ARCCOS = tuple(
    F(a) for a in (1.5707963050, -0.2145988016, 0.0889789874, -0.0501743046, 0.0308918810, -0.0170881256, 0.0066700901, -0.0012624911)
)


def nfw(x: Tensor, y: Tensor, r_s: Tensor, alpha_rs: Tensor) -> Pair:
    """Navarro–Frenk–White halo with scale radius `r_s` and deflection `alpha_rs` at it (arcsec).

    Wright & Brainerd (2000), ApJ 534, 34; Golse & Kneib (2002), A&A 390, 821.
    """
    s = (radius(x, y) / r_s).clamp(min=NFW_CORE)
    # α(s) = 4 ρ₀ r_s² g(s)/s with g(1) = 1 + ln ½
    scale = alpha_rs / (1 + math.log(0.5)) / r_s * _nfw_fg(s)[1] / (s * s)
    return scale * x, scale * y


def tnfw(x: Tensor, y: Tensor, r_s: Tensor, alpha_rs: Tensor, r_t: Tensor) -> Pair:
    """NFW halo times r_t²/(r² + r_t²); `alpha_rs` is the deflection at `r_s` of the untruncated halo.

    Baltz, Marshall & Oguri (2009), JCAP 01, 015, appendix A.
    """
    s = (radius(x, y) / r_s).clamp(min=NFW_CORE)
    g = _tnfw_g(s, r_t / r_s)
    scale = alpha_rs / (1 + math.log(0.5)) / r_s * g / (s * s)
    return scale * x, scale * y


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


@njit(**inner)
def nfw_loop(n, x, y, u, v, q):
    """`nfw`, of scale radius q[P] and α_Rs/(1 + ln ½)/r_s q[P + 1]."""
    inverse = F(1) / q[P]
    for j in range(n):
        dx, dy = x[j] - q[CX], y[j] - q[CY]
        s = max(np.sqrt(dx * dx + dy * dy) * inverse, F(1e-5))
        a = q[P + 1] * _fg(s)[1] / (s * s)
        u[j] -= a * dx
        v[j] -= a * dy


@njit(**inner)
def tnfw_loop(n, x, y, u, v, q):
    """`tnfw`, likewise, of truncation radius q[P + 2]."""
    inverse = F(1) / q[P]
    tau = q[P + 2] * inverse
    t2 = tau * tau
    scale = q[P + 1] * t2 / ((t2 + F(1)) * (t2 + F(1)))
    for j in range(n):
        dx, dy = x[j] - q[CX], y[j] - q[CY]
        s = max(np.sqrt(dx * dx + dy * dy) * inverse, F(1e-5))
        f, g = _fg(s)
        reach = tau + np.sqrt(t2 + s * s)
        w = s * s / (tau * reach)
        inner_ = (t2 - F(1)) * (g - log1p(F(0.5) * w) + w * LN2 * log2(s / reach))
        a = scale * (inner_ + F(2) * s * s * f - F(math.pi) * s * s / reach) / (s * s)
        u[j] -= a * dx
        v[j] -= a * dy


@njit(inline="always", **inner)
def _fg(s):
    """`profiles._nfw_fg`; all three forms are computed and one is kept, so that loops stay free of branches."""
    d = s * s - F(1)
    inverse = min(F(1) / s, F(1))
    # arctan √(s² − 1) = arccos(1/s), and √(1 − 1/s) cancels against √(s² − 1).
    outside = F(0)
    for a in ARCCOS[::-1]:
        outside = a + inverse * outside
    outside /= np.sqrt(s * (s + F(1)))
    half_log = LN2 * log2(F(0.5) * s)
    root = np.sqrt(max(-d, F(0.01)))
    share = min(s * s, F(1)) / (F(1) + root)
    within = (log1p(F(-0.5) * share) - share * half_log) / root
    near = F(0)
    for k in range(5, -1, -1):
        near = F(1) / F(2 * k + 1) - d * near
    inside = d < F(-0.03)
    f = outside if d > F(0) else (within - half_log if inside else near)
    return f, (within if inside else half_log + f)


def _table(r_s, alpha_rs, *rest):
    return r_s, alpha_rs / (1 + np.log(0.5)) / r_s, *rest


NFW = Profile("nfw", ("r_s", "alpha_rs"), nfw, ("NFW", ("Rs", "alpha_Rs")), nfw_loop, _table)
TNFW = Profile("tnfw", ("r_s", "alpha_rs", "r_t"), tnfw, ("TNFW", ("Rs", "alpha_Rs", "r_trunc")), tnfw_loop, _table)
