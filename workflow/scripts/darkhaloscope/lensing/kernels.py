"""Compiled deflections in single precision, in loops over positions that the compiler can vectorise.

The formulas are those of `profiles`, rearranged: loops over the terms of a series stand outside the loops over
positions, and no branch depends on a position. The order of operations is fixed, so that a position's bits do
not depend on anything but the parameters and the place in the array.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .compiled import inner

F = np.float32
#: Columns of the lens table: `packing.lens_tables` writes it.
THETA_E, T, E1, E2, X, Y, G1, G2, M3C, M3S, M4C, M4S, TERMS = range(13)
#: Columns of the subhalo table.
KIND, SX, SY, S_THETA, S_RS, S_SCALE, S_RT = range(7)
#: Columns of the source table: col = C0 + CX βx + CY βy, row = R0 + RX βx + RY βy.
C0, CX, CY, R0, RX, RY = range(6)
#: Side of the blocks in which the liveliness of a source is kept [source pixels], and the share of the rays on a side that
#: even the dullest place gets.
LIVELY_BLOCK, LEAST_SHARE = 8, 0.2
#: Rows of working memory that `trace` needs.
WORK = 7
LN2 = F(math.log(2))
#: arccos(x) = √(1 − x) Σ a_k x^k to 2·10⁻⁸ (Abramowitz & Stegun 1964, 4.4.46).
ARCCOS = tuple(
    F(a) for a in (1.5707963050, -0.2145988016, 0.0889789874, -0.0501743046, 0.0308918810, -0.0170881256, 0.0066700901, -0.0012624911)
)


@njit(**inner)
def trace(n, x, y, u, v, work, p, coefficients, isothermal, bumps, halos, source):
    """Source positions (u, v), in pixels of the source image, of the first `n` positions (x, y) in arcsec.

    Parameters
    ----------
    p, coefficients, halos, source : rows of the tables of `packing`
    isothermal, bumps : bool
        Whether every lens has slope 2; whether any has multipoles.
    work : (WORK, n or more) float32, overwritten
    """
    _power_law(n, x, y, u, v, work, p, coefficients, isothermal)
    if bumps:
        _multipoles(n, x, y, u, v, p)
    for k in range(halos.shape[0]):
        if halos[k, KIND] > F(0):
            _subhalo(n, x, y, u, v, halos[k])
    for j in range(n):
        bx, by = u[j], v[j]
        u[j] = source[C0] + source[CX] * bx + source[CY] * by
        v[j] = source[R0] + source[RX] * bx + source[RY] * by


@njit(**inner)
def _power_law(n, x, y, u, v, work, p, coefficients, isothermal):
    """`profiles.epl` and `shear`: position minus deflection."""
    ux, uy, sx, sy, fx, fy, scales = work[0], work[1], work[2], work[3], work[4], work[5], work[6]
    for j in range(n):
        dx, dy = x[j] - p[X], y[j] - p[Y]
        wx, wy = dx - p[E1] * dx - p[E2] * dy, dy - p[E2] * dx + p[E1] * dy
        r2 = wx * wx + wy * wy + F(1e-12)
        inverse = F(1) / np.sqrt(r2)
        ux[j], uy[j] = wx * inverse, wy * inverse
        cx, cy = ux[j] * ux[j] - uy[j] * uy[j], F(2) * ux[j] * uy[j]
        sx[j], sy[j] = -(p[E1] * cx + p[E2] * cy), -(p[E1] * cy - p[E2] * cx)
        fx[j], fy[j] = F(1), F(0)
        scales[j] = r2
    for k in range(int(p[TERMS]) - 1, -1, -1):
        a = coefficients[k]
        for j in range(n):
            old = fx[j]
            fx[j] = F(1) + a * (sx[j] * old - sy[j] * fy[j])
            fy[j] = a * (sx[j] * fy[j] + sy[j] * old)
    if isothermal:
        for j in range(n):
            scales[j] = p[THETA_E]
    else:
        log_theta, t1 = log2(p[THETA_E] + F(1e-30)), p[T] - F(1)
        for j in range(n):
            scales[j] = p[THETA_E] * exp2(t1 * (log_theta - F(0.5) * log2(scales[j])))
    for j in range(n):
        u[j] = x[j] - scales[j] * (ux[j] * fx[j] - uy[j] * fy[j]) - p[G1] * x[j] - p[G2] * y[j]
        v[j] = y[j] - scales[j] * (ux[j] * fy[j] + uy[j] * fx[j]) - p[G2] * x[j] + p[G1] * y[j]


@njit(**inner)
def _multipoles(n, x, y, u, v, p):
    for j in range(n):
        dx, dy = x[j] - p[X], y[j] - p[Y]
        inverse = F(1) / np.sqrt(dx * dx + dy * dy + F(1e-12))
        c, s = dx * inverse, dy * inverse
        c2, s2 = c * c - s * s, F(2) * s * c
        c3, s3 = c2 * c - s2 * s, s2 * c + c2 * s
        c4, s4 = c2 * c2 - s2 * s2, F(2) * s2 * c2
        # Amplitudes hold a_m/(1 − m²) cos and sin of m φ_m.
        radial = c3 * p[M3C] + s3 * p[M3S] + c4 * p[M4C] + s4 * p[M4S]
        tangential = F(3) * (s3 * p[M3C] - c3 * p[M3S]) + F(4) * (s4 * p[M4C] - c4 * p[M4S])
        u[j] -= c * radial + s * tangential
        v[j] -= s * radial - c * tangential


@njit(**inner)
def _subhalo(n, x, y, u, v, q):
    """`profiles.sis`, `nfw` or `tnfw`."""
    if q[KIND] == F(1):
        for j in range(n):
            dx, dy = x[j] - q[SX], y[j] - q[SY]
            a = q[S_THETA] / np.sqrt(dx * dx + dy * dy + F(1e-12))
            u[j] -= a * dx
            v[j] -= a * dy
    elif q[KIND] == F(2):
        inverse = F(1) / q[S_RS]
        for j in range(n):
            dx, dy = x[j] - q[SX], y[j] - q[SY]
            s = max(np.sqrt(dx * dx + dy * dy) * inverse, F(1e-5))
            # S_SCALE is α_Rs/(1 + ln ½)/r_s.
            a = q[S_SCALE] * _nfw_fg(s)[1] / (s * s)
            u[j] -= a * dx
            v[j] -= a * dy
    else:
        inverse = F(1) / q[S_RS]
        tau = q[S_RT] * inverse
        t2 = tau * tau
        scale = q[S_SCALE] * t2 / ((t2 + F(1)) * (t2 + F(1)))
        for j in range(n):
            dx, dy = x[j] - q[SX], y[j] - q[SY]
            s = max(np.sqrt(dx * dx + dy * dy) * inverse, F(1e-5))
            f, g = _nfw_fg(s)
            reach = tau + np.sqrt(t2 + s * s)
            w = s * s / (tau * reach)
            inner = (t2 - F(1)) * (g - _log1p(F(0.5) * w) + w * LN2 * log2(s / reach))
            a = scale * (inner + F(2) * s * s * f - F(math.pi) * s * s / reach) / (s * s)
            u[j] -= a * dx
            v[j] -= a * dy


@njit(inline="always", **inner)
def _nfw_fg(s):
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
    within = (_log1p(F(-0.5) * share) - share * half_log) / root
    near = F(0)
    for k in range(5, -1, -1):
        near = F(1) / F(2 * k + 1) - d * near
    inside = d < F(-0.03)
    f = outside if d > F(0) else (within - half_log if inside else near)
    return f, (within if inside else half_log + f)


@njit(inline="always", **inner)
def _log1p(x):
    """ln(1 + x) in float32 to 10⁻⁷ of itself, x ≥ −½: 2 arctanh(x/(2 + x)) by its series where x is small."""
    z = min(x, F(0.5)) / (F(2) + min(x, F(0.5)))
    z2 = z * z
    p = F(1 / 15)
    for k in range(6, -1, -1):
        p = F(1) / F(2 * k + 1) + z2 * p
    return F(2) * z * p if x < F(0.5) else LN2 * log2(F(1) + x)


@njit(inline="always", **inner)
def log2(x):
    """log₂ of a positive normal float32, to 10⁻⁷: exponent by bits, the rest by a series in (m − 1)/(m + 1)."""
    bits = F(x).view(np.int32)
    # Mantissa in [1/√2, √2)
    exponent = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    m = np.int32(bits - (exponent << np.int32(23))).view(F)
    s = (m - F(1)) / (m + F(1))
    z = s * s
    p = F(0.4121986) + z * F(0.3218)
    p = F(2.885390082) + z * (F(0.961796694) + z * (F(0.577078016) + z * p))
    return F(exponent) + s * p


@njit(inline="always", **inner)
def exp2(x):
    """2^x in float32, to 10⁻⁷, for |x| < 120."""
    k = np.floor(x + F(0.5))
    f = x - k
    p = F(1.5403530e-4)
    p = F(1.3333558e-3) + f * p
    p = F(9.6181291e-3) + f * p
    p = F(5.5504109e-2) + f * p
    p = F(2.4022651e-1) + f * p
    p = F(6.9314718e-1) + f * p
    p = F(1) + f * p
    return p * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(F)
