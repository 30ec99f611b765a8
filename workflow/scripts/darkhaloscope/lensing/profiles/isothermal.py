"""The singular isothermal sphere."""

from __future__ import annotations

import numpy as np
from numba import njit
from torch import Tensor

from ..compiled import inner
from ..floats import F
from .profile import CX, CY, P, Pair, Profile, radius


def sis(x: Tensor, y: Tensor, theta_e: Tensor) -> Pair:
    """Singular isothermal sphere: α = θ_E in the radial direction."""
    inverse = theta_e / radius(x, y)
    return inverse * x, inverse * y


@njit(**inner)
def sis_loop(n, x, y, u, v, q):
    """`sis`, of Einstein radius q[P]."""
    for j in range(n):
        dx, dy = x[j] - q[CX], y[j] - q[CY]
        a = q[P] / np.sqrt(dx * dx + dy * dy + F(1e-12))
        u[j] -= a * dx
        v[j] -= a * dy


SIS = Profile("sis", ("theta_e",), sis, ("SIS", ("theta_E",)), sis_loop, lambda theta_e: (theta_e,), sharp=True, power_law=True)
