"""Lenses made of the profiles: the smooth lens, its subhalos, their deflection and critical curve."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from ..config.cosmology import Cosmology
from . import profiles

#: Codes of `Subhalos.kind`: none, and those of `profiles.codes`.
NONE = 0
SIS, NFW, TNFW = (profiles.codes()[name] for name in ("sis", "nfw", "tnfw"))


class LensError(ValueError):
    """A lens that cannot be computed."""


@dataclass(frozen=True)
class MacroLens:
    """Smooth lenses, one per row.

    Every field but `profile` is a tensor (n,). Lengths in arcsec, angles in radians counter-clockwise
    from x. `m3` and `m4` are multipole amplitudes a_m relative to `theta_e` (a_m/θ_E; lenstronomy's
    MULTIPOLE takes a_m = m3·θ_E), centred on the lens. `slope` is used by "epl" alone, `e1` and `e2` by
    "sie" and "epl". The external shear is about the origin of coordinates: it deflects nothing there.
    """

    profile: str
    theta_e: Tensor
    slope: Tensor
    e1: Tensor
    e2: Tensor
    x: Tensor
    y: Tensor
    gamma1: Tensor
    gamma2: Tensor
    m3: Tensor
    m3_phi: Tensor
    m4: Tensor
    m4_phi: Tensor

    def __post_init__(self) -> None:
        if self.profile not in profiles.MAIN:
            raise LensError(f"there is no lens profile '{self.profile}': use one of {', '.join(profiles.MAIN)}")

    def __getitem__(self, rows: slice | Tensor) -> MacroLens:
        """Return some of the rows."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _tensors(self)})


@dataclass(frozen=True)
class Subhalos:
    """Subhalos of each row, padded with kind NONE; every field is a tensor (n, k).

    `kind` is 0 none, 1 SIS (uses `theta_e`), 2 NFW (`r_s`, `alpha_rs`), 3 truncated NFW (also `r_t`).
    Lengths in arcsec; `alpha_rs` is the deflection at `r_s` of the untruncated halo. Fields that a kind
    does not use may hold anything, NaN included.
    """

    kind: Tensor
    x: Tensor
    y: Tensor
    theta_e: Tensor
    r_s: Tensor
    alpha_rs: Tensor
    r_t: Tensor

    def __getitem__(self, rows: slice | Tensor) -> Subhalos:
        """Return some of the rows."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _tensors(self)})


def join(first: Subhalos | None, second: Subhalos) -> Subhalos:
    """Return the subhalos of two lists of the same rows as one list."""
    if first is None:
        return second
    return Subhalos(**{name: torch.cat((getattr(first, name), getattr(second, name)), 1) for name in _tensors(second)})


def macro_lens(profile: str, theta_e: Tensor, **parameters: Tensor) -> MacroLens:
    """Return a `MacroLens`; parameters left out are those of a round isothermal lens at the origin."""
    zero = torch.zeros_like(theta_e)
    names = [f.name for f in fields(MacroLens) if f.name not in ("profile", "theta_e")]
    strangers = sorted(set(parameters) - set(names))
    if strangers:
        raise LensError(f"a macro lens has no parameter {', '.join(strangers)} (it has: {', '.join(names)})")
    values = {name: parameters.get(name, zero + 2 if name == "slope" else zero) for name in names}
    return MacroLens(profile, theta_e, **values)


def deflection(lens: MacroLens, subhalos: Subhalos | None, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Deflection of lens and subhalos together.

    Parameters
    ----------
    lens : MacroLens of n rows
    subhalos : Subhalos of n rows, or None
    x, y : (n, …) tensors, arcsec

    Returns
    -------
    (n, …), (n, …)
        Reduced deflection [arcsec].
    """
    ax, ay = macro_deflection(lens, x, y)
    if subhalos is None:
        return ax, ay
    dx, dy = subhalo_deflection(subhalos, x, y)
    return ax + dx, ay + dy


def macro_deflection(lens: MacroLens, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Deflection of the smooth lenses at (n, …) positions."""
    p = {name: _expand(getattr(lens, name), x) for name in _tensors(lens)}
    dx, dy = x - p["x"], y - p["y"]
    profile = profiles.MAIN[lens.profile]
    ax, ay = profile.deflection(dx, dy, *(p[name] for name in profile.parameters))
    for bx, by in (
        profiles.shear(x, y, p["gamma1"], p["gamma2"]),
        profiles.multipole(dx, dy, 3, p["m3"] * p["theta_e"], p["m3_phi"]),
        profiles.multipole(dx, dy, 4, p["m4"] * p["theta_e"], p["m4_phi"]),
    ):
        ax, ay = ax + bx, ay + by
    return ax, ay


def subhalo_deflection(subhalos: Subhalos, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Deflection of the subhalos at (n, …) positions, summed over each row's list."""
    ax, ay = torch.zeros_like(x), torch.zeros_like(x)
    for k in range(subhalos.kind.shape[1]):
        kind = subhalos.kind[:, k]
        dx, dy = x - _expand(subhalos.x[:, k], x), y - _expand(subhalos.y[:, k], x)

        def parameter(name: str, used: Tensor, k: int = k) -> Tensor:
            # Unused fields may hold NaN: derivatives must not see it.
            return _expand(torch.where(used, getattr(subhalos, name)[:, k], 1.0), x)

        for code, profile in enumerate(profiles.looped(), 1):
            used = kind == code
            # All rows of a batch without this kind: nothing is added, and adding zero changes no bit.
            if not _any(used):
                continue
            bx, by = profile.deflection(dx, dy, *(parameter(name, used) for name in profile.parameters))
            rows = _expand(used, x)
            # Padding may lie at NaN as well.
            ax, ay = ax + torch.where(rows, bx, 0.0), ay + torch.where(rows, by, 0.0)
    return ax, ay


def macro_hessian(lens: MacroLens, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Second derivatives (ψxx, ψxy, ψyy) of the smooth lenses' potential at (n, …) positions."""
    p = {name: _expand(getattr(lens, name), x) for name in _tensors(lens)}
    dx, dy = x - p["x"], y - p["y"]
    xx, xy, yy = _profile_hessian(lens, p, dx, dy)
    for m, name in ((3, "m3"), (4, "m4")):
        bxx, bxy, byy = profiles.multipole_hessian(dx, dy, m, p[name] * p["theta_e"], p[name + "_phi"])
        xx, xy, yy = xx + bxx, xy + bxy, yy + byy
    return xx + p["gamma1"], xy + p["gamma2"], yy - p["gamma1"]


@dataclass(frozen=True)
class CriticalCurve:
    """A critical curve of each row as a closed polygon.

    `x`, `y` are (n, points) vertices in arcsec, counter-clockwise about the lens centre; `radius` (n,) is that of
    the circle of equal area.
    """

    x: Tensor
    y: Tensor
    radius: Tensor

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance (n,) of one point per row from its curve [arcsec]."""
        ax, ay = self.x - x[:, None], self.y - y[:, None]
        dx, dy = ax.roll(-1, 1) - ax, ay.roll(-1, 1) - ay
        along = (-(ax * dx + ay * dy) / (dx * dx + dy * dy).clamp(min=1e-30)).clamp(0, 1)
        return ((ax + along * dx) ** 2 + (ay + along * dy) ** 2).min(1).values.sqrt()


def critical_curve(lens: MacroLens, points: int = 256) -> CriticalCurve:
    """Tangential critical curve of smooth lenses, where 1 − κ − |γ| = 0.

    Seen from the lens centre the curve has one radius in every direction. In one direction the power
    law's second derivatives fall as r^−t, the multipoles' as 1/r and the shear stays, so each is computed
    once and the radius found by bisection, to 10⁻¹⁰ of θ_E.

    Parameters
    ----------
    lens : MacroLens of n rows
    points : int
        Vertices of the polygon; 256 give the equal-area radius to 10⁻⁷ and distances to 5·10⁻⁴ arcsec.

    Returns
    -------
    CriticalCurve
    """
    return _curve(lens, points, -1, 1e2)


def radial_curve(lens: MacroLens, tangential: CriticalCurve) -> CriticalCurve:
    """Radial critical curve of smooth lenses, where 1 − κ + |γ| = 0; where there is none, a circle of 10⁻³ θ_E."""
    return _curve(lens, tangential.x.shape[1], 1, 0.9)


def _curve(lens: MacroLens, points: int, sign: int, most: float) -> CriticalCurve:
    """Where 1 − κ + sign |γ| changes from negative inside to positive outside, between 10⁻³ and `most` θ_E."""
    n = lens.theta_e.shape[0]
    angle = (torch.arange(points, dtype=lens.theta_e.dtype, device=lens.theta_e.device) * (2 * math.pi / points)).expand(n, -1)
    ux, uy = torch.cos(angle), torch.sin(angle)
    p = {name: _expand(getattr(lens, name), ux) for name in _tensors(lens)}
    # In units of θ_E: a power law becomes θ_E^(t) r^(−t) times its value at θ_E.
    one = torch.ones_like(p["theta_e"])
    power_law = profiles.MAIN[lens.profile].power_law
    slope, e1, e2 = _effective(lens, p)
    main = profiles.epl_hessian(ux, uy, one, slope, e1, e2) if power_law else None
    bumps = [profiles.multipole_hessian(ux, uy, m, p[name], p[name + "_phi"]) for m, name in ((3, "m3"), (4, "m4"))]
    bump = [a + b for a, b in zip(*bumps, strict=True)]
    low, high = torch.full_like(ux, math.log(1e-3)), torch.full_like(ux, math.log(most))
    for _ in range(42):
        middle = (low + high) / 2
        fall, inverse = torch.exp((1 - slope) * middle), torch.exp(-middle)
        if power_law:
            profile = [a * fall for a in main]
        else:
            profile = _profile_hessian(lens, p, p["theta_e"] * ux / inverse, p["theta_e"] * uy / inverse)
        xx, xy, yy = (a + b * inverse for a, b in zip(profile, bump, strict=True))
        xx, xy, yy = xx + p["gamma1"], xy + p["gamma2"], yy - p["gamma1"]
        inside = 1 - (xx + yy) / 2 + sign * (((xx - yy) / 2) ** 2 + xy * xy).sqrt() < 0
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    radius = p["theta_e"] * torch.exp((low + high) / 2)
    return CriticalCurve(p["x"] + radius * ux, p["y"] + radius * uy, (radius * radius).mean(1).sqrt())


def nfw_angles(
    mass_msun: np.ndarray, concentration: np.ndarray, z_lens: np.ndarray, z_source: np.ndarray, cosmology: Cosmology
) -> tuple[np.ndarray, np.ndarray]:
    """Scale radius and deflection at it, both in arcsec, of NFW halos of mass M200 (critical density).

    Same formulas as lenstronomy's `LensCosmo.nfw_physical2angle`: r200 and ρ₀ from M200 and c at the
    lens redshift, α(R_s) = 4 ρ₀ R_s² (1 + ln ½)/Σ_cr.

    Parameters
    ----------
    mass_msun, concentration, z_lens, z_source : arrays that broadcast
    cosmology : Cosmology, flat ΛCDM

    Raises
    ------
    LensError
        A source is not behind its lens, or a mass or concentration is not positive.
    """
    mass, c, zl, zs = np.broadcast_arrays(*(np.asarray(a, float) for a in (mass_msun, concentration, z_lens, z_source)))
    if np.any(zs <= zl):
        raise LensError(f"a source at z = {zs[zs <= zl].flat[0]:g} is not behind its lens at z = {zl[zs <= zl].flat[0]:g}")
    if np.any(mass <= 0) or np.any(c <= 0):
        raise LensError("masses and concentrations of subhalos must be positive")
    chi_l, chi_s = _comoving_mpc(zl, cosmology), _comoving_mpc(zs, cosmology)
    dl, ds, dls = chi_l / (1 + zl), chi_s / (1 + zs), (chi_s - chi_l) / (1 + zs)
    # G in Mpc (km/s)² / M☉
    newton, light = 4.300917270e-9, 299792.458
    sigma_cr = light**2 / (4 * math.pi * newton) * ds / (dl * dls)
    hubble2 = cosmology.h0**2 * (cosmology.om0 * (1 + zl) ** 3 + 1 - cosmology.om0)
    rho_crit = 3 * hubble2 / (8 * math.pi * newton)
    r_s = (3 * mass / (4 * math.pi * 200 * rho_crit)) ** (1 / 3) / c
    rho0 = 200 / 3 * rho_crit * c**3 / (np.log1p(c) - c / (1 + c))
    arcsec = math.pi / 648000
    alpha = 4 * rho0 * r_s**2 * (1 + math.log(0.5)) / sigma_cr / dl / arcsec
    return r_s / dl / arcsec, alpha


def _comoving_mpc(z: np.ndarray, cosmology: Cosmology) -> np.ndarray:
    """Comoving distance by Gauss–Legendre quadrature, relative error below 10⁻¹⁰ for z < 10; each redshift is computed once."""
    nodes, weights = np.polynomial.legendre.leggauss(48)
    different, where = np.unique(z, return_inverse=True)
    points = different[:, None] * (nodes + 1) / 2
    inverse_e = 1 / np.sqrt(cosmology.om0 * (1 + points) ** 3 + 1 - cosmology.om0)
    distance = 299792.458 / cosmology.h0 * different / 2 * (inverse_e * weights).sum(-1)
    return distance[where].reshape(np.shape(z))


def _tensors(value: MacroLens | Subhalos) -> list[str]:
    return [f.name for f in fields(value) if f.name != "profile"]


def _expand(parameter: Tensor, like: Tensor) -> Tensor:
    return parameter.reshape(parameter.shape[0], *([1] * (like.ndim - 1)))


def _profile_hessian(lens: MacroLens, p: dict[str, Tensor], dx: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Second derivatives of the profile's potential alone, at places from its centre."""
    profile = profiles.MAIN[lens.profile]
    if not profile.power_law:
        values = [p[name] for name in profile.parameters]
        return profiles.hessian(lambda x, y: profile.deflection(x, y, *values), dx, dy)
    slope, e1, e2 = _effective(lens, p)
    return profiles.epl_hessian(dx, dy, p["theta_e"], slope, e1, e2)


def _effective(lens: MacroLens, p: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Slope and ellipticity that make `epl` equal to a profile that is a power law."""
    parameters = profiles.MAIN[lens.profile].parameters
    slope = p["slope"] if "slope" in parameters else torch.full_like(p["slope"], 2.0)
    if "e1" not in parameters:
        return slope, torch.zeros_like(p["e1"]), torch.zeros_like(p["e2"])
    return slope, p["e1"], p["e2"]


def _any(condition: Tensor) -> bool:
    """Whether any row fulfils it; under vmap, where no value can be read, assume so."""
    try:
        return bool(condition.any())
    except RuntimeError:
        return True
