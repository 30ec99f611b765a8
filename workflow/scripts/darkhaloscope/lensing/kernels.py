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
NEAR = 3.0
#: Rays on a side of such a pixel.
NEAR_RAYS = 6
#: Largest lattice in the table of generators; more samples are laid on a square grid.
MAX_LATTICE = 40
ANGLES, RATIOS = 16, 8

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
    k = math.floor(x + F(0.5))
    f = x - F(k)
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
    i2 = F(1) / math.sqrt(dx * dx + dy * dy + F(1e-12))
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
    inverse = F(1) / math.sqrt(r2)
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
        root = math.sqrt(d)
        return F(math.atan(root)) / root
    if d < F(-0.03):
        root = math.sqrt(-d)
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
        return q[S_THETA] / math.sqrt(r2)
    s = max(math.sqrt(r2) / q[S_RS], F(1e-5))
    if q[KIND] == F(2):
        # S_SCALE is α_Rs/(1 + ln ½)/r_s
        return q[S_SCALE] * (F(0.6931471806) * _log2(s * F(0.5)) + _nfw_f(s)) / (s * s)
    tau = q[S_RT] / q[S_RS]
    t2 = tau * tau
    root = math.sqrt(t2 + s * s)
    log_term = F(0.6931471806) * _log2(s / (tau + root))
    log_tau = F(0.6931471806) * _log2(tau)
    g = (t2 + F(1) + F(2) * (s * s - F(1))) * _nfw_f(s) - F(math.pi) * s * s / (tau + root) + (t2 - F(1)) * (log_tau + root * log_term / tau)
    return q[S_SCALE] * g * t2 / ((t2 + F(1)) * (t2 + F(1)) * s * s)


@njit(**_fast)
def _trace_row(u, v, work, y, scale, half, p, coefficients, isothermal, bumps, halos, source):
    """Source positions of one row of pixel centres, with a pixel more at either end.

    The same formulas as `_macro`, arranged in loops over the row that the compiler can vectorise.
    """
    length = u.shape[0]
    ux, uy, sx, sy, fx, fy, scales = work[0], work[1], work[2], work[3], work[4], work[5], work[6]
    dy = y - p[Y]
    for j in range(length):
        dx = (F(j - 1) - half) * scale - p[X]
        wx, wy = dx - p[E1] * dx - p[E2] * dy, dy - p[E2] * dx + p[E1] * dy
        r2 = wx * wx + wy * wy + F(1e-12)
        inverse = F(1) / math.sqrt(r2)
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
        x = (F(j - 1) - half) * scale
        u[j] = x - scales[j] * (ux[j] * fx[j] - uy[j] * fy[j]) - p[G1] * x - p[G2] * y
        v[j] = y - scales[j] * (ux[j] * fy[j] + uy[j] * fx[j]) - p[G2] * x + p[G1] * y
    if bumps:
        for j in range(length):
            ax, ay = _multipoles((F(j - 1) - half) * scale - p[X], dy, p)
            u[j] -= ax
            v[j] -= ay
    for k in range(halos.shape[0]):
        q = halos[k]
        if q[KIND] > F(0):
            for j in range(length):
                x = (F(j - 1) - half) * scale - q[SX]
                a = _halo(x, y - q[SY], q)
                u[j] -= a * x
                v[j] -= a * (y - q[SY])
    for j in range(length):
        bx, by = u[j], v[j]
        u[j] = source[C0] + source[CX] * bx + source[CY] * by
        v[j] = source[R0] + source[RX] * bx + source[RY] * by


@njit(inline="always", **_fast)
def _add_sample(total, c, w, u, v, texture, offset, height, width, inverse, edge):
    """Add w times the bilinear source at (u, v) of level 0 to `total`; levels carry a frame of `edge` zeros."""
    x = (u + F(0.5)) * inverse - F(0.5) + F(edge)
    y = (v + F(0.5)) * inverse - F(0.5) + F(edge)
    if x >= F(0) and y >= F(0) and x < F(width - 1) and y < F(height - 1):
        i, j = np.int32(y), np.int32(x)
        fx, fy = x - F(j), y - F(i)
        a, b = w * (F(1) - fy), w * fy
        w00, w01, w10, w11 = a * (F(1) - fx), a * fx, b * (F(1) - fx), b * fx
        start = offset + (i * width + j) * c
        below = start + width * c
        for k in range(c):
            total[k] += w00 * texture[start + k] + w01 * texture[start + c + k] + w10 * texture[below + k] + w11 * texture[below + c + k]


@njit(**_fast)
def render_rows(
    first, last, out, samples, lenses, series, isothermal, bumps, halos, sources, index, texture, offsets, heights, widths, lattices, edge, scale, reach, density
):
    """Render rows `first` to `last` into `out` (n, c, size, size), surface brightness averaged over pixels.

    `reach` is the length on the image [pixels] that a blurred source may be smeared over, `density` the
    number of samples per source pixel of the chosen level; `samples` (n,) gets the number of rays.
    """
    size, c = out.shape[2], out.shape[1]
    u, v = np.empty((3, size + 2), F), np.empty((3, size + 2), F)
    work = np.empty((7, size + 2), F)
    plan, taylor = np.empty((3, size), np.int32), np.empty((10, size), F)
    total = np.empty(c, F)
    half = F(0.5) * F(size - 1)
    top = F(offsets.shape[1] - 1)
    for row in range(first, last):
        p, source, here = lenses[row], sources[row], index[row]
        height, width = F(heights[here, 0] - 2 * edge), F(widths[here, 0] - 2 * edge)
        count = 0
        for i in range(-1, size + 1):
            # Three rows of rays are kept; the middle one is that of pixel row i − 1.
            new = (i + 1) % 3
            _trace_row(u[new], v[new], work, (F(i) - half) * scale, scale, half, p, series[row], isothermal, bumps, halos[row], source)
            if i < 1:
                continue
            above, middle = (i - 1) % 3, i % 3
            _plan_row(plan, taylor, u[above], v[above], u[middle], v[middle], u[new], v[new], reach, density, height, width, top)
            y = (F(i - 1) - half) * scale
            for j in range(size):
                x = (F(j) - half) * scale
                total[:] = F(0)
                if _near(x, y, scale, p, halos[row]):
                    _pixel_exactly(total, c, x, y, scale, p, series[row], isothermal, bumps, halos[row], source, texture, offsets[here, 0], heights[here, 0], widths[here, 0], edge)
                    count += NEAR_RAYS * NEAR_RAYS
                elif plan[0, j] >= 0:
                    level = plan[0, j]
                    count += _pixel(total, c, j, u[middle, j + 1], v[middle, j + 1], taylor, level, plan[1, j], plan[2, j], texture, offsets[here, level], heights[here, level], widths[here, level], lattices, edge)
                for k in range(c):
                    out[row, k, i - 1, j] = total[k]
        samples[row] = count


@njit(inline="always", **_fast)
def _near(x, y, scale, p, halos):
    """Whether a pixel is so near a singular centre that its rays cannot be interpolated."""
    limit = F(NEAR) * scale
    near = abs(x - p[X]) < limit and abs(y - p[Y]) < limit and p[THETA_E] > F(0)
    for k in range(halos.shape[0]):
        near = near or (halos[k, KIND] > F(0) and abs(x - halos[k, SX]) < limit and abs(y - halos[k, SY]) < limit)
    return near


@njit(**_fast)
def _pixel_exactly(total, c, x, y, scale, p, coefficients, isothermal, bumps, halos, source, texture, offset, height, width, edge):
    step = scale / F(NEAR_RAYS)
    w = F(1) / F(NEAR_RAYS * NEAR_RAYS)
    terms = int(p[TERMS])
    for a in range(NEAR_RAYS):
        yy = y + (F(a) - F(0.5) * F(NEAR_RAYS - 1)) * step
        for b in range(NEAR_RAYS):
            xx = x + (F(b) - F(0.5) * F(NEAR_RAYS - 1)) * step
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
            _add_sample(total, c, w, u, v, texture, offset, height, width, F(1), edge)


@njit(**_fast)
def _plan_row(plan, taylor, ua, va, ub, vb, uc, vc, reach, density, height, width, top):
    """Level, number of samples and lattice of every pixel of a row, from the rays of it and its neighbours.

    `plan` (3, size): level (−1 where the pixel sees no source), samples, place in the lattice table;
    `taylor` (10, size): first and second derivatives of the source position by the place on the stamp.
    """
    for j in range(plan.shape[1]):
        u0, v0 = ub[j + 1], vb[j + 1]
        ux, uy = F(0.5) * (ub[j + 2] - ub[j]), F(0.5) * (uc[j + 1] - ua[j + 1])
        vx, vy = F(0.5) * (vb[j + 2] - vb[j]), F(0.5) * (vc[j + 1] - va[j + 1])
        uxx, uyy = ub[j + 2] + ub[j] - F(2) * u0, uc[j + 1] + ua[j + 1] - F(2) * u0
        vxx, vyy = vb[j + 2] + vb[j] - F(2) * v0, vc[j + 1] + va[j + 1] - F(2) * v0
        uxy = F(0.25) * (uc[j + 2] + ua[j] - uc[j] - ua[j + 2])
        vxy = F(0.25) * (vc[j + 2] + va[j] - vc[j] - va[j + 2])
        taylor[0, j], taylor[1, j], taylor[2, j], taylor[3, j] = ux, uy, vx, vy
        taylor[4, j], taylor[5, j], taylor[6, j] = F(0.5) * uxx, uxy, F(0.5) * uyy
        taylor[7, j], taylor[8, j], taylor[9, j] = F(0.5) * vxx, vxy, F(0.5) * vyy
        # Metric of the mapping, averaged over the pixel: near a critical curve the second order rules.
        twelfth = F(1 / 12)
        exx = ux * ux + vx * vx + twelfth * (uxx * uxx + vxx * vxx + uxy * uxy + vxy * vxy)
        eyy = uy * uy + vy * vy + twelfth * (uyy * uyy + vyy * vyy + uxy * uxy + vxy * vxy)
        exy = ux * uy + vx * vy + twelfth * (uxy * (uxx + uyy) + vxy * (vxx + vyy))
        difference, twice = exx - eyy, F(2) * exy
        split = math.sqrt(difference * difference + twice * twice)
        longest = math.sqrt(F(0.5) * (exx + eyy + split))
        area = math.sqrt(max(exx * eyy - exy * exy, F(0)))
        shortest = area / (longest + F(1e-9))
        level = min(max(math.floor(_log2(reach * shortest + F(1e-6))), F(0)), top)
        inverse = _exp2(-level)
        samples = math.ceil(density * max(area * inverse * inverse, longest * inverse))
        # Direction in sixteenths of a turn of the double angle, by the diamond instead of the circle.
        diamond = twice / (abs(difference) + abs(twice) + F(1e-9))
        turn = F(1) + diamond if difference > F(0) else F(3) - diamond
        angle = math.floor(turn * F(ANGLES / 4) + F(0.5))
        ratio = min(math.floor(F(2) * _log2(max(longest / (shortest + F(1e-3) * longest), F(1)))), F(RATIOS - 1))
        du, dv = abs(ux) + abs(uy) + F(1), abs(vx) + abs(vy) + F(1)
        dark = u0 + du < F(0) or v0 + dv < F(0) or u0 - du > width or v0 - dv > height
        plan[0, j] = np.int32(-1) if dark else np.int32(level)
        plan[1, j] = np.int32(samples)
        plan[2, j] = (np.int32(angle) & np.int32(ANGLES - 1)) * np.int32(RATIOS) + np.int32(ratio)


@njit(inline="always", **_fast)
def _pixel(total, c, j, u0, v0, t, level, n, place, texture, offset, height, width, lattices, edge):
    """One pixel by interpolated rays on a lattice; returns the number of samples."""
    inverse = F(1) / F(1 << level)
    if n > MAX_LATTICE:
        columns = np.int32(math.ceil(math.sqrt(F(n))))
        n, generator = columns * columns, np.int32(1)
    else:
        # Direction and elongation choose the lattice whose points lie farthest apart on the source.
        generator, columns = lattices[n, place], n
    w = F(1) / F(n)
    step = F(1) / F(columns)
    a, b = np.int32(0), np.int32(0)
    for _ in range(n):
        ox, oy = (F(a) + F(0.5)) * step - F(0.5), (F(b) + F(0.5)) * step - F(0.5)
        uu = u0 + ox * (t[0, j] + t[4, j] * ox + t[5, j] * oy) + oy * (t[1, j] + t[6, j] * oy)
        vv = v0 + ox * (t[2, j] + t[7, j] * ox + t[8, j] * oy) + oy * (t[3, j] + t[9, j] * oy)
        _add_sample(total, c, w, uu, vv, texture, offset, height, width, inverse, edge)
        if n > MAX_LATTICE:
            a += 1
            if a == columns:
                a = np.int32(0)
                b += 1
        else:
            a += 1
            b += generator
            if b >= n:
                b -= n
    return n


@njit(cache=True)
def lattice_table():
    """Generators g of rank-1 lattices (k/n, {k g/n}) by n, direction and elongation of the source metric.

    The best generator makes the shortest step between two points, as seen on the source, longest.
    """
    table = np.ones((MAX_LATTICE + 1, ANGLES * RATIOS), np.int32)
    for n in range(2, MAX_LATTICE + 1):
        for a in range(ANGLES):
            # The bins of `_plan_row`: a is a turn along the diamond |x| + |y| = 1, starting at (0, −1).
            turn = a * 4 / ANGLES
            diamond = turn - 1 if turn <= 2 else 3 - turn
            angle = 0.5 * math.atan2(diamond, (1 - abs(diamond)) * (1 if turn <= 2 else -1))
            cos, sin = math.cos(angle), math.sin(angle)
            for r in range(RATIOS):
                stretch = 2.0 ** ((r + 0.5) / 2)
                best = -1.0
                for g in range(n):
                    shortest = 1e9
                    for k in range(n):
                        fx, fy = k / n, (k * g % n) / n
                        for sx in range(-1, 2):
                            for sy in range(-1, 2):
                                dx, dy = fx + sx, fy + sy
                                along, across = cos * dx + sin * dy, cos * dy - sin * dx
                                length = (along * stretch) ** 2 + across**2
                                if length > 1e-12 and length < shortest:
                                    shortest = length
                    if shortest > best * 1.000001:
                        best = shortest
                        table[n, a * RATIOS + r] = g
    return table
