"""From rows of the manifest to their light, as tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config.cosmology import Cosmology
from ...config.subhalo import SubhaloDataset
from ...lensing.light import DiskLight, PixelLight
from ...lensing.pyramid import Pyramid, build_pyramid
from ...sources.disk import disk_source
from ...sources.kinds import Maps
from ...sources.moving import KINDS
from ...sources.source import Source, Supply, from_planes
from ...stamps.columns import Columns, source_position, take

#: Length in place of one that a profile does not have: any positive number will do.
UNUSED = 1.0


class Images:
    """The images of sources that are no closed form, ready to be lensed."""

    def __init__(self, maps: Maps, dtype: torch.dtype):
        self.maps = maps
        # The scale of surface brightness drops out of every stamp; 1 keeps float32 far from its limits.
        self.planes = torch.as_tensor(maps.planes / maps.planes[:, :1].max(axis=(2, 3), keepdims=True)).to(dtype)

    def light(self, columns: Columns) -> PixelLight:
        """Return the sources of the rows, turned, reflected and placed."""
        index, scale, offset = self.maps.place(columns)
        dtype = self.planes.dtype
        x, y = source_position(columns, columns["lens_x_arcsec"], columns["lens_y_arcsec"])
        return PixelLight(
            planes=self.planes,
            index=torch.as_tensor(index),
            pixel_scale=torch.as_tensor(scale).to(dtype),
            x=torch.as_tensor(x + offset[:, 0]).to(dtype),
            y=torch.as_tensor(y + offset[:, 1]).to(dtype),
            phi=torch.as_tensor(np.array(columns["src_phi_rad"])).to(dtype),
            flip=torch.as_tensor(columns["src_flip"].astype(bool)),
            pyramid=self.pyramid,
        )

    @cached_property
    def pyramid(self) -> Pyramid:
        """Levels of the images, made once for all rows."""
        return build_pyramid(self.planes)


def lights(
    columns: Columns, dataset: SubhaloDataset, bank: pa.Table | None, cosmology: Cosmology, dtype: torch.dtype
) -> Iterator[tuple[NDArray, Callable[[Columns], PixelLight | DiskLight]]]:
    """Yield rows that can be rendered together, and what makes the light of some of them.

    Each kind of image has its own rows; all disks in closed form go together.
    """
    supply = Supply(dataset.sources, dataset.seed, bank, cosmology)
    closed = closed_form(columns)
    for name in _imaged(columns):
        rows = np.flatnonzero(columns["source_kind"] == name)
        yield rows, Images(KINDS[name].maps(supply, take(columns, rows)), dtype).light
    if closed.any():
        yield np.flatnonzero(closed), lambda some: disk_light(some, dataset, dtype)


def closed_form(columns: Columns) -> NDArray[np.bool_]:
    """Return which rows' sources are disks in closed form."""
    return np.isin(columns["source_kind"], [name for name, kind in KINDS.items() if kind.disk])


def source_fwhm_arcsec(columns: Columns, dataset: SubhaloDataset, bank: pa.Table | None, cosmology: Cosmology) -> NDArray:
    """Return the resolution of the sources themselves, FWHM per row: of images the blur they came with, 0 for disks."""
    out = np.zeros(len(columns["number"]))
    for name in _imaged(columns):
        rows = np.flatnonzero(columns["source_kind"] == name)
        chunk = take(columns, rows)
        out[rows] = KINDS[name].maps(Supply(dataset.sources, dataset.seed, bank, cosmology), chunk).resolution_arcsec(chunk)
    return out


def _imaged(columns: Columns) -> list[str]:
    """Kinds of images that rows have."""
    return [name for name, kind in KINDS.items() if kind.maps and (columns["source_kind"] == name).any()]


def row_source(
    columns: Columns,
    row: int,
    dataset: SubhaloDataset,
    bank: pa.Table | None,
    cosmology: Cosmology,
    disk_pixels: int = 96,
    disk_extent: float = 4.0,
) -> Source:
    """Return what one row lenses, as images before it is placed.

    Galaxies are as the bank has them, neither turned nor reflected; disks are drawn on
    `disk_pixels` pixels out to `disk_extent` scale radii, at their position angle. Kinds of maps
    that give no picture of their own are shown by these.
    """
    name, galaxy = str(columns["source_kind"][row]), columns["galaxy_id"][row]
    kind = KINDS[name]
    supply = Supply(dataset.sources, dataset.seed, bank, cosmology)
    if kind.source is not None:
        return kind.source(supply, columns, row)
    if kind.maps is not None:
        one = take(columns, np.array([row]))
        maps = kind.maps(supply, one)
        index, pixel, _ = maps.place(one)
        return from_planes(name, maps.planes[int(index[0])], float(pixel[0]))
    disk = kind.disk(columns, row, dataset.seed)
    provenance = {"stamp_id": str(columns["stamp_id"][row]), "galaxy_id": None if galaxy is None else str(galaxy)}
    return disk_source(disk, 2 * disk_extent * disk.scale_radius / disk_pixels, disk_pixels, name, provenance)


def disk_light(columns: Columns, dataset: SubhaloDataset, dtype: torch.dtype) -> DiskLight:
    """Return the analytic disks of the rows, in closed form.

    Knots are padded to the most that the dataset can draw, so that a row's sums do not depend on its
    neighbours.
    """
    kinds = [KINDS[name] for name in columns["source_kind"]]
    disks = [kind.disk(columns, row, dataset.seed) for row, kind in enumerate(kinds)]
    most = max(1, *(int(np.ceil(kind.most_knots(dataset.sources))) for name, kind in KINDS.items() if dataset.sources.uses(name)))

    def tensor(values: object) -> Tensor:
        return torch.as_tensor(np.array(values, float)).to(dtype)

    def padded(name: str, fill: float) -> Tensor:
        out = np.full((len(disks), most), fill)
        for row, disk in enumerate(disks):
            values = getattr(disk.knots, name)
            out[row, : len(values)] = values
        return tensor(out)

    x, y = source_position(columns, columns["lens_x_arcsec"], columns["lens_y_arcsec"])
    return DiskLight(
        flux=tensor(np.ones(len(disks))),
        x=tensor(x),
        y=tensor(y),
        pa=tensor([d.pa for d in disks]),
        inclination=tensor([d.inclination for d in disks]),
        scale_radius=tensor([d.scale_radius for d in disks]),
        bulge_fraction=tensor([d.bulge_fraction for d in disks]),
        bulge_n=tensor([d.bulge_n for d in disks]),
        bulge_radius=tensor([d.bulge_radius for d in disks]),
        knot_x=padded("x", 0.0),
        knot_y=padded("y", 0.0),
        knot_share=padded("share", 0.0),
        knot_sigma=padded("sigma", UNUSED),
        v_max=tensor([d.v_max for d in disks]),
        r_turn=tensor([d.turnover for d in disks]),
        v_sys=tensor([d.v_sys for d in disks]),
        sigma0=tensor([d.dispersion for d in disks]),
        bar_amplitude=tensor([d.bar_amplitude for d in disks]),
        bar_phi=tensor([d.bar_phi for d in disks]),
        radial_flow=tensor([d.radial_flow for d in disks]),
    )
