"""From rows of the manifest to what the renderers take: lights, lenses and subhalos as tensors."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config.cosmology import Cosmology
from ...config.subhalo import SubhaloDataset
from ...lensing.lens import NFW, SIS, TNFW, MacroLens, Subhalos
from ...lensing.light import DiskLight, PixelLight
from ...lensing.pyramid import Pyramid, build_pyramid
from ...sources.disk import Disk, disk_source, draw_knots
from ...sources.manga import bank_planes, bank_rows, image_centre, manga_source
from ...sources.scaling import kpc_per_arcsec
from ...sources.source import Source
from ...stamps.columns import source_position
from ...stamps.rows import Columns

SUBHALO_CODES = {"sis": SIS, "nfw": NFW, "tnfw": TNFW}
#: Length in place of one that a profile does not have: any positive number will do.
UNUSED = 1.0


def macro_lenses(columns: Columns, dtype: torch.dtype) -> MacroLens:
    """Return the smooth lenses of rows that share one profile."""

    def tensor(values: NDArray) -> Tensor:
        return torch.as_tensor(np.array(values, float)).to(dtype)

    e, phi = columns["lens_e"], columns["lens_phi_rad"]
    shear, shear_phi = columns["shear"], columns["shear_phi_rad"]
    return MacroLens(
        profile=str(columns["lens_profile"][0]),
        theta_e=tensor(columns["theta_e_arcsec"]),
        slope=tensor(columns["lens_slope"]),
        e1=tensor(e * np.cos(2 * phi)),
        e2=tensor(e * np.sin(2 * phi)),
        x=tensor(columns["lens_x_arcsec"]),
        y=tensor(columns["lens_y_arcsec"]),
        gamma1=tensor(shear * np.cos(2 * shear_phi)),
        gamma2=tensor(shear * np.sin(2 * shear_phi)),
        m3=tensor(columns["multipole_m3"]),
        m3_phi=tensor(columns["multipole_m3_phi_rad"]),
        m4=tensor(columns["multipole_m4"]),
        m4_phi=tensor(columns["multipole_m4_phi_rad"]),
    )


def subhalos_at(columns: Columns, x: NDArray, y: NDArray, dtype: torch.dtype) -> Subhalos:
    """Return the one (phantom) subhalo of each row, placed at (x, y) arcsec."""

    def tensor(values: NDArray) -> Tensor:
        values = np.asarray(values, float)
        return torch.as_tensor(np.where(np.isnan(values), UNUSED, values)).to(dtype)[:, None]

    return Subhalos(
        kind=torch.as_tensor([SUBHALO_CODES[p] for p in columns["subhalo_profile"]])[:, None],
        x=tensor(x),
        y=tensor(y),
        theta_e=tensor(columns["subhalo_theta_e_arcsec"]),
        r_s=tensor(columns["subhalo_rs_arcsec"]),
        alpha_rs=tensor(columns["subhalo_alpha_rs_arcsec"]),
        r_t=tensor(columns["subhalo_rt_arcsec"]),
    )


class Bank:
    """The galaxies of a bank that some rows use, as moment planes ready to be lensed."""

    def __init__(self, bank: pa.Table, columns: Columns, dtype: torch.dtype):
        self.names = sorted({str(p) for p in columns["galaxy_id"]})
        rows = bank_rows(bank, self.names)
        planes = bank_planes(bank, rows)
        # The scale of surface brightness drops out of every stamp; 1 keeps float32 far from its limits.
        self.planes = torch.as_tensor(planes / planes[:, :1].max(axis=(2, 3), keepdims=True)).to(dtype)
        self.scalars = {k: bank.column(k).to_numpy()[rows] for k in ("pixel_scale_kpc", "psf_fwhm_kpc", "centre_x_pix", "centre_y_pix")}

    def light(self, columns: Columns, cosmology: Cosmology) -> PixelLight:
        """Return the galaxies of the rows at their source redshifts, turned, reflected and placed."""
        index = np.array([self.names.index(p) for p in columns["galaxy_id"]])
        scale = self.scalars["pixel_scale_kpc"][index] * self._arcsec_per_kpc(columns, cosmology)
        centres = zip(self.scalars["centre_x_pix"][index], self.scalars["centre_y_pix"][index], strict=True)
        shape = tuple(self.planes.shape[-2:])
        offset = np.array(
            [
                image_centre(c, shape, s, p, bool(f))
                for c, s, p, f in zip(centres, scale, columns["src_phi_rad"], columns["src_flip"], strict=True)
            ]
        )
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

    def resolution_arcsec(self, columns: Columns, cosmology: Cosmology) -> NDArray:
        """Return the MaNGA PSF moved to the source redshift and scaled, FWHM per row."""
        index = np.array([self.names.index(p) for p in columns["galaxy_id"]])
        return self.scalars["psf_fwhm_kpc"][index] * self._arcsec_per_kpc(columns, cosmology)

    @staticmethod
    def _arcsec_per_kpc(columns: Columns, cosmology: Cosmology) -> NDArray:
        return columns["src_scale"] / kpc_per_arcsec(columns["z_source"], cosmology)


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

    MaNGA galaxies are as the bank has them, neither turned nor reflected; disks are drawn on
    `disk_pixels` pixels out to `disk_extent` scale radii, at their position angle.
    """
    name = columns["galaxy_id"][row]
    if columns["source_kind"][row] == "manga":
        return manga_source(bank, str(name), float(columns["z_source"][row]), float(columns["src_scale"][row]), cosmology)
    disk = row_disk(columns, row, dataset.seed)
    provenance = {"stamp_id": str(columns["stamp_id"][row]), "galaxy_id": None if name is None else str(name)}
    return disk_source(disk, 2 * disk_extent * disk.scale_radius / disk_pixels, disk_pixels, str(columns["source_kind"][row]), provenance)


def row_disk(columns: Columns, row: int, seed: int) -> Disk:
    """Return the analytic disk of one row, its knots drawn from the row's own stream."""
    value = {k: float(columns[f"disk_{k}"][row]) for k in _DISK_COLUMNS}
    knots, bar_phi = draw_knots(
        seed,
        int(columns["number"][row]),
        int(columns["disk_n_knots"][row]),
        value["knot_fraction"],
        value["knot_radius_arcsec"],
        value["scale_radius_arcsec"],
    )
    return Disk(
        scale_radius=value["scale_radius_arcsec"],
        turnover=value["turnover_arcsec"],
        v_max=value["v_max_kms"],
        inclination=value["inclination_rad"],
        dispersion=value["dispersion_kms"],
        knots=knots,
        pa=float(columns["src_phi_rad"][row]),
        bulge_fraction=value["bulge_fraction"],
        bulge_n=value["bulge_sersic_n"],
        bulge_radius=value["bulge_radius_arcsec"],
        bar_amplitude=value["bar_amplitude_kms"],
        bar_phi=bar_phi,
        radial_flow=value["radial_flow_kms"],
    )


_DISK_COLUMNS = (
    *("scale_radius_arcsec", "turnover_arcsec", "v_max_kms", "inclination_rad", "dispersion_kms", "knot_fraction", "knot_radius_arcsec"),
    *("bulge_fraction", "bulge_sersic_n", "bulge_radius_arcsec", "bar_amplitude_kms", "radial_flow_kms"),
)


def disk_light(columns: Columns, dataset: SubhaloDataset, dtype: torch.dtype) -> DiskLight:
    """Return the analytic disks of the rows, in closed form.

    Knots are padded to the most that the dataset can draw, so that a row's sums do not depend on its
    neighbours.
    """
    disks = [row_disk(columns, i, dataset.seed) for i in range(len(columns["number"]))]
    most = max(1, int(np.ceil(dataset.sources.disk.n_knots.bounds[1])))

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
