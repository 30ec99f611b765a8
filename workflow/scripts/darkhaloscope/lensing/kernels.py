"""Compiled loops of the adaptive renderer for pixel sources: one stamp at a time, nothing shared between stamps.

The order of operations within a stamp is fixed, so its bits depend on nothing but its own parameters.
Positions are in units of image pixels on the stamp and of source pixels on the source.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

F = np.float32
#: Columns of the row table `lens_table` writes.
THETA_E, T, E1, E2, X, Y, G1, G2, M3C, M3S, M4C, M4S, TERMS = range(13)
#: Columns of the subhalo table.
KIND, SX, SY, S_THETA, S_RS, S_SCALE, S_RT = range(7)
#: Columns of the source table: col = C0 + CX βx + CY βy, row = R0 + RX βx + RY βy.
C0, CX, CY, R0, RX, RY = range(6)
#: Pixels around a singular centre whose rays are traced one by one instead of interpolated.
NEAR = 4.0
#: … and around the centre itself, where they are laid evenly.
CENTRE = 1.2
#: Rays on a side of such a pixel.
NEAR_RAYS = 20
#: Side of the blocks in which the liveliness of a source is kept [source pixels].
LIVELY_BLOCK = 8
#: Most interpolated rays on a side of a pixel.
MOST_RAYS = 24

_fast = {"fastmath": {"nsz", "arcp", "contract", "afn", "reassoc"}, "nogil": True, "cache": True, "error_model": "numpy"}


@njit(inline="always", **_fast)
def _log2(x):
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


@njit(inline="always", **_fast)
def _exp2(x):
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


@njit(inline="always", **_fast)
def _multipoles(dx, dy, p):
    i2 = F(1) / np.sqrt(dx * dx + dy * dy + F(1e-12))
    c, s = dx * i2, dy * i2
    c2, s2 = c * c - s * s, F(2) * s * c
    c3, s3 = c2 * c - s2 * s, s2 * c + c2 * s
    c4, s4 = c2 * c2 - s2 * s2, F(2) * s2 * c2
    # Amplitudes hold a_m/(1 − m²) cos and sin of m φ_m.
    radial = c3 * p[M3C] + s3 * p[M3S] + c4 * p[M4C] + s4 * p[M4S]
    tangential = F(3) * (s3 * p[M3C] - c3 * p[M3S]) + F(4) * (s4 * p[M4C] - c4 * p[M4S])
    return c * radial + s * tangential, s * radial - c * tangential


@njit(inline="always", **_fast)
def _macro(x, y, p, coefficients, terms, isothermal, bumps):
    """Deflection of the smooth lens, as `profiles.epl`, `shear` and `multipole`, in float32."""
    dx, dy = x - p[X], y - p[Y]
    wx, wy = dx - p[E1] * dx - p[E2] * dy, dy - p[E2] * dx + p[E1] * dy
    r2 = wx * wx + wy * wy + F(1e-12)
    inverse = F(1) / np.sqrt(r2)
    ux, uy = wx * inverse, wy * inverse
    cx, cy = ux * ux - uy * uy, F(2) * ux * uy
    sx, sy = -(p[E1] * cx + p[E2] * cy), -(p[E1] * cy - p[E2] * cx)
    fx, fy = F(1), F(0)
    for k in range(terms - 1, -1, -1):
        a = coefficients[k]
        fx, fy = F(1) + a * (sx * fx - sy * fy), a * (sx * fy + sy * fx)
    scale = p[THETA_E]
    if not isothermal:
        scale *= _exp2((p[T] - F(1)) * (_log2(p[THETA_E]) - F(0.5) * _log2(r2)))
    ax = scale * (ux * fx - uy * fy) + p[G1] * x + p[G2] * y
    ay = scale * (ux * fy + uy * fx) + p[G2] * x - p[G1] * y
    if bumps:
        bx, by = _multipoles(dx, dy, p)
        ax += bx
        ay += by
    return ax, ay


@njit(inline="always", **_fast)
def _nfw_f(s):
    d = s * s - F(1)
    if d > F(0.03):
        root = np.sqrt(d)
        return F(math.atan(root)) / root
    if d < F(-0.03):
        root = np.sqrt(-d)
        return F(0.6931471806) * _log2((F(1) + root) / s) / root
    f = F(0)
    for k in range(5, -1, -1):
        f = F(1) / F(2 * k + 1) - d * f
    return f


@njit(inline="always", **_fast)
def _halo(dx, dy, q):
    """Deflection over distance vector of one subhalo."""
    r2 = dx * dx + dy * dy + F(1e-12)
    if q[KIND] == F(1):
        return q[S_THETA] / np.sqrt(r2)
    s = max(np.sqrt(r2) / q[S_RS], F(1e-5))
    if q[KIND] == F(2):
        # S_SCALE is α_Rs/(1 + ln ½)/r_s
        return q[S_SCALE] * (F(0.6931471806) * _log2(s * F(0.5)) + _nfw_f(s)) / (s * s)
    tau = q[S_RT] / q[S_RS]
    t2 = tau * tau
    root = np.sqrt(t2 + s * s)
    log_term = F(0.6931471806) * _log2(s / (tau + root))
    log_tau = F(0.6931471806) * _log2(tau)
    g = (
        (t2 + F(1) + F(2) * (s * s - F(1))) * _nfw_f(s)
        - F(math.pi) * s * s / (tau + root)
        + (t2 - F(1)) * (log_tau + root * log_term / tau)
    )
    return q[S_SCALE] * g * t2 / ((t2 + F(1)) * (t2 + F(1)) * s * s)


@njit(**_fast)
def _trace_row(u, v, work, y, scale, half, p, coefficients, isothermal, bumps, halos, source):
    """Source positions of one row of pixel centres, with two pixels more at either end.

    The same formulas as `_macro`, arranged in loops over the row that the compiler can vectorise.
    """
    length = u.shape[0]
    ux, uy, sx, sy, fx, fy, scales = work[0], work[1], work[2], work[3], work[4], work[5], work[6]
    dy = y - p[Y]
    for j in range(length):
        dx = (F(j - 2) - half) * scale - p[X]
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
        for j in range(length):
            fx[j], fy[j] = F(1) + a * (sx[j] * fx[j] - sy[j] * fy[j]), a * (sx[j] * fy[j] + sy[j] * fx[j])
    if isothermal:
        for j in range(length):
            scales[j] = p[THETA_E]
    else:
        log_theta, t1 = _log2(p[THETA_E]), p[T] - F(1)
        for j in range(length):
            scales[j] = p[THETA_E] * _exp2(t1 * (log_theta - F(0.5) * _log2(scales[j])))
    for j in range(length):
        x = (F(j - 2) - half) * scale
        u[j] = x - scales[j] * (ux[j] * fx[j] - uy[j] * fy[j]) - p[G1] * x - p[G2] * y
        v[j] = y - scales[j] * (ux[j] * fy[j] + uy[j] * fx[j]) - p[G2] * x + p[G1] * y
    if bumps:
        for j in range(length):
            ax, ay = _multipoles((F(j - 2) - half) * scale - p[X], dy, p)
            u[j] -= ax
            v[j] -= ay
    for k in range(halos.shape[0]):
        q = halos[k]
        if q[KIND] > F(0):
            for j in range(length):
                x = (F(j - 2) - half) * scale - q[SX]
                a = _halo(x, y - q[SY], q)
                u[j] -= a * x
                v[j] -= a * (y - q[SY])
    for j in range(length):
        bx, by = u[j], v[j]
        u[j] = source[C0] + source[CX] * bx + source[CY] * by
        v[j] = source[R0] + source[RX] * bx + source[RY] * by


@njit(inline="always", **_fast)
def _place(u, v, height, width, inverse, edge):
    """Offset of the lower left of four texture pixels around (u, v) of level 0, and their weights; −1 outside."""
    x = (u + F(0.5)) * inverse - F(0.5) + F(edge)
    y = (v + F(0.5)) * inverse - F(0.5) + F(edge)
    if not (x >= F(0) and y >= F(0) and x < F(width - 1) and y < F(height - 1)):
        return -1, F(0), F(0)
    i, j = np.int32(y), np.int32(x)
    return i * width + j, x - F(j), y - F(i)


@njit(inline="always", **_fast)
def _bilinear(texture, start, across, up, fx, fy):
    low = texture[start] + fx * (texture[start + across] - texture[start])
    high = texture[start + up] + fx * (texture[start + up + across] - texture[start + up])
    return low + fy * (high - low)


@njit(**_fast)
def render_rows(
    first,
    last,
    out,
    doubt,
    samples,
    lenses,
    series,
    isothermal,
    bumps,
    halos,
    sources,
    index,
    texture,
    offsets,
    heights,
    widths,
    lively,
    edge,
    scale,
    reach,
    density,
):
    """Render rows `first` to `last` into `out` (n, c, size, size), surface brightness averaged over pixels.

    `doubt` (n, size, size) gets half the difference between the two halves of each pixel's rays, plane 0.

    `reach` is the length on the image [pixels] that a coarser level of the source may be smeared over,
    `density` (n,) the rays per source pixel along a line where the source is liveliest; `samples` (n,)
    gets the number of rays.
    """
    size, c = out.shape[2], out.shape[1]
    u, v = np.empty((5, size + 4), F), np.empty((5, size + 4), F)
    work, t = np.empty((7, size + 4), F), np.empty(10, F)
    total = np.empty((2, c), F)
    half = F(0.5) * F(size - 1)
    top = F(offsets.shape[1] - 1)
    for row in range(first, last):
        p, source, here = lenses[row], sources[row], index[row]
        height, width = F(heights[here, 0] - 2 * edge), F(widths[here, 0] - 2 * edge)
        # What is fixed at ordinary accuracy grows with the demand beyond it.
        demand = max(density[row] * F(0.5), F(1))
        most, centre_rays, near = F(MOST_RAYS - 1) * demand, int(NEAR_RAYS * demand), F(NEAR) * demand ** F(0.67)
        count = 0
        for i in range(-2, size + 2):
            # Five rows of rays are kept; the middle one is that of pixel row i − 2.
            new = (i + 2) % 5
            _trace_row(u[new], v[new], work, (F(i) - half) * scale, scale, half, p, series[row], isothermal, bumps, halos[row], source)
            if i < 2:
                continue
            first_row, before, here_row, after = (i - 2) % 5, (i - 1) % 5, i % 5, (i + 1) % 5
            y = (F(i - 2) - half) * scale
            for j in range(size):
                x = (F(j) - half) * scale
                total[:, :] = F(0)
                _jacobian(t, j + 2, first_row, before, here_row, after, new, u, v)
                u0, v0 = u[here_row, j + 2], v[here_row, j + 2]
                # Everything that the pixel sees lies within this of its centre on the source.
                du, dv = F(0.5) * (abs(t[0]) + abs(t[1])) + F(1), F(0.5) * (abs(t[2]) + abs(t[3])) + F(1)
                distance = _distance(x, y, scale, p, halos[row])
                if distance < F(CENTRE):
                    columns, rows, level, life = centre_rays, centre_rays, 0, F(1)
                elif u0 + du < F(0) or v0 + dv < F(0) or u0 - du > width or v0 - dv > height:
                    life, columns, rows, level = F(0), 0, 0, 0
                else:
                    life = _liveliness(u0, v0, lively[here])
                    if life == F(0) and max(du, dv) > F(LIVELY_BLOCK):
                        life = F(1)
                    if life > F(0):
                        level, fx, fy = _resolution(t, j + 2, before, here_row, after, u, v, reach, top)
                        columns = int(min(fx * life * density[row], most)) + 1
                        rows = int(min(fy * life * density[row], most)) + 1
                if life == F(0):
                    columns, rows = 0, 0
                else:
                    count += columns * rows
                    if distance < near:
                        _pixel_exactly(
                            total,
                            c,
                            x,
                            y,
                            scale,
                            p,
                            series[row],
                            isothermal,
                            bumps,
                            halos[row],
                            source,
                            columns,
                            rows,
                            texture,
                            offsets[here, 0],
                            heights[here, 0],
                            widths[here, 0],
                            edge,
                        )
                    else:
                        _pixel(
                            total,
                            c,
                            u0,
                            v0,
                            t,
                            level,
                            columns,
                            rows,
                            texture,
                            offsets[here, level],
                            heights[here, level],
                            widths[here, level],
                            edge,
                        )
                n = columns * rows
                for k in range(c):
                    out[row, k, i - 2, j] = (total[0, k] + total[1, k]) / F(max(n, 1))
                if n > 1:
                    # The two colours of a chessboard of rays, one against the other
                    doubt[row, i - 2, j] = F(0.5) * (total[0, 0] / F((n + 1) // 2) - total[1, 0] / F(n // 2))
                else:
                    doubt[row, i - 2, j] = F(0)
        samples[row] = count


@njit(inline="always", **_fast)
def _jacobian(t, j, a, b, c, d, e, u, v):
    """First derivatives of the source position by the place on the stamp, to fourth order, into t[0:4]."""
    near, far = F(2 / 3), F(1 / 12)
    t[0] = near * (u[c, j + 1] - u[c, j - 1]) - far * (u[c, j + 2] - u[c, j - 2])
    t[1] = near * (u[d, j] - u[b, j]) - far * (u[e, j] - u[a, j])
    t[2] = near * (v[c, j + 1] - v[c, j - 1]) - far * (v[c, j + 2] - v[c, j - 2])
    t[3] = near * (v[d, j] - v[b, j]) - far * (v[e, j] - v[a, j])


@njit(inline="always", **_fast)
def _liveliness(u, v, lively):
    """Share of the rays that a place on the source needs; see `pyramid.Pyramid`."""
    i = min(max(int(v * F(1 / LIVELY_BLOCK)), 0), lively.shape[0] - 1)
    j = min(max(int(u * F(1 / LIVELY_BLOCK)), 0), lively.shape[1] - 1)
    return lively[i, j]


@njit(inline="always", **_fast)
def _distance(x, y, scale, p, halos):
    """Distance of a pixel from the nearest singular centre [pixels]."""
    best = F(1e12)
    if p[THETA_E] > F(0):
        best = (x - p[X]) * (x - p[X]) + (y - p[Y]) * (y - p[Y])
    for k in range(halos.shape[0]):
        if halos[k, KIND] > F(0):
            dx, dy = x - halos[k, SX], y - halos[k, SY]
            best = min(best, dx * dx + dy * dy)
    return np.sqrt(best) / scale


@njit(**_fast)
def _pixel_exactly(
    total, c, x, y, scale, p, coefficients, isothermal, bumps, halos, source, columns, rows, texture, offset, height, width, edge
):
    """One pixel by rays traced one by one."""
    terms = int(p[TERMS])
    for a in range(rows):
        yy = y + ((F(a) + F(0.5)) / F(rows) - F(0.5)) * scale
        for b in range(columns):
            xx = x + ((F(b) + F(0.5)) / F(columns) - F(0.5)) * scale
            ax, ay = _macro(xx, yy, p, coefficients, terms, isothermal, bumps)
            for k in range(halos.shape[0]):
                if halos[k, KIND] > F(0):
                    dx, dy = xx - halos[k, SX], yy - halos[k, SY]
                    f = _halo(dx, dy, halos[k])
                    ax += f * dx
                    ay += f * dy
            bx, by = xx - ax, yy - ay
            u = source[C0] + source[CX] * bx + source[CY] * by
            v = source[R0] + source[RX] * bx + source[RY] * by
            place, fx, fy = _place(u, v, height, width, F(1), edge)
            if place >= 0:
                parity = (a + b) & 1
                for k in range(c):
                    total[parity, k] += _bilinear(texture, offset + place * c + k, c, width * c, fx, fy)


@njit(inline="always", **_fast)
def _resolution(t, j, b, c, d, u, v, reach, top):
    """Level of the source for a pixel, and pixels of that level along its two sides; second derivatives into t[4:]."""
    ux, uy, vx, vy = t[0], t[1], t[2], t[3]
    uxx, uyy = u[c, j + 1] + u[c, j - 1] - F(2) * u[c, j], u[d, j] + u[b, j] - F(2) * u[c, j]
    vxx, vyy = v[c, j + 1] + v[c, j - 1] - F(2) * v[c, j], v[d, j] + v[b, j] - F(2) * v[c, j]
    uxy = F(0.25) * (u[d, j + 1] + u[b, j - 1] - u[d, j - 1] - u[b, j + 1])
    vxy = F(0.25) * (v[d, j + 1] + v[b, j - 1] - v[d, j - 1] - v[b, j + 1])
    t[4], t[5], t[6] = F(0.5) * uxx, uxy, F(0.5) * uyy
    t[7], t[8], t[9] = F(0.5) * vxx, vxy, F(0.5) * vyy
    # Metric of the mapping, averaged over the pixel: near a critical curve the second order rules.
    twelfth = F(1 / 12)
    exx = ux * ux + vx * vx + twelfth * (uxx * uxx + vxx * vxx + uxy * uxy + vxy * vxy)
    eyy = uy * uy + vy * vy + twelfth * (uyy * uyy + vyy * vyy + uxy * uxy + vxy * vxy)
    exy = ux * uy + vx * vy + twelfth * (uxy * (uxx + uyy) + vxy * (vxx + vyy))
    difference, twice = exx - eyy, F(2) * exy
    longest = np.sqrt(F(0.5) * (exx + eyy + np.sqrt(difference * difference + twice * twice)))
    shortest = np.sqrt(max(exx * eyy - exy * exy, F(0))) / (longest + F(1e-9))
    level, m, inverse = 0, F(2), F(1)
    while level < top and m <= reach * shortest:
        level += 1
        m *= F(2)
        inverse *= F(0.5)
    return level, np.sqrt(exx) * inverse, np.sqrt(eyy) * inverse


@njit(**_fast)
def _pixel(total, c, u0, v0, t, level, columns, rows, texture, offset, height, width, edge):
    """One pixel by rays interpolated between the pixel centres, to second order."""
    inverse = F(1) / F(1 << level)
    step_x, step_y = F(1) / F(columns), F(1) / F(rows)
    even, odd = F(0), F(0)
    for b in range(rows):
        oy = (F(b) + F(0.5)) * step_y - F(0.5)
        # A quadratic in x at this y
        u00, u01 = u0 + oy * (t[1] + t[6] * oy), t[0] + t[5] * oy
        v00, v01 = v0 + oy * (t[3] + t[9] * oy), t[2] + t[8] * oy
        for a in range(columns):
            ox = (F(a) + F(0.5)) * step_x - F(0.5)
            uu, vv = u00 + ox * (u01 + t[4] * ox), v00 + ox * (v01 + t[7] * ox)
            place, fx, fy = _place(uu, vv, height, width, inverse, edge)
            if place >= 0:
                if c == 1:
                    value = _bilinear(texture, offset + place, 1, width, fx, fy)
                    if (a + b) & 1:
                        odd += value
                    else:
                        even += value
                else:
                    for k in range(c):
                        total[(a + b) & 1, k] += _bilinear(texture, offset + place * c + k, c, width * c, fx, fy)
    if c == 1:
        total[0, 0], total[1, 0] = even, odd
