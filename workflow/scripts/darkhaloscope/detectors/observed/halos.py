"""Subhalos of an observed lens: their profiles, and one as a part of the lens with mass and place of its own.

Most published subhalos are truncated isothermal spheres (pseudo-Jaffe), so these are looked for; M is their total mass, and the truncation that of
a satellite at the Einstein radius (Metcalf & Madau 2001; Vegetti et al. 2010):

    α(r) = b (1 − (√(r² + r_t²) − r_t)/r),   M = π Σ_cr b r_t,   r_t = √(b θ_E).

An NFW halo of M200 is less concentrated: its M200 must be several times as large for the same signal (Despali et al. 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...config.cosmology import Cosmology
from ...config.observed import Subhalos
from ...lensing.lens import NFW, nfw_angles
from ..evidence.plane import SourcePlane
from ..evidence.prior import SubhaloProfile
from ..evidence.scan import Round
from ..evidence.sensitivity import sigma_critical

#: Parameters of a halo: its mass over that of the template, and its place from the galaxy's centre [arcsec].
HALO = ("strength", "halo_x", "halo_y")
#: Step of its numerical derivatives by place [arcsec], and what rounds the cusp at its middle off for them.
STEP, CUSP = 1e-3, 1e-3


@dataclass(frozen=True)
class PseudoJaffe:
    """A truncated isothermal sphere of total mass 10^`log10_mass_msun` behind Σ_cr of `critical` [M☉/arcsec²]."""

    log10_mass_msun: float
    critical: float

    def along(self, radius: Tensor, theta_e: float) -> Tensor:
        """Return the deflection [arcsec] at distances (k,) from the middle."""
        strength = (10**self.log10_mass_msun / (math.pi * self.critical * math.sqrt(theta_e))) ** (2 / 3)
        return pseudo_jaffe(radius, strength, math.sqrt(strength * theta_e))


def pseudo_jaffe(radius: Tensor, strength: float, truncation: float) -> Tensor:
    """Return the deflection at distances (k,) > 0 of an isothermal sphere of Einstein radius `strength` cut off at `truncation` [arcsec]."""
    # (√(r² + t²) − t)/r without cancellation at small r.
    return strength * (1 - radius / ((radius.square() + truncation**2).sqrt() + truncation))


def halos(settings: Subhalos, redshifts: tuple[float, float], cosmology: Cosmology) -> tuple[list[Round], float]:
    """Return a halo of each mapped mass, the total one of a pseudo-Jaffe sphere or M200 of an NFW halo, and Σ_cr [M☉/arcsec²]."""
    out = []
    for mass in settings.log10_mass_msun:
        r_s, alpha = (float(v) for v in nfw_angles(10.0**mass, settings.concentration, *redshifts, cosmology))
        shape = {"log10_mass_msun": mass, "concentration": settings.concentration, "r_s": r_s, "alpha_rs": alpha}
        out.append(SubhaloProfile(f"nfw {mass:.2f}", 1.0, NFW, **shape))
    critical = sigma_critical(out[0])
    return (out if settings.profile == "nfw" else [PseudoJaffe(mass, critical) for mass in settings.log10_mass_msun]), critical


@dataclass(frozen=True)
class HaloPlane(SourcePlane):
    """A smooth lens and a halo: its parameters are those of the lens, then `HALO`."""

    smooth: SourcePlane
    template: Round
    theta_e: float

    @classmethod
    def beside(cls, smooth: SourcePlane, template: Round, theta_e: float, widths: tuple[float, float]) -> HaloPlane:
        """Return the prior of a lens with a halo: normal about none, with widths of the strength and of the place from the galaxy's centre."""
        strength, place = widths
        return cls(
            smooth.profile,
            (*smooth.names, *HALO),
            np.append(smooth.mean, np.zeros(3)),
            np.append(smooth.width, [strength, place, place]),
            smooth.fixed,
            smooth.bright,
            smooth,
            template,
            theta_e,
        )

    def raw(self, values: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """As `SourcePlane.raw`."""
        return self.smooth.raw(values[:, :-3], x, y) + values[:, -3, None, None] * self._halo(values, x, y)

    def raw_derivatives(self, values: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """As `SourcePlane.raw_derivatives`."""
        deflection, pushed = self.smooth.raw_derivatives(values[:, :-3], x, y)
        one, strength = self._halo(values, x, y), values[:, -3, None, None]
        by = [one]
        for dx, dy in ((STEP, 0.0), (0.0, STEP)):
            # A halo that moves to the right is one whose rays move to the left.
            by.append(strength * (self._halo(values, x - dx, y - dy) - self._halo(values, x + dx, y + dy)) / (2 * STEP))
        widths = torch.as_tensor(self.width[-3:], dtype=values.dtype)
        by = torch.stack(by, 1) * widths[:, None, None]
        return deflection + strength * one, torch.cat((pushed, by.to(pushed.dtype)), 1)

    def excess(self, values: Tensor) -> Tensor:
        """What the halo's own prior takes off ln posterior, (n,)."""
        return 0.5 * self.offset(values)[:, -3:].square().sum(1)

    def _halo(self, values: Tensor, x: Tensor, y: Tensor) -> Tensor:
        dx, dy = x - values[:, -2, None], y - values[:, -1, None]
        radius = (dx.square() + dy.square() + CUSP**2).sqrt()
        size = self.template.along(radius.flatten(), self.theta_e).reshape(radius.shape) / radius
        return torch.stack((size * dx, size * dy), -1)
