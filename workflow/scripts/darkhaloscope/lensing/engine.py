"""Images to a stated accuracy: rays where the image needs them, and a check on every stamp.

`accuracy` is the largest error of a pixel over the stamp's greatest pixel, both behind the sharpest PSF that the
image will be convolved with, before noise. A PSF averages the errors of the pixels it covers: the wider it is, the
fewer rays a pixel needs. Without a PSF the accuracy is that of single pixels.

`render_accurate` renders each stamp once, with the rays that stamps behind such a PSF mostly need, estimates the
error of that very image from differences among its rays, and renders again, with more, the stamps that have not
reached the accuracy. Pixel images with bilinear interpolation follow a plan (`sampling`), summed by compiled loops
on a CPU and by torch elsewhere (`planned`); other lights are rendered by `render`, with the rays on a side doubled
until the estimate is met.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from . import kernels, sampling
from .lens import MacroLens, Subhalos, macro_lens
from .light import PixelLight
from .observe import convolve
from .planned import Plan, sum_plan
from .pyramid import EDGE, Pyramid, build_pyramid
from .render import Grid, Light, render

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
#: The same without a PSF.
TRUE_OVER_DOUBT_UNBLURRED = 0.6
#: True error over the change from the attempt before, whose error was larger.
TRUE_OVER_STEP = 1.3
#: Smear [pixels] of coarser source levels: what a blur forgives. None without a PSF.
REACH = 0.2
#: The compiled loops work in single precision and cannot promise more than this.
FINEST_ACCURACY = 1e-4
MAX_ATTEMPTS = 8
#: Rays on a side of each pixel in the attempts of the general path.
DOUBLINGS = (2, 4, 8, 16, 32)


def render_accurate(
    light: Light,
    lens: MacroLens | None,
    subhalos: Subhalos | None,
    grid: Grid,
    accuracy: float = 1e-3,
    kernel: Tensor | None = None,
    pyramid: Pyramid | None = None,
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
    pyramid : Pyramid, optional
        `build_pyramid(light.planes)`, to be made once when many calls share their images.
    rows_at_a_time : int
        Bounds the memory; changes no stamp.

    Returns
    -------
    (n, c, size, size) tensor
        Flux per pixel. A row's bits depend on its own parameters alone.
    """
    attempts = DOUBLINGS
    attempt = partial(_double, grid=grid, kernel=kernel)
    if isinstance(light, PixelLight) and light.interpolation == "bilinear" and accuracy >= FINEST_ACCURACY:
        pyramid = pyramid or build_pyramid(light.planes)
        first = first_density(kernel, accuracy)
        attempts = tuple(first * DENSER**k for k in range(MAX_ATTEMPTS))
        attempt = partial(_follow_plan, grid=grid, kernel=kernel, pyramid=pyramid)
    n = light.x.shape[0]
    parts = [
        _until_accurate(attempt, attempts, accuracy, light, lens, subhalos, torch.arange(start, min(start + rows_at_a_time, n)))
        for start in range(0, n, rows_at_a_time)
    ]
    return torch.cat(parts)


def first_density(kernel: Tensor | None, accuracy: float) -> float:
    """Rays per source pixel along a line with which most stamps behind this PSF reach the accuracy."""
    area = 1.0 if kernel is None else float(kernel.sum() ** 2 / (kernel * kernel).sum())
    return FIRST_DENSITY * area**BY_AREA * (accuracy / 1e-3) ** BY_ACCURACY


def compiled_images(
    light: PixelLight, lens: MacroLens | None, subhalos: Subhalos | None, grid: Grid, density: float, reach: float, pyramid: Pyramid
) -> tuple[Tensor, Tensor, Tensor]:
    """One pass of the compiled loops, threaded over rows.

    Parameters
    ----------
    density : float
        Rays per source pixel along a line.
    reach : float
        Length on the image [pixels] that a coarser level of the source may be smeared over.

    Returns
    -------
    image (n, c, size, size), doubt (n, 1, size, size), rays (n,)
        Flux per pixel; what the rays of a pixel differ by in alternating signs, in the same unit; rays per stamp.
    """
    n, size = light.x.shape[0], grid.size
    out, doubt = np.empty((n, pyramid.channels, size, size), np.float32), np.empty((n, size, size), np.float32)
    rays = np.zeros(n, np.int64)
    tables, source, shape, settings = _inputs(light, lens, subhalos, grid, density, reach, pyramid)
    _in_threads(
        lambda first, last: sampling.render_rows(
            first, last, out, doubt, rays, tables, source, shape, pyramid.texture, pyramid.offsets, settings
        ),
        n,
    )
    area = grid.pixel_scale**2
    return torch.as_tensor(out).to(light.x.dtype) * area, torch.as_tensor(doubt)[:, None].to(light.x.dtype) * area, torch.as_tensor(rays)


def plan_images(
    light: PixelLight, lens: MacroLens | None, subhalos: Subhalos | None, grid: Grid, density: float, reach: float, pyramid: Pyramid
) -> Plan:
    """Plan of the rays that `compiled_images` sums; made on the CPU whatever the light's device."""
    n, size = light.x.shape[0], grid.size
    plan = Plan(*(np.zeros((n, size, size), np.int16) for _ in range(3)))
    inputs = _inputs(light, lens, subhalos, grid, density, reach, pyramid)

    def run(first: int, last: int) -> None:
        u, v = np.empty((size + 4, size + 4), np.float32), np.empty((size + 4, size + 4), np.float32)
        sampling.plan_rows(first, last, plan.columns, plan.rows, plan.level, u, v, *inputs)

    _in_threads(run, n)
    return plan


def _inputs(light, lens, subhalos, grid: Grid, density: float, reach: float, pyramid: Pyramid) -> tuple:
    """Arguments of the compiled loops."""
    n = light.x.shape[0]
    lens = lens or macro_lens("sis", torch.zeros_like(light.x))
    bumps = bool((lens.m3 != 0).any() or (lens.m4 != 0).any())
    tables = (*lens_tables(lens), lens.profile != "epl", bumps, halo_table(subhalos, n))
    fineness = (np.full(n, density, np.float32), np.full(n, FLOOR, np.float32))
    return (
        tables,
        (source_table(light), light.index.cpu().numpy()),
        (pyramid.heights, pyramid.widths, pyramid.lively, EDGE),
        (np.float32(grid.pixel_scale), np.float32(reach), *fineness),
    )


def _in_threads(function: Callable[[int, int], None], n: int) -> None:
    """Call `function(first, last)` for as many parts of the rows as there are threads."""
    threads = min(torch.get_num_threads(), n)
    cuts = np.linspace(0, n, threads + 1).astype(int)
    if threads == 1:
        function(0, n)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda k: function(cuts[k], cuts[k + 1]), range(threads)))


def lens_tables(lens: MacroLens) -> tuple[np.ndarray, np.ndarray]:
    """Parameters of `kernels` and the coefficients of each row's power-law series."""
    p = {k: v.double().cpu().numpy() for k, v in vars(lens).items() if isinstance(v, Tensor)}
    n = len(p["theta_e"])
    e1, e2 = (np.zeros(n), np.zeros(n)) if lens.profile == "sis" else (p["e1"], p["e2"])
    t = p["slope"] - 1 if lens.profile == "epl" else np.ones(n)
    square = e1**2 + e2**2
    table = np.zeros((n, 13), np.float32)
    table[:, kernels.THETA_E], table[:, kernels.T] = p["theta_e"] * np.sqrt(1 - square), t
    table[:, kernels.E1], table[:, kernels.E2] = e1, e2
    for column, name in ((kernels.X, "x"), (kernels.Y, "y"), (kernels.G1, "gamma1"), (kernels.G2, "gamma2")):
        table[:, column] = p[name]
    for m, cosine, sine in ((3, kernels.M3C, kernels.M3S), (4, kernels.M4C, kernels.M4S)):
        amplitude = p[f"m{m}"] * p["theta_e"] / (1 - m * m)
        table[:, cosine], table[:, sine] = amplitude * np.cos(m * p[f"m{m}_phi"]), amplitude * np.sin(m * p[f"m{m}_phi"])
    terms = np.ceil(np.log(1e-7) / np.minimum(0.5 * np.log(np.maximum(square, 1e-12)), -1e-3)).astype(int)
    table[:, kernels.TERMS] = terms
    k = np.arange(1, terms.max() + 1)
    return table, ((2 * k - 2 + t[:, None]) / (2 * k + 2 - t[:, None])).astype(np.float32)


def halo_table(subhalos: Subhalos | None, n: int) -> np.ndarray:
    """Subhalos of `kernels`."""
    if subhalos is None:
        return np.zeros((n, 0, 7), np.float32)
    p = {k: np.nan_to_num(v.double().cpu().numpy(), nan=1.0) for k, v in vars(subhalos).items()}
    scale = p["alpha_rs"] / (1 + np.log(0.5)) / p["r_s"]
    columns = (p["kind"], p["x"], p["y"], p["theta_e"], p["r_s"], scale, p["r_t"])
    return np.stack(columns, -1).astype(np.float32)


def source_table(light: PixelLight) -> np.ndarray:
    """Affine maps from source positions to columns and rows of the images."""
    scale, phi, x, y = (getattr(light, k).double().cpu().numpy() for k in ("pixel_scale", "phi", "x", "y"))
    flip = np.where(light.flip.cpu().numpy(), -1.0, 1.0)
    h, w = light.planes.shape[2:]
    cx, cy, rx, ry = flip * np.cos(phi) / scale, flip * np.sin(phi) / scale, -np.sin(phi) / scale, np.cos(phi) / scale
    table = np.stack(((w - 1) / 2 - cx * x - cy * y, cx, cy, (h - 1) / 2 - rx * x - ry * y, rx, ry), 1)
    return table.astype(np.float32)


def _until_accurate(attempt, attempts, accuracy, light, lens, subhalos, rows: Tensor) -> Tensor:
    """Attempt rows, and those again, more finely, that are not accurate yet."""
    images, waiting, previous = None, torch.arange(len(rows)), None
    for fineness in attempts:
        chosen = rows[waiting]
        part = [None if r is None else r[chosen] for r in (light, lens, subhalos)]
        image, error = attempt(*part, fineness, previous)
        if images is None:
            images = image.clone()
        else:
            images[waiting] = image
        failed = error > accuracy
        waiting, previous = waiting[failed], image[failed]
        if not len(waiting):
            break
    return images


def _follow_plan(light, lens, subhalos, density, previous, *, grid: Grid, kernel: Tensor | None, pyramid: Pyramid):
    arguments = (light, lens, subhalos, grid, density, 0.0 if kernel is None else REACH, pyramid)
    if light.x.device.type == "cpu":
        image, doubt, _ = compiled_images(*arguments)
    else:
        image, doubt = sum_plan(plan_images(*arguments), light, lens, subhalos, grid, pyramid)
    factor = TRUE_OVER_DOUBT_UNBLURRED if kernel is None else TRUE_OVER_DOUBT
    error = max(factor, TRUE_OVER_DOUBT_DENSITY / density) * _relative(doubt, image[:, :1], kernel)
    if previous is None or kernel is None:
        return image, error
    # The step from the attempt before shows convergence that is faster than the doubt tells.
    return image, torch.minimum(error, TRUE_OVER_STEP * _relative((image - previous)[:, :1], image[:, :1], kernel))


def _double(light, lens, subhalos, rays, previous, *, grid: Grid, kernel: Tensor | None):
    """Rays on a side; the change from half as many is at least the error that is left where errors fall by two or more."""
    image = render(light, lens, subhalos, grid, rays)
    if previous is None:
        return image, torch.full((len(image),), torch.inf, dtype=image.dtype, device=image.device)
    return image, _relative((image - previous)[:, :1], image[:, :1], kernel)


def _relative(difference: Tensor, image: Tensor, kernel: Tensor | None) -> Tensor:
    if kernel is not None:
        difference, image = convolve(difference, kernel), convolve(image, kernel)
    peak = image.abs().amax((1, 2, 3))
    return torch.where(peak > 0, difference.abs().amax((1, 2, 3)) / torch.where(peak > 0, peak, 1.0), 0.0)
