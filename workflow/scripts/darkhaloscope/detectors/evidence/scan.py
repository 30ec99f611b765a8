"""A subhalo tried at every place and with every profile of the prior, the smooth lens marginalised.

A subhalo moves the rays by δβ = −α. To second order it changes the evidence by m − ν/2 with

    m = Σᵢ mᵢ·δβᵢ,   ν = Tᵀ C⁻¹ T,   T = B (g·δβ),

and with the lens parameters' Gaussian posterior (H = Jᵀ C⁻¹ J + Σ⁻¹, its slope ∇) integrated out by m′ − ν′/2 with

    m′ = m − Tᵀ C⁻¹ J H⁻¹ ∇,   ν′ = ν − Tᵀ C⁻¹ J H⁻¹ Jᵀ C⁻¹ T.

Channels are independent given lens and subhalo: their m, ν, J and ∇ add.

A subhalo that is there changes the pixels by T, but a source that moves along takes up part of it, so that the score grows by less than ν. With
∂C the change of the pixels' covariance,

    T̃ = ∂C w = B (g·δβ − Q),   Qᵢ = Σⱼ uⱼ ∇K(βᵢ − βⱼ)·δβⱼ,   ⟨m⟩ = T̃ᵀ C⁻¹ T,

(were all rays moved alike, T̃ would vanish), and for the lens parameters ⟨∇⟩ = J̃ᵀ C⁻¹ T: what z will be on average (`promise`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config.subhalo import SubhaloDataset
from ...lensing.lens import MacroLens, critical_curve
from ...tasks.subhalo.placement import ARC_THRESHOLD
from .fit import Linear
from .pixels import Batch, Sky

#: A subhalo of smaller ν′ is not seen at all: its z is noise over nothing.
LEAST_INFORMATION = 1e-3
#: Radii at which a profile's deflection is tabulated, from the centre to the furthest ray.
TABLE = 4096


@dataclass(frozen=True)
class Places:
    """Where a subhalo may be: `x`, `y` (k,) [arcsec], `share` (k,) of the prior, `pixel` (k, 2) rows and columns of the stamp."""

    x: NDArray
    y: NDArray
    share: NDArray
    pixel: NDArray


class Round(Protocol):
    """A round subhalo."""

    def along(self, radius: Tensor, theta_e: float) -> Tensor:
        """Return the deflection [arcsec] at distances (k,) from its middle, behind a lens of θ_E."""


@dataclass(frozen=True)
class Trial:
    """Subhalos tried in one channel: `whitened` (n, p·k) is L⁻¹ T, `score` (p·k,) is m, `jacobian` (n, q) and `lens_score` (q,) the lens'."""

    whitened: Tensor
    score: Tensor
    jacobian: Tensor
    lens_score: Tensor

    def weakened(self, chi2: float) -> Trial:
        """Return the trial for covariances χ² times as large, where the model fits that much worse than its noise says."""
        if chi2 <= 1:
            return self
        root = chi2**0.5
        return Trial(self.whitened / root, self.score / chi2, self.jacobian / root, self.lens_score / chi2)


@dataclass(frozen=True)
class Scan:
    """m′ and ν′ (p, k) of each profile at each place, and the lens' marginal errors (q,) in widths."""

    score: NDArray
    information: NDArray
    lens_error: NDArray

    @property
    def z(self) -> NDArray:
        """m′/√ν′, (p, k); 0 where a subhalo would not be seen."""
        seen = self.information > LEAST_INFORMATION
        return np.where(seen, self.score / np.sqrt(np.where(seen, self.information, 1)), 0)

    def log_bayes(self, share: NDArray, strength: tuple[float, float]) -> float:
        """ln of the mean likelihood ratio over places and profiles, with the prior's shares (p, k), and over strengths.

        A subhalo a times as strong as its profile has ln L = a m′ − a² ν′/2; a is normal with mean a₀ and width τ, so that the mean over it is

            exp{½ [(m′ + a₀/τ²)²/(ν′ + 1/τ²) − a₀²/τ²]} / √(1 + τ² ν′).
        """
        mean, weight = strength[0], strength[1] ** -2
        height = (self.score + mean * weight) ** 2 / (self.information + weight) - mean**2 * weight - np.log1p(self.information / weight)
        return float(np.logaddexp.reduce(height / 2 + np.log(share), axis=None))


def places(dataset: SubhaloDataset, sky: Sky, lens: MacroLens, every: int = 1) -> Places:
    """Return the pixels in which a dataset's subhalos may sit, given the stamp and the lens as found.

    Parameters
    ----------
    dataset : SubhaloDataset
    sky : Sky of the stamp
    lens : MacroLens of one row, as found
    every : int
        1 for every pixel, 2 for every second one, as on a chessboard.
    """
    scale = dataset.instrument.pixel_scale_arcsec
    rows, columns = np.indices(sky.flux.shape)
    x, y = (columns - (sky.flux.shape[1] - 1) / 2) * scale, (rows - (sky.flux.shape[0] - 1) / 2) * scale
    if dataset.subhalo.placement == "arc":
        weight = np.where(sky.arc & (sky.brightness > ARC_THRESHOLD * sky.brightness.max()), sky.brightness, 0)
    elif dataset.subhalo.placement == "annulus":
        radius = np.hypot(x - float(lens.x), y - float(lens.y)) / float(lens.theta_e)
        low, high = dataset.subhalo.annulus
        weight = ((radius >= low) & (radius <= high)).astype(float)
    else:
        curve = critical_curve(lens)
        distance = [curve.distance(*(torch.tensor([float(v)], dtype=torch.float64) for v in at)) for at in zip(x.flat, y.flat, strict=True)]
        weight = (np.array([float(d) for d in distance]).reshape(x.shape) <= dataset.subhalo.critical_band_arcsec).astype(float)
    if every > 1:
        weight = np.where((rows + columns) % every == 0, weight, 0)
    at = np.argwhere(weight > 0)
    share = weight[tuple(at.T)]
    return Places(x[tuple(at.T)], y[tuple(at.T)], share / share.sum(), at)


def deflections(where: Places, profiles: Sequence[Round], theta_e: float, x: Tensor, y: Tensor) -> Tensor:
    """Deflection (p·k, r, 2) float32 at rays (r,) of each profile at each place, arcsec.

    Every profile is round: its deflection is tabulated along a line once, and read at the distance of each ray.
    """
    dx, dy = (
        rays.float() - torch.as_tensor(at, dtype=torch.float32, device=x.device)[:, None] for rays, at in ((x, where.x), (y, where.y))
    )
    distance = torch.hypot(dx, dy)
    step = float(distance.max()) / (TABLE - 2)
    radius = (torch.arange(TABLE, dtype=torch.float64, device=x.device) + 0.5) * step
    index = (distance / step - 0.5).clamp_(min=0)
    low = index.long().clamp_(max=TABLE - 2)
    share = index.sub_(low)
    out = []
    for profile in profiles:
        table = (profile.along(radius, theta_e) / radius).float()
        strength = torch.lerp(table[low], table[low + 1], share)
        out.append(torch.stack((strength * dx, strength * dy), -1))
    return torch.cat(out)


def try_subhalos(batch: Batch, linear: Linear, row: int, deflection: Tensor) -> Trial:
    """Return what subhalos of some deflections (s, r, 2) do to one stamp of a linearised batch."""
    score, gradient = linear.fields.score[row], linear.fields.gradient[row]
    rays = deflection.shape[1]
    moved = -(deflection[..., 0] * gradient[:rays, 0] + deflection[..., 1] * gradient[:rays, 1]).T
    return Trial(
        whitened=seen(batch, linear, row, moved),
        score=-(deflection.flatten(1) @ score[:rays].flatten()).double(),
        jacobian=linear.jacobian[row],
        lens_score=linear.score[row],
    ).weakened(float(linear.solved.chi2(batch)[row]))


def changes(batch: Batch, linear: Linear, row: int, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Return what shifts (s, r, 2) of a stamp's rays on the source plane do to its pixels: L⁻¹ T and L⁻¹ T̃, (n, s) each."""
    solved, count = linear.solved, len(shift)
    beta, gradient = solved.beta[row], linear.fields.gradient[row]
    weighted = batch.project(solved.weights.float()[..., None])[row][None] * shift
    held = (shift * gradient).sum(2).T
    moments = solved.steepness[row] @ torch.cat((weighted[..., 0].T, weighted[..., 1].T, (weighted * beta).sum(2).T), 1)
    along = beta[:, :1] * moments[:, :count] + beta[:, 1:] * moments[:, count : 2 * count] - moments[:, 2 * count :]
    if solved.edge is not None:
        along = along - solved.covariance[row] @ (weighted * solved.edge[row]).sum(2).T
    white = seen(batch, linear, row, torch.cat((held, held - along), 1))
    return white[:, :count].double(), white[:, count:].double()


def seen(batch: Batch, linear: Linear, row: int, values: Tensor) -> Tensor:
    """Return L⁻¹ B values (n, s) float32 of values (r, s) at the rays of one stamp."""
    every = torch.zeros(len(batch.data), batch.x.shape[1], values.shape[1], device=values.device)
    every[row, : len(values)] = values
    # Signals of some σ, to a part in ten thousand: float32 is enough.
    return torch.linalg.solve_triangular(linear.solved.factor[row].float(), batch.observe(every)[row], upper=False)


@dataclass(frozen=True)
class Response:
    """How the score of one channel answers to subhalos that are there.

    (n, p·k): `there` is L⁻¹ of what they change in the pixels, `tried` and `left` are L⁻¹ T and L⁻¹ T̃ of what is looked for; (n, q): `lens` and `lens_left` are L⁻¹ J and
    L⁻¹ J̃ of the lens parameters in widths.
    """

    there: Tensor
    tried: Tensor
    left: Tensor
    lens: Tensor
    lens_left: Tensor

    def weakened(self, chi2: float) -> Response:
        """As `Trial.weakened`."""
        root = max(chi2, 1.0) ** 0.5
        return Response(self.there / root, self.tried / root, self.left / root, self.lens / root, self.lens_left / root)


def promise(responses: Sequence[Response], profiles: int) -> NDArray:
    """Return the mean z (p, k) of subhalos that are where they are looked for, the lens marginalised, from channels together."""
    width = responses[0].lens.shape[1]
    hessian = sum(r.lens.T @ r.lens for r in responses) + torch.eye(width, dtype=torch.float64, device=responses[0].lens.device)
    pull = torch.linalg.solve(hessian, sum(r.lens.T @ r.tried for r in responses))
    lens = sum(r.lens_left.T @ r.there for r in responses)
    score = sum((r.left * r.there).sum(0) for r in responses) - (pull * lens).sum(0)
    information = sum(r.tried.square().sum(0) for r in responses) - (pull * sum(r.lens.T @ r.tried for r in responses)).sum(0)
    z = score / information.clamp(min=LEAST_INFORMATION).sqrt()
    return z.clamp(min=0).reshape(profiles, -1).cpu().numpy()


def marginalise(trials: Sequence[Trial], offset: Tensor, profiles: int) -> Scan:
    """Integrate the lens out of channels tried together.

    Parameters
    ----------
    trials : Trial of each channel
    offset : (q,) lens parameters from their prior's mean, in widths
    profiles : int, p
    """
    hessian = sum(t.jacobian.T @ t.jacobian for t in trials) + torch.eye(len(offset), dtype=offset.dtype, device=offset.device)
    slope = sum(t.lens_score for t in trials) - offset
    cross = sum((t.whitened.T @ t.jacobian.to(t.whitened.dtype)).double() for t in trials)
    score = sum(t.score for t in trials) - cross @ torch.linalg.solve(hessian, slope)
    inverse = torch.linalg.inv(hessian)
    information = sum(t.whitened.square().sum(0).double() for t in trials) - ((cross @ inverse) * cross).sum(1)
    return Scan(
        score.reshape(profiles, -1).cpu().numpy(),
        information.clamp(min=0).reshape(profiles, -1).cpu().numpy(),
        inverse.diagonal().sqrt().cpu().numpy(),
    )


def image_of(where: Places, values: NDArray, shape: tuple[int, ...]) -> NDArray:
    """Return values at places as an image; where only every second pixel was tried, the others take the mean of their neighbours."""
    image = np.full(np.add(shape, 2), np.nan)
    image[tuple(where.pixel.T + 1)] = values
    around = np.stack([image[:-2, 1:-1], image[2:, 1:-1], image[1:-1, :-2], image[1:-1, 2:]])
    known = np.isfinite(around)
    mean = np.where(known, around, 0).sum(0) / np.maximum(known.sum(0), 1)
    inner = image[1:-1, 1:-1]
    return np.where(np.isnan(inner) & (known.sum(0) >= 2), mean, inner)
