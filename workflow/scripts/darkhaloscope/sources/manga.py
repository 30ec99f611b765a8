"""MaNGA galaxies as sources: their maps moved to the source redshift, all channels alike. A kind of source with velocities."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..config.cosmology import Cosmology
from ..core.random import quantile
from ..core.tables import images
from .kinds import Columns, Draws, Moving
from .scaling import kpc_per_arcsec
from .source import Source, SourceError, Supply, moment_planes, turned

MAPS = ("flux", "velocity", "dispersion")


def manga_source(bank: pa.Table, galaxy_id: str, z_source: float, src_scale: float, cosmology: Cosmology) -> Source:
    """Return a galaxy of the bank at the source redshift.

    Its physical size is multiplied by `src_scale` and seen from the source redshift. Surface brightness is
    left as observed (stamps are normalised to their own peak) and so are velocities.

    Parameters
    ----------
    bank : pyarrow.Table
        Bank of MaNGA sources.
    galaxy_id : str
    z_source : float
    src_scale : float
        Factor on the physical size.
    cosmology : Cosmology

    Raises
    ------
    SourceError
        The bank does not have the galaxy, or its maps are not finite where they are valid.
    """
    row = bank_rows(bank, [galaxy_id])[0]
    flux, velocity, dispersion, valid = (images(bank.slice(row, 1), k)[0] for k in (*MAPS, "valid"))
    _check_finite(galaxy_id, flux, velocity, dispersion, valid)
    scalars = {k: bank.column(k)[row].as_py() for k in ("physical_id", "z", "pixel_scale_kpc", "psf_fwhm_kpc")}
    arcsec_per_kpc = src_scale / float(kpc_per_arcsec(z_source, cosmology))
    return Source(
        kind="manga",
        flux=flux,
        velocity=velocity,
        dispersion=dispersion,
        valid=valid.astype(bool),
        pixel_scale_arcsec=scalars["pixel_scale_kpc"] * arcsec_per_kpc,
        provenance={
            "galaxy_id": galaxy_id,
            "physical_id": scalars["physical_id"],
            "z": scalars["z"],
            "z_source": z_source,
            "src_scale": src_scale,
            "resolution_arcsec": scalars["psf_fwhm_kpc"] * arcsec_per_kpc,
        },
    )


def bank_rows(bank: pa.Table, galaxy_ids: list[str]) -> list[int]:
    """Return the rows of the bank that hold the named galaxies; raise `SourceError` where one is missing."""
    where = {name: i for i, name in enumerate(bank.column("galaxy_id").to_pylist())}
    missing = sorted({str(p) for p in galaxy_ids} - set(where))
    if missing:
        raise SourceError(
            f"the bank of sources has no galaxy {', '.join(missing)} (it has: {', '.join(where)}); build manifest and bank from the same sample"
        )
    return [where[p] for p in galaxy_ids]


def bank_planes(bank: pa.Table, rows: list[int]) -> NDArray:
    """Return the moment planes F, F·v, F·(v² + σ²) of some galaxies of the bank.

    Parameters
    ----------
    bank : pyarrow.Table
    rows : list of m int

    Returns
    -------
    (m, 3, h, w) float64
        Per arcsec² as observed; zero where not valid.

    Raises
    ------
    SourceError
        Maps that are not finite where they are valid, or hold no light.
    """
    planes = []
    for row in rows:
        maps = [images(bank.slice(row, 1), k)[0] for k in (*MAPS, "valid")]
        name = bank.column("galaxy_id")[row].as_py()
        _check_finite(name, *maps)
        planes.append(moment_planes(*maps))
        if not planes[-1][0].sum() > 0:
            raise SourceError(
                f"the maps of galaxy {name} in the bank of sources hold no light; leave it out, or build its source tensor again"
            )
    return np.stack(planes)


def image_centre(centre_pix: tuple[float, float], shape: tuple[int, int], pixel_scale: float, phi: float, flip: bool) -> NDArray:
    """Return where the centre of the image lies relative to the galaxy's centre, (2,) arcsec.

    Parameters
    ----------
    centre_pix : column and row of the galaxy's centre in the maps, from 0
    shape : (h, w)
    pixel_scale : arcsec at the source
    phi, flip : rotation in radians, and reflection x → −x before it
    """
    offset = np.array([(shape[1] - 1) / 2 - centre_pix[0], (shape[0] - 1) / 2 - centre_pix[1]]) * pixel_scale
    return turned(phi) @ (offset * [-1 if flip else 1, 1])


# --- the kind ----------------------------------------------------------------------------------


class BankMaps:
    """The galaxies of a bank that some rows use."""

    def __init__(self, supply: Supply, columns: Columns):
        self._names = sorted({str(p) for p in columns["galaxy_id"]})
        self._bank, self._cosmology = supply.bank, supply.cosmology
        self._rows = bank_rows(supply.bank, self._names)
        names = ("pixel_scale_kpc", "psf_fwhm_kpc", "centre_x_pix", "centre_y_pix")
        self._scalars = {k: supply.bank.column(k).to_numpy()[self._rows] for k in names}

    @cached_property
    def planes(self) -> NDArray:
        """Moment planes of the galaxies, in the order of their names: read when they are asked for."""
        return bank_planes(self._bank, self._rows)

    def place(self, columns: Columns) -> tuple[NDArray, NDArray, NDArray]:
        """Return the galaxy of each row, its pixel at the source redshift, and where the middle of its maps lies from its centre."""
        index = self._index(columns)
        scale = self._scalars["pixel_scale_kpc"][index] * self._arcsec_per_kpc(columns)
        centres = zip(self._scalars["centre_x_pix"][index], self._scalars["centre_y_pix"][index], strict=True)
        shape = self.planes.shape[-2:]
        turns = zip(centres, scale, columns["src_phi_rad"], columns["src_flip"], strict=True)
        return index, scale, np.array([image_centre(centre, shape, pixel, phi, bool(flip)) for centre, pixel, phi, flip in turns])

    def resolution_arcsec(self, columns: Columns) -> NDArray:
        """Return the MaNGA PSF moved to the source redshift and scaled, FWHM per row."""
        return self._scalars["psf_fwhm_kpc"][self._index(columns)] * self._arcsec_per_kpc(columns)

    def _index(self, columns: Columns) -> NDArray:
        return np.array([self._names.index(p) for p in columns["galaxy_id"]])

    def _arcsec_per_kpc(self, columns: Columns) -> NDArray:
        return columns["src_scale"] / kpc_per_arcsec(columns["z_source"], self._cosmology)


def _draw(draws: Draws) -> dict[str, NDArray]:
    u, augment = draws.u, draws.sources.augment
    return {
        **{k: draws.galaxy[k] for k in ("galaxy_id", "physical_id")},
        "src_scale": quantile(draws.sources.scale, u["scale"]),
        "src_phi_rad": 2 * np.pi * u["src_phi"] if augment else np.zeros_like(u["src_phi"]),
        "src_flip": (u["flip"] < 0.5) & augment,
    }


def _source(supply: Supply, columns: Columns, row: int) -> Source:
    return manga_source(
        supply.bank, str(columns["galaxy_id"][row]), float(columns["z_source"][row]), float(columns["src_scale"][row]), supply.cosmology
    )


MOVING = Moving(draw=_draw, maps=BankMaps, source=_source)


def _check_finite(name: str, flux: NDArray, velocity: NDArray, dispersion: NDArray, valid: NDArray) -> None:
    for key, plane in (("flux", flux), ("velocity", velocity), ("dispersion", dispersion)):
        bad = int((~np.isfinite(plane[valid.astype(bool)])).sum())
        if bad:
            raise SourceError(
                f"the {key} map of galaxy {name} in the bank of sources has {bad} valid pixels that are not finite; "
                "leave the galaxy out, or build its source tensor again"
            )
