"""MaNGA galaxies as sources: their maps moved to the source redshift, all channels alike."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..config.cosmology import Cosmology
from ..core.tables import images
from .scaling import kpc_per_arcsec
from .source import Source, SourceError, moment_planes, turned

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


def _check_finite(name: str, flux: NDArray, velocity: NDArray, dispersion: NDArray, valid: NDArray) -> None:
    for key, plane in (("flux", flux), ("velocity", velocity), ("dispersion", dispersion)):
        bad = int((~np.isfinite(plane[valid.astype(bool)])).sum())
        if bad:
            raise SourceError(
                f"the {key} map of galaxy {name} in the bank of sources has {bad} valid pixels that are not finite; "
                "leave the galaxy out, or build its source tensor again"
            )
