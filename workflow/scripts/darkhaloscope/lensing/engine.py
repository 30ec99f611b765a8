"""Images to a stated accuracy: rays where the image needs them, and a check on every stamp.

`accuracy` is the largest error of a pixel over the stamp's greatest pixel, both behind the sharpest PSF that the
image will be convolved with, before noise. A PSF averages the errors of the pixels it covers: the wider it is, the
fewer rays a pixel needs. Without a PSF the accuracy is that of single pixels.

`render_accurate` renders each stamp once, with the rays that stamps behind such a PSF mostly need, estimates the
error of that very image from differences among its rays, and renders again, with more, the stamps that have not
reached the accuracy. Pixel images, and disks in closed form, follow a plan (`planned`) and are summed by compiled loops
(`sampling`) on a CPU; other lights, and lights on another device, are rendered by `render`, with the rays on a side doubled
until the estimate is met.

A pixel has at most `sampling.MOST` rays on a side. Where a source is so compact that it asks for more, a further attempt
changes nothing there, and what changed since the attempt before says nothing of the error. Such stamps are compared with
images of 2 × 2, 4 × 4, … pixels in place of each, and rendered by these until two in turn agree (`_split`).

`render_together` does so for one light behind several lenses with the same rays: what is left of their errors is much
the same, and the difference of two images that differ little is truer than either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from . import disks, sampling
from .lens import MacroLens, Subhalos, macro_lens
from .light import DiskLight, PixelLight
from .observe import convolve
from .packing import disk_tables, disk_units, halo_table, lens_tables, source_table
from .planned import Plan
from .profiles import MAIN
from .pyramid import EDGE, build_pyramid
from .render import Grid, Light, render

log = logging.getLogger("darkhaloscope")

#: A lens and its subhalos; no lens is the unlensed source.
Lensing = tuple[MacroLens | None, Subhalos | None]

#: Rays per source pixel along a line in the first attempt at 10⁻³ without a PSF, and the factor between attempts.
FIRST_DENSITY, DENSER = 5.8, 1.35
#: Powers of the PSF's noise-equivalent area 1/ΣP² [pixels] and of the accuracy with which the first density goes.
#: They cost time where they are wrong, not accuracy.
BY_AREA, BY_ACCURACY = -0.17, -0.42
#: Least rays along a side of a lit pixel: what the image itself asks for.
FLOOR = 3.0
#: True error over doubt, and over doubt times density: over 64 random lenses of disks and 64 of COSMOS galaxies the
#: largest found were 0.32 from 1.5 rays per source pixel on and 0.59 at 1, the medians 0.06 to 0.22.
TRUE_OVER_DOUBT, TRUE_OVER_DOUBT_DENSITY = 0.3, 0.75
#: The same for disks in closed form (over 8 of them at two densities the largest found was 0.54), and without a PSF.
TRUE_OVER_DOUBT_DISK, TRUE_OVER_DOUBT_UNBLURRED = 0.55, 0.6
#: True error over the change from the attempt before, whose error was larger.
TRUE_OVER_STEP = 1.3
#: Smear [pixels] of coarser source levels: what a blur forgives. None without a PSF.
REACH = 0.2
#: The compiled loops work in single precision and cannot promise more than this.
FINEST_ACCURACY = 1e-4
MAX_ATTEMPTS = 8
#: Pixels on a side in place of one, where `sampling.MOST` rays on a side are not enough.
SPLITS = (2, 4, 8, 16)
#: Rays per source pixel below which a full pixel is looked at: doubts were measured from 1.5 on. And of the plan that tells how many a
#: full pixel has: `sampling.MOST` of those span 128 source pixels.
ENOUGH, SPARSE = 2.0, 0.25
#: Rays on a side of each pixel in the attempts of the general path.
DOUBLINGS = (2, 4, 8, 16, 32)


def render_accurate(
    light: Light,
    lens: MacroLens | None,
    subhalos: Subhalos | None,
    grid: Grid,
    accuracy: float = 1e-3,
    kernel: Tensor | None = None,
    rows_at_a_time: int = 256,
) -> Tensor:
    """Image of lensed light before the PSF, to a largest pixel error relative to the stamp's peak.

    Parameters
    ----------
    light, lens, subhalos, grid : as in `render.render`
    accuracy : float
        Largest error of a pixel of the first plane over that plane's greatest pixel.
    kernel : (k, k) tensor, optional
        The sharpest PSF that the image will be convolved with: the accuracy is then that of the convolved
        image. Without it, it is that of the image itself, which takes many more rays.
    rows_at_a_time : int
        Bounds the memory; changes no stamp.

    Returns
    -------
    (n, c, size, size) tensor
        Flux per pixel. A row's bits depend on its own parameters alone.
    """
    return render_together(light, [(lens, subhalos)], grid, accuracy, kernel, rows_at_a_time)[0]


def render_together(
    light: Light,
    lensings: Sequence[Lensing],
    grid: Grid,
    accuracy: float = 1e-3,
    kernel: Tensor | None = None,
    rows_at_a_time: int = 256,
) -> list[Tensor]:
    """Images of one light behind several lenses, each as `render_accurate` makes it, with the rays that the neediest asks for."""
    attempts, split = DOUBLINGS, None
    attempt = partial(_double, grid=grid, kernel=kernel)
    if _planned(light) and accuracy >= FINEST_ACCURACY:
        light = _with_pyramid(light)
        first = first_density(kernel, accuracy)
        attempts = tuple(first * DENSER**k for k in range(MAX_ATTEMPTS))
        attempt = partial(_follow_plan, grid=grid, kernel=kernel)
        split = partial(_split, accuracy=accuracy, grid=grid, kernel=kernel)
    n = light.x.shape[0]
    parts = [
        _until_accurate(attempt, attempts, split, accuracy, light, lensings, torch.arange(start, min(start + rows_at_a_time, n)))
        for start in range(0, n, rows_at_a_time)
    ]
    return [torch.cat(images) for images in zip(*parts, strict=True)]


def first_density(kernel: Tensor | None, accuracy: float) -> float:
    """Rays per source pixel along a line with which most stamps behind this PSF reach the accuracy."""
    area = 1.0 if kernel is None else float(kernel.sum() ** 2 / (kernel * kernel).sum())
    return FIRST_DENSITY * area**BY_AREA * (accuracy / 1e-3) ** BY_ACCURACY


def compiled_images(
    light: PixelLight | DiskLight,
    lens: MacroLens | None,
    subhalos: Subhalos | None,
    grid: Grid,
    density: float,
    reach: float,
    plan: Plan | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One pass of the compiled loops, threaded over rows.

    Parameters
    ----------
    density : float
        Rays per source pixel along a line.
    reach : float
        Length on the image [pixels] that a coarser level of the source may be smeared over.
    plan : Plan, optional
        The rays to sum; those of `plan_images` by default.

    Returns
    -------
    image (n, c, size, size), doubt (n, 1, size, size), rays (n,)
        Flux per pixel; what the rays of a pixel differ by in alternating signs, in the same unit; rays per stamp.
    """
    n, size = light.x.shape[0], grid.size
    light = _with_pyramid(light)
    channels = 3 if isinstance(light, DiskLight) else light.pyramid.channels
    out, doubt = np.empty((n, channels, size, size), np.float32), np.empty((n, size, size), np.float32)
    rays = np.zeros(n, np.int64)
    tables, source, shape, settings = _inputs(light, lens, subhalos, grid, density, reach)
    texture, offsets = (np.zeros(1, np.float32), np.zeros((1, 1), np.int64)) if isinstance(light, DiskLight) else _texture(light)
    given = (np.zeros((0, size, size), np.int16),) * 3 if plan is None else (plan.columns, plan.rows, plan.level)
    _in_threads(
        lambda first, last: sampling.render_rows(first, last, out, doubt, rays, given, tables, source, shape, texture, offsets, settings),
        n,
    )
    area = grid.pixel_scale**2
    return torch.as_tensor(out).to(light.x.dtype) * area, torch.as_tensor(doubt)[:, None].to(light.x.dtype) * area, torch.as_tensor(rays)


def plan_images(
    light: PixelLight | DiskLight, lens: MacroLens | None, subhalos: Subhalos | None, grid: Grid, density: float, reach: float
) -> Plan:
    """Plan of the rays that `compiled_images` sums; made on the CPU whatever the light's device."""
    n, size = light.x.shape[0], grid.size
    plan = Plan(*(np.zeros((n, size, size), np.int16) for _ in range(3)))
    inputs = _inputs(_with_pyramid(light), lens, subhalos, grid, density, reach)

    def run(first: int, last: int) -> None:
        u, v = np.empty((size + 4, size + 4), np.float32), np.empty((size + 4, size + 4), np.float32)
        sampling.plan_rows(first, last, plan.columns, plan.rows, plan.level, u, v, *inputs)

    _in_threads(run, n)
    return plan


def _planned(light: Light) -> bool:
    """Whether the compiled loops know the light, and can reach it."""
    return isinstance(light, DiskLight | PixelLight) and light.x.device.type == "cpu"


def _with_pyramid(light: PixelLight | DiskLight) -> PixelLight | DiskLight:
    if isinstance(light, DiskLight) or light.pyramid is not None:
        return light
    return replace(light, pyramid=build_pyramid(light.planes))


def _texture(light: PixelLight) -> tuple[np.ndarray, np.ndarray]:
    return light.pyramid.texture, light.pyramid.offsets


def _inputs(light, lens, subhalos, grid: Grid, density: float, reach: float) -> tuple:
    """Arguments of the compiled loops."""
    n = light.x.shape[0]
    lens = lens or macro_lens("sis", torch.zeros_like(light.x))
    bumps = bool((lens.m3 != 0).any() or (lens.m4 != 0).any())
    tables = (*lens_tables(lens), "slope" not in MAIN[lens.profile].parameters, bumps, halo_table(lens, subhalos))
    if isinstance(light, DiskLight):
        side = np.full((1, 1), disks.BLOCKS * sampling.SHARE_BLOCK, np.int32)
        index, shape, parts = np.zeros(n, np.int64), (side, side, np.zeros((1, 1, 1), np.float32), 0), disk_tables(light)
        densities = density * disk_units(light)[1]
    else:
        p = light.pyramid
        index, shape, parts = light.index.cpu().numpy(), (p.heights, p.widths, p.ray_share, EDGE), disk_tables(None)
        densities = np.full(n, density)
    settings = (np.float32(grid.pixel_scale), np.float32(reach), densities.astype(np.float32), np.full(n, FLOOR, np.float32))
    return tables, (source_table(light).astype(np.float32), index, *parts), shape, settings


def _in_threads(function: Callable[[int, int], None], n: int) -> None:
    """Call `function(first, last)` for as many parts of the rows as there are threads."""
    threads = min(torch.get_num_threads(), n)
    cuts = np.linspace(0, n, threads + 1).astype(int)
    if threads == 1:
        function(0, n)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda k: function(cuts[k], cuts[k + 1]), range(threads)))


def _until_accurate(attempt, attempts, split, accuracy, light, lensings: Sequence[Lensing], rows: Tensor) -> list[Tensor]:
    """Attempt rows, and those again, more finely, of which an image is not accurate yet."""
    images, waiting, previous = None, torch.arange(len(rows)), None
    for fineness in attempts:
        some = _of_rows(lensings, rows[waiting])
        found, error, lacking = attempt(light[rows[waiting]], some, fineness, previous)
        failed = (error > accuracy).cpu()
        stuck = failed if fineness == attempts[-1] else ~failed & (lacking > accuracy).cpu()
        if split is not None and bool(stuck.any()):
            mended = split(light[rows[waiting[stuck]]], _of_rows(some, stuck), [image[stuck] for image in found], fineness)
            for image, better in zip(found, mended, strict=True):
                image[stuck] = better
        if images is None:
            images = [image.clone() for image in found]
        else:
            for image, again in zip(images, found, strict=True):
                image[waiting] = again
        waiting, previous = waiting[failed], [image[failed] for image in found]
        if not len(waiting):
            return images
    if split is None:
        _tell_unfinished(len(waiting), accuracy)
    return images


def _of_rows(lensings: Sequence[Lensing], rows: Tensor) -> list[Lensing]:
    return [tuple(None if part is None else part[rows] for part in lensing) for lensing in lensings]


def _follow_plan(light, lensings: list[Lensing], density, previous, *, grid: Grid, kernel: Tensor | None):
    """Images of one plan, the error of each row, and the error of rows of which pixels are full and have not enough rays: 0 where none is."""
    images, doubts, full = _planned_images(light, lensings, density, grid, 0.0 if kernel is None else REACH)
    errors, lacking = [], []
    for k, (image, doubt) in enumerate(zip(images, doubts, strict=True)):
        factor = TRUE_OVER_DOUBT_DISK if isinstance(light, DiskLight) else TRUE_OVER_DOUBT
        factor = TRUE_OVER_DOUBT_UNBLURRED if kernel is None else factor
        factor = max(factor, TRUE_OVER_DOUBT_DENSITY / density)
        peak, step = _peak(image[:, :1], kernel), None
        error = factor * _relative(doubt, peak, kernel)
        if previous is not None and kernel is not None:
            # The step from the attempt before shows convergence that is faster than the doubt tells.
            step = (image - previous[k])[:, :1]
            error = torch.minimum(error, TRUE_OVER_STEP * _relative(step, peak, kernel))
        errors.append(error)
        lacking.append(torch.zeros_like(error))
        # A full pixel has the same rays in every attempt: its step is none, and its doubt is that of the rays it has.
        rows = (full & (doubt != 0)).flatten(1).any(1)
        if bool(rows.any()):
            some, (lensing,) = light[rows], _of_rows([lensings[k]], rows)
            sparse = plan_images(some, *lensing, grid, SPARSE, 0.0 if kernel is None else REACH)
            asked = torch.as_tensor(np.maximum(sparse.columns, sparse.rows)[:, None], dtype=doubt.dtype, device=doubt.device)
            few = full[rows] & (asked > SPARSE * sampling.MOST / ENOUGH)
            scaled = doubt[rows] * (TRUE_OVER_DOUBT_DENSITY / SPARSE * asked / sampling.MOST).clamp(min=factor)
            found = _relative(torch.where(few, scaled, factor * doubt[rows]), peak[rows], kernel)
            if step is not None:
                mixed = torch.where(few, scaled, TRUE_OVER_STEP * step[rows])
                found = torch.minimum(found, _relative(mixed, peak[rows], kernel))
            found = torch.where((few & (doubt[rows] != 0)).flatten(1).any(1), found, torch.zeros_like(found))
            lacking[-1][rows] = found
    return images, torch.stack(errors).amax(0), torch.stack(lacking).amax(0)


def _planned_images(light, lensings: list[Lensing], density, grid: Grid, reach: float):
    """Images and doubts behind each lens, (n, c, size, size) and (n, 1, size, size), and which pixels have as many rays as there may be."""
    plan = Plan.finest([plan_images(light, *lensing, grid, density, reach) for lensing in lensings])
    images, doubts = [], []
    for lensing in lensings:
        image, doubt, _ = compiled_images(light, *lensing, grid, density, reach, plan)
        images.append(image)
        doubts.append(doubt)
    full = (plan.columns == sampling.MOST) | (plan.rows == sampling.MOST)
    return images, doubts, torch.as_tensor(full[:, None], device=light.x.device)


def _split(light, lensings: list[Lensing], images: list[Tensor], density, *, accuracy, grid: Grid, kernel: Tensor | None) -> list[Tensor]:
    """Keep images of which those of twice the rays along each side differ by less than the accuracy; put the latter in place of others."""
    images, waiting = [image.clone() for image in images], torch.arange(len(light.x))
    for pixels in SPLITS:
        density, finer = density * DENSER, Grid(grid.size * pixels, grid.pixel_scale / pixels)
        # At the finest level of the source: what is smaller than a pixel is what the first image lacks. Memory is that of unsplit stamps.
        failed = []
        for rows in waiting.split(max(256 // pixels**2, 1)):
            found, _, _ = _planned_images(light[rows], _of_rows(lensings, rows), density, finer, 0.0)
            found = [f.reshape(*f.shape[:2], grid.size, pixels, grid.size, pixels).sum((3, 5)) for f in found]
            steps = [_relative((f - image[rows])[:, :1], _peak(f[:, :1], kernel), kernel) for f, image in zip(found, images, strict=True)]
            worse = (TRUE_OVER_STEP * torch.stack(steps).amax(0) > accuracy).cpu()
            for image, better in zip(images, found, strict=True):
                image[rows[worse]] = better[worse]
            failed.append(rows[worse])
        waiting = torch.cat(failed)
        if not len(waiting):
            return images
    _tell_unfinished(len(waiting), accuracy)
    return images


def _tell_unfinished(count: int, accuracy: float) -> None:
    log.warning(
        "%d images are not accurate to %g of their peak with as many rays as there may be; make the source less compact, or `accuracy` larger",
        count,
        accuracy,
    )


def _double(light, lensings: list[Lensing], rays, previous, *, grid: Grid, kernel: Tensor | None):
    """Rays on a side; the change from half as many is at least the error that is left where errors fall by two or more."""
    images = [render(light, *lensing, grid, rays) for lensing in lensings]
    none = torch.zeros(len(images[0]), dtype=images[0].dtype, device=images[0].device)
    if previous is None:
        return images, none + torch.inf, none
    steps = [_relative((a - b)[:, :1], _peak(a[:, :1], kernel), kernel) for a, b in zip(images, previous, strict=True)]
    return images, torch.stack(steps).amax(0), none


def _peak(image: Tensor, kernel: Tensor | None) -> Tensor:
    return (image if kernel is None else convolve(image, kernel)).abs().amax((1, 2, 3))


def _relative(difference: Tensor, peak: Tensor, kernel: Tensor | None) -> Tensor:
    if kernel is not None:
        difference = convolve(difference, kernel)
    return torch.where(peak > 0, difference.abs().amax((1, 2, 3)) / torch.where(peak > 0, peak, 1.0), 0.0)
