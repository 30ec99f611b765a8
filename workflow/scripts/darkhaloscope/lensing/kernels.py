"""Compiled deflections in single precision, in loops over positions that the compiler can vectorise.

The formulas are those of `profiles`, rearranged: loops over the terms of a series stand outside the loops over
positions, and no branch depends on a position. The order of operations is fixed, so that a position's bits do
not depend on anything but the parameters and the place in the array.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.core.dispatcher import Dispatcher

from .compiled import inner
from .floats import F, exp2, log2
from .profiles import Profile, looped
from .profiles.profile import KIND

#: Columns of the lens table: `packing.lens_tables` writes it.
THETA_E, T, E1, E2, X, Y, G1, G2, M3C, M3S, M4C, M4S, TERMS = range(13)
#: Columns of the source table: col = C0 + CX βx + CY βy, row = R0 + RX βx + RY βy.
C0, CX, CY, R0, RX, RY = range(6)
#: Side of the blocks in which the share of rays that a source needs is kept [source pixels], and the share of the rays on a side that
#: even the dullest place gets.
SHARE_BLOCK, LEAST_SHARE = 8, 0.2
#: Rows of working memory that `trace` needs.
WORK = 7


@njit(**inner)
def trace(n, x, y, u, v, work, p, coefficients, isothermal, bumps, halos, source):
    """Source positions (u, v), in pixels of the source image, of the first `n` positions (x, y) in arcsec.

    Parameters
    ----------
    n : int
        Positions, the first of the arrays; a multiple of the widest vector keeps all of them in vectors.
    x, y : (n or more,) float32, arcsec
    u, v : (n or more,) float32, overwritten
    work : (WORK, n or more) float32, overwritten
    p, coefficients : row of the lens table, and its power-law series, of `packing.lens_tables`
    halos : (k, 6 or more) the row's subhalos, of `packing.halo_table`
    source : (6,) from arcsec to pixels, of `packing.source_table`
    isothermal, bumps : bool
        Whether every lens has slope 2; whether any has multipoles.
    """
    _power_law(n, x, y, u, v, work, p, coefficients, isothermal)
    if bumps:
        _multipoles(n, x, y, u, v, p)
    for k in range(halos.shape[0]):
        if halos[k, KIND] > F(0):
            _halo(n, x, y, u, v, halos[k])
    for j in range(n):
        bx, by = u[j], v[j]
        u[j] = source[C0] + source[CX] * bx + source[CY] * by
        v[j] = source[R0] + source[RX] * bx + source[RY] * by


@njit(**inner)
def _power_law(n, x, y, u, v, work, p, coefficients, isothermal):
    """`profiles.epl` and `shear`: position minus deflection.

    Tessore & Metcalf (2015), A&A 580, A79, by Horner's scheme: `coefficients` are those of the series, as many as p[TERMS].
    A lens that is no power law has p[THETA_E] = 0 here and a row of its own in the table of halos.
    """
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


def _any_of(profiles: tuple[Profile, ...], code: int = 1) -> Dispatcher:
    """Compile one loop that subtracts the deflection of a row's own profile, by its code in the halo table."""
    loop, others = profiles[0].loop, None if len(profiles) == 1 else _any_of(profiles[1:], code + 1)
    if others is None:
        return loop

    @njit(**inner)
    def chosen(n, x, y, u, v, q):
        if q[KIND] == F(code):
            loop(n, x, y, u, v, q)
        else:
            others(n, x, y, u, v, q)

    return chosen


#: Profiles that are added to the registry after this module is imported are not compiled in.
_halo = _any_of(looped())
