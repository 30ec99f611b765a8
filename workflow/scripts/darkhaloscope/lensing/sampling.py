"""Where a stamp's rays go, and the compiled loops that sum them.

A *plan* says for every pixel how many rays it gets along its two sides, through which level of the source's
pyramid, and whether they are traced through the lens or interpolated between the pixel centres to second order.
`plan_rows` makes it; `render_rows` makes it and sums the rays.

A pixel's rays are the points of a grid of columns and rows, spread by n/√(n² − 1) from the centres of its cells, so
that the second moment of n points is that of the pixel's side, 1/12: of the pixel's own blur nothing is lost before the
fourth order. (For n = 2 these are Gauss' points.) The number of columns is the larger of f, which the image asks for, and
d times the length of a step across the pixel on the source [source pixels], which the source asks for; near critical curves
with the second order of the mapping.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .compiled import inner, keep, outer
from .disks import BLOCKS, SIGMA2, disk_light, sketch, sum_disk
from .floats import F
from .kernels import CX, CY, SHARE_BLOCK, THETA_E, WORK, X, Y, trace
from .profiles.profile import CX as HALO_X
from .profiles.profile import CY as HALO_Y
from .profiles.profile import FELT, SHARP

#: Most rays on a side of a pixel, and room for the rays of a pixel.
MOST, ROOM = 32, 32 * 32 + 16
#: Loops over rays run to a multiple of this, the widest vector; the rest has no weight.
LANES = 16
#: Pixels around a singular centre whose rays are traced one by one: this times the cube root of its Einstein
#: radius in source pixels, since the third derivative falls as θ_E/r³.
NEAR = 1.3
#: … and around the centre itself, where the metric means nothing: `CENTRE_RAYS` d rays on a side.
CENTRE, CENTRE_RAYS = 1.2, 12
#: In a plan: rays traced through the lens, at the finest level.
TRACED = -1


def _places() -> NDArray[np.float32]:
    """Places (n, k) of n points on a side, pixels from the centre."""
    out = np.zeros((MOST + 1, MOST + LANES), F)
    for n in range(1, MOST + 1):
        out[n, :n] = (np.arange(n) - (n - 1) / 2) / np.sqrt(max(n * n - 1, 1))
    return out


def _contrasts(degree: int) -> NDArray[np.float32]:
    """Alternating signs (n, k) of n points on a side, less their projection on polynomials up to `degree`.

    A plain chessboard would take for doubt what the rays do get right: the slope and the curvature of the image.
    """
    out = np.zeros((MOST + 1, MOST + LANES), F)
    for n in range(degree + 2, MOST + 1):
        basis = np.linalg.qr(np.vander(np.linspace(-1, 1, n), degree + 1))[0]
        signs = 1.0 - 2.0 * (np.arange(n) % 2)
        out[n, :n] = signs - basis @ (basis.T @ signs)
    return out


PLACES, SMOOTH, SMOOTHER = _places(), _contrasts(1), _contrasts(2)


@njit(**outer)
def plan_rows(first, last, columns, rows, level, u, v, lens, source, pyramid, settings):
    """Plan rows `first` to `last`.

    Parameters
    ----------
    columns, rows, level : (n, size, size) int16 out
        Rays along the sides of each pixel, 0 on empty sky; level of the pyramid or TRACED.
    u, v : (size + 4, size + 4) float32 out
        Source positions of the pixel centres of the last row planned, with two pixels more on every side.
    lens : tuple
        Lens table, series, isothermal, bumps, subhalo table; see `packing`.
    source : tuple
        Source table (n, 6), the number of each row's image (n,), and disks and knots, both empty for images.
    pyramid : tuple
        Heights, widths, share of rays and width of the frame. For disks the first two are those of the sketch.
    settings : tuple
        Pixel scale [arcsec], reach [pixels], density d (n,), floor f (n,).
    """
    work, line = np.empty((WORK, u.shape[0]), F), np.empty((2, u.shape[0]), F)
    ray_share = np.empty((BLOCKS, BLOCKS), F)
    for row in range(first, last):
        _nodes(u, v, row, work, line, lens, source, settings[0])
        _plan(columns[row], rows[row], level[row], row, u, v, ray_share, lens, source, pyramid, settings)


@njit(**outer)
def render_rows(first, last, out, doubt, samples, plan, lens, source, pyramid, texture, offsets, settings):
    """Render rows `first` to `last` into `out` (n, c, size, size), surface brightness averaged over pixels.

    `doubt` (n, size, size) gets the mean of channel 0 over each pixel's rays with the signs of `_grid`; `samples` (n,)
    the number of rays. `plan` holds columns, rows and level of a plan to follow, (n, size, size) each, or is empty
    where each row makes its own. The rest as in `plan_rows`.
    """
    size, c = out.shape[2], out.shape[1]
    u, v = np.empty((size + 4, size + 4), F), np.empty((size + 4, size + 4), F)
    scratch, ray_share = np.empty((3, size, size), np.int16), np.empty((BLOCKS, BLOCKS), F)
    columns, rows, level = scratch[0], scratch[1], scratch[2]
    given, closed = plan[0].shape[0] > 0, source[2].shape[0] > 0
    work, line = np.empty((WORK, ROOM + size), F), np.empty((2, size + 4), F)
    grid_x, grid_y, sign, used = np.empty(ROOM, F), np.empty(ROOM, F), np.empty(ROOM, F), np.empty(ROOM, F)
    x, y = np.empty(ROOM, F), np.empty(ROOM, F)
    near_x, near_y = np.empty(ROOM, F), np.empty(ROOM, F)
    at, t, total = np.empty(ROOM, np.uint32), np.empty(10, F), np.empty(5, F)
    table, series, isothermal, bumps, halos = lens
    heights, widths, edge = pyramid[0], pyramid[1], pyramid[3]
    scale, half, stride = settings[0], F(0.5) * F(size - 1), texel(c)
    across, along = 0, 0
    for row in range(first, last):
        _nodes(u, v, row, work, line, lens, source, scale)
        if given:
            columns, rows, level = plan[0][row], plan[1][row], plan[2][row]
        else:
            _plan(columns, rows, level, row, u, v, ray_share, lens, source, pyramid, settings)
        out[row] = F(0)
        doubt[row] = F(0)
        image, rays = source[1][row], 0
        for i in range(size):
            for j in range(size):
                n = int(columns[i, j]) * int(rows[i, j])
                if n == 0:
                    continue
                rays += n
                m = (n + LANES - 1) // LANES * LANES
                if columns[i, j] != across or rows[i, j] != along:
                    across, along = int(columns[i, j]), int(rows[i, j])
                    _grid(m, grid_x, grid_y, sign, used, across, along)
                depth = max(int(level[i, j]), 0)
                if level[i, j] == TRACED:
                    _spread(m, grid_x, grid_y, near_x, near_y, F(j) - half, F(i) - half, scale)
                    trace(m, near_x, near_y, x, y, work, table[row], series[row], isothermal, bumps, halos[row], source[0][row])
                else:
                    _derivatives(t, u, v, i + 2, j + 2)
                    _interpolate(m, grid_x, grid_y, x, y, t, u[i + 2, j + 2], v[i + 2, j + 2], depth)
                if closed:
                    disk_light(m, x, y, work[0], work[1], source[2][row], source[3][row])
                    sum_disk(m, work[0], work[1], sign, used, source[2][row, SIGMA2], total)
                    for k in range(3):
                        out[row, k, i, j] = total[k] / F(n)
                    doubt[row, i, j] = total[4] / F(n)
                    continue
                _locate(m, x, y, at, heights[image, depth], widths[image, depth], offsets[image, depth], stride, edge)
                up = widths[image, depth] * stride
                for group in range(0, c, 4):
                    if c == 1:
                        _sum(m, x, y, sign, used, at, up, texture, total)
                    else:
                        _sum_four(m, x, y, sign, used, at, up, stride, texture, group, total)
                    for k in range(min(4, c - group)):
                        out[row, group + k, i, j] = total[k] / F(n)
                    if group == 0:
                        doubt[row, i, j] = total[4] / F(n)
        samples[row] = rays


@njit(**inner)
def _nodes(u, v, row, work, line, lens, source, scale):
    """Source positions of the pixel centres of one stamp and of two pixels beyond."""
    table, series, isothermal, bumps, halos = lens
    length = u.shape[0]
    half = F(0.5) * F(length - 1)
    for j in range(length):
        line[0, j] = (F(j) - half) * scale
    for i in range(length):
        line[1, :length] = (F(i) - half) * scale
        trace(length, line[0], line[1], u[i], v[i], work, table[row], series[row], isothermal, bumps, halos[row], source[0][row])


@njit(**inner)
def _plan(columns, rows, level, row, u, v, sketched, lens, source, pyramid, settings):
    heights, widths, shares, edge = pyramid
    scale, reach, densities, floors = settings
    table, halos, image = lens[0], lens[4], source[1][row]
    size, density, floor = columns.shape[0], densities[row], floors[row]
    height, width, top = F(heights[image, 0] - 2 * edge), F(widths[image, 0] - 2 * edge), heights.shape[1] - 1
    map_ = source[0][row]
    per_arcsec = np.sqrt(map_[CX] * map_[CX] + map_[CY] * map_[CY])
    closed, ray_share = source[2].shape[0] > 0, shares[image]
    if closed:
        sketch(sketched, source[2][row], source[3][row])
        ray_share = sketched
    t, half, centre_rays = np.empty(10, F), F(0.5) * F(size - 1), int(min(F(CENTRE_RAYS) * density, F(MOST)))
    for i in range(size):
        for j in range(size):
            a, b = i + 2, j + 2
            # Everything that the pixel sees lies within this of its centre on the source.
            du = F(0.5) * (abs(u[a, b + 1] - u[a, b - 1]) + abs(u[a + 1, b] - u[a - 1, b])) * F(0.75) + F(1)
            dv = F(0.5) * (abs(v[a, b + 1] - v[a, b - 1]) + abs(v[a + 1, b] - v[a - 1, b])) * F(0.75) + F(1)
            x, y = (F(j) - half) * scale, (F(i) - half) * scale
            near, centre = _near(x, y, scale, density, per_arcsec, table[row], halos[row])
            columns[i, j], rows[i, j] = 0, 0
            if centre:
                columns[i, j], rows[i, j], level[i, j] = centre_rays, centre_rays, TRACED
                continue
            at_u, at_v = u[a, b], v[a, b]
            if closed:
                # The light of a disk has no end: beyond its sketch it varies as at its border.
                at_u, at_v = min(max(at_u, F(0)), width), min(max(at_v, F(0)), height)
            if at_u + du < F(0) or at_v + dv < F(0) or at_u - du > width or at_v - dv > height:
                continue
            share = _ray_share(at_u, at_v, du, dv, ray_share)
            if share == F(0):
                continue
            _derivatives(t, u, v, a, b)
            level[i, j] = _choose(columns, rows, i, j, t, F(0) if near else reach, top, share * density, floor)
            if near:
                level[i, j] = TRACED


@njit(inline="always", **inner)
def _near(x, y, scale, density, per_arcsec, p, halos):
    """Whether a pixel lies near a singular centre, and whether it holds one."""
    near, centre = False, False
    for k in range(halos.shape[0] + 1):
        if k == 0:
            strength, dx, dy, sharp = p[THETA_E], x - p[X], y - p[Y], True
        else:
            q = halos[k - 1]
            strength, dx, dy, sharp = q[FELT], x - q[HALO_X], y - q[HALO_Y], q[SHARP] > F(0)
        if strength > F(0):
            distance = np.sqrt(dx * dx + dy * dy) / scale
            near |= distance < max(F(NEAR) * (strength * per_arcsec * F(0.45) * density) ** F(1 / 3), F(CENTRE))
            centre |= sharp and distance < F(CENTRE)
    return near, centre


@njit(inline="always", **inner)
def _ray_share(u, v, du, dv, ray_share):
    """Largest share of the rays that a place within (du, dv) needs; see `pyramid.Pyramid`. Zero beyond the image."""
    block = F(1 / SHARE_BLOCK)
    low, high = max(int((v - dv) * block), 0), min(int((v + dv) * block), ray_share.shape[0] - 1)
    left, right = max(int((u - du) * block), 0), min(int((u + du) * block), ray_share.shape[1] - 1)
    share = F(0)
    for i in range(low, high + 1):
        for j in range(left, right + 1):
            share = max(share, ray_share[i, j])
    return share


@njit(inline="always", **inner)
def _derivatives(t, u, v, i, j):
    """Of the source position by the place on the stamp: first to fourth order, then half the second ones."""
    near, far = F(2 / 3), F(1 / 12)
    t[0] = near * (u[i, j + 1] - u[i, j - 1]) - far * (u[i, j + 2] - u[i, j - 2])
    t[1] = near * (u[i + 1, j] - u[i - 1, j]) - far * (u[i + 2, j] - u[i - 2, j])
    t[2] = near * (v[i, j + 1] - v[i, j - 1]) - far * (v[i, j + 2] - v[i, j - 2])
    t[3] = near * (v[i + 1, j] - v[i - 1, j]) - far * (v[i + 2, j] - v[i - 2, j])
    t[4] = F(0.5) * (u[i, j + 1] + u[i, j - 1]) - u[i, j]
    t[5] = F(0.25) * (u[i + 1, j + 1] + u[i - 1, j - 1] - u[i + 1, j - 1] - u[i - 1, j + 1])
    t[6] = F(0.5) * (u[i + 1, j] + u[i - 1, j]) - u[i, j]
    t[7] = F(0.5) * (v[i, j + 1] + v[i, j - 1]) - v[i, j]
    t[8] = F(0.25) * (v[i + 1, j + 1] + v[i - 1, j - 1] - v[i + 1, j - 1] - v[i - 1, j + 1])
    t[9] = F(0.5) * (v[i + 1, j] + v[i - 1, j]) - v[i, j]


@njit(inline="always", **inner)
def _choose(columns, rows, i, j, t, reach, top, density, floor):
    """Set the rays of a pixel from its metric; return the level of the source."""
    # Averaged over the pixel: near a critical curve the second order rules.
    third, twelfth = F(1 / 3), F(1 / 12)
    exx = t[0] * t[0] + t[2] * t[2] + third * (t[4] * t[4] + t[7] * t[7]) + twelfth * (t[5] * t[5] + t[8] * t[8])
    eyy = t[1] * t[1] + t[3] * t[3] + third * (t[6] * t[6] + t[9] * t[9]) + twelfth * (t[5] * t[5] + t[8] * t[8])
    exy = t[0] * t[1] + t[2] * t[3] + F(1 / 6) * (t[5] * (t[4] + t[6]) + t[8] * (t[7] + t[9]))
    spread = np.sqrt((exx - eyy) * (exx - eyy) + F(4) * exy * exy)
    shortest = np.sqrt(max(F(0.5) * (exx + eyy - spread), F(0)))
    depth, m = 0, F(2)
    while depth < top and m <= reach * shortest:
        depth, m, density = depth + 1, m * F(2), density * F(0.5)
    columns[i, j] = int(min(max(density * np.sqrt(exx), floor), F(MOST)) + F(0.5))
    rows[i, j] = int(min(max(density * np.sqrt(eyy), floor), F(MOST)) + F(0.5))
    return depth


@njit(**inner)
def _grid(m, x, y, sign, used, columns, rows):
    """Rays of a pixel relative to its centre [pixels], and their signs in the doubt (see `_contrasts`).

    There are `m` of them, to fill up the last vector; `used` is 0 for those that are too many.
    """
    for b in range(rows):
        begin, place, smooth, smoother = b * columns, PLACES[rows, b], SMOOTH[rows, b], SMOOTHER[rows, b]
        for a in range(columns):
            x[begin + a], y[begin + a] = PLACES[columns, a], place
            sign[begin + a] = SMOOTH[columns, a] * smooth + SMOOTHER[columns, a] + smoother
    for k in range(columns * rows):
        used[k] = F(1)
    for k in range(columns * rows, m):
        x[k], y[k], sign[k], used[k] = F(0), F(0), F(0), F(0)


@njit(**inner)
def _spread(m, grid_x, grid_y, x, y, place_x, place_y, scale):
    for k in range(m):
        x[k], y[k] = (grid_x[k] + place_x) * scale, (grid_y[k] + place_y) * scale


@njit(**inner)
def _interpolate(m, grid_x, grid_y, x, y, t, u, v, depth):
    """Source positions of a pixel's rays, in pixels of the level, to second order about its centre."""
    inverse = F(1) / F(1 << depth)
    u, v = (u + F(0.5)) * inverse - F(0.5), (v + F(0.5)) * inverse - F(0.5)
    t0, t1, t2, t3, t4 = t[0] * inverse, t[1] * inverse, t[2] * inverse, t[3] * inverse, t[4] * inverse
    t5, t6, t7, t8, t9 = t[5] * inverse, t[6] * inverse, t[7] * inverse, t[8] * inverse, t[9] * inverse
    for k in range(m):
        a, b = grid_x[k], grid_y[k]
        x[k] = u + a * (t0 + t4 * a + t5 * b) + b * (t1 + t6 * b)
        y[k] = v + a * (t2 + t7 * a + t8 * b) + b * (t3 + t9 * b)


@njit(**inner)
def _locate(m, x, y, at, height, width, start, stride, edge):
    """From places on a level to the lower left of four texels, `at`, and the shares (x, y) between them.

    A place beyond the image goes to the nearest in its frame of zeros.
    """
    right, top, shift = F(width) - F(1.5), F(height) - F(1.5), F(edge)
    wide, texel_, begin = np.int32(width), np.int32(stride), np.int32(start)
    for k in range(m):
        px, py = min(max(x[k] + shift, F(0)), right), min(max(y[k] + shift, F(0)), top)
        j, i = np.int32(px), np.int32(py)
        x[k], y[k] = px - F(j), py - F(i)
        at[k] = np.uint32(begin + (i * wide + j) * texel_)


@njit(**inner)
def _sum(m, x, y, sign, used, at, up, texture, total):
    """Sum of a single channel over a pixel's rays and, last, with their colours for signs."""
    both, other, one, above = F(0), F(0), np.uint32(1), np.uint32(up)
    for k in range(m):
        a = at[k]
        b = a + above
        low = texture[a] + x[k] * (texture[a + one] - texture[a])
        high = texture[b] + x[k] * (texture[b + one] - texture[b])
        value = (low + y[k] * (high - low)) * used[k]
        both += value
        other += value * sign[k]
    total[0], total[4] = both, other


@njit(**inner)
def _sum_four(m, x, y, sign, used, at, up, stride, texture, group, total):
    """… and of four channels that lie side by side; the signed sum is that of the first."""
    c0, c1, c2, c3, other = F(0), F(0), F(0), F(0), F(0)
    above, first, right = np.uint32(up), np.uint32(group), np.uint32(stride)
    for k in range(m):
        a = at[k] + first
        b = a + above
        w11 = x[k] * y[k]
        w01, w10 = x[k] - w11, y[k] - w11
        w00 = F(1) - x[k] - w10
        w00, w01, w10, w11 = w00 * used[k], w01 * used[k], w10 * used[k], w11 * used[k]
        d = a + right
        e = b + right
        value = w00 * texture[a] + w01 * texture[d] + w10 * texture[b] + w11 * texture[e]
        c0 += value
        other += value * sign[k]
        i, j = np.uint32(1), np.uint32(2)
        c1 += w00 * texture[a + i] + w01 * texture[d + i] + w10 * texture[b + i] + w11 * texture[e + i]
        c2 += w00 * texture[a + j] + w01 * texture[d + j] + w10 * texture[b + j] + w11 * texture[e + j]
        i = np.uint32(3)
        c3 += w00 * texture[a + i] + w01 * texture[d + i] + w10 * texture[b + i] + w11 * texture[e + i]
    total[0], total[1], total[2], total[3], total[4] = c0, c1, c2, c3, other


@njit(inline="always", **inner)
def texel(channels):
    """Floats between one pixel of the texture and the next: channels are filled up to a multiple of four."""
    return 1 if channels == 1 else (channels + 3) // 4 * 4


keep(plan_rows, render_rows)
