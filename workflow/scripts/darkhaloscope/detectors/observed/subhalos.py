"""Subhalos in an observed lens: tried at every place on the arcs, and the same with data of which is known what is in them.

Controls are draws of the lens as fitted, without a subhalo, with the noise of the image: how large z becomes by noise alone. Injections are
the observed image itself, to which is added what a subhalo of known mass would change in the source as found: with all that the model
gets wrong about this lens. Both are taken with the smooth lens linearised where the fit left it, marginalised again for each.
A subhalo moves the rays by δβ, and the covariance of the pixels by ∂C. The score is m = ½ wᵀ ∂C w − ½ tr(C⁻¹ ∂C), and noise moves it by nᵀ C⁻¹ T̃ with

    T̃ = ∂C w = B (g·δβ − Q),   Qᵢ = Σⱼ uⱼ ∇K(βᵢ − βⱼ)·δβⱼ.

Q is what a source that moves along takes up: were all rays moved alike, T̃ would vanish, and nothing could be seen. Here δβ is a tenth of an arcsec on whole arcs,
so that T = B g·δβ alone (as for the small subhalos of `evidence.scan`) would promise what cannot be had: z is m′/√ν′ with ν = T̃ᵀ C⁻¹ T̃, and a
subhalo that is there moves z by Tᵀ C⁻¹ T̃/√ν, lens parameters projected out of both (their J̃ likewise).

A negative mass cannot be there: the greatest z of one, in the observed image, shows what the model's errors do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config.cosmology import Cosmology
from ...config.observed import Subhalos
from ...core.random import stable_hash, stream
from ...lensing.lens import NFW, nfw_angles
from ..evidence.fit import Linear
from ..evidence.pixels import Batch
from ..evidence.prior import SubhaloProfile
from ..evidence.process import Fields, whiten
from ..evidence.scan import Places, Scan, deflections, marginalise
from ..evidence.scan import Trial as Tried
from .fit import ObservedFit
from .light import coordinates

#: Information below this is none.
LEAST = 1e-6
#: A subhalo is found where it is within this distance [arcsec].
NEAR = 0.3


@dataclass(frozen=True)
class Trial:
    """One set of data looked through: `kind` observed, control or injection, with the mass and place of what is in it.

    `z_max` over places and profiles, `z_near` the greatest within `NEAR` of the injected place (NaN without one), `z_negative` the greatest of a negative mass.
    """

    kind: str
    log10_mass_msun: float
    x: float
    y: float
    z_max: float
    z_near: float
    z_negative: float


class Looker:
    """An observed lens with its places and the parts of the search that all data share."""

    def __init__(self, fit: ObservedFit, settings: Subhalos, cosmology: Cosmology, redshifts: tuple[float, float]) -> None:
        self.fit, self.settings = fit, settings
        self.where = places(fit, settings.place_step)
        self.masses = np.array(settings.log10_mass_msun)
        self.halos = [halo(mass, settings.concentration, redshifts, cosmology) for mass in self.masses]
        self.tried = [k for k, mass in enumerate(self.masses) if mass in settings.searched_log10_mass_msun]
        batch, linear = fit.batch, fit.linear
        self.moved = deflections(self.where, self.halos, fit.parameter("theta_e"), batch.x[0], batch.y[0])
        self.searched = self.moved.reshape(len(self.halos), len(self.where.x), *self.moved.shape[1:])[self.tried].flatten(0, 1)
        self.pushed = fit.prior.derivatives(fit.values[None], batch.x, batch.y)[1]
        u = batch.project(linear.solved.weights.float()[..., None])
        # What noise and prior alone would give is the same for all data.
        self.trace = u * linear.fields.gradient - linear.fields.score
        self.offset = fit.prior.offset(fit.values[None])[0]

    def scan(self) -> tuple[Scan, NDArray]:
        """Return what halos of all masses give at every place of the observed image, and by how much z is moved (m, k) by one that is there."""
        tried, direct = self.attempt(self.fit.batch, self.fit.linear, self.moved)
        scan = marginalise([tried], self.offset, len(self.halos))
        hessian = tried.jacobian.T @ tried.jacobian + torch.eye(len(self.offset), dtype=torch.float64)
        # Lens parameters out of what is there: T − J̃ H⁻¹ J̃ᵀ T.
        left = direct - tried.jacobian @ torch.linalg.solve(hessian, tried.jacobian.T @ direct)
        moved = (left * tried.whitened).sum(0).reshape(len(self.halos), -1).numpy()
        return scan, moved / np.sqrt(np.maximum(scan.information, LEAST))

    def look(self, data: Tensor) -> Scan:
        """Return what halos of the searched masses give with other data (n,) of the same lens."""
        batch, linear = self.with_data(data)
        return marginalise([self.attempt(batch, linear, self.searched)[0]], self.offset, len(self.tried))

    def attempt(self, batch: Batch, linear: Linear, deflection: Tensor) -> tuple[Tried, Tensor]:
        """Return subhalos of deflections (s, r, 2) tried on one lens, with L⁻¹ T̃ and L⁻¹ J̃, and L⁻¹ T (n, s) beside."""
        u = batch.project(linear.solved.weights.float()[..., None])[0]
        still = self.fit.prior.still(deflection)
        direct, _ = self._seen(linear, u, batch, -deflection)
        _, whole = self._seen(linear, u, batch, -still)
        _, lens = self._seen(linear, u, batch, -self.pushed[0])
        tried = Tried(
            whitened=whole,
            score=-(still.flatten(1) @ linear.fields.score[0].flatten()).double(),
            jacobian=lens,
            lens_score=linear.score[0],
        )
        chi2 = float(linear.solved.chi2(batch)[0])
        return tried.weakened(chi2), direct / max(chi2, 1.0) ** 0.5

    @staticmethod
    def _seen(linear: Linear, u: Tensor, batch: Batch, shift: Tensor) -> tuple[Tensor, Tensor]:
        """L⁻¹ T and L⁻¹ T̃ (n, s) of rays moved by `shift` (s, r, 2) on the source plane."""
        beta, gradient, steepness = linear.solved.beta[0], linear.fields.gradient[0], linear.solved.steepness[0]
        fixed = (shift * gradient).sum(2).T
        weighted = u[None] * shift
        edge = linear.solved.edge[0]
        count = len(shift)
        moments = steepness @ torch.cat((weighted[..., 0].T, weighted[..., 1].T, (weighted * beta).sum(2).T), 1)
        along = beta[:, :1] * moments[:, :count] + beta[:, 1:] * moments[:, count : 2 * count] - moments[:, 2 * count :]
        along = along - linear.solved.covariance[0] @ (weighted * edge).sum(2).T
        seen = batch.observe(torch.cat((fixed, fixed - along), 1)[None])[0]
        white = torch.linalg.solve_triangular(linear.solved.factor[0].float(), seen, upper=False).double()
        return white[:, :count], white[:, count:]

    def with_data(self, data: Tensor) -> tuple[Batch, Linear]:
        """Return batch and linearisation with other data (n,) about the lens as fitted."""
        fit, batch, old = self.fit, replace(self.fit.batch, data=data[None]), self.fit.linear
        weights = torch.cholesky_solve(data[None, :, None], old.solved.factor)[..., 0]
        u = batch.project(weights.float()[..., None])
        beta = old.solved.beta
        moments = old.solved.steepness @ torch.cat((u, u * beta), 2)
        gradient = beta * moments[..., :1] - moments[..., 1:] + old.solved.edge * (old.solved.covariance @ u)
        fields = Fields(u * gradient - self.trace, gradient)
        solved = replace(old.solved, weights=weights)
        jacobian = whiten(solved, batch.observe(-torch.einsum("brk,bqrk->brq", gradient, self.pushed)).double())
        score = -torch.einsum("brk,bqrk->bq", fields.score, self.pushed).double()
        return batch, Linear(fit.values[None], solved, fields, jacobian, score, old.log_posterior)

    # --- data of which is known what is in them -------------------------------------------------------

    def smooth(self) -> Tensor:
        """Pixels (n,) of source and galaxy as found, without noise."""
        batch, solved = self.fit.batch, self.fit.linear.solved
        source = batch.observe(solved.covariance @ batch.project(solved.weights.float()[..., None]))[0, :, 0].double()
        return source + batch.light[0] @ (batch.light[0].T @ solved.weights[0])

    def changed(self, mass: int, place: tuple[float, float]) -> Tensor:
        """Pixels (n,) of the source as found, seen with a halo, less the same without: exact in the halo, not linear."""
        fit, batch, solved = self.fit, self.fit.batch, self.fit.linear.solved
        one = Places(np.array([place[0]]), np.array([place[1]]), np.ones(1), np.zeros((1, 2), int))
        shift = deflections(one, [self.halos[mass]], fit.parameter("theta_e"), batch.x[0], batch.y[0])[0]
        u = batch.project(solved.weights.float()[..., None])[0]
        beta = solved.beta[0]
        source = covariance(beta - shift, beta, fit) @ u - solved.covariance[0] @ u
        return batch.observe(source[None])[0, :, 0].double()

    def trials(self) -> list[Trial]:
        """Return the observed image, controls and injections, looked through."""
        fit, settings = self.fit, self.settings
        random = stream(0, stable_hash(fit.lens.name) % 2**32, "observed lens")
        data, smooth, sigma = fit.batch.data[0], self.smooth(), fit.batch.variance[0].sqrt()
        out = [self._trial("observed", data)]
        for _ in range(settings.controls):
            out.append(self._trial("control", smooth + sigma * torch.as_tensor(random.standard_normal(len(data)))))
        for mass in settings.injected_log10_mass_msun:
            for place in random.choice(len(self.where.x), settings.injections):
                # Anywhere in its cell: places of the search are a grid, subhalos are not.
                step = settings.place_step * fit.lens.scale
                x, y = (float(v[place] + (random.random() - 0.5) * step) for v in (self.where.x, self.where.y))
                added = self.changed(int(np.flatnonzero(self.masses == mass)[0]), (x, y))
                out.append(self._trial("injection", data + added, mass, x, y))
        return out

    def _trial(self, kind: str, data: Tensor, mass: float = np.nan, x: float = np.nan, y: float = np.nan) -> Trial:
        z = self.look(data).z
        near = np.hypot(self.where.x - x, self.where.y - y) <= NEAR
        z_near = float(z[:, near].max()) if near.any() else np.nan
        return Trial(kind, mass, x + self.fit.pixels.x0, y + self.fit.pixels.y0, float(z.max()), z_near, float((-z).max()))


def halo(log10_mass: float, concentration: float, redshifts: tuple[float, float], cosmology: Cosmology) -> SubhaloProfile:
    """Return an NFW halo of log₁₀ M200/M☉."""
    r_s, alpha = (float(v) for v in nfw_angles(10.0**log10_mass, concentration, *redshifts, cosmology))
    return SubhaloProfile(
        f"nfw {log10_mass:.2f}", 1.0, NFW, log10_mass_msun=log10_mass, concentration=concentration, r_s=r_s, alpha_rs=alpha
    )


def places(fit: ObservedFit, step: int) -> Places:
    """Return every `step`-th pixel in rows and columns on the arcs; places are from the galaxy's centre."""
    x, y = coordinates(fit.lens.image.shape, fit.lens.scale)
    radius = np.hypot(x - fit.galaxy.x, y - fit.galaxy.y)
    grid = np.zeros(x.shape, bool)
    grid[::step, ::step] = True
    at = np.argwhere(grid & fit.arcs.light & (radius > fit.arcs.inner) & (radius < fit.arcs.outer))
    rows, columns = at.T
    return Places(x[rows, columns] - fit.galaxy.x, y[rows, columns] - fit.galaxy.y, np.full(len(at), 1 / len(at)), at)


def covariance(at: Tensor, of: Tensor, fit: ObservedFit) -> Tensor:
    """Covariance (k, r) float32 of the source between places (k, 2) and (r, 2) from its middle: that of the fit's kernel."""
    distance, out = torch.cdist(at, of), 0.0
    for amplitude, length in zip(fit.kernel.amplitude[0].float(), fit.kernel.length[0].float(), strict=True):
        scaled = distance * (3**0.5 / length)
        out = out + amplitude**2 * (1 + scaled) * torch.exp(-scaled)
    return out * fit.kernel.envelope(at[None])[0][0][:, None] * fit.kernel.envelope(of[None])[0][0]


def mass_posterior(log_bayes: NDArray, log10_mass: NDArray) -> tuple[float, float]:
    """Return mean and standard deviation of log₁₀ mass from ln Bayes factors (m,) of increasing masses, flat in log mass."""
    fine = np.linspace(log10_mass[0], log10_mass[-1], 401)
    height = np.interp(fine, log10_mass, log_bayes)
    weight = np.exp(height - height.max())
    mean = float((fine * weight).sum() / weight.sum())
    return mean, float(np.sqrt((((fine - mean) ** 2) * weight).sum() / weight.sum()))


def completeness(trials: Sequence[Trial], threshold: float) -> dict[float, float]:
    """Return the share of injections found, near their place and above a threshold, by mass."""
    masses = sorted({t.log10_mass_msun for t in trials if t.kind == "injection"})
    return {m: float(np.mean([t.z_near >= threshold for t in trials if t.log10_mass_msun == m])) for m in masses}
