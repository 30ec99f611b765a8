"""Stamps per second and core at a stated accuracy: this engine, lenstronomy and, where installed, caustics.

Two sets of stamps, each rendered by every tool on the same rows, in one process, with one thread:

(a) subhalo: 48 × 48 at 0.08″, Gaussian PSF of 0.12″, three moment planes of a rotating disk drawn on 0.02″
    pixels, SIE + shear + NFW subhalo;
(b) lens finder: 64 × 64 at 0.262″, one galaxy image in three bands with Moffat PSFs of 1.2, 1.35 and 1.5″,
    SIE + shear. Galaxies are real COSMOS ones (`--cosmos` names the FITS file of images at 0.03″) or, without
    it, clumpy disks with noise.

The error of a stamp is its largest pixel error over its peak, after the PSF (the sharpest one), against
24 × 24 rays per pixel by `darkhaloscope.lensing.render`, the same source interpolation. lenstronomy shoots
its rays once per stamp for all planes and bands, and each stamp gets the coarsest uniform supersampling out
of the list that reaches the accuracy; its time is what that supersampling takes on that stamp.

    PYTHONPATH=workflow/scripts python benchmarks/bench_rendering.py --stamps 32 --cosmos real_galaxy_images.fits
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import resource
import time

import numpy as np
import torch
from scipy.signal import fftconvolve

from darkhaloscope.config.subhalo import Psf
from darkhaloscope.lensing.engine import compiled_images, render_accurate
from darkhaloscope.lensing.lens import Subhalos, macro_lens
from darkhaloscope.lensing.light import DiskLight, PixelLight
from darkhaloscope.lensing.observe import convolve, psf_kernel
from darkhaloscope.lensing.pyramid import build_pyramid
from darkhaloscope.lensing.reference import render_with_lenstronomy
from darkhaloscope.lensing.render import Grid, render

SUPERSAMPLINGS = (1, 2, 3, 4, 6, 8, 12, 16)
CONVERGED = 24
ACCURACIES = (1e-2, 1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=int, default=32, help="stamps in each set")
    parser.add_argument("--cosmos", help="FITS file of galaxy images at 0.03 arcsec, one per HDU")
    parser.add_argument("--memory-stamps", type=int, nargs="*", default=[], help="also print peak memory after so many stamps")
    parser.add_argument("--json", help="write the figures here as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread, {time.strftime('%Y-%m-%d')}")
    results = {}
    for name, rows in (("a subhalo", subhalo_rows(arguments.stamps)), ("b lens finder", finder_rows(arguments.stamps, arguments.cosmos))):
        results[name] = bench(name, *rows)
    if importlib.util.find_spec("caustics") is None:
        print("caustics is not installed: not compared")
    for count in arguments.memory_stamps:
        print(f"peak memory after {count} stamps: {memory_of(count, *finder_rows(64, arguments.cosmos)):.0f} MB")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


def bench(name: str, light, lens, subhalos, grid: Grid, kernels: list[torch.Tensor]) -> dict:
    """Time every tool on one set of stamps."""
    n = light.x.shape[0]
    print(f"\n({name}) {n} stamps of {grid.size} × {grid.size}, {light.planes.shape[1]} planes, {len(kernels)} PSFs")
    truth = convolve(render(light, lens, subhalos, grid, CONVERGED), kernels[0])
    single = PixelLight(
        light.planes.float(), light.index, *(getattr(light, k).float() for k in ("pixel_scale", "x", "y", "phi")), light.flip
    )
    pyramid = build_pyramid(single.planes)
    theirs = time_lenstronomy(light, lens, subhalos, grid, kernels, truth)
    out = {}
    for accuracy in ACCURACIES:
        seconds, images = time_ours(single, lens, subhalos, grid, kernels, accuracy, pyramid)
        error = relative(images, truth)
        cost, chosen = 0.0, []
        for stamp in range(n):
            best = next((s for s in SUPERSAMPLINGS if theirs[s][1][stamp] <= accuracy), SUPERSAMPLINGS[-1])
            chosen.append(best)
            cost += theirs[best][0][stamp]
        counts = ", ".join(f"{chosen.count(s)} × {s}²" for s in sorted(set(chosen)))
        print(f"  accuracy {accuracy:g}")
        print(f"    ours        {n / seconds:8.0f} stamps/s/core; error median {np.median(error):.1e}, largest {error.max():.1e}")
        print(f"    lenstronomy {n / cost:8.1f} stamps/s/core; coarsest supersampling that reaches it: {counts}")
        print(f"    ratio       {cost / seconds:8.0f}")
        out[f"{accuracy:g}"] = {"ours": n / seconds, "lenstronomy": n / cost, "ratio": cost / seconds, "error": float(error.max())}
    profile(single, lens, subhalos, grid, kernels, pyramid)
    return out


def time_ours(light, lens, subhalos, grid, kernels, accuracy, pyramid) -> tuple[float, torch.Tensor]:
    """Seconds of the fastest of three runs, with all PSFs applied; images behind the first PSF."""
    best = np.inf
    for _ in range(4):  # the first run compiles
        start = time.process_time()
        images = render_accurate(light, lens, subhalos, grid, accuracy, kernels[0], pyramid)
        observed = [convolve(images, kernel) for kernel in kernels]
        best = min(best, time.process_time() - start)
    return best, observed[0]


def time_lenstronomy(light, lens, subhalos, grid, kernels, truth) -> dict[int, tuple[list[float], np.ndarray]]:
    """Seconds and error of every stamp at every supersampling that some stamp needs."""
    n = light.x.shape[0]
    out, waiting = {}, list(range(n))
    for s in SUPERSAMPLINGS:
        seconds, error = [0.0] * n, np.full(n, np.inf)
        for stamp in waiting:
            one = torch.tensor([stamp])
            halo = None if subhalos is None else subhalos[one]
            start = time.process_time()
            image = render_with_lenstronomy(light[one], lens[one], halo, grid, s)[0].numpy()
            observed = [np.stack([fftconvolve(plane, kernel.numpy(), mode="same") for plane in image]) for kernel in kernels]
            seconds[stamp] = time.process_time() - start
            error[stamp] = relative(torch.as_tensor(observed[0])[None], truth[stamp : stamp + 1])[0]
        out[s] = (seconds, error)
        waiting = [stamp for stamp in waiting if error[stamp] > min(ACCURACIES)]
    for s, (_, error) in out.items():
        # A stamp that was accurate enough more coarsely is not rendered again.
        error[np.isinf(error)] = 0 if s > SUPERSAMPLINGS[0] else np.inf
    return out


def profile(light, lens, subhalos, grid, kernels, pyramid) -> None:
    """Where the time goes, and a bound: the rays at the rate of a tight loop, and the Fourier transforms."""
    n = light.x.shape[0]

    def clock(function):
        function()
        times = []
        for _ in range(3):
            start = time.process_time()
            function()
            times.append(time.process_time() - start)
        return min(times) / n * 1e3

    rays = compiled_images(light, lens, subhalos, grid, 2.2, 0.2, pyramid)[2].double().mean()
    deflection = clock(lambda: compiled_images(light, lens, subhalos, grid, 1e-6, 1e6, pyramid))
    one_pass = clock(lambda: compiled_images(light, lens, subhalos, grid, 2.2, 0.2, pyramid))
    image = torch.zeros(n, 1, grid.size, grid.size)
    blur = clock(lambda: convolve(image, kernels[0]))
    print(f"  one pass: {one_pass:.3f} ms per stamp, of it {deflection:.3f} ms for one ray per pixel; {rays:.0f} rays per stamp")
    print(f"  one convolution of one plane: {blur:.3f} ms")
    # A bilinear look-up is four loads in two cache lines: some 2 ns on a current core when vectorised.
    bound = rays * 2e-6 + blur * (len(kernels) + 1)
    print(f"  bound (these rays at 2 ns each, and the convolutions): {bound:.3f} ms per stamp")


def memory_of(count: int, light, lens, subhalos, grid, kernels) -> float:
    """Peak resident memory [MB] after rendering `count` stamps, 64 at a time."""
    pyramid = build_pyramid(light.planes)
    for _ in range(0, count, light.x.shape[0]):
        convolve(render_accurate(light, lens, subhalos, grid, 1e-3, kernels[0], pyramid), kernels[0])
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
