"""What the dataset's config says before a stamp is seen: lens parameters with their widths, and where and what subhalos may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import forward_ad

from ...config import lenses
from ...config.base import Distribution
from ...config.cosmology import Cosmology
from ...config.subhalo import Lens, SubhaloDataset
from ...lensing.lens import MacroLens, Subhalos, macro_deflection, macro_lens, nfw_angles, subhalo_deflection
from ...lensing.profiles import MAIN, codes
from . import loops
from .pixels import DetectorError

#: Orders of the multipoles that a lens may have, each as a cos mφ and a sin mφ.
MULTIPOLES = (3, 4)
#: A parameter stays within this many widths of its mean.
REACH = 4.0
#: Places at which a density is summed: enough for 30 standard deviations beyond a mean, and for twenty decades.
NODES = 400


@dataclass(frozen=True)
class LensPrior:
    """Independent normal priors of the free lens parameters; all others are fixed.

    `names` are fields of `MacroLens`, multipoles as m3_cos, m3_sin, m4_cos, m4_sin (relative to θ_E); `mean`, `width` (q,).
    `fixed` holds the parameters that the dataset does not vary.
    """

    profile: str
    names: tuple[str, ...]
    mean: NDArray
    width: NDArray
    fixed: dict[str, float]

    @classmethod
    def of(cls, lens: Lens) -> LensPrior:
        """Return the normal priors with the means and variances of a dataset's distributions.

        A vector of random direction and length e has mean zero and variance ⟨e²⟩/2 in each component.

        Raises
        ------
        DetectorError
            No parameter varies, so that there is nothing to fit.
        """
        drawn = lenses.MAIN[lens.profile]
        values = {"theta_e": _moments(lens.theta_e_arcsec), "slope": _moments(lens.slope) if "slope" in drawn else (2.0, 0.0)}
        directed = {("x", "y"): lens.centre_offset_arcsec, ("gamma1", "gamma2"): lens.shear}
        if "ellipticity" in drawn:
            directed = {("e1", "e2"): lens.ellipticity, **directed}
        for m in MULTIPOLES:
            directed[f"m{m}_cos", f"m{m}_sin"] = getattr(lens, f"multipole_m{m}")
        for pair, length in directed.items():
            mean, variance = _moments(length)
            values |= dict.fromkeys(pair, (0.0, (variance + mean**2) / 2))
        free = tuple(name for name, (_, variance) in values.items() if variance > 0)
        if not free:
            raise DetectorError(
                "all lenses are one, with nothing to fit: let lens.theta_e_arcsec or another of their parameters vary, however little"
            )
        mean, variance = np.array([values[name] for name in free]).T
        fixed = {name: mean for name, (mean, variance) in values.items() if variance == 0}
        return cls(lens.profile, free, mean, np.sqrt(variance), fixed)

    def lens(self, values: Tensor) -> MacroLens:
        """Return the lenses of parameters (n, q)."""
        given = {name: values[:, k] for k, name in enumerate(self.names)}
        given |= {name: torch.full_like(values[:, 0], value) for name, value in self.fixed.items()}
        for m in MULTIPOLES:
            cosine, sine = given.pop(f"m{m}_cos"), given.pop(f"m{m}_sin")
            # A multipole of no strength has no direction, and atan2 no derivative there.
            cosine = cosine + torch.where((cosine == 0) & (sine == 0), 1e-12, 0.0)
            given |= {f"m{m}": torch.hypot(cosine, sine), f"m{m}_phi": torch.atan2(sine, cosine) / m}
        return macro_lens(self.profile, given.pop("theta_e"), **given)

    def deflect(self, values: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Deflection (n, r, 2) at positions (n, r) by lenses of parameters (n, q), arcsec."""
        if self._traced(values):
            return self._trace(values, x, y, False)[0]
        return self._deflect(values, x, y)

    def _deflect(self, values: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return torch.stack(macro_deflection(self.lens(values), x, y), -1)

    def derivatives(self, values: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Deflection (n, r, 2), and its derivative (n, q, r, 2), float32, by the parameters in units of their widths."""
        if self._traced(values):
            deflection, pushed = self._trace(values, x, y, True)
            free = [loops.LENS.index(name) for name in self.names]
            return deflection, pushed[:, free] * torch.as_tensor(self.width, dtype=torch.float32)[:, None, None]
        return self.differentiate(values, x, y)

    def differentiate(self, values: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """As `derivatives`, of any profile on any device: by forward-mode differentiation, in float32."""
        n, q = values.shape
        directions = torch.diag(self._tensor(self.width, values)).float().repeat(n, 1)
        repeated, at_x, at_y = (a.float().repeat_interleave(q, 0) for a in (values, x, y))
        with forward_ad.dual_level():
            dual = self._deflect(forward_ad.make_dual(repeated, directions), at_x, at_y)
            deflection, pushed = forward_ad.unpack_dual(dual)
        return deflection.reshape(n, q, *deflection.shape[1:])[:, 0], pushed.reshape(n, q, *pushed.shape[1:])

    def _traced(self, values: Tensor) -> bool:
        """Whether compiled loops have this lens, here."""
        return values.device.type == "cpu" and MAIN[self.profile].power_law

    def _trace(self, values: Tensor, x: Tensor, y: Tensor, push: bool) -> tuple[Tensor, Tensor]:
        lens, (n, rays) = torch.zeros(len(values), len(loops.LENS), dtype=torch.float64), x.shape
        for k, name in enumerate(loops.LENS):
            lens[:, k] = values[:, self.names.index(name)] if name in self.names else self.fixed.get(name, 0.0)
        deflection, pushed = torch.empty(n, rays, 2, dtype=torch.float64), torch.empty(n if push else 0, len(loops.LENS), rays, 2)
        loops.trace(
            lens.numpy(),
            *(a.double().contiguous().numpy() for a in (x, y)),
            np.empty((3, loops.MOST_TERMS)),
            deflection.numpy(),
            pushed.numpy(),
        )
        return deflection, pushed

    def offset(self, values: Tensor) -> Tensor:
        """Distance from the mean in widths, (n, q)."""
        return (values - self._tensor(self.mean, values)) / self._tensor(self.width, values)

    def values(self, offset: Tensor) -> Tensor:
        """Parameters (n, q) at distances from the mean in widths, no further than `REACH`."""
        return self._tensor(self.mean, offset) + offset.clamp(-REACH, REACH) * self._tensor(self.width, offset)

    @staticmethod
    def _tensor(values: NDArray, like: Tensor) -> Tensor:
        return torch.as_tensor(values, dtype=like.dtype, device=like.device)


@dataclass(frozen=True)
class SubhaloProfile:
    """One profile of the prior: a name, its share, and what `Subhalos` needs; `factor`, NaN for halos, is the Einstein radius over θ_E."""

    name: str
    share: float
    kind: int
    factor: float = math.nan
    log10_mass_msun: float = math.nan
    concentration: float = math.nan
    r_s: float = 1.0
    alpha_rs: float = 1.0
    r_t: float = 1.0

    def at(self, x: Tensor, y: Tensor, theta_e: float) -> Subhalos:
        """Return one such subhalo at each of k places (k,), behind a lens of θ_E, as a `Subhalos` of k rows."""
        one = torch.ones_like(x)[:, None]
        values = {
            "r_s": self.r_s,
            "alpha_rs": self.alpha_rs,
            "r_t": self.r_t,
            "theta_e": 1.0 if math.isnan(self.factor) else self.factor * theta_e,
        }
        return Subhalos(kind=(one * self.kind).long(), x=x[:, None], y=y[:, None], **{k: one * v for k, v in values.items()})

    def along(self, radius: Tensor, theta_e: float) -> Tensor:
        """Return the deflection [arcsec] at distances (k,) from the middle, behind a lens of θ_E."""
        middle = torch.zeros(1, dtype=torch.float64, device=radius.device)
        return subhalo_deflection(self.at(middle, middle, theta_e), radius[None], torch.zeros_like(radius)[None])[0][0]


def subhalo_profiles(dataset: SubhaloDataset, cosmology: Cosmology) -> tuple[SubhaloProfile, ...]:
    """Return the profiles that stand for a dataset's subhalos: one where it has no mass (an SIS), else a halo at the middle of each mass bin.

    Concentration, truncation and redshifts are the means of their distributions.
    """
    subhalo, out = dataset.subhalo, []
    for kind, share in subhalo.profiles.items():
        if share == 0:
            continue
        if kind not in lenses.drawing("log10_mass_msun"):
            factor = _moments(subhalo.theta_e_factor)[0] if kind in lenses.drawing("theta_e_factor") else math.nan
            out.append(SubhaloProfile(kind, share, codes()[kind], factor=factor))
            continue
        for low, high in subhalo.log10_mass_msun:
            out.append(halo(kind, (low + high) / 2, share / len(subhalo.log10_mass_msun), dataset, cosmology))
    return tuple(out)


def halo(kind: str, log10_mass: float, share: float, dataset: SubhaloDataset, cosmology: Cosmology) -> SubhaloProfile:
    """Return a halo of a profile that has a mass, of log₁₀ M200/M☉ with the mean concentration and truncation of a dataset."""
    mean = {
        "c": _moments(dataset.subhalo.concentration)[0],
        "zl": _moments(dataset.lens.redshift)[0],
        "zs": _moments(dataset.sources.redshift)[0],
    }
    r_s, alpha = (float(v) for v in nfw_angles(10.0**log10_mass, mean["c"], mean["zl"], mean["zs"], cosmology))
    truncation = _moments(dataset.subhalo.truncation)[0]
    return SubhaloProfile(
        f"{kind} {log10_mass:.2f}",
        share,
        codes()[kind],
        log10_mass_msun=log10_mass,
        concentration=mean["c"],
        r_s=r_s,
        alpha_rs=alpha,
        r_t=r_s * truncation,
    )


def _moments(distribution: Distribution) -> tuple[float, float]:
    """Mean and variance of a distribution.

    The variance is summed about the mean and never a difference of squares: of a narrow distribution nothing of that would be left but rounding.
    """
    value = getattr(distribution, distribution.kind)
    if distribution.kind == "choice":
        values = np.array(value)
        weight = np.full(len(values), 1 / len(values))
    else:
        values, weight = _nodes(distribution)
    if values.min() == values.max():
        return float(values[0]), 0.0
    # Likewise the mean, from a value of the distribution itself.
    mean = values[0] + weight @ (values - values[0])
    return float(mean), float(weight @ (values - mean) ** 2)


def _nodes(distribution: Distribution) -> tuple[NDArray, NDArray]:
    """Return values (k,) of a distribution with a density, and weights (k,) that add up to 1, for sums in place of its integrals (Gauss–Legendre)."""
    low, high = distribution.bounds
    place, weight = leggauss(NODES)
    place, weight = (place + 1) / 2, weight / 2
    if distribution.kind == "log_uniform":
        return low + low * np.expm1(math.log(high / low) * place), weight
    if distribution.kind == "normal":
        mean, sd = distribution.normal[:2]
        # Beyond so many standard deviations from where the density is highest nothing is left of it.
        top = min(max(mean, low), high)
        low, high = max(low, top - 12 * sd), min(high, top + 12 * sd)
        place_sd, top_sd = (low - mean + (high - low) * place) / sd, (top - mean) / sd
        weight = weight * np.exp((top_sd - place_sd) * (top_sd + place_sd) / 2)
        weight /= weight.sum()
    return low + (high - low) * place, weight
