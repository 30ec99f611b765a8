"""What every main lens has beside its profile: external shear, and multipoles about its centre."""

from __future__ import annotations

import torch
from torch import Tensor

from .profile import Pair, Triple, harmonic, radius


def shear(x: Tensor, y: Tensor, gamma1: Tensor, gamma2: Tensor) -> Pair:
    """External shear: α = (γ1 x + γ2 y, γ2 x − γ1 y)."""
    return gamma1 * x + gamma2 * y, gamma2 * x - gamma1 * y


def multipole(x: Tensor, y: Tensor, m: int, amplitude: Tensor, phi: Tensor) -> Pair:
    """Multipole of order m ≥ 2, ψ = a r / (1 − m²) cos m(φ − φ_m).

    Xu et al. (2015), MNRAS 447, 3189, eq. B12. `amplitude` is a in arcsec (a_m of lenstronomy's
    MULTIPOLE): an isophote at θ_E is deformed by a/θ_E.
    """
    inverse = 1 / radius(x, y)
    ux, uy = x * inverse, y * inverse
    cm, sm = harmonic(ux, uy, m)
    cp, sp = torch.cos(m * phi), torch.sin(m * phi)
    scale = amplitude / (1 - m * m)
    radial, tangential = scale * (cm * cp + sm * sp), scale * m * (sm * cp - cm * sp)
    return ux * radial + uy * tangential, uy * radial - ux * tangential


def multipole_hessian(x: Tensor, y: Tensor, m: int, amplitude: Tensor, phi: Tensor) -> Triple:
    """Second derivatives of the potential of `multipole`."""
    inverse = 1 / radius(x, y)
    ux, uy = x * inverse, y * inverse
    cm, sm = harmonic(ux, uy, m)
    strength = amplitude * inverse * (cm * torch.cos(m * phi) + sm * torch.sin(m * phi))
    return uy * uy * strength, -ux * uy * strength, ux * ux * strength
