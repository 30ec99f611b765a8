"""The reference renderer: lenstronomy's lens models and image interpolation behind the interface of `render`."""

from __future__ import annotations

import numpy as np
import torch
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.Profiles.interpolation import Interpol
from torch import Tensor

from .lens import NONE, MacroLens, Subhalos
from .light import PixelLight
from .profiles import MAIN, Profile, looped
from .render import Grid, Light


def render_with_lenstronomy(light: Light, lens: MacroLens | None, subhalos: Subhalos | None, grid: Grid, supersampling: int) -> Tensor:
    """Image of lensed light before any PSF, computed by lenstronomy.

    Rays are shot once per row for all planes. Pixel light goes through lenstronomy's INTERPOL;
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
    name, values = _model(MAIN[lens.profile], p)
    names, arguments = [name], [values]
    if p["gamma1"] or p["gamma2"]:
        names.append("SHEAR")
        arguments.append({"gamma1": p["gamma1"], "gamma2": p["gamma2"]})
    for m in (3, 4):
        if p[f"m{m}"]:
            names.append("MULTIPOLE")
            arguments.append({"m": m, "a_m": p[f"m{m}"] * p["theta_e"], "phi_m": p[f"m{m}_phi"], **centre})
    if subhalos is not None:
        for k in range(subhalos.kind.shape[1]):
            own = {key: float(v[row, k]) for key, v in vars(subhalos).items()}
            if own["kind"] != NONE:
                name, values = _model(looped()[int(own["kind"]) - 1], own)
                names.append(name)
                arguments.append(values)
    return LensModel(names), arguments


def _model(profile: Profile, p: dict[str, float]) -> tuple[str, dict[str, float]]:
    name, keywords = profile.lenstronomy
    given = [p[parameter] for parameter in profile.parameters]
    values = keywords(*given) if callable(keywords) else dict(zip(keywords, given, strict=True))
    return name, {**values, "center_x": p["x"], "center_y": p["y"]}


def _planes(light: Light, row: int, bx: np.ndarray, by: np.ndarray) -> np.ndarray:
    if not isinstance(light, PixelLight):
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
