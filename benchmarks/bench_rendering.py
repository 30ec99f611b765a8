"""Stamps per second and core at a stated accuracy: this engine, lenstronomy and caustics.

Two sets of stamps, each rendered by every tool on the same rows, in one process, with one thread:

(a) subhalo: 48 × 48 at 0.08″, Gaussian PSF of 0.12″, three moment planes of a rotating disk drawn on 0.02″
    pixels, SIE + shear + NFW subhalo;
(b) lens finder: 64 × 64 at 0.262″, one galaxy image in three bands with Moffat PSFs of 1.2, 1.35 and 1.5″,
    SIE + shear. Galaxies are real COSMOS ones (`--cosmos` names the FITS file of images at 0.03″) or, without
    it, clumpy disks with noise.

The error of a stamp is its largest pixel error over its peak, after the PSF (the sharpest one), against
32 × 32 rays per pixel by `darkhaloscope.lensing.render`, the same source interpolation. lenstronomy shoots
its rays once per stamp for all planes and bands; caustics traces 8 stamps at once, in float32. Each stamp gets the
coarsest uniform supersampling out of a list that reaches the accuracy on that stamp: what a user who knew
the error beforehand would take. A tool's time is the sum over stamps of what that supersampling takes, PSFs
included. Times are those of the process, so that other work on the machine counts as little as may be; figures of
separate runs differ, ratios within a run less.

    PYTHONPATH=workflow/scripts python benchmarks/bench_rendering.py --cosmos real_galaxy_images.fits
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import resource
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from numba import njit
from scipy.signal import fftconvolve

from darkhaloscope.config.subhalo import Psf
from darkhaloscope.lensing import engine, sampling
from darkhaloscope.lensing.engine import compiled_images, plan_images, render_accurate
from darkhaloscope.lensing.lens import Subhalos, macro_lens
from darkhaloscope.lensing.light import DiskLight, PixelLight
from darkhaloscope.lensing.observe import convolve, psf_kernel
from darkhaloscope.lensing.pyramid import build_pyramid
from darkhaloscope.lensing.reference import render_with_lenstronomy
from darkhaloscope.lensing.render import Grid, render

SUPERSAMPLINGS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
CONVERGED = 32
ACCURACIES = (1e-2, 1e-3)
#: Stamps that caustics traces at once (more are no faster), and how often this engine's batch holds each stamp.
TOGETHER, REPEATED = 8, 8
#: Floating-point operations of one ray of one plane: interpolated source position 22, texel and shares 10, bilinear 6.
FLOPS_PER_RAY, FLOPS_PER_PLANE = 32, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=int, default=32, help="stamps in each set")
    parser.add_argument("--cosmos", help="FITS file of galaxy images at 0.03 arcsec, one per HDU")
    parser.add_argument("--memory-stamps", type=int, nargs="*", default=[1000, 100000], help="peak memory of making so many stamps")
    parser.add_argument("--json", help="write the figures here as well")
    parser.add_argument("--only-memory", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.only_memory:
        print(memory_of(arguments.only_memory, arguments.cosmos))
        return
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread, {time.strftime('%Y-%m-%d')}")
    peak = machine_peak()
    print(f"a float32 loop in cache: {peak / 1e9:.0f} Gflop/s")
    results = {}
    for name, rows in (("a subhalo", subhalo_rows(arguments.stamps)), ("b lens finder", finder_rows(arguments.stamps, arguments.cosmos))):
        results[name] = bench(name, *rows, peak)
    results["memory_mb"] = {count: memory_in_a_process(count, arguments.cosmos) for count in arguments.memory_stamps}
    for count, megabytes in results["memory_mb"].items():
        print(f"peak memory of {count} stamps of (b), 256 at a time: {megabytes:.0f} MB")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


def bench(name: str, light, lens, subhalos, grid: Grid, kernels: list[torch.Tensor], peak: float) -> dict:
    """Time every tool on one set of stamps."""
    n = light.x.shape[0]
    print(f"\n({name}) {n} stamps of {grid.size} × {grid.size}, {light.planes.shape[1]} planes, {len(kernels)} PSFs")
    truth = convolve(render(light, lens, subhalos, grid, CONVERGED), kernels[0])
    single = PixelLight(
        light.planes.float(), light.index, *(getattr(light, k).float() for k in ("pixel_scale", "x", "y", "phi")), light.flip
    )
    single = replace(single, pyramid=build_pyramid(single.planes))
    start = time.process_time()
    build_pyramid(single.planes)
    print(f"  levels of a source image, made once per image: {(time.process_time() - start) / len(single.planes) * 1e3:.1f} ms")
    others = {"lenstronomy": time_lenstronomy(light, lens, subhalos, grid, kernels, truth)}
    if importlib.util.find_spec("caustics") is None:
        print("  caustics is not installed: not compared")
    else:
        others["caustics"] = time_caustics(single, lens, subhalos, grid, kernels, truth)
    out = {}
    for accuracy in ACCURACIES:
        seconds, images = time_ours(single, lens, subhalos, grid, kernels, accuracy)
        error = relative(images, truth)
        print(f"  accuracy {accuracy:g}")
        print(
            f"    ours        {n / seconds:8.0f} stamps/s/core; error median {np.median(error):.1e}, largest {error.max():.1e}, "
            f"within the accuracy {(error <= accuracy).sum()} of {n}"
        )
        out[f"{accuracy:g}"] = figures = {"ours": n / seconds, "error": float(error.max()), "within": int((error <= accuracy).sum())}
        for tool, measured in others.items():
            cost, counts, missed = coarsest(measured, accuracy)
            print(f"    {tool:11} {n / cost:8.1f} stamps/s/core; coarsest supersampling that reaches it: {counts}{missed}")
            print(f"    ratio       {cost / seconds:8.1f}")
            figures |= {tool: n / cost, f"ours over {tool}": cost / seconds, f"{tool} supersampling": counts}
        profile(single, lens, subhalos, grid, kernels, accuracy, seconds / n * 1e3, peak)
    return out


def coarsest(measured: dict[int, tuple[list[float], np.ndarray]], accuracy: float) -> tuple[float, str, str]:
    """Seconds of all stamps, each at its coarsest supersampling within the accuracy; how many got which."""
    n = len(measured[SUPERSAMPLINGS[0]][0])
    cost, chosen, missed = 0.0, [], 0
    for stamp in range(n):
        best = next((s for s in SUPERSAMPLINGS if measured[s][1][stamp] <= accuracy), None)
        missed += best is None
        chosen.append(best or SUPERSAMPLINGS[-1])
        cost += measured[chosen[-1]][0][stamp]
    counts = ", ".join(f"{chosen.count(s)} × {s}²" for s in sorted(set(chosen)))
    return cost, counts, f" ({missed} did not reach it at all)" if missed else ""


def time_ours(light, lens, subhalos, grid, kernels, accuracy) -> tuple[float, torch.Tensor]:
    """Seconds of the fastest of five runs, with all PSFs applied; images behind the first PSF.

    The stamps are taken `REPEATED` times over in one batch, as many as a batch of the workflow has.
    """
    n, best = light.x.shape[0], np.inf
    rows = torch.arange(REPEATED * n) % n
    batch = (light[rows], lens[rows], None if subhalos is None else subhalos[rows])
    for _ in range(6):  # the first run compiles
        start = time.process_time()
        images = render_accurate(*batch, grid, accuracy, kernels[0])
        observed = [convolve(images, kernel) for kernel in kernels]
        best = min(best, (time.process_time() - start) / REPEATED)
    return best, observed[0][:n]


def time_lenstronomy(light, lens, subhalos, grid, kernels, truth) -> dict[int, tuple[list[float], np.ndarray]]:
    """Seconds and error of every stamp at every supersampling up to the one that the finest accuracy needs."""
    n = light.x.shape[0]
    out = {s: ([0.0] * n, np.full(n, np.inf)) for s in SUPERSAMPLINGS}
    # The first call compiles lenstronomy's own numba functions.
    render_with_lenstronomy(light[:1], lens[:1], None if subhalos is None else subhalos[:1], grid, 1)
    for stamp in range(n):
        one = torch.tensor([stamp])
        halo = None if subhalos is None else subhalos[one]
        for s in SUPERSAMPLINGS:
            start = time.process_time()
            image = render_with_lenstronomy(light[one], lens[one], halo, grid, s)[0].numpy()
            observed = [np.stack([fftconvolve(plane, kernel.numpy(), mode="same") for plane in image]) for kernel in kernels]
            out[s][0][stamp] = time.process_time() - start
            out[s][1][stamp] = relative(torch.as_tensor(observed[0])[None], truth[stamp : stamp + 1])[0]
            if out[s][1][stamp] <= min(ACCURACIES):
                break
    return out


def time_caustics(light, lens, subhalos, grid, kernels, truth) -> dict[int, tuple[list[float], np.ndarray]]:
    """As `time_lenstronomy`; a stamp's seconds are its share of its batch's."""
    n = light.x.shape[0]
    out = {s: ([0.0] * n, np.full(n, np.inf)) for s in SUPERSAMPLINGS}
    waiting = torch.arange(n)
    for s in SUPERSAMPLINGS:
        for rows in waiting.split(TOGETHER):
            start = time.process_time()
            images = render_with_caustics(light[rows], lens[rows], None if subhalos is None else subhalos[rows], grid, s)
            observed = [convolve(images, kernel) for kernel in kernels]
            seconds = (time.process_time() - start) / len(rows)
            errors = relative(observed[0], truth[rows])
            for row, error in zip(rows.tolist(), errors, strict=True):
                out[s][0][row], out[s][1][row] = seconds, error
        waiting = waiting[torch.as_tensor(out[s][1])[waiting] > min(ACCURACIES)]
        if not len(waiting):
            break
    return out


def render_with_caustics(light, lens, subhalos, grid: Grid, supersampling: int) -> torch.Tensor:
    """caustics' deflections and bilinear interpolation, all stamps and planes at once."""
    from caustics.lenses.func import reduced_deflection_angle_external_shear as shear
    from caustics.lenses.func import reduced_deflection_angle_sie as sie
    from caustics.lenses.func.nfw import _h_nfw
    from caustics.utils import interp2d

    fine = Grid(grid.size * supersampling, grid.pixel_scale / supersampling)
    x, y = (t.reshape(1, -1) for t in fine.coordinates(torch.float32))
    p = {k: v.float()[:, None] for k, v in vars(lens).items() if isinstance(v, torch.Tensor)}
    e = (p["e1"] ** 2 + p["e2"] ** 2).sqrt()
    ax, ay = sie(p["x"], p["y"], (1 - e) / (1 + e), torch.atan2(p["e2"], p["e1"]) / 2, p["theta_e"], x, y)
    bx, by = shear(0.0, 0.0, p["gamma1"], p["gamma2"], x, y)
    ax, ay = ax + bx, ay + by
    for k in range(0 if subhalos is None else subhalos.kind.shape[1]):
        q = {key: v[:, k, None].float() for key, v in vars(subhalos).items()}
        dx, dy = x - q["x"], y - q["y"]
        r = (dx * dx + dy * dy).sqrt() / q["r_s"]
        scale = q["alpha_rs"] / (1 + np.log(0.5)) / q["r_s"] * _h_nfw(r) / (r * r)
        ax, ay = ax + scale * dx, ay + scale * dy
    dx, dy = x - ax - light.x[:, None], y - ay - light.y[:, None]
    c, s = torch.cos(light.phi)[:, None], torch.sin(light.phi)[:, None]
    h, w = light.planes.shape[2:]
    u, v = (c * dx + s * dy) * torch.where(light.flip, -1.0, 1.0)[:, None], c * dy - s * dx
    side = light.pixel_scale[:, None] / 2
    every_plane = torch.vmap(interp2d, in_dims=(0, None, None))
    values = torch.vmap(every_plane)(light.planes[light.index], u / (w * side), v / (h * side))
    cells = values.reshape(*values.shape[:2], grid.size, supersampling, grid.size, supersampling)
    return cells.mean((3, 5)) * grid.pixel_scale**2


def profile(light, lens, subhalos, grid, kernels, accuracy: float, measured: float, peak: float) -> None:
    """Where the time goes in a first attempt, and a bound: its look-ups and transforms at the speed they have alone."""
    n, planes = light.x.shape[0], light.planes.shape[1]

    def clock(function) -> float:
        function()
        times = []
        for _ in range(5):
            start = time.process_time()
            function()
            times.append(time.process_time() - start)
        return min(times) / n * 1e3

    density = engine.first_density(kernels[0], accuracy)
    arguments = (light, lens, subhalos, grid, density, engine.REACH)
    rays = float(plan_images(*arguments).rays.mean())
    plan, one_pass = clock(lambda: plan_images(*arguments)), clock(lambda: compiled_images(*arguments))
    image = torch.zeros(n, 1, grid.size, grid.size)
    blur = clock(lambda: convolve(image, kernels[0]))
    transforms = blur * (len(kernels) * planes + 2)
    flops = rays * (FLOPS_PER_RAY + FLOPS_PER_PLANE * planes)
    look_up = seconds_per_look_up(planes) * 1e9
    bound = rays * look_up * 1e-6 + transforms
    print(
        f"    profile     {measured:.3f} ms per stamp; first attempt: nodes and plan {plan:.3f}, its {rays:.0f} rays {one_pass - plan:.3f}"
    )
    rest = max(measured - one_pass - transforms, 0)
    print(f"                convolutions of images and doubt {transforms:.3f} ({blur:.3f} each); further attempts and the rest {rest:.3f}")
    print(f"    bound       {bound:.3f} ms: {rays:.0f} rays at {look_up:.2f} ns, a bare look-up of {planes} planes, and the convolutions;")
    share = flops / peak * 1e3
    print(f"                the rays' arithmetic alone at peak {share:.3f} ms; the engine takes {measured / bound:.1f} times the bound")


def seconds_per_look_up(planes: int) -> float:
    """Of the compiled loop that looks up one ray, positions known and texture in cache."""
    rng, count, width = np.random.default_rng(0), 64, 120
    stride = sampling.texel(planes)
    texture = rng.uniform(size=width * width * stride).astype(np.float32)
    x, y, sign, used = rng.uniform(size=(4, count)).astype(np.float32)
    at = (stride * (rng.integers(0, 8, count) + width * rng.integers(0, 8, count))).astype(np.uint32)
    total = np.empty(5, np.float32)
    times = []
    for _ in range(4):
        start = time.process_time()
        _look_up_often(20000, planes, count, x, y, sign, used, at, width * stride, stride, texture, total)
        times.append(time.process_time() - start)
    return min(times) / 20000 / count


@njit
def _look_up_often(times, planes, count, x, y, sign, used, at, up, stride, texture, total):
    for _ in range(times):
        if planes == 1:
            sampling._sum(count, x, y, sign, used, at, up, texture, total)
        else:
            for group in range(0, planes, 4):
                sampling._sum_four(count, x, y, sign, used, at, up, stride, texture, group, total)


def machine_peak() -> float:
    """Float32 operations per second of a loop of multiply-adds on an array in cache."""
    values, times = np.ones(512, np.float32), []
    for _ in range(4):
        start = time.process_time()
        _multiply_add(values, 20000)
        times.append(time.process_time() - start)
    return 512 * 16 * 2 * 20000 / min(times)


@njit(fastmath={"contract"})
def _multiply_add(values, times):
    a, b = np.float32(0.999), np.float32(0.001)
    for _ in range(times):
        for k in range(values.shape[0]):
            v = values[k]
            for _ in range(16):
                v = v * a + b
            values[k] = v


def memory_in_a_process(count: int, cosmos: str | None) -> float:
    """Peak resident memory [MB] of a fresh process that renders `count` stamps."""
    command = [sys.executable, __file__, "--only-memory", str(count), *(["--cosmos", cosmos] if cosmos else [])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def memory_of(count: int, cosmos: str | None) -> float:
    """Peak resident memory [MB] after rendering `count` stamps at 10⁻², 256 at a time."""
    light, lens, subhalos, grid, kernels = finder_rows(256, cosmos)
    light = PixelLight(
        light.planes.float(), light.index, *(getattr(light, k).float() for k in ("pixel_scale", "x", "y", "phi")), light.flip
    )
    light = replace(light, pyramid=build_pyramid(light.planes))
    for start in range(0, count, 256):
        rows = torch.arange(min(256, count - start))
        convolve(render_accurate(light[rows], lens[rows], subhalos, grid, 1e-2, kernels[0]), kernels[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def relative(images: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    """Largest error of the first plane over its peak."""
    return ((images[:, 0].double() - truth[:, 0]).abs().amax((1, 2)) / truth[:, 0].amax((1, 2))).numpy()


def lens_rows(rng: np.random.Generator, n: int, theta_e: tuple[float, float]):
    e, phi, shear, angle = rng.uniform(0, 0.33, n), rng.uniform(0, np.pi, n), rng.uniform(0, 0.05, n), rng.uniform(0, np.pi, n)
    parts = {"e1": e * np.cos(2 * phi), "e2": e * np.sin(2 * phi), "gamma1": shear * np.cos(2 * angle), "gamma2": shear * np.sin(2 * angle)}
    return macro_lens("sie", torch.as_tensor(rng.uniform(*theta_e, n)), **{k: torch.as_tensor(v) for k, v in parts.items()})


def pixel_rows(rng: np.random.Generator, n: int, planes: torch.Tensor, scale: float, spread: float) -> PixelLight:
    x, y = torch.as_tensor(rng.normal(0, spread, (2, n)))
    phi, flip = torch.as_tensor(rng.uniform(0, 2 * np.pi, n)), torch.as_tensor(rng.uniform(size=n) < 0.5)
    index = torch.as_tensor(rng.integers(0, len(planes), n))
    return PixelLight(planes, index, torch.full((n,), scale, dtype=torch.float64), x, y, phi, flip)


def subhalo_rows(n: int):
    rng = np.random.default_rng(1)
    lens = lens_rows(rng, n, (0.8, 1.2))
    angle = rng.uniform(0, 2 * np.pi, n)
    nan = torch.full((n, 1), torch.nan, dtype=torch.float64)
    place = {k: (lens.theta_e * 1.05 * torch.as_tensor(f(angle)))[:, None] for k, f in (("x", np.cos), ("y", np.sin))}
    # M200 = 10^9.5 M☉, c = 15, z 0.3 and 1.5
    halo = {"r_s": torch.full_like(nan, 0.41), "alpha_rs": torch.full_like(nan, 0.0084)}
    subhalos = Subhalos(torch.full((n, 1), 2), theta_e=nan, r_t=nan, **place, **halo)
    light = pixel_rows(rng, n, disk_planes(rng, 10), 0.02, 0.1)
    return light, lens, subhalos, Grid(48, 0.08), [psf_kernel(Psf(fwhm_arcsec=0.12), 0.08)]


def finder_rows(n: int, cosmos: str | None):
    rng = np.random.default_rng(2)
    planes = cosmos_planes(cosmos) if cosmos else clumpy_planes(rng, 10)
    light = pixel_rows(rng, n, planes, 0.03, 0.2)
    kernels = [psf_kernel(Psf(kind="moffat", fwhm_arcsec=fwhm), 0.262) for fwhm in (1.2, 1.35, 1.5)]
    return light, lens_rows(rng, n, (0.5, 2.5)), None, Grid(64, 0.262), kernels


def disk_planes(rng: np.random.Generator, m: int) -> torch.Tensor:
    def draw(low, high, *shape):
        return torch.as_tensor(rng.uniform(low, high, (m, *shape)))

    zero = torch.zeros(m, dtype=torch.float64)
    disk = DiskLight(
        flux=zero + 1, x=zero, y=zero, pa=draw(0, 6), inclination=draw(0.5, 1.1), scale_radius=draw(0.12, 0.3), bulge_fraction=draw(0, 0.3),
        bulge_n=zero + 2, bulge_radius=zero + 0.08, knot_x=draw(-0.3, 0.3, 8), knot_y=draw(-0.3, 0.3, 8), knot_share=draw(0.01, 0.05, 8),
        knot_sigma=draw(0.02, 0.04, 8), v_max=draw(120, 280), r_turn=draw(0.05, 0.15), v_sys=zero, sigma0=zero + 30, bar_amplitude=zero,
        bar_phi=zero, radial_flow=zero,
    )  # fmt: skip
    return render(disk, None, None, Grid(96, 0.02), 3) / 0.02**2


def clumpy_planes(rng: np.random.Generator, m: int) -> torch.Tensor:
    y, x = np.mgrid[:120, :120] - 59.5
    planes = np.zeros((m, 1, 120, 120))
    for image in planes:
        image += np.exp(-np.hypot(x, y / rng.uniform(0.4, 1)) / rng.uniform(5, 15))
        for _ in range(10):
            cx, cy = rng.normal(0, 12, 2)
            image += rng.uniform(0.1, 0.5) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * rng.uniform(1.5, 4) ** 2))
        image += rng.normal(0, 0.03, image.shape)
    return torch.as_tensor(planes)


def cosmos_planes(path: str) -> torch.Tensor:
    from astropy.io import fits

    with fits.open(path) as hdus:
        images = [np.asarray(hdu.data, float) for hdu in hdus if hdu.data is not None]
    side = max(max(image.shape) for image in images)
    planes = np.zeros((len(images), 1, side, side))
    for plane, image in zip(planes[:, 0], images, strict=True):
        top, left = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
        plane[top : top + image.shape[0], left : left + image.shape[1]] = image
    return torch.as_tensor(planes / 0.03**2)


if __name__ == "__main__":
    main()
