"""From the images of a lens to its mass, without a person: galaxy, arcs, many starts on a coarse image, the best few on the image itself.

No setting knows which lens it sees. The search has the priors of `mass_prior`; arcs and galaxy come from the image.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config.observed import Fit
from ...surveys.observed import ObservedLens
from ..evidence.fit import NEAR, Linear, climb, draws, evaluate, pick_kernel
from ..evidence.pixels import Batch, stack
from ..evidence.plane import SourcePlane, brightness
from ..evidence.prior import LensPrior
from ..evidence.process import Kernel
from .arcs import Arcs, find_arcs
from .light import Galaxy, fit_galaxy
from .pixels import Pixels, cut_pixels

#: Lenses whose evidence on the coarse image is computed at a time.
TOGETHER = 16
#: Two lenses are the same optimum where no parameter differs by more than this many widths of the prior.
SAME = 0.1
#: Evidence that a lens loses per unit of focus above the limit.
UNFOCUSED = 1e5
MULTIPOLES = ("m3_cos", "m3_sin", "m4_cos", "m4_sin")


@dataclass(frozen=True)
class ObservedFit:
    """A lens with its mass found.

    `prior` and `values` (q,) of the mass, `errors` (q,); `kernel` of the source; `batch` and `linear` as the detector has them, of one row; `coarse` the
    same pixels in bins as large as those without arcs, one ray each;
    `chi2` per pixel; `rivals` (s,) ln evidence of other optima less that of the best; `converged`: whether the last step promised nothing;
    `enough`: what a further step must promise, for fits of the same lens; `seconds` by part.
    """

    lens: ObservedLens
    galaxy: Galaxy
    arcs: Arcs
    pixels: Pixels
    prior: SourcePlane
    values: Tensor
    errors: NDArray
    kernel: Kernel
    coarse: Pixels
    batch: Batch
    linear: Linear
    chi2: float
    rivals: NDArray
    converged: bool
    focus: float
    enough: float
    seconds: dict[str, float]

    @property
    def size(self) -> Tensor:
        """Size of the source [arcsec], the unit of its plane."""
        return self.prior.place(self.prior.angles(self.values[None], self.batch.x, self.batch.y))[1][0]

    def parameter(self, name: str) -> float:
        """Return one parameter of the mass."""
        return float(self.values[self.prior.names.index(name)])


def mass_prior(galaxy: Galaxy, radius: float, settings: Fit, multipoles: bool = True) -> LensPrior:
    """Return the prior of the mass: θ_E about the radius of the arcs, the rest about the galaxy's centre and, with freedom, its shape.

    Places are from the galaxy's centre.
    """
    means = {"theta_e": radius, "slope": settings.slope[0], "e1": galaxy.e1, "e2": galaxy.e2, "x": 0.0, "y": 0.0}
    widths = {"theta_e": settings.theta_e * radius, "slope": settings.slope[1], "e1": settings.ellipticity, "e2": settings.ellipticity}
    widths |= {"x": settings.centre_arcsec, "y": settings.centre_arcsec, "gamma1": settings.shear, "gamma2": settings.shear}
    widths |= dict.fromkeys(MULTIPOLES, settings.multipole)
    fixed = {} if multipoles else dict.fromkeys(MULTIPOLES, 0.0)
    names = tuple(name for name in widths if name not in fixed)
    return LensPrior("epl", names, np.array([means.get(n, 0.0) for n in names]), np.array([widths[n] for n in names]), fixed)


def fit_lens(lens: ObservedLens, settings: Fit) -> ObservedFit:
    """Return a lens with its mass found.

    Raises
    ------
    NoArcs
        Hardly any light beside the galaxy's.
    """
    clock, seconds = time.process_time(), {}

    def lap(name: str) -> None:
        nonlocal clock
        seconds[name], clock = time.process_time() - clock, time.process_time()

    galaxy = fit_galaxy(lens)
    arcs = find_arcs(lens, galaxy)
    lap("galaxy")
    coarse = cut_pixels(lens, galaxy, arcs, settings.coarse_bin, 2 * settings.coarse_bin, rays_per_pixel=False)
    starts = search(coarse, mass_prior(galaxy, arcs.radius, settings, multipoles=False), settings)
    lap("search")
    prior = mass_prior(galaxy, arcs.radius, settings)
    # What lies beyond twice the Einstein radius has one image, and says nothing about the lens.
    arcs = arcs.within(settings.extent * max(arcs.radius, *(float(start[0]) for start, _ in starts)))
    rough = stack([cut_pixels(lens, galaxy, arcs, settings.bin, settings.dark_bin, rays_per_pixel=False).channel])
    chosen, rivals = choose(rough, SourcePlane.about(prior, rough), starts, settings)
    pixels = cut_pixels(lens, galaxy, arcs, settings.bin, settings.dark_bin)
    if len(pixels.rays) > settings.most_rays:
        pixels = cut_pixels(lens, galaxy, arcs, settings.bin, settings.dark_bin, rays_per_pixel=False)
    coarse = cut_pixels(lens, galaxy, arcs, settings.dark_bin, settings.dark_bin, rays_per_pixel=False)
    batch = stack([pixels.channel])
    prior = SourcePlane.about(prior, batch)
    kernel = pick_kernel(batch, prior, chosen, settings.source_kernels, settings.source_extents)
    linear, _ = climb(batch, prior, chosen, kernel, settings.steps, NEAR, settings.enough)
    lap("fit")
    hessian = linear.information[0] + torch.eye(len(prior.names), dtype=torch.float64)
    slope = linear.score[0] - prior.offset(linear.values)[0]
    promised = float(slope @ torch.linalg.solve(hessian, slope)) / 2
    errors = torch.linalg.inv(hessian).diagonal().sqrt().numpy() * prior.width
    chi2 = float(linear.solved.chi2(batch)[0])
    focused = float(focus(batch, prior, linear.values))
    return ObservedFit(
        lens=lens,
        galaxy=galaxy,
        arcs=arcs,
        pixels=pixels,
        prior=prior,
        values=linear.values[0],
        errors=errors,
        kernel=kernel,
        coarse=coarse,
        batch=batch,
        linear=linear,
        chi2=chi2,
        rivals=rivals,
        converged=promised < settings.converged,
        focus=focused,
        enough=settings.enough,
        seconds=seconds,
    )


def choose(batch: Batch, prior: SourcePlane, starts: list[tuple[Tensor, Kernel]], settings: Fit) -> tuple[Tensor, NDArray]:
    """Return the best (1, q) of some lenses fitted to an image of one ray per bin, and ln evidence of the others less its own, in order."""

    def height(found: tuple[Linear, Kernel]) -> float:
        return float(found[0].log_posterior) - float(_unfocused(batch, prior, found[0].values, settings))

    rough = []
    for start, kernel in starts:
        values = torch.as_tensor(prior.mean)[None].clone()
        values[0, : len(start)] = start
        rough.append((climb(batch, prior, values, kernel, settings.first_steps, NEAR, settings.enough)[0], kernel))
    rough.sort(key=height, reverse=True)
    fitted = []
    # The kernel of the coarse image may hide which of the best is better.
    for linear, _ in rough[:2]:
        kernel = pick_kernel(batch, prior, linear.values, settings.source_kernels, settings.source_extents)
        fitted.append((climb(batch, prior, linear.values, kernel, settings.steps, NEAR, settings.enough)[0], kernel))
    best = max(fitted, key=height)[0]
    others = [float(found.log_posterior) for found, _ in (*fitted, *rough[2:]) if found is not best]
    return best.values, np.sort(np.array(others))[::-1] - float(best.log_posterior)


def search(coarse: Pixels, prior: LensPrior, settings: Fit) -> list[tuple[Tensor, Kernel]]:
    """Return lens parameters (q,) and kernels near some of the best optima of a coarse image, the best first.

    With a smooth source and more noise than there is, a rough lens already counts as near. Draws of the prior are tried at each of some
    θ_E, and the best of each is climbed from. A lens of too large a θ_E gives every arc a source of its own, which fits nearly as well (Maresca et al.
    2021): what does not bring the arcs together (`focus`) is chosen where nothing else is left. What differs is fitted once more with the noise that there is.
    """
    noisy = replace(coarse.channel, variance=coarse.channel.variance * settings.start_noise)
    radii = float(prior.mean[0]) * np.geomspace(*settings.theta_e_range, settings.starts)
    tried = draws(prior, settings.draws)
    tried[:, 0] = torch.as_tensor(radii).repeat(-(-settings.draws // len(radii)))[: settings.draws]
    one = stack([noisy])
    prior = SourcePlane.about(prior, one)
    heights = torch.cat([evaluate(one.of([0] * len(some)), prior, some, _smooth(len(some), settings)) for some in tried.split(TOGETHER)])
    stratum = torch.arange(settings.draws) % len(radii)
    near = torch.stack([tried[torch.where(stratum == k, heights, -torch.inf).argmax()] for k in range(len(radii))])
    found, _ = climb(one.of([0] * len(near)), prior, near, _smooth(len(near), settings), settings.coarse_steps, enough=settings.enough)
    height = found.log_posterior - _unfocused(one.of([0] * len(near)), prior, found.values, settings)
    different = distinct(prior, found.values, height)[: settings.finalists]
    alone = stack([coarse.channel]).of([0] * len(different))
    kernel = pick_kernel(alone, prior, different, settings.source_kernels, settings.source_extents)
    found, _ = climb(alone, prior, different, kernel, settings.coarse_steps, NEAR, settings.enough)
    order = found.log_posterior.argsort(descending=True)
    return [(found.values[k], kernel[k : k + 1]) for k in order.tolist()]


def focus(batch: Batch, prior: SourcePlane, values: Tensor) -> Tensor:
    """Return how much smaller the bright light is on the source plane than in the image, (b,): the ratio of its median radii."""
    weight = brightness(batch)
    image = torch.stack((batch.x, batch.y), -1)
    sizes = []
    for at in (prior.angles(values, batch.x, batch.y), image):
        radius, order = (at - (weight[..., None] * at).sum(1, keepdim=True)).square().sum(-1).sqrt().sort(1)
        half = (weight.gather(1, order).cumsum(1) > 0.5).double().argmax(1, keepdim=True)
        sizes.append(radius.gather(1, half)[:, 0])
    return sizes[0] / sizes[1]


def _unfocused(batch: Batch, prior: SourcePlane, values: Tensor, settings: Fit) -> Tensor:
    """What is taken off the evidence of lenses that leave the arcs apart: more than any evidence."""
    return UNFOCUSED * (focus(batch, prior, values) - settings.focus).clamp(min=0)


def distinct(prior: LensPrior, values: Tensor, height: Tensor) -> Tensor:
    """Return those of some lenses (n, q) that differ, the highest first."""
    kept: list[Tensor] = []
    for row in height.argsort(descending=True):
        offset = prior.offset(values[row][None])
        if all(float((offset - prior.offset(k[None])).abs().max()) > SAME for k in kept):
            kept.append(values[row])
    return torch.stack(kept)


def _smooth(count: int, settings: Fit) -> Kernel:
    return Kernel.of(settings.start_kernel, count, extent=settings.start_extent)
