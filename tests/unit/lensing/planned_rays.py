"""The rays of a plan in torch, on any device: a second implementation of what `sampling.render_rows` computes in compiled loops.

No rule uses it: stamps are rendered on CPUs. The tests hold the compiled loops to it, and `benchmarks/gpu.sh` measures it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from darkhaloscope.lensing.lens import MacroLens, Subhalos, deflection
from darkhaloscope.lensing.light import DiskLight, PixelLight
from darkhaloscope.lensing.packing import source_table
from darkhaloscope.lensing.planned import Plan
from darkhaloscope.lensing.pyramid import EDGE, Pyramid
from darkhaloscope.lensing.render import Grid
from darkhaloscope.lensing.sampling import PLACES, SMOOTH, SMOOTHER, TRACED, texel


def sum_plan(
    plan: Plan, light: PixelLight | DiskLight, lens: MacroLens | None, subhalos: Subhalos | None, grid: Grid
) -> tuple[Tensor, Tensor]:
    """Image and doubt of planned rays, as `engine.compiled_images`.

    Stamps are taken one by one: their numbers of rays differ, and each has enough of them to fill a device.

    Returns
    -------
    image (n, c, size, size), doubt (n, 1, size, size)
        Flux per pixel in the light's dtype and on its device; the compiled loops' images to 10⁻⁵ of the peak.
    """
    texture = None if isinstance(light, DiskLight) else torch.as_tensor(light.pyramid.texture, device=light.x.device, dtype=light.x.dtype)
    maps = torch.as_tensor(source_table(light), device=light.x.device, dtype=light.x.dtype)
    parts = [_stamp(plan, row, light, lens, subhalos, grid, maps[row], texture) for row in range(light.x.shape[0])]
    images, doubts = zip(*parts, strict=True)
    return torch.stack(images) * grid.pixel_scale**2, torch.stack(doubts)[:, None] * grid.pixel_scale**2


def _stamp(plan, row, light, lens, subhalos, grid, map_: Tensor, texture: Tensor | None) -> tuple[Tensor, Tensor]:
    like, size = light.x, grid.size
    one = torch.tensor([row], device=like.device)
    shoot = _Shooter(map_, None if lens is None else lens[one], None if subhalos is None else subhalos[one])
    place, x, y, sign, columns, rows, level = _rays(plan, row, like)
    u, v = _source_positions(place, x, y, level, shoot, grid)
    if texture is None:
        values = list(light[one].moments(*shoot.back(u, v))[0])
    else:
        values = _look_up(texture, *_locate(u, v, level.clamp(min=0), int(light.index[row]), light.pyramid), light.pyramid.channels)
    lengths = columns * rows
    sums = torch.segment_reduce(torch.stack((*values, values[0] * sign), 1), "sum", lengths=lengths.reshape(-1), axis=0, unsafe=True)
    means = (sums / lengths.reshape(-1, 1).clamp(min=1)).T.reshape(-1, size, size)
    return means[:-1], means[-1]


class _Shooter:
    """Source positions, in pixels of the source image or units of the disk, of positions on the sky of one stamp."""

    def __init__(self, map_: Tensor, lens: MacroLens | None, subhalos: Subhalos | None):
        self.map, self.lens, self.subhalos = map_, lens, subhalos

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if self.lens is not None:
            ax, ay = deflection(self.lens, self.subhalos, x[None], y[None])
            x, y = x - ax[0], y - ay[0]
        c0, cx, cy, r0, rx, ry = self.map
        return c0 + cx * x + cy * y, r0 + rx * x + ry * y

    def back(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Source positions in arcsec, (1, rays) each."""
        c0, cx, cy, r0, rx, ry = self.map
        u, v, area = (u - c0)[None], (v - r0)[None], cx * ry - cy * rx
        return (ry * u - cy * v) / area, (cx * v - rx * u) / area


def _look_up(texture: Tensor, at: Tensor, up: Tensor, fx: Tensor, fy: Tensor, channels: int) -> list[Tensor]:
    """Every channel, interpolated between the four texels about each ray."""
    stride, values = texel(channels), []
    for k in range(channels):
        a, b = at + k, at + up + k
        low = texture[a] + fx * (texture[a + stride] - texture[a])
        high = texture[b] + fx * (texture[b + stride] - texture[b])
        values.append(low + fy * (high - low))
    return values


def _rays(plan: Plan, row: int, like: Tensor) -> tuple[Tensor, ...]:
    """Flat rays of a stamp: pixel, place in it, sign in the doubt; and the stamp's numbers of rays and each ray's level."""
    columns, rows, level = (
        torch.as_tensor(getattr(plan, k)[row].astype(np.int64), device=like.device) for k in ("columns", "rows", "level")
    )
    lengths = (columns * rows).reshape(-1)
    place = torch.repeat_interleave(torch.arange(len(lengths), device=like.device), lengths)
    number = torch.arange(len(place), device=like.device) - (lengths.cumsum(0) - lengths)[place]
    across, along = columns.reshape(-1)[place], rows.reshape(-1)[place]
    b = number // across
    a = number - b * across
    places, smooth, smoother = (torch.as_tensor(t, device=like.device, dtype=like.dtype) for t in (PLACES, SMOOTH, SMOOTHER))
    sign = smooth[across, a] * smooth[along, b] + smoother[across, a] + smoother[along, b]
    return place, places[across, a], places[along, b], sign, columns, rows, level.reshape(-1)[place]


def _source_positions(place: Tensor, x: Tensor, y: Tensor, level: Tensor, shoot: _Shooter, grid: Grid) -> tuple[Tensor, Tensor]:
    """To second order about the pixel centres, or traced through the lens, as the plan says."""
    wide = Grid(grid.size + 4, grid.pixel_scale)
    nodes = shoot(*wide.coordinates(x.dtype, x.device))
    i, j = place // grid.size, place % grid.size
    centre = (i + 2) * wide.size + j + 2
    u, v = (_second_order(k.reshape(-1), centre, wide.size, x, y) for k in nodes)
    traced = (level == TRACED).nonzero()[:, 0]
    half = (grid.size - 1) / 2
    sky_x, sky_y = (x[traced] + j[traced] - half) * grid.pixel_scale, (y[traced] + i[traced] - half) * grid.pixel_scale
    near_u, near_v = shoot(sky_x, sky_y)
    return u.index_copy(0, traced, near_u), v.index_copy(0, traced, near_v)


def _second_order(f: Tensor, at: Tensor, width: int, x: Tensor, y: Tensor) -> Tensor:
    """As `sampling._interpolate`, with the derivatives of `sampling._derivatives`."""

    def step(i: int, j: int) -> Tensor:
        return f[at + i * width + j]

    middle = f[at]
    fx = (step(0, 1) - step(0, -1)) * (2 / 3) - (step(0, 2) - step(0, -2)) / 12
    fy = (step(1, 0) - step(-1, 0)) * (2 / 3) - (step(2, 0) - step(-2, 0)) / 12
    fxx, fyy = (step(0, 1) + step(0, -1)) / 2 - middle, (step(1, 0) + step(-1, 0)) / 2 - middle
    fxy = (step(1, 1) + step(-1, -1) - step(1, -1) - step(-1, 1)) / 4
    return middle + x * (fx + fxx * x + fxy * y) + y * (fy + fyy * y)


def _locate(u: Tensor, v: Tensor, depth: Tensor, image: int, pyramid: Pyramid) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Lower left texel, step to the upper ones, and the shares between them, as `sampling._locate`."""
    stride = texel(pyramid.channels)
    offsets, heights, widths = (
        torch.as_tensor(t[image], device=u.device).long() for t in (pyramid.offsets, pyramid.heights, pyramid.widths)
    )
    inverse, width = 0.5 ** depth.to(u.dtype), widths[depth]
    px = ((u + 0.5) * inverse - 0.5 + EDGE).clamp(min=0).minimum(width - 1.5)
    py = ((v + 0.5) * inverse - 0.5 + EDGE).clamp(min=0).minimum(heights[depth] - 1.5)
    j, i = px.floor(), py.floor()
    return offsets[depth] + (i.long() * width + j.long()) * stride, width * stride, px - j, py - i
