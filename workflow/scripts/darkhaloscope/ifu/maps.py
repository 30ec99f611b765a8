"""The IFU protocol: what every source of velocity maps gives, whatever its instrument and its file format.

A member of `ifu.members` reads its own files and returns `Maps`. Quality, lensability, tensor and bank know
nothing else: no header card, channel name, id pattern or pixel scale of an instrument.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

#: Speed of light [km/s].
LIGHT_SPEED_KMS = 299792.458
#: Unit of flux in which the cuts on flux are stated.
FLUX_UNIT = "1e-17 erg/s/cm^2"
#: What a user can do about a galaxy whose maps are of no use.
LEAVE_OUT = "leave this galaxy out: name it in the sample's `galaxies.set_aside`, or take it out of `galaxies.listed`"


class MapsError(ValueError):
    """A file of maps is not what it should be; the message names the file and what to do."""


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Maps of one galaxy, each (ny, nx), north up and east to the left (x grows to the west).

    Attributes
    ----------
    galaxy_id : this observation of the galaxy, as its archive names it.
    physical_id : the galaxy itself. Splits are made by it: one galaxy can have several observations.
    instrument, line : what the maps show, for pages and tables.
    kinematics : "gas" or "stellar".
    z : redshift.
    ba, pa_deg : axis ratio b/a of the disk, and position angle of its major axis, north through east [deg].
    reff_arcsec : effective (half-light) radius along the major axis [arcsec].
    psf_fwhm_arcsec : resolution [arcsec].
    pixel_scale_arcsec : side of a spaxel [arcsec].
    flux, flux_ivar : flux of the line per spaxel [`flux_unit` per spaxel] and its inverse variance.
    velocity, velocity_ivar : velocity along the line of sight [km/s], relative to any fixed one, and its
        inverse variance.
    dispersion : dispersion without the instrument's share [km/s]; 0 where the line is unresolved.
    flux_valid, velocity_valid, dispersion_valid : bool. Where False, the map holds 0, which is no measurement.
    errors_known : whether the inverse variances are measured; where they are not they are 1.
    r_re : elliptical radius over the effective radius.
    counted : bool, the spaxels that `mask_fraction` counts.
    gradient_step_arcsec : the step over which `vel_grad` is stated: see `quality.measure_quality`.
    flux_unit : unit of the flux. The cuts on flux are made where it is `FLUX_UNIT`.
    unfit : why this observation cannot be used, such as that the archive forbids it, or None.
    facts : what else the archive says; kept in the metrics and in the tensor's sidecar, used by nothing.
    """

    galaxy_id: str
    physical_id: str
    instrument: str
    line: str
    kinematics: str
    z: float
    ba: float
    pa_deg: float
    reff_arcsec: float
    psf_fwhm_arcsec: float
    pixel_scale_arcsec: float
    flux: NDArray
    flux_ivar: NDArray
    flux_valid: NDArray
    velocity: NDArray
    velocity_ivar: NDArray
    velocity_valid: NDArray
    dispersion: NDArray
    dispersion_valid: NDArray
    r_re: NDArray
    counted: NDArray
    gradient_step_arcsec: float
    errors_known: bool = True
    flux_unit: str = FLUX_UNIT
    unfit: str | None = None
    facts: dict = field(default_factory=dict)

    @property
    def flux_comparable(self) -> bool:
        """Whether the flux is in the unit of the cuts."""
        return self.flux_unit == FLUX_UNIT


def known(members: dict, name: str):
    """Return a member by its name; raise `ValueError` with the known names where there is none."""
    if name not in members:
        raise ValueError(f"there is no source of velocity maps '{name}' (there is: {', '.join(members)}); correct the sample's `ifu`")
    return members[name]


def conversion(unit: str, wanted: str) -> float | None:
    """Return what values in a unit, as a BUNIT says it, are multiplied by to be in another one; None where they cannot be."""
    given = unit.strip().removesuffix("/spaxel")
    if given.lower() == wanted:
        return 1.0
    from astropy import units  # a quarter of a second, which readers of other files need not wait

    for name in (given, given.lower()):  # some write KM/S; Mm/s is another unit than mm/s
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", units.UnitsWarning)  # of two slashes, as MaNGA writes them
                factor = units.Unit(name).to(wanted)
        except (ValueError, TypeError):
            continue
        return 1.0 if math.isclose(factor, 1) else float(factor)
    return None


def squared(maps: Maps) -> Maps:
    """Return maps with as many rows as columns: the shorter side is padded with spaxels that hold nothing."""
    rows, columns = maps.flux.shape
    if rows == columns:
        return maps
    size = max(rows, columns)
    width = [((size - n) // 2, size - n - (size - n) // 2) for n in (rows, columns)]

    def padded(plane: NDArray, name: str) -> NDArray:
        return np.pad(plane, width, constant_values=np.inf if name == "r_re" else 0)

    planes = {f.name: getattr(maps, f.name) for f in fields(maps) if isinstance(getattr(maps, f.name), np.ndarray)}
    return replace(maps, **{name: padded(plane, name) for name, plane in planes.items()})
