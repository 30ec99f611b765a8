"""Lensed light of many injections: images of unit sources, before and behind each band's PSF, and what lensing did to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config.lensfinder import PIXEL_SCALE_ARCSEC, Camera
from ...config.sources import STILL, columns_of
from ...lensing.engine import render_accurate
from ...lensing.lens import MacroLens, macro_lens
from ...lensing.light import PixelLight
from ...lensing.observe import convolve, moffat_from_psfsize
from ...lensing.products import stretches
from ...lensing.pyramid import build_pyramid
from ...lensing.render import Grid
from ...sources.still import StillImage
from ...sources.stills import KINDS
from ...stamps.columns import shear_components, source_position

#: Steps [arcsec] to which the sharpest PSF of a stamp is rounded down, and its least value: the renderer is told this one.
SHARPNESS_STEP, SHARPEST = 0.25, 0.5
#: Error of the unlensed source's flux over what the gate allows: it is rendered this much more finely.
FINER = 5.0
#: Columns that the image of a source can depend on; others say where and how it is seen.
SEEN = ("src_reff_arcsec", *columns_of(STILL))

Columns = Mapping[str, NDArray]
#: From the row's columns, as scalars, to the image of its source.
Stills = Mapping[str, Callable[[Mapping[str, object]], StillImage]]
#: Those of the kinds that need no files.
READY: Stills = {name: kind.image({}) for name, kind in KINDS.items() if STILL[name].needs is None}


@dataclass(frozen=True)
class Lensed:
    """Images of injections whose sources have unit flux, (n, …).

    Attributes
    ----------
    observed : (n, 3, size, size)
        Behind the PSF of each band.
    closure : (n,)
        |flux − 1| of the unlensed source on the same pixels.
    magnification, tangential, radial : (n,)
        Lensed over unlensed flux; 1/Σ w|1 − κ − γ| and 1/Σ w|1 − κ + γ| with w the share of lensed light.
    """

    observed: NDArray[np.float64]
    closure: NDArray[np.float64]
    magnification: NDArray[np.float64]
    tangential: NDArray[np.float64]
    radial: NDArray[np.float64]


def lens_sources(rows: Columns, offset: NDArray, fwhm: NDArray, camera: Camera, accuracy: float, stills: Stills) -> Lensed:
    """Lens the sources of some positives.

    Parameters
    ----------
    rows : columns of the manifest, (n,) each
    offset : (n, 2)
        The host, and with it the lens, seen from the stamp's middle: to the right and up [arcsec].
    fwhm : (n, 3)
        FWHM of the PSF in g, r, z [arcsec].
    camera : Camera
    accuracy : largest error of a pixel over the peak
    stills : for each kind of source that is made of files, what gives a row's image

    Returns
    -------
    Lensed
        A row's bits depend on the row alone.
    """
    n, size = len(fwhm), camera.stamp_size
    parts = [np.zeros((n, 3, size, size)), *(np.zeros(n) for _ in range(4))]
    stills = {**READY, **stills}
    sources = [stills[kind]({k: rows[k][i] for k in SEEN if k in rows}) for i, kind in enumerate(rows["source_kind"])]
    sharp = np.maximum(np.floor(fwhm.min(1) / SHARPNESS_STEP + 1e-9) * SHARPNESS_STEP, SHARPEST)
    groups: dict[tuple[int, float], list[int]] = {}
    for i, source in enumerate(sources):
        groups.setdefault((source.size, float(sharp[i])), []).append(i)
    for (_, sharpest), members in sorted(groups.items()):
        some = np.array(members)
        taken = {k: v[some] for k, v in rows.items()}
        found = _lens_group(taken, offset[some], fwhm[some], camera, accuracy, [sources[i] for i in members], sharpest)
        for part, values in zip(parts, found, strict=True):
            part[some] = values
    return Lensed(*parts)


def psf_fwhm(psfsize: NDArray, camera: Camera) -> NDArray:
    """Return the FWHM that the PSF of the camera's shape has where the survey gives `psfsize`, same shape [arcsec]."""
    return np.asarray(psfsize, float) if camera.psf == "gaussian" else moffat_from_psfsize(np.asarray(psfsize, float), camera.beta)


def psf_kernels(fwhm: NDArray, camera: Camera, half: int) -> Tensor:
    """Return kernels (…, 2 half + 1, 2 half + 1) of sum 1, taken at pixel centres: a measured PSF holds the pixel already."""
    axis = (torch.arange(-half, half + 1, dtype=torch.float64) * PIXEL_SCALE_ARCSEC) ** 2
    r2 = axis[:, None] + axis[None, :]
    width = torch.as_tensor(np.asarray(fwhm, float))[..., None, None]
    if camera.psf == "gaussian":
        kernel = torch.exp(-r2 * (4 * math.log(2)) / width**2)
    else:
        kernel = (1 + r2 * (4 * (2 ** (1 / camera.beta) - 1)) / width**2) ** -camera.beta
    return kernel / kernel.sum((-2, -1), keepdim=True)


# --- one group ---------------------------------------------------------------------------------


def _lens_group(rows: Columns, offset: NDArray, fwhm: NDArray, camera: Camera, accuracy: float, sources: list[StillImage], sharpest: float):
    lens = _lens(rows, offset)
    light = _light(rows, offset, sources)
    size = camera.stamp_size
    grid = Grid(size, PIXEL_SCALE_ARCSEC)
    sharp = psf_kernels(np.array(sharpest), camera, size // 2)
    image = render_accurate(light, lens, None, grid, accuracy, sharp)
    plain = render_accurate(light, None, None, grid, accuracy / FINER).sum((1, 2, 3)).numpy()
    observed = convolve(image.expand(-1, 3, -1, -1), psf_kernels(fwhm, camera, size - 1)).numpy()
    total = image[:, 0].sum((1, 2))
    tangential, radial = (s.numpy() for s in stretches(lens, image[:, 0], grid))
    return observed, np.abs(plain - 1), total.numpy() / plain, tangential, radial


def _lens(rows: Columns, offset: NDArray) -> MacroLens:
    e, phi = rows["lens_e"], rows["lens_phi_rad"]
    gamma1, gamma2 = shear_components(rows)
    values = {
        "e1": e * np.cos(2 * phi),
        "e2": e * np.sin(2 * phi),
        "gamma1": gamma1,
        "gamma2": gamma2,
        "x": offset[:, 0],
        "y": offset[:, 1],
    }
    return macro_lens("sie", _tensor(rows["theta_e_arcsec"]), **{k: _tensor(v) for k, v in values.items()})


def _light(rows: Columns, offset: NDArray, sources: list[StillImage]) -> PixelLight:
    x, y = source_position(rows, offset[:, 0], offset[:, 1])
    planes = torch.as_tensor(np.stack([s.light for s in sources]))[:, None]
    return PixelLight(
        planes=planes,
        index=torch.arange(len(sources)),
        pixel_scale=_tensor([s.pixel_scale_arcsec for s in sources]),
        x=_tensor(x),
        y=_tensor(y),
        phi=_tensor(rows["src_phi_rad"]),
        flip=torch.as_tensor(np.asarray(rows["src_flip"], bool)),
        # Lensed and unlensed images are made of the same levels.
        pyramid=build_pyramid(planes),
    )


def _tensor(values) -> Tensor:
    return torch.as_tensor(np.asarray(values, np.float64))
