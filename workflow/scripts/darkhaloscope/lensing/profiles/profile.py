"""What a mass profile gives, and what all of them share.

Deflections are pure functions of tensors. Each takes image-plane positions relative to the profile's centre (`x` to the
right, `y` up, arcsec) and parameters that broadcast against them, and returns the reduced deflection (αx, αy) in arcsec: the
source position is β = θ − α(θ). The `*_hessian` functions return (αx,x, αx,y, αy,y). Conventions are lenstronomy's. All are
differentiable, forward and backward, in positions and parameters; at a singular centre they return zero and finite
derivatives.

Ellipticity is the pair e1 = (1 − q)/(1 + q) cos 2φ, e2 = (1 − q)/(1 + q) sin 2φ, φ being the major axis, counter-clockwise
from x. Nothing here takes the angle out of it, so that derivatives by e1 and e2 exist for a round lens too.

Compiled loops `loop(n, x, y, u, v, q)` subtract the deflection at the first `n` positions (x, y) from (u, v). `q` is a row of
the halo table of `packing`: the centre at `CX` and `CY`, what `Profile.table` makes of the parameters from `P` on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from numba.core.dispatcher import Dispatcher
from numpy.typing import NDArray
from torch import Tensor

Pair = tuple[Tensor, Tensor]
Triple = tuple[Tensor, Tensor, Tensor]

#: Below this distance [arcsec] from a singular centre the profile counts as its centre.
CENTRE = 1e-9
#: Columns of the halo table: kind, centre, Einstein radius that sets how far the centre is felt, whether the centre is
#: singular, and the first of the profile's own numbers, of which there is room for as many as the table is wide.
KIND, CX, CY, FELT, SHARP, P = range(6)
#: How far the centre of a profile without a singular one is felt [arcsec].
BLUNT = 1e-3


@dataclass(frozen=True)
class Profile:
    """A mass profile.

    Attributes
    ----------
    name : as configs and tables have it
    parameters : those of `lens.MacroLens` or `lens.Subhalos` that its functions take, in their order
    deflection : (x, y, *parameters) to the deflection
    lenstronomy : name of its model there, and its keywords for the parameters, or a function from these to its keyword arguments
    loop, table : the deflection as a compiled loop, and from float64 arrays of the parameters to the numbers that the loop
        takes, of which the first is an Einstein radius where the centre is sharp
    sharp : whether the deflection jumps at the centre, or turns over less than a pixel (a small core), so that the pixel there
        needs many rays: without it the engine misses its accuracy there
    power_law : whether it is an elliptical power law, or one that is isothermal or round: as main lens `kernels` computes it
    """

    name: str
    parameters: tuple[str, ...]
    deflection: Callable[..., Pair]
    lenstronomy: tuple[str, tuple[str, ...] | Callable[..., dict[str, float]]]
    loop: Dispatcher | None = None
    table: Callable[..., tuple[NDArray, ...]] | None = None
    sharp: bool = False
    power_law: bool = False


def hessian(deflection: Callable[[Tensor, Tensor], Pair], x: Tensor, y: Tensor) -> Triple:
    """Second derivatives of the potential of any profile, by differentiating its deflection."""
    ones = torch.ones_like(x)
    _, (xx, _) = torch.func.jvp(lambda place: deflection(place, y), (x,), (ones,))
    _, (xy, yy) = torch.func.jvp(lambda place: deflection(x, place), (y,), (ones,))
    return xx, xy, yy


def radius(x: Tensor, y: Tensor) -> Tensor:
    """Distance from the centre; 1 at the centre itself, where a direction does not exist."""
    square = x * x + y * y
    return torch.where(square > CENTRE**2, square, 1.0).sqrt()


def harmonic(ux: Tensor, uy: Tensor, m: int) -> Pair:
    """Cosine and sine of m times the angle of a unit vector."""
    cos, sin = ux, uy
    for _ in range(m - 1):
        cos, sin = cos * ux - sin * uy, sin * ux + cos * uy
    return cos, sin
