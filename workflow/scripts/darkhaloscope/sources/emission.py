"""MaNGA emission-line maps as still images: a kind of source without velocities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.tables import images
from ..ifu.bank import read_bank
from .kinds import Files, Still
from .manga import bank_rows
from .source import SourceError
from .still import StillImage, still_image


def emission_image(bank: pa.Table, physical_id: str, half_light_radius_arcsec: float) -> StillImage:
    """Return a galaxy's line map, scaled to a half-light radius.

    The map keeps the resolution of the survey: at 2.5 arcsec it blurs a galaxy of Re = 8 arcsec by a third of
    its radius, and so does it here. Of several observations of a galaxy, the first by plate-ifu serves.

    Parameters
    ----------
    bank : pyarrow.Table
        Bank of MaNGA sources.
    physical_id : str
    half_light_radius_arcsec : float
        Semi-major axis of the ellipse with half of the light.

    Raises
    ------
    SourceError
        The bank does not have the galaxy, or its map holds no light.
    """
    names = sorted(p for p, m in zip(bank["galaxy_id"].to_pylist(), bank["physical_id"].to_pylist(), strict=True) if m == physical_id)
    if not names:
        raise SourceError(f"the bank of sources has no galaxy {physical_id}; build manifest and bank from the same sample")
    row = bank.slice(bank_rows(bank, names[:1])[0], 1)
    flux = np.where(images(row, "valid")[0] == 1, np.maximum(images(row, "flux")[0], 0), 0.0)
    cx, cy = round(row["centre_x_pix"][0].as_py()), round(row["centre_y_pix"][0].as_py())
    reach = max(flux.shape)
    window = np.pad(flux, reach)[cy : cy + 2 * reach + 1, cx : cx + 2 * reach + 1]
    scale = half_light_radius_arcsec / row["half_light_radius_arcsec"][0].as_py() * row["pixel_scale_arcsec"][0].as_py()
    return still_image(_trimmed(window), scale, f"MaNGA galaxy {physical_id}")


def _galaxies(files: Files) -> tuple[list[str], None]:
    return sorted(set(read_bank(files["bank"][0])["physical_id"].to_pylist())), None


def _image(files: Files) -> Callable[[Mapping[str, Any]], StillImage]:
    bank = read_bank(files["bank"][0])
    return lambda row: emission_image(bank, str(row["source_id"]), float(row["src_reff_arcsec"]))


STILL = Still(image=_image, galaxies=_galaxies)


def _trimmed(window: np.ndarray) -> np.ndarray:
    """Cut empty borders, the middle staying the middle."""
    middle = window.shape[0] // 2
    lit = np.argwhere(window > 0)
    reach = int(np.abs(lit - middle).max()) if len(lit) else 0
    return window[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
