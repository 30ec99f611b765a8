"""The reference renderer: lenstronomy's lens models and image interpolation behind the interface of `render`."""

from __future__ import annotations

import numpy as np
import torch
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.Profiles.interpolation import Interpol
from torch import Tensor

from .lens import NFW, SIS, TNFW, MacroLens, Subhalos
from .light import PixelLight
from .render import Grid, Light


def render_with_lenstronomy(light: Light, lens: MacroLens | None, subhalos: Subhalos | None, grid: Grid, supersampling: int) -> Tensor:
    """Image of lensed light before any PSF, computed by lenstronomy.

    Rays are shot once per row for all planes. Bilinear pixel light goes through lenstronomy's INTERPOL;
    lenstronomy has no rotating disks, so other lights are evaluated by this package at lenstronomy's
    rays. Same arguments and result as `render.render`.
    """
    n = light.x.shape[0]
    x, y = ray_grid(grid, supersampling)
    images = []
    for row in range(n):
        bx, by = x, y
        if lens is not None:
            model, arguments = lens_model(lens, subhalos, row)
            bx, by = model.ray_shooting(x, y, arguments)
        images.append(_planes(light, row, bx, by))
    planes = np.stack(images).reshape(n, -1, grid.size, supersampling, grid.size, supersampling)
    return torch.as_tensor(planes.mean((3, 5)) * grid.pixel_scale**2, dtype=light.x.dtype)


def ray_grid(grid: Grid, supersampling: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat positions of all subpixel centres of a stamp, row by row."""
    size, step = grid.size * supersampling, grid.pixel_scale / supersampling
    axis = (np.arange(size) - (size - 1) / 2) * step
    x, y = np.meshgrid(axis, axis)
    return x.ravel(), y.ravel()


def lens_model(lens: MacroLens, subhalos: Subhalos | None, row: int) -> tuple[LensModel, list[dict]]:
    """lenstronomy's model and keyword arguments of one row."""
    p = {k: float(v[row]) for k, v in vars(lens).items() if isinstance(v, Tensor)}
    centre = {"center_x": p["x"], "center_y": p["y"]}
    names, arguments = [lens.profile.upper()], [{"theta_E": p["theta_e"], **centre}]
    if lens.profile != "sis":
        arguments[0] |= {"e1": p["e1"], "e2": p["e2"]}
    if lens.profile == "epl":
        arguments[0]["gamma"] = p["slope"]
    if p["gamma1"] or p["gamma2"]:
        names.append("SHEAR")
        arguments.append({"gamma1": p["gamma1"], "gamma2": p["gamma2"]})
    for m in (3, 4):
        if p[f"m{m}"]:
            names.append("MULTIPOLE")
            arguments.append({"m": m, "a_m": p[f"m{m}"] * p["theta_e"], "phi_m": p[f"m{m}_phi"], **centre})
    if subhalos is not None:
        for k in range(subhalos.kind.shape[1]):
            name, values = _subhalo({key: float(v[row, k]) for key, v in vars(subhalos).items()})
            if name:
                names.append(name)
                arguments.append(values)
    return LensModel(names), arguments


def _subhalo(p: dict[str, float]) -> tuple[str | None, dict[str, float]]:
    centre = {"center_x": p["x"], "center_y": p["y"]}
    if p["kind"] == SIS:
        return "SIS", {"theta_E": p["theta_e"], **centre}
    halo = {"Rs": p["r_s"], "alpha_Rs": p["alpha_rs"], **centre}
    if p["kind"] == NFW:
        return "NFW", halo
    if p["kind"] == TNFW:
        return "TNFW", halo | {"r_trunc": p["r_t"]}
    return None, {}


def _planes(light: Light, row: int, bx: np.ndarray, by: np.ndarray) -> np.ndarray:
    if not isinstance(light, PixelLight) or light.interpolation != "bilinear":
        one = light[row : row + 1]
        like = light.x
        return one.moments(torch.as_tensor(bx, dtype=like.dtype)[None], torch.as_tensor(by, dtype=like.dtype)[None])[0].numpy()
    image = light.planes[light.index[row]].numpy().astype(float)
    if bool(light.flip[row]):
        image = image[..., ::-1]
    where = {
        "center_x": float(light.x[row]),
        "center_y": float(light.y[row]),
        "phi_G": float(light.phi[row]),
        "scale": float(light.pixel_scale[row]),
    }
    # INTERPOL keeps the first image it sees: a new instance for every plane.
    return np.stack([Interpol().function(bx, by, image=plane, amp=1, **where) for plane in image])
