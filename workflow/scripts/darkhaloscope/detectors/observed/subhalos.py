"""Subhalos in an observed lens: tried at every place on the arcs, the best of them fitted with the lens, and the same with data of which is known what is in them.

T and T̃ are those of `evidence.scan`. Here δβ is a tenth of an arcsec on whole arcs, and the noise moves the score by nᵀ C⁻¹ T̃: z is m′/√ν′ with ν = T̃ᵀ C⁻¹ T̃ (for stamps, with
smaller subhalos, ν = Tᵀ C⁻¹ T), and a subhalo that is there moves z by Tᵀ C⁻¹ T̃/√ν, lens parameters projected out of both (their J̃ likewise).

That map is linear in the halo's mass, and a halo that can be seen changes the image by more than that holds for. So the map only says where to begin: from its best places a halo's mass
and place are fitted together with all parameters of the lens, and z = ±√(2 Δ(ln E + ln prior)).

Controls are draws of the lens as fitted, without a subhalo, with the noise of the image: how large z becomes by noise alone. Injections are
the observed image itself, to which is added what a subhalo of known mass would change in the source as found: with all that the model
gets wrong about this lens. For both the lens is fitted anew, without a halo and with one, as for the observed image.

A negative mass cannot be there: the greatest −z of one, in the observed image, shows what the model's errors do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config.cosmology import Cosmology
from ...config.observed import Subhalos
from ...core.random import stable_hash, stream
from ..evidence.fit import FAR, Linear, ascend, climb, different, linearise
from ..evidence.fit import NEAR as LITTLE
from ..evidence.pixels import Batch, stack
from ..evidence.plane import SourcePlane
from ..evidence.process import Kernel, moved_source, trace_of
from ..evidence.scan import Places, Scan, changes, deflections, marginalise
from ..evidence.scan import Trial as Tried
from .fit import ObservedFit
from .halos import HALO, HaloPlane, halos
from .light import coordinates

#: Information below this is none.
LEAST = 1e-6
#: Starts are as far apart [arcsec].
APART = 0.45
#: Bounds of a start's mass over that of the halo that is searched, and its mass on the coarse image.
LIGHTEST, HEAVIEST, HEAVY = 0.5, 4.0, 2.0
#: Width of the prior of a halo's place about the galaxy's centre, in units of θ_E.
PLACE = 0.6


@dataclass(frozen=True)
class Halo:
    """A halo fitted with the lens about it.

    `strength` is its mass over that of the template, negative where that fits; `x`, `y` from the galaxy's centre [arcsec]; `errors` of the three, the lens
    marginalised; `log_ratio`, how much ln E + ln prior of the lens gains by it; `z` = ±√(2 log_ratio), of the sign of the strength, over √χ² where the fit has χ² > 1 per bin.
    """

    strength: float
    x: float
    y: float
    errors: tuple[float, float, float]
    log_ratio: float
    z: float


@dataclass(frozen=True)
class Trial:
    """One set of data looked through.

    `kind` is observed, control, injection or asked (an injection at a place that the config names); `found` the halo of the greatest z, `z_map` the greatest z of the linear map. Of an injection: `log10_mass_msun`, its place `x`, `y` from
    the galaxy's centre [arcsec], and `promised`, what the linear map says its z will be on average. Of the observed image: `negative`, the greatest −z of a negative mass.
    """

    kind: str
    found: Halo
    z_map: float
    log10_mass_msun: float = math.nan
    x: float = math.nan
    y: float = math.nan
    promised: float = math.nan
    negative: float = math.nan

    @property
    def distance(self) -> float:
        """How far the halo that was found is from the one that was injected [arcsec]."""
        return math.hypot(self.found.x - self.x, self.found.y - self.y)


class Looker:
    """An observed lens with its places and the parts of the search that all data share."""

    def __init__(self, fit: ObservedFit, settings: Subhalos, cosmology: Cosmology, redshifts: tuple[float, float]) -> None:
        self.fit, self.settings = fit, settings
        self.where = places(fit, settings.place_step)
        self.masses = np.array(settings.log10_mass_msun)
        self.halos, self.critical = halos(settings, redshifts, cosmology)
        self.searched = int(np.flatnonzero(self.masses == settings.searched_log10_mass_msun)[0])
        batch, prior, theta_e = fit.batch, fit.prior, fit.parameter("theta_e")
        self.moved = deflections(self.where, self.halos, theta_e, batch.x[0], batch.y[0])
        beside = self.halos[self.searched], theta_e, (settings.strength, PLACE * theta_e)
        self.plane = HaloPlane.beside(prior, *beside)
        self.trace = trace_of(batch, fit.linear.solved, fit.linear.fields)
        # The coarse image, with more noise than there is: halos at some distance are already near.
        coarse = stack([fit.coarse.channel])
        self.coarse = replace(coarse, variance=coarse.variance * settings.coarse_noise)
        self.coarsely = torch.as_tensor(fit.pixels.means_over(fit.coarse).toarray())
        self.coarse_plane = HaloPlane.beside(SourcePlane.about(prior, coarse), *beside)
        near = linearise(self.coarse, self.coarse_plane.smooth, fit.values[None], fit.kernel)
        self.coarse_trace = trace_of(self.coarse, near.solved, near.fields)

    def log10_mass(self, found: Halo) -> float:
        """Return log₁₀ of a fitted halo's mass/M☉; its size is that of the searched mass, so that mass is in proportion to strength."""
        return float(self.masses[self.searched] + math.log10(max(abs(found.strength), LEAST)))

    def scan(self) -> tuple[Scan, NDArray]:
        """Return what halos of all masses give at every place of the observed image, and by how much z is moved (m, k) by one that is there."""
        tried, direct = self.attempt(self.fit.batch, self.fit.linear, self.moved)
        offset = self.fit.prior.offset(self.fit.values[None])[0]
        scan = marginalise([tried], offset, len(self.halos))
        hessian = tried.jacobian.T @ tried.jacobian + torch.eye(len(offset), dtype=torch.float64)
        # Lens parameters out of what is there: T − J̃ H⁻¹ J̃ᵀ T.
        left = direct - tried.jacobian @ torch.linalg.solve(hessian, tried.jacobian.T @ direct)
        moved = (left * tried.whitened).sum(0).reshape(len(self.halos), -1).numpy()
        return scan, moved / np.sqrt(np.maximum(scan.information, LEAST))

    def look(self, batch: Batch, smooth: Linear, sign: int = 1) -> tuple[Scan, Halo]:
        """Return the linear map of the searched halo about a lens fitted without one, and the halo of the greatest z of a sign, fitted."""
        count = len(self.where.x)
        tried, _ = self.attempt(batch, smooth, self.moved[self.searched * count : (self.searched + 1) * count])
        scan = marginalise([tried], self.fit.prior.offset(smooth.values)[0], 1)
        starts = self.starts(scan, smooth.values, sign)
        fitted = self.fitted(batch, smooth, torch.cat((starts[:1], self.climbed(batch, starts))))
        return scan, max(fitted, key=lambda h: sign * h.z)

    def starts(self, scan: Scan, smooth: Tensor, sign: int) -> Tensor:
        """Return lenses with halos (s, q + 3) at places all over the arcs, apart from each other, that of the greatest z of a sign first."""
        z, places = sign * scan.z[0], []
        for k in np.argsort(-z):
            x, y = float(self.where.x[k]), float(self.where.y[k])
            if all(math.hypot(x - a, y - b) > APART for _, a, b in places):
                strength = abs(scan.score[0, k]) / max(scan.information[0, k], LEAST)
                places.append((sign * min(max(strength, LIGHTEST), HEAVIEST), x, y))
        return torch.cat((smooth[[0] * len(places)], torch.tensor(places, dtype=torch.float64)), 1)

    def climbed(self, batch: Batch, starts: Tensor) -> Tensor:
        """Return the best lenses with halos (s, q + 3) of the coarse image, climbed to from all starts."""
        plane, settings = self.coarse_plane, self.settings
        coarse, kernel, trace = self.repeated(replace(self.coarse, data=batch.data @ self.coarsely.T), self.coarse_trace, len(starts))
        # A halo too heavy is made lighter more easily than one too light is made heavier.
        starts = starts.clone()
        starts[:, -3] = HEAVY * starts[:, -3].sign()
        found, height = ascend(coarse, plane, starts, kernel, settings.coarse_steps, FAR, self.fit.enough, trace)
        return found[different(plane.offset(found)[:, -len(HALO) :], height + plane.excess(found), settings.starts)]

    def fitted(self, batch: Batch, smooth: Linear, values: Tensor) -> list[Halo]:
        """Return the best halos fitted from some starts (s, q + 3) together with the lens."""
        plane, settings = self.plane, self.settings
        several, kernel, trace = self.repeated(batch, self.trace, len(values))
        found, height = ascend(several, plane, values, kernel, 1, LITTLE, self.fit.enough, trace)
        chosen = found[(height + plane.excess(found)).topk(min(settings.finalists, len(found))).indices]
        few, kernel, trace = self.repeated(batch, self.trace, len(chosen))
        linear, _ = climb(few, plane, chosen, kernel, settings.steps - 1, LITTLE, self.fit.enough, trace)
        gain = linear.log_posterior + plane.excess(linear.values) - smooth.log_posterior
        chi2 = linear.solved.chi2(few).clamp(min=1)
        error = (
            torch.linalg.inv(linear.information + torch.eye(linear.values.shape[1], dtype=torch.float64)).diagonal(dim1=1, dim2=2).sqrt()
        )
        error = (error * chi2.sqrt()[:, None] * torch.as_tensor(plane.width))[:, -len(HALO) :]
        z = (2 * gain.clamp(min=0) / chi2).sqrt().copysign(linear.values[:, -3])
        return [
            Halo(*place, tuple(errors), ratio, height)
            for place, errors, ratio, height in zip(linear.values[:, -3:].tolist(), error.tolist(), gain.tolist(), z.tolist(), strict=True)
        ]

    def repeated(self, batch: Batch, trace: Tensor, count: int) -> tuple[Batch, Kernel, Tensor]:
        """Return the one image of a batch, the kernel of its source and the trace of its score several times, for as many starts."""
        rows = [0] * count
        return batch.of(rows), self.fit.kernel[torch.tensor(rows)], trace.expand(count, -1, -1)

    def attempt(self, batch: Batch, linear: Linear, deflection: Tensor) -> tuple[Tried, Tensor]:
        """Return subhalos of deflections (s, r, 2) tried on one lens, with L⁻¹ T̃ and L⁻¹ J̃, and L⁻¹ T (n, s) beside."""
        prior = self.fit.prior
        at, size = prior.place(prior.angles(linear.values, batch.x, batch.y))
        carried = -prior.carry(deflection, at, size)
        pushed = prior.derivatives(linear.values, batch.x, batch.y)[1][0]
        direct, _ = changes(batch, linear, 0, -deflection / size.float())
        _, whole = changes(batch, linear, 0, carried)
        _, lens = changes(batch, linear, 0, -pushed)
        tried = Tried(
            whitened=whole,
            score=(carried.flatten(1) @ linear.fields.score[0].flatten()).double(),
            jacobian=lens,
            lens_score=linear.score[0],
        )
        chi2 = float(linear.solved.chi2(batch)[0])
        return tried.weakened(chi2), direct / max(chi2, 1.0) ** 0.5

    def smooth_fit(self, data: Tensor) -> tuple[Batch, Linear]:
        """Return a batch of other data (n,) of the same lens, and the lens without a halo fitted to them from where the observed image left it."""
        batch = replace(self.fit.batch, data=data[None])
        fit, steps = self.fit, self.settings.smooth_steps
        return batch, climb(batch, fit.prior, fit.values[None], fit.kernel, steps, LITTLE, fit.enough, self.trace)[0]

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
        shift = deflections(one, [self.halos[mass]], fit.parameter("theta_e"), batch.x[0], batch.y[0])[0] / float(fit.size)
        return batch.observe(moved_source(batch, solved, 0, -shift[None]).mT[None])[0, :, 0].double()

    def trials(self, depth: NDArray) -> list[Trial]:
        """Return the observed image, controls and injections, looked through; `depth` (m, k) is what `scan` promises."""
        fit, settings = self.fit, self.settings
        random = stream(0, stable_hash(fit.lens.name) % 2**32, "observed lens")
        data, smooth, sigma = fit.batch.data[0], self.smooth(), fit.batch.variance[0].sqrt()
        observed = self.smooth_fit(data)
        negative = -self.look(*observed, -1)[1].z
        out = [self._trial("observed", *observed, negative=negative)]
        for _ in range(settings.controls):
            out.append(self._trial("control", *self.smooth_fit(smooth + sigma * torch.as_tensor(random.standard_normal(len(data))))))
        for mass in settings.injected_log10_mass_msun:
            number = int(np.flatnonzero(self.masses == mass)[0])
            for place in random.choice(len(self.where.x), settings.injections):
                # Anywhere in its cell: places of the search are a grid, subhalos are not.
                step = settings.place_step * fit.lens.scale
                x, y = (float(v[place] + (random.random() - 0.5) * step) for v in (self.where.x, self.where.y))
                out.append(self._injection("injection", mass, number, (x, y), float(depth[number, place])))
            for x, y in settings.asked.get(fit.lens.name, ()):
                away = np.hypot(self.where.x - x, self.where.y - y)
                # No place of the map is near one off the arcs.
                near = float(depth[number, away.argmin()]) if away.min() < settings.place_step * fit.lens.scale else math.nan
                out.append(self._injection("asked", mass, number, (x, y), near))
        return out

    def _injection(self, kind: str, mass: float, number: int, place: tuple[float, float], promised: float) -> Trial:
        """A halo of the `number`-th mass at a place in the observed image, looked for."""
        seen = self.smooth_fit(self.fit.batch.data[0] + self.changed(number, place))
        return self._trial(kind, *seen, log10_mass_msun=mass, x=place[0], y=place[1], promised=promised)

    def _trial(self, kind: str, batch: Batch, smooth: Linear, **known: float) -> Trial:
        scan, found = self.look(batch, smooth)
        return Trial(kind, found, float(scan.z.max()), **known)


def places(fit: ObservedFit, step: int) -> Places:
    """Return every `step`-th pixel in rows and columns on the arcs; places are from the galaxy's centre."""
    x, y = coordinates(fit.lens.image.shape, fit.lens.scale)
    radius = np.hypot(x - fit.galaxy.x, y - fit.galaxy.y)
    grid = np.zeros(x.shape, bool)
    grid[::step, ::step] = True
    lit = fit.arcs.light & (radius > fit.arcs.inner) & (radius < fit.arcs.outer)
    # Short arcs may lie between the places of the grid.
    at = np.argwhere(grid & lit if (grid & lit).any() else lit)
    rows, columns = at.T
    return Places(x[rows, columns] - fit.galaxy.x, y[rows, columns] - fit.galaxy.y, np.full(len(at), 1 / len(at)), at)
