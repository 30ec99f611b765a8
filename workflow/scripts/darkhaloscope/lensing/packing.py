"""Lights, lenses and subhalos as the tables that the compiled loops read, one row each."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import disks, kernels, profiles
from .kernels import SHARE_BLOCK
from .lens import MacroLens, Subhalos
from .light import DiskLight, PixelLight, sersic_constants
from .profiles.profile import BLUNT, CX, CY, FELT, KIND, SHARP, P

LOG2_E = 1 / math.log(2)
#: Room for the numbers of a profile in the halo table.
WIDEST = 6
#: The sharpest scale of a disk is the least of its knots' σ and these shares of its scale radius and its bulge's radius.
SHARP_SCALE, SHARP_BULGE = 0.25, 0.5
#: A sketch of a disk has blocks of twice the sharpest scale, and at least this share of the scale radius.
LEAST_BLOCK = 0.2
#: Sharpest scales of a disk that need the rays of one pixel of an image.
SCALES_PER_PIXEL = 0.5


def lens_tables(lens: MacroLens) -> tuple[NDArray, NDArray]:
    """Parameters of `kernels` and the coefficients of each row's power-law series."""
    p = {k: v.double().cpu().numpy() for k, v in vars(lens).items() if isinstance(v, Tensor)}
    n = len(p["theta_e"])
    profile = profiles.MAIN[lens.profile]
    e1, e2 = (p["e1"], p["e2"]) if "e1" in profile.parameters else (np.zeros(n), np.zeros(n))
    t = p["slope"] - 1 if "slope" in profile.parameters else np.ones(n)
    # What is no power law is a row of the halo table; its multipoles and the shear stay here.
    theta_e = p["theta_e"] if profile.power_law else np.zeros(n)
    square = e1**2 + e2**2
    table = np.zeros((n, 13), np.float32)
    table[:, kernels.THETA_E], table[:, kernels.T] = theta_e * np.sqrt(1 - square), t
    table[:, kernels.E1], table[:, kernels.E2] = e1, e2
    for column, name in ((kernels.X, "x"), (kernels.Y, "y"), (kernels.G1, "gamma1"), (kernels.G2, "gamma2")):
        table[:, column] = p[name]
    for m, cosine, sine in ((3, kernels.M3C, kernels.M3S), (4, kernels.M4C, kernels.M4S)):
        amplitude = p[f"m{m}"] * p["theta_e"] / (1 - m * m)
        table[:, cosine], table[:, sine] = amplitude * np.cos(m * p[f"m{m}_phi"]), amplitude * np.sin(m * p[f"m{m}_phi"])
    terms = np.ceil(np.log(1e-7) / np.minimum(0.5 * np.log(np.maximum(square, 1e-12)), -1e-3)).astype(int)
    table[:, kernels.TERMS] = terms
    k = np.arange(1, terms.max() + 1)
    return table, ((2 * k - 2 + t[:, None]) / (2 * k + 2 - t[:, None])).astype(np.float32)


def halo_table(lens: MacroLens, subhalos: Subhalos | None) -> NDArray[np.float32]:
    """Subhalos, and main lenses that are no power law, as `profiles.profile` names the columns."""
    codes, parts = profiles.codes(), []
    if not profiles.MAIN[lens.profile].power_law:
        values = {k: v.double().cpu().numpy()[:, None] for k, v in vars(lens).items() if isinstance(v, Tensor)}
        parts.append(values | {"kind": np.full_like(values["x"], codes[lens.profile])})
    if subhalos is not None:
        parts.append({k: np.nan_to_num(v.double().cpu().numpy(), nan=1.0) for k, v in vars(subhalos).items()})
    shape = (lens.theta_e.shape[0], sum(p["kind"].shape[1] for p in parts))
    table, column = np.zeros((*shape, P + WIDEST), np.float32), 0
    for values in parts:
        some = table[:, column : column + values["kind"].shape[1]]
        column += some.shape[1]
        some[..., KIND], some[..., CX], some[..., CY] = values["kind"], values["x"], values["y"]
        for profile in profiles.looped():
            rows = values["kind"] == codes[profile.name]
            if rows.any():
                numbers = profile.table(*(values[name][rows] for name in profile.parameters))
                some[rows, P : P + len(numbers)] = np.stack(numbers, -1)
                some[rows, SHARP], some[rows, FELT] = profile.sharp, numbers[0] if profile.sharp else BLUNT
    return table


def source_table(light: PixelLight | DiskLight) -> NDArray[np.float64]:
    """Affine maps from source positions to columns and rows of the images, or to the units of the disks."""
    if isinstance(light, DiskLight):
        phi, x, y = (getattr(light, k).double().cpu().numpy() for k in ("pa", "x", "y"))
        return _affine(disk_units(light)[0], 1.0, phi, x, y, float(disks.MIDDLE), float(disks.MIDDLE))
    scale, phi, x, y = (getattr(light, k).double().cpu().numpy() for k in ("pixel_scale", "phi", "x", "y"))
    h, w = light.planes.shape[2:]
    return _affine(scale, np.where(light.flip.cpu().numpy(), -1.0, 1.0), phi, x, y, (w - 1) / 2, (h - 1) / 2)


def disk_units(light: DiskLight) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit of length of each disk (n,) [arcsec], and the pixels of an image that ask for as many rays as one unit (n,)."""
    p = {k: getattr(light, k).double().cpu().numpy() for k in ("scale_radius", "bulge_fraction", "bulge_radius")}
    knots = torch.where(light.knot_share > 0, light.knot_sigma, torch.inf).double().cpu().numpy().min(1, initial=np.inf)
    bulge = np.where(p["bulge_fraction"] > 0, SHARP_BULGE * p["bulge_radius"], np.inf)
    sharpest = np.minimum(np.minimum(knots, bulge), SHARP_SCALE * p["scale_radius"])
    unit = np.maximum(2 * sharpest, LEAST_BLOCK * p["scale_radius"]) / SHARE_BLOCK
    return unit, unit / (SCALES_PER_PIXEL * sharpest)


def disk_tables(light: DiskLight | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Parameters and knots of `disks`; empty where the light is no disk."""
    if light is None:
        return np.zeros((0, 16), np.float32), np.zeros((0, 0, 4), np.float32)
    p = {k: v.double().cpu().numpy() for k, v in vars(light).items()}
    cos_i, sin_i = np.cos(p["inclination"]), np.sin(p["inclination"])
    share = 1 - p["bulge_fraction"] - p["knot_share"].sum(1)
    b, log_total = (t.numpy() for t in sersic_constants(light.bulge_radius.double().cpu(), light.bulge_n.double().cpu()))
    columns = {
        disks.UNIT: disk_units(light)[0],
        disks.STRETCH: 1 / cos_i,
        disks.DISK: p["flux"] * share / (2 * np.pi * p["scale_radius"] ** 2 * cos_i),
        disks.FALL: -LOG2_E / p["scale_radius"],
        disks.BULGE: p["flux"] * p["bulge_fraction"],
        disks.NEARER: 1 / p["bulge_radius"] ** 2,
        disks.POWER: 0.5 / p["bulge_n"],
        disks.STEEP: -LOG2_E * b,
        disks.NORM: -LOG2_E * log_total,
        disks.TURN: -LOG2_E / p["r_turn"],
        disks.V_SYS: p["v_sys"],
        disks.V_MAX: sin_i * p["v_max"],
        disks.RADIAL: sin_i * p["radial_flow"],
        disks.BAR_C: sin_i * p["bar_amplitude"] * np.cos(2 * p["bar_phi"]),
        disks.BAR_S: sin_i * p["bar_amplitude"] * np.sin(2 * p["bar_phi"]),
        disks.SIGMA2: p["sigma0"] ** 2,
    }
    variance = p["knot_sigma"] ** 2
    amplitude = p["flux"][:, None] * p["knot_share"] / (2 * np.pi * variance)
    knots = (p["knot_x"], p["knot_y"] * cos_i[:, None], amplitude, -LOG2_E / (2 * variance))
    table = np.stack([columns[k] for k in range(len(columns))], 1)
    return table.astype(np.float32), np.stack(knots, -1).astype(np.float32)


def _affine(scale, flip, phi, x, y, column: float, row: float) -> NDArray[np.float64]:
    cx, cy, rx, ry = flip * np.cos(phi) / scale, flip * np.sin(phi) / scale, -np.sin(phi) / scale, np.cos(phi) / scale
    return np.stack((column - cx * x - cy * y, cx, cy, row - rx * x - ry * y, rx, ry), 1)
