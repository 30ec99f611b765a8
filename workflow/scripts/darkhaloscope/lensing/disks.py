"""Compiled light of rotating disks: `light.DiskLight` in single precision, and a sketch of where it varies.

Lengths come in units that `packing.disk_tables` chooses for each disk, along the axes of the disk, from the corner of
a square of `BLOCKS` blocks of `SHARE_BLOCK` units about its centre. The light goes on beyond that square.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .compiled import inner
from .floats import F, exp2, log2
from .kernels import LEAST_SHARE, SHARE_BLOCK

#: Blocks on a side of a sketch.
BLOCKS = 40
MIDDLE = F(BLOCKS * SHARE_BLOCK / 2)
#: Columns of the disk table: `packing.disk_tables` writes it.
UNIT, STRETCH, DISK, FALL, BULGE, NEARER, POWER, STEEP, NORM, TURN, V_SYS, V_MAX, RADIAL, BAR_C, BAR_S, SIGMA2 = range(16)
#: Columns of the knot table.
KX, KY, K_LIGHT, K_FALL = range(4)


@njit(**inner)
def disk_light(m, x, y, light, velocity, d, knots):
    """Surface brightness per arcsec² and velocity [km/s] at `m` places (x, y), which are overwritten with arcsec from the centre."""
    for k in range(m):
        x[k], y[k] = (x[k] - MIDDLE) * d[UNIT], (y[k] - MIDDLE) * d[UNIT]
        face = y[k] * d[STRETCH]
        radius = np.sqrt(x[k] * x[k] + face * face + F(1e-24))
        c, s = x[k] / radius, face / radius
        c2, s2 = c * c - s * s, F(2) * s * c
        light[k] = d[DISK] * exp2(max(d[FALL] * radius, F(-100)))
        bar = exp2(max(F(0.5) * d[FALL] * radius, F(-100))) * (d[BAR_C] * c2 + d[BAR_S] * s2) * c
        rise = F(1) - exp2(max(d[TURN] * radius, F(-100)))
        velocity[k] = d[V_SYS] + rise * (d[V_MAX] * c + d[RADIAL] * s + bar)
    if d[BULGE] > F(0):
        for k in range(m):
            power = exp2(d[POWER] * log2((x[k] * x[k] + y[k] * y[k]) * d[NEARER] + F(1e-24)))
            light[k] += d[BULGE] * exp2(max(d[STEEP] * power + d[NORM], F(-100)))
    left, right, low, high = x[0], x[0], y[0], y[0]
    for k in range(1, m):
        left, right, low, high = min(left, x[k]), max(right, x[k]), min(low, y[k]), max(high, y[k])
    for i in range(knots.shape[0]):
        q = knots[i]
        dx, dy = max(max(left - q[KX], q[KX] - right), F(0)), max(max(low - q[KY], q[KY] - high), F(0))
        # Beyond 6.4 σ of all places a knot is dark: 2⁻³⁰ of its peak.
        if q[K_LIGHT] > F(0) and q[K_FALL] * (dx * dx + dy * dy) > F(-30):
            for k in range(m):
                dx, dy = x[k] - q[KX], y[k] - q[KY]
                light[k] += q[K_LIGHT] * exp2(max(q[K_FALL] * (dx * dx + dy * dy), F(-100)))


@njit(**inner)
def sum_disk(m, light, velocity, sign, used, sigma2, total):
    """Sums of F, F v, F (v² + σ²) over a pixel's rays and, last, of F with their signs."""
    c0, c1, c2, other = F(0), F(0), F(0), F(0)
    for k in range(m):
        value = light[k] * used[k]
        c0 += value
        other += value * sign[k]
        c1 += value * velocity[k]
        c2 += value * (velocity[k] * velocity[k] + sigma2)
    total[0], total[1], total[2], total[4] = c0, c1, c2, other


@njit(**inner)
def sketch(ray_share, d, knots):
    """Fill (BLOCKS, BLOCKS) with the share of rays that each block needs, as `pyramid.Pyramid.ray_share` does for images.

    Contrasts of F and F v are those between a block's corners; a knot may lie between them, and counts by its own peak. Shares
    are of the greatest contrast outside the four central blocks: the cusps of disk and bulge rise high on an area that no PSF shows.
    """
    side = BLOCKS + 1
    x, y, light, velocity = np.empty(side, F), np.empty(side, F), np.empty((2, side), F), np.empty((2, side), F)
    contrast = np.zeros((2, BLOCKS, BLOCKS), F)
    for i in range(side):
        now, old = i % 2, (i + 1) % 2
        for j in range(side):
            x[j], y[j] = F(j * SHARE_BLOCK), F(i * SHARE_BLOCK)
        disk_light(side, x, y, light[now], velocity[now], d, knots)
        for j in range(side):
            velocity[now, j] *= light[now, j]
        for j in range(BLOCKS if i else 0):
            contrast[0, i - 1, j] = _range(light[now, j], light[now, j + 1], light[old, j], light[old, j + 1])
            contrast[1, i - 1, j] = _range(velocity[now, j], velocity[now, j + 1], velocity[old, j], velocity[old, j + 1])
    for k in range(knots.shape[0]):
        q = knots[k]
        if q[K_LIGHT] > F(0):
            block, reach = F(1) / (d[UNIT] * F(SHARE_BLOCK)), F(1.5) / np.sqrt(-q[K_FALL])
            middle = F(BLOCKS / 2)
            for i in range(max(int((q[KY] - reach) * block + middle), 0), min(int((q[KY] + reach) * block + middle) + 1, BLOCKS)):
                for j in range(max(int((q[KX] - reach) * block + middle), 0), min(int((q[KX] + reach) * block + middle) + 1, BLOCKS)):
                    contrast[0, i, j] = max(contrast[0, i, j], F(0.5) * q[K_LIGHT])
    most0, most1 = F(1e-30), F(1e-30)
    for i in range(BLOCKS):
        for j in range(BLOCKS):
            if abs(2 * i - BLOCKS + 1) > 1 or abs(2 * j - BLOCKS + 1) > 1:
                most0, most1 = max(most0, contrast[0, i, j]), max(most1, contrast[1, i, j])
    for i in range(BLOCKS):
        for j in range(BLOCKS):
            share = max(contrast[0, i, j] / most0, contrast[1, i, j] / most1)
            ray_share[i, j] = min(max(np.sqrt(share), F(LEAST_SHARE)), F(1))


@njit(inline="always", **inner)
def _range(a, b, c, d):
    return max(max(a, b), max(c, d)) - min(min(a, b), min(c, d))
