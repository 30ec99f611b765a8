"""What is lensed: surface brightness as a function of the source position, batched over rows.

Every light has `moments(bx, by)`, which takes positions (n, …) in arcsec and returns (n, c, …) planes of
surface brightness per arcsec². For sources with velocities c = 3: F, F·v and F·(v² + σ²), the quantities
on which lensing and a PSF act linearly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .pyramid import Pyramid

#: Softening [arcsec] of radii that are differentiated at zero.
SOFT = 1e-12


class LightError(ValueError):
    """A light that cannot be computed."""


class _Rows:
    """Selection of rows for lights whose every tensor field has one entry per row."""

    def __getitem__(self, rows: slice | Tensor):
        """Return some of the rows."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self) if isinstance(getattr(self, f.name), Tensor)})


@dataclass(frozen=True)
class PixelLight:
    """Pixel images of sources.

    Attributes
    ----------
    planes : (m, c, h, w) tensor
        Images of m different sources, per arcsec²; row 0 at the bottom, column 0 at the left.
    index : (n,) integer tensor
        Which of the m images a row uses.
    pixel_scale : (n,) tensor
        Side of an image pixel [arcsec at the source].
    x, y : (n,) tensors
        Where the image's centre lies [arcsec].
    phi : (n,) tensor
        Rotation of the image, counter-clockwise [rad].
    flip : (n,) boolean tensor
        Reflection x → −x of the image before it is rotated.
    pyramid : Pyramid, optional
        `pyramid.build_pyramid(planes)`, made once where many renderings share their images.

    Between pixel centres the light is interpolated bilinearly. Outside the image the light is zero; across the outermost pixels it fades to zero as if a frame of
    zeros surrounded it, so that the flux of an unlensed source is the sum of its pixels.
    """

    planes: Tensor
    index: Tensor
    pixel_scale: Tensor
    x: Tensor
    y: Tensor
    phi: Tensor
    flip: Tensor
    pyramid: Pyramid | None = None

    def __post_init__(self) -> None:
        if self.planes.ndim != 4:
            raise LightError(f"planes must have the axes (source, channel, row, column), found shape {tuple(self.planes.shape)}")

    def __getitem__(self, rows: slice | Tensor) -> PixelLight:
        """Return some of the rows; the images are shared."""
        return replace(self, **{k: getattr(self, k)[rows] for k in ("index", "pixel_scale", "x", "y", "phi", "flip")})

    @property
    def flux(self) -> Tensor:
        """Total of every channel, (n, c)."""
        return self.planes.sum((-2, -1))[self.index] * (self.pixel_scale**2)[:, None]

    def moments(self, bx: Tensor, by: Tensor) -> Tensor:
        """Interpolated planes at source positions (n, …), (n, c, …) per arcsec²."""
        h, w = self.planes.shape[-2:]
        u, v = _turn(self, bx, by)
        u = torch.where(_expand(self.flip, bx), -u, u)
        scale = _expand(self.pixel_scale, bx)
        col, row = u / scale + (w - 1) / 2, v / scale + (h - 1) / 2
        # Planes framed with zeros, so that no tap asks whether it is inside; one gather per plane and tap.
        c = self.planes.shape[1]
        framed = torch.nn.functional.pad(self.planes, (1, 2, 1, 2)).reshape(-1)
        height, width = h + 3, w + 3
        col, row = col.clamp(-1, w), row.clamp(-1, h)
        left, low = col.detach().floor(), row.detach().floor()
        tx, ty = col - left, row - low
        place = (_expand(self.index, col) * (c * height * width) + ((low + 1) * width + left + 1).long()).reshape(-1)
        weights = (((1 - ty) * (1 - tx), 0), ((1 - ty) * tx, 1), (ty * (1 - tx), width), (ty * tx, width + 1))
        planes = []
        for k in range(c):
            taps = [framed.index_select(0, place + (k * height * width + step)).reshape(col.shape) * weight for weight, step in weights]
            planes.append(taps[0] + taps[1] + taps[2] + taps[3])
        return torch.stack(planes, 1)


@dataclass(frozen=True)
class DiskLight(_Rows):
    """Thin rotating disk with a bulge and knots, seen at an inclination, in closed form.

    The disk plane has axes X (along the kinematic major axis, receding side of positive V_los at +X) and
    Y; on the sky, relative to the centre and turned by −pa, a point (X, Y) is seen at (X, Y cos i).

    Light, in shares of `flux`: knots have `knot_share` each, the bulge `bulge_fraction`, the disk the rest.
    - disk: exp(−R/R_s) in the plane's radius R;
    - bulge: round Sérsic profile on the sky;
    - knots: round Gaussians on the sky of width `knot_sigma`, centred at (`knot_x`, `knot_y`) in the plane.

    Velocity of all light at a place, with s(R) = 1 − exp(−R/R_turn) and θ the azimuth in the plane from +X:
    v = v_sys + sin i · s(R) · [v_max cos θ + radial_flow sin θ + bar_amplitude e^{−R/2R_s} cos 2(θ − bar_phi) cos θ].
    The dispersion is `sigma0` everywhere.

    Attributes
    ----------
    flux, x, y, pa, inclination, scale_radius, bulge_fraction, bulge_n, bulge_radius, v_max, r_turn, v_sys,
    sigma0, bar_amplitude, bar_phi, radial_flow : (n,) tensors, in arcsec, radians, km/s
        `bulge_radius` is the half-light radius. Inclination 0 is face-on; below 90°.
    knot_x, knot_y, knot_share, knot_sigma : (n, k) tensors
        Padding has knot_share 0 and any positive knot_sigma.
    """

    flux: Tensor
    x: Tensor
    y: Tensor
    pa: Tensor
    inclination: Tensor
    scale_radius: Tensor
    bulge_fraction: Tensor
    bulge_n: Tensor
    bulge_radius: Tensor
    knot_x: Tensor
    knot_y: Tensor
    knot_share: Tensor
    knot_sigma: Tensor
    v_max: Tensor
    r_turn: Tensor
    v_sys: Tensor
    sigma0: Tensor
    bar_amplitude: Tensor
    bar_phi: Tensor
    radial_flow: Tensor

    def moments(self, bx: Tensor, by: Tensor) -> Tensor:
        """F, F·v, F·(v² + σ²) at source positions (n, …), (n, 3, …) per arcsec²."""
        p = {f.name: _expand(getattr(self, f.name), bx) for f in fields(self) if not f.name.startswith("knot_")}
        u, v = _turn(self, bx, by, self.pa)
        cos_i, sin_i = torch.cos(p["inclination"]), torch.sin(p["inclination"])
        face = v / cos_i
        radius = (u * u + face * face + SOFT**2).sqrt()
        light = self._light(u, v, radius, cos_i, p)
        rise = -torch.expm1(-radius / p["r_turn"])
        cos_t, sin_t = u / radius, face / radius
        cos_bar = (cos_t * cos_t - sin_t * sin_t) * torch.cos(2 * p["bar_phi"]) + 2 * sin_t * cos_t * torch.sin(2 * p["bar_phi"])
        bar = p["bar_amplitude"] * torch.exp(-radius / (2 * p["scale_radius"])) * cos_bar * cos_t
        velocity = p["v_sys"] + sin_i * rise * (p["v_max"] * cos_t + p["radial_flow"] * sin_t + bar)
        return torch.stack((light, light * velocity, light * (velocity * velocity + p["sigma0"] ** 2)), 1)

    def _light(self, u: Tensor, v: Tensor, radius: Tensor, cos_i: Tensor, p: dict[str, Tensor]) -> Tensor:
        share = 1 - p["bulge_fraction"] - _expand(self.knot_share.sum(1), u)
        light = share / (2 * math.pi * p["scale_radius"] ** 2 * cos_i) * torch.exp(-radius / p["scale_radius"])
        light = light + p["bulge_fraction"] * sersic_profile(u * u + v * v, p["bulge_radius"], p["bulge_n"])
        for k in range(self.knot_share.shape[1]):
            x, y, part, sigma = (_expand(t[:, k], u) for t in (self.knot_x, self.knot_y, self.knot_share, self.knot_sigma))
            d2 = (u - x) ** 2 + (v - y * cos_i) ** 2
            # exp of very negative numbers takes a path that is four times slower; e⁻⁸⁰ is dark enough.
            light = light + part / (2 * math.pi * sigma**2) * torch.exp(-(d2 / (2 * sigma**2)).clamp(max=80.0))
        return light * p["flux"]


def sersic_profile(r2: Tensor, half_light_radius: Tensor, sersic_n: Tensor) -> Tensor:
    """Sérsic surface brightness of total flux 1 at squared radius `r2`.

    exp(−b (r/r_e)^(1/n)) over its total: see `sersic_constants`.
    """
    b, log_total = sersic_constants(half_light_radius, sersic_n)
    power = torch.exp(torch.log(r2 / half_light_radius**2 + 1e-24) / (2 * sersic_n))
    return torch.exp(-b * power - log_total)


def sersic_constants(half_light_radius: Tensor, sersic_n: Tensor) -> tuple[Tensor, Tensor]:
    """b_n of a Sérsic profile and the logarithm of its total flux.

    b_n by the expansion of Ciotti & Bertin (1999), A&A 352, 447: relative error below 10⁻⁴ for n > 0.5.
    The total uses the same b_n, so the normalised profile has flux 1 whatever its error.
    """
    n = sersic_n
    b = 2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n**2) + 131 / (1148175 * n**3) - 2194697 / (30690717750 * n**4)
    return b, torch.log(2 * math.pi * n * half_light_radius**2) - 2 * n * torch.log(b) + torch.lgamma(2 * n)


def _turn(light: PixelLight | DiskLight, bx: Tensor, by: Tensor, phi: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Positions relative to the light's centre, in its own axes."""
    phi = light.phi if phi is None else phi
    dx, dy = bx - _expand(light.x, bx), by - _expand(light.y, bx)
    c, s = _expand(torch.cos(phi), bx), _expand(torch.sin(phi), bx)
    return c * dx + s * dy, c * dy - s * dx


def _expand(parameter: Tensor, like: Tensor) -> Tensor:
    return parameter.reshape(parameter.shape[0], *([1] * (like.ndim - 1)))
