"""Examples that the tests of this room share: lights, lenses and subhalos with fixed or random parameters."""

from dataclasses import dataclass, fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from darkhaloscope.lensing.lens import Subhalos, macro_lens
from darkhaloscope.lensing.light import DiskLight, PixelLight, sersic_profile


@pytest.fixture(scope="session")
def example():
    """Functions that make example lights and lenses."""
    return SimpleNamespace(disk=disk, pixels=pixels, lens=random_lens, subhalos=random_subhalos, many=many, cast=cast, sersic=SersicLight)


def disk(n=1, **changes):
    values = {
        "flux": 3.0, "x": 0.0, "y": 0.0, "pa": 0.5, "inclination": 0.9, "scale_radius": 0.2, "bulge_fraction": 0.2, "bulge_n": 2.0,
        "bulge_radius": 0.15, "v_max": 200.0, "r_turn": 0.08, "v_sys": 0.0, "sigma0": 30.0, "bar_amplitude": 0.0, "bar_phi": 0.4,
        "radial_flow": 0.0,
    } | changes  # fmt: skip
    fields = {k: torch.full((n,), v, dtype=torch.float64) for k, v in values.items()}
    knots = {"knot_x": (0.1, -0.2, 0.0), "knot_y": (0.3, 0.1, 0.0), "knot_share": (0.1, 0.05, 0.0), "knot_sigma": (0.04, 0.06, 1.0)}
    return DiskLight(**fields, **{k: torch.tensor([v] * n, dtype=torch.float64) for k, v in knots.items()})


def pixels(h=31, w=41, c=3, seed=0, **changes):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    envelope = np.exp(-((x - w / 2) ** 2 + (y - h / 2) ** 2) / 60)
    planes = torch.as_tensor(rng.uniform(0, 1, (2, c, h, w)) * envelope)
    values = {"pixel_scale": 0.05, "x": 0.1, "y": -0.05, "phi": 0.7} | changes
    fields = {k: torch.tensor([v, v], dtype=torch.float64) for k, v in values.items()}
    return PixelLight(planes, torch.tensor([1, 0]), flip=torch.tensor([False, True]), **fields)


def random_lens(n, profile="epl", seed=3):
    rng = np.random.default_rng(seed)

    def uniform(low, high):
        return torch.as_tensor(rng.uniform(low, high, n))

    names = ("e1", "e2", "x", "y", "gamma1", "gamma2", "m3", "m3_phi", "m4", "m4_phi")
    bounds = ((-0.3, 0.3),) * 2 + ((-0.1, 0.1),) * 4 + ((-0.02, 0.02), (-3, 3)) * 2
    return macro_lens(profile, uniform(0.5, 2), slope=uniform(1.7, 2.3), **{k: uniform(*b) for k, b in zip(names, bounds, strict=True)})


def random_subhalos(n, seed=4):
    rng = np.random.default_rng(seed)
    fields = {k: torch.as_tensor(rng.uniform(a, b, (n, 4))) for k, (a, b) in {"x": (-2, 2), "y": (-2, 2), "theta_e": (0.01, 0.1)}.items()}
    halo = {
        k: torch.as_tensor(rng.uniform(a, b, (n, 4)))
        for k, (a, b) in {"r_s": (0.05, 0.5), "alpha_rs": (0.001, 0.02), "r_t": (0.2, 3)}.items()
    }
    return Subhalos(kind=torch.as_tensor(rng.integers(0, 4, (n, 4))), **fields, **halo)


def many(light, n):
    return light[torch.arange(n) % light.x.shape[0]]


def cast(rows, dtype):
    """Light, lens or subhalos in another floating-point type."""
    floats = {k: v.to(dtype) for k, v in vars(rows).items() if isinstance(v, torch.Tensor) and v.is_floating_point()}
    return type(rows)(**(vars(rows) | floats))


@dataclass(frozen=True)
class SersicLight:
    """A light that the engine does not know: an elliptical Sérsic profile in c channels with one shape.

    Attributes
    ----------
    flux : (n, c) tensor, total flux of each channel
    x, y : (n,) tensors, centre [arcsec]
    half_light_radius : (n,) tensor, circularised (√(ab)) half-light radius [arcsec]
    sersic_n : (n,) tensor, Sérsic index, 0.4 to 8
    e1, e2 : (n,) tensors, ellipticity (1 − q)/(1 + q) times cos 2φ and sin 2φ
    """

    flux: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    half_light_radius: torch.Tensor
    sersic_n: torch.Tensor
    e1: torch.Tensor
    e2: torch.Tensor

    def __getitem__(self, rows):
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def moments(self, bx: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
        """Surface brightness at source positions (n, …), (n, c, …) per arcsec²."""
        dx, dy = bx - _beside(self.x, bx), by - _beside(self.y, bx)
        e1, e2 = _beside(self.e1, bx), _beside(self.e2, bx)
        # |z − ε z̄|²/(1 − |ε|²) is q x² + y²/q in the ellipse's own axes.
        wx, wy = dx - e1 * dx - e2 * dy, dy - e2 * dx + e1 * dy
        r2 = (wx * wx + wy * wy) / (1 - e1 * e1 - e2 * e2)
        shape = sersic_profile(r2, _beside(self.half_light_radius, bx), _beside(self.sersic_n, bx))
        return shape[:, None] * self.flux.reshape(*self.flux.shape, *([1] * (bx.ndim - 1)))


def _beside(parameter, positions):
    return parameter.reshape(parameter.shape[0], *([1] * (positions.ndim - 1)))
