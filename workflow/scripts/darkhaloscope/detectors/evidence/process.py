"""The source as a Gaussian process: evidence of a stamp, its derivative by the rays' positions, and the source as found.

With pixels d = B s(β) + n, n ~ N(0, V), and s ~ GP(0, K), a sum of Matérn kernels of order 3/2:

    C = B K Bᵀ + V,   w = C⁻¹ d,   u = Bᵀ w,   P = Bᵀ C⁻¹ B,
    ln E = −½ dᵀ w − ½ ln|C| − ½ n ln 2π,
    ∂ ln E/∂βᵢ = mᵢ = Σⱼ (uᵢ uⱼ − Pᵢⱼ) ∇K(βᵢ − βⱼ),        the score field,
    gᵢ = Σⱼ uⱼ ∇K(βᵢ − βⱼ),                                  the gradient of the source as found.

Other light in the pixels, L a with a ~ N(0, 1) such as the lens galaxy's, adds L Lᵀ to C: it is integrated out with the source.

A source of some extent R about the origin has the covariance W K W, W = diag w(βᵢ), w = 1/(1 + |β|²/R²). Without it, a source is as bright anywhere,
and each dark patch of the source plane costs evidence: a lens that leaves less of it to be seen (shallow, or too strong) wins by that alone. With s = W K W u, fields have further terms:

    mᵢ += ∇ln wᵢ (uᵢ sᵢ − Σⱼ Pᵢⱼ (W K W)ᵢⱼ),   gᵢ += sᵢ ∇ln wᵢ.

Rasmussen & Williams (2006), eqs. 2.30, 4.17 and 5.9. Kernels and products with B are float32; so are factorisations where the noise is far above what that rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from . import loops
from .pixels import Batch

#: Most points on a side of the grid on which a source is computed to be read between.
MOST_GRID = 400
#: Greatest condition of a covariance that is factorised in float32.
MOST_CONDITION = 1e7


@dataclass(frozen=True)
class Kernel:
    """Covariance of the source, a sum of Matérn-3/2 terms: `amplitude` and `length`, (b, t) each, one row per stamp.

    `extent` (b,): where the source is bright, about the origin of the source plane; everywhere where it is None. Lengths are in units of the source plane: those of
    the source for light (`plane.SourcePlane`), arcsec for velocity.
    """

    amplitude: Tensor
    length: Tensor
    extent: Tensor | None = None

    def __getitem__(self, rows: Tensor | slice) -> Kernel:
        """Return some of the rows."""
        return Kernel(self.amplitude[rows], self.length[rows], None if self.extent is None else self.extent[rows])

    def envelope(self, beta: Tensor) -> tuple[Tensor, Tensor]:
        """w (b, r) of a kernel with an extent, and ∇ln w (b, r, 2), at source positions (b, r, 2) from its middle."""
        square = self.extent.to(beta.dtype)[:, None].square()
        spread = square + beta.square().sum(-1)
        return square / spread, -2 * beta / spread[..., None]

    def between(self, row: int, at: Tensor, of: Tensor) -> Tensor:
        """Covariance (k, r) float32 of one stamp's source between positions (k, 2) and (r, 2)."""
        distance, out = torch.cdist(at, of), torch.zeros(len(at), len(of), device=at.device)
        for amplitude, length in zip(self.amplitude[row].float(), self.length[row].float(), strict=True):
            scaled = distance * (math.sqrt(3) / length)
            out += amplitude**2 * (1 + scaled) * torch.exp(-scaled)
        if self.extent is None:
            return out
        bright = self[row : row + 1].envelope
        return out * bright(at[None])[0][0][:, None] * bright(of[None])[0][0]

    def equals(self, other: Kernel) -> bool:
        """Whether all rows are those of another one; terms of no amplitude do not count."""
        if (self.extent is None) != (other.extent is None) or (self.extent is not None and not torch.equal(self.extent, other.extent)):
            return False
        used = [
            (torch.sort(k.amplitude, 1, descending=True).values, torch.sort(k.length * (k.amplitude > 0), 1).values) for k in (self, other)
        ]
        most = max(a.shape[1] for a, _ in used)
        return all(
            bool(torch.equal(*(torch.nn.functional.pad(v, (0, most - v.shape[1]) if k == 0 else (most - v.shape[1], 0)) for v in pair)))
            for k, pair in enumerate(zip(*used, strict=True))
        )

    @classmethod
    def cat(cls, kernels: Sequence[Kernel]) -> Kernel:
        """Return the rows of some kernels, all of them with an extent or none."""
        return cls(
            *(
                None if kernels[0].extent is None and name == "extent" else torch.cat([getattr(k, name) for k in kernels])
                for name in ("amplitude", "length", "extent")
            )
        )

    @classmethod
    def of(
        cls, terms: tuple[tuple[float, float], ...], stamps: int, device: torch.device | str = "cpu", extent: float | None = None
    ) -> Kernel:
        """Return one sum of (amplitude, length) terms for each of some stamps."""
        values = torch.tensor(terms, dtype=torch.float64, device=device)
        wide = None if extent is None else torch.full((stamps,), extent, dtype=torch.float64, device=device)
        return cls(values[:, 0].expand(stamps, -1), values[:, 1].expand(stamps, -1), wide)


@dataclass(frozen=True)
class Solved:
    """A batch solved for given positions of its rays.

    `beta` (b, r, 2) float32, relative to their mean, or to the middle of a source of some extent; `covariance` K and `steepness` (b, r, r) float32, ∇K(Δ) = steepness · Δ;
    `factor` (b, n, n), lower, of C, float32 or float64 (`_factor`); `weights` w (b, n); `log_evidence` (b,); `kernel` of b rows.
    `edge` (b, r, 2) is ∇ln w of a source of some extent; its w is part of K and steepness.
    """

    beta: Tensor
    covariance: Tensor
    steepness: Tensor
    factor: Tensor
    weights: Tensor
    log_evidence: Tensor
    kernel: Kernel
    edge: Tensor | None = None

    def chi2(self, batch: Batch) -> Tensor:
        """dᵀ C⁻¹ d per pixel, (b,): about 1 for a model that fits."""
        return (batch.data * self.weights).sum(1) / batch.pixels


@dataclass(frozen=True)
class Fields:
    """Vector fields at the rays, (b, r, 2) float32: the evidence's derivative by their positions, and the gradient of the source as found."""

    score: Tensor
    gradient: Tensor


def solve(batch: Batch, beta: Tensor, kernel: Kernel) -> Solved:
    """Return the evidence of a batch and what derivatives need.

    Parameters
    ----------
    batch : Batch of b stamps, n pixels, r rays
    beta : (b, r, 2) source positions of the rays, in the kernel's units
    kernel : Kernel of b rows
    """
    # Differences alone matter; near zero float32 is at its best.
    near = _near(beta, kernel)
    covariance, steepness, edge = _between_rays(near, kernel)
    factor, white, log_evidence = _factorise(batch, batch.operator.between_pixels(covariance))
    weights = torch.linalg.solve_triangular(factor.mT, white, upper=True)[..., 0].double()
    return Solved(near, covariance, steepness, factor, weights, log_evidence, kernel, edge)


def evidence(batch: Batch, beta: Tensor, kernel: Kernel) -> Tensor:
    """Return `solve`'s ln E alone, (b,)."""
    return evidences(batch, beta, [kernel])[:, 0]


def evidences(batch: Batch, beta: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Return ln E with each of some kernels, (b, k). What pixels see of a source is computed once for kernels that differ in strength alone."""
    done: list[tuple[Kernel, Tensor]] = []
    heights = []
    for kernel in kernels:
        strength = kernel.amplitude.amax(1)
        shape = replace(kernel, amplitude=kernel.amplitude / strength[:, None])
        seen = next((seen for other, seen in done if other.equals(shape)), None)
        if seen is None:
            seen = batch.operator.between_pixels(_between_rays(_near(beta, shape), shape, steep=False)[0])
            done.append((shape, seen))
        heights.append(_factorise(batch, seen * strength.square().float()[:, None, None])[2])
    return torch.stack(heights, 1)


def fields(batch: Batch, solved: Solved, trace: Tensor | None = None) -> Fields:
    """Return the score field and the gradient of the source as found, of a solved batch.

    `trace` (b, r, 2) is uᵢgᵢ − mᵢ, the part of the score that is the same for all data, where it is known from a lens nearby: two thirds of the work.
    """
    if trace is not None:
        u = batch.project(solved.weights.float()[..., None])
        gradient = _field(solved.steepness, solved.beta, u)
        if solved.edge is not None:
            gradient = gradient + solved.edge * (solved.covariance @ u)
        return Fields(u * gradient - trace, gradient)
    # P is made of float32 products: an inverse in float32 is as good.
    inverse = torch.cholesky_inverse(solved.factor.float())
    u = batch.project(solved.weights.float()[..., None])
    pull, beta = batch.operator.between_rays(inverse), solved.beta
    if beta.device.type == "cpu":
        score, gradient = torch.empty_like(beta), torch.empty_like(beta)
        edge = torch.zeros_like(beta) if solved.edge is None else solved.edge
        given = (beta.mT.contiguous(), solved.covariance, solved.steepness, edge, pull, u[..., 0], score, gradient)
        for one in zip(*(a.numpy() for a in given), strict=True):
            loops.vector_fields(*one)
        return Fields(score, gradient)
    score = _field((u * u.mT - pull).mul_(solved.steepness), beta, torch.ones_like(u))
    gradient = _field(solved.steepness, beta, u)
    if solved.edge is None:
        return Fields(score, gradient)
    source = solved.covariance @ u
    pulled = pull.mul_(solved.covariance).sum(2, keepdim=True)
    return Fields(score + solved.edge * (u * source - pulled), gradient + solved.edge * source)


def trace_of(batch: Batch, solved: Solved, found: Fields) -> Tensor:
    """Return the part of a score that is the same for all data, (b, r, 2), as `fields` takes it."""
    return batch.project(solved.weights.float()[..., None]) * found.gradient - found.score


def source_flux(batch: Batch, solved: Solved) -> Tensor:
    """Return the mean of the source at the rays given the data, (b, r)."""
    return (solved.covariance @ batch.project(solved.weights.float()[..., None]))[..., 0].double()


def moved_source(batch: Batch, solved: Solved, row: int, shifts: Tensor) -> Tensor:
    """Return what shifts (s, r, 2) of a stamp's rays change of the source as found at them, (s, r): exact in the shift, not linear.

    The source is computed on a grid of a tenth of its kernel's length (coarser where it would have more than `MOST_GRID` points on a side), and read between
    by cubic splines: there are thousands of shifts.
    """
    u = batch.project(solved.weights.float()[..., None])[row, :, 0]
    lit = u != 0  # rays that no pixel sees hold no source
    beta = solved.beta[row]
    places = torch.cat((beta[None], beta + shifts)).cpu().double().numpy()
    low, high = places.min((0, 1)), places.max((0, 1))
    used = solved.kernel.amplitude[row] > 0
    step = max(float(solved.kernel.length[row][used].min()) / 10, float((high - low).max()) / (MOST_GRID - 7))
    # Splines want some points beyond the last that is read.
    low = low - 3 * step
    columns, rows = (int(n) for n in np.ceil((high - low) / step) + 4)
    y, x = np.meshgrid(low[1] + step * np.arange(rows), low[0] + step * np.arange(columns), indexing="ij")
    grid = torch.as_tensor(np.stack((x.ravel(), y.ravel()), 1), dtype=beta.dtype, device=beta.device)
    image = torch.cat([solved.kernel.between(row, part, beta[lit]) @ u[lit] for part in grid.split(MOST_GRID)]).cpu().double().numpy()
    at = ((places - low) / step)[..., ::-1].reshape(-1, 2).T
    read = map_coordinates(image.reshape(rows, columns), at, order=3, mode="nearest").reshape(places.shape[:2])
    return torch.as_tensor(read[1:] - read[0], dtype=torch.float32, device=beta.device)


def whiten(solved: Solved, values: Tensor) -> Tensor:
    """Return L⁻¹ values, float64, of (b, n, k) values at pixels, C = L Lᵀ: their inner products are those of C⁻¹."""
    return torch.linalg.solve_triangular(solved.factor, values.to(solved.factor.dtype), upper=False).double()


def matern(beta: Tensor, kernel: Kernel, steep: bool = True, bright: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Covariance and steepness (b, r, r) float32 between rays at (b, r, 2); the second is empty where it is not asked for.

    `bright` (b, r), where it is given, multiplies both from both sides.
    """
    if beta.device.type != "cpu":
        found = _matern(beta, kernel)
        for matrix in found if bright is not None else ():
            matrix.mul_(bright[:, :, None]).mul_(bright[:, None])
        return found
    stamps, rays = beta.shape[:2]
    covariance, steepness = torch.empty(stamps, rays, rays), torch.empty(stamps, rays if steep else 0, rays)
    bright = torch.ones(stamps, rays) if bright is None else bright
    given = (beta.mT, kernel.amplitude.float(), kernel.length.float(), bright)
    given = (*(a.contiguous() for a in given), covariance, steepness)
    for one in zip(*(a.numpy() for a in given), strict=True):
        loops.matern(*one)
    return covariance, steepness


def _near(beta: Tensor, kernel: Kernel) -> Tensor:
    """Source positions from their mean, or from the origin where that matters, float32."""
    return (beta - beta.mean(1, keepdim=True) if kernel.extent is None else beta).float()


def _between_rays(near: Tensor, kernel: Kernel, steep: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
    """Covariance and steepness as `matern`, of a source of some extent where the kernel has one, and ∇ln w (b, r, 2) of it."""
    bright, edge = (None, None) if kernel.extent is None else kernel.envelope(near)
    return *matern(near, kernel, steep, bright), edge


def _factorise(batch: Batch, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cholesky factor of C and L⁻¹ d, as `_factor` says, and ln E, float64; `seen` (b, n, n) float32 is what pixels see of the source, and is overwritten.

    Other light in the pixels adds to it.
    """
    factor = _factor(seen, batch.light, batch.variance)
    white = torch.linalg.solve_triangular(factor, batch.data.to(factor.dtype)[..., None], upper=False)
    log_evidence = (
        -0.5 * white[..., 0].double().square().sum(1)
        - factor.diagonal(dim1=1, dim2=2).double().log().sum(1)
        - 0.5 * math.log(2 * math.pi) * batch.pixels
    )
    return factor, white, log_evidence


def _factor(seen: Tensor, light: Tensor | None, variance: Tensor) -> Tensor:
    """Lower factor (b, n, n) of a sum of covariances: `seen` (b, n, n) float32, which is overwritten, light (b, n, k) and noise (b, n).

    Made in float32 where the noise is far above its rounding, else in float64.
    """
    # The largest sum of a row bounds the largest eigenvalue, the least noise the smallest. No covariance of the source is negative.
    rows = seen.sum(2)
    if light is not None:
        rows = rows + (light.abs() @ light.abs().sum(1)[..., None])[..., 0]
    single = bool(((rows + variance).amax(1) / variance.amin(1)).max() < MOST_CONDITION)
    if single:
        own = seen.diagonal(dim1=1, dim2=2).clone()
        total = seen if light is None else seen + (light @ light.mT).float()
        total.diagonal(dim1=1, dim2=2).add_(variance.float())
        factor, failed = torch.linalg.cholesky_ex(total)
        if not bool(failed.any()):
            return factor
        seen.diagonal(dim1=1, dim2=2).copy_(own)
    total = seen.double() if light is None else seen.double() + light @ light.mT
    total.diagonal(dim1=1, dim2=2).add_(variance)
    return torch.linalg.cholesky(total)


def _matern(beta: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """`matern` on other devices."""
    distance = torch.cdist(beta, beta, compute_mode="donot_use_mm_for_euclid_dist")
    covariance = steepness = None
    for amplitude, length in zip(kernel.amplitude.unbind(1), kernel.length.unbind(1), strict=True):
        if covariance is not None and not bool(amplitude.any()):
            continue
        rate = (math.sqrt(3) / length).float()[:, None, None]
        scaled = distance * rate
        decay = torch.exp(-scaled).mul_(amplitude.square().float()[:, None, None])
        part = scaled.add_(1).mul_(decay)
        slope = decay.mul_(-rate.square())
        covariance, steepness = (part, slope) if covariance is None else (covariance.add_(part), steepness.add_(slope))
    return covariance, steepness


def _field(matrix: Tensor, beta: Tensor, weights: Tensor) -> Tensor:
    """Σⱼ matrixᵢⱼ wⱼ (βᵢ − βⱼ), (b, r, 2)."""
    moments = matrix @ torch.cat((weights, weights * beta), 2)
    return beta * moments[..., :1] - moments[..., 1:]
