"""The plain layout, read as the IFU protocol has it."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...config.manga import Quality
from ..maps import FLUX_UNIT, Maps, conversion
from ..tensors import PEAK_PERCENTILES
from .file import FILLERS, MIN_AXIS_RATIO, REPEATED, PlainMapsError, check_centre, check_planes, checked_facts, read_file

#: For an instrument other than MaNGA the slope of the velocity is stated over this part of R_e.
GRADIENT_STEP_RE = 0.1
#: No galaxy's gas or stars are faster than this about their middle [km/s].
MAX_SPEED_KMS = 3000.0
#: Nor do the gas or stars of most of a galaxy's spaxels have a higher dispersion [km/s].
MAX_DISPERSION_KMS = 1000.0
#: A mask that takes away light this many times as bright as what it leaves is the wrong way round.
MASKED_LIGHT = 3.0
#: One of `FILLERS` that is a larger share of the velocities than this is no measurement: in a rotating disk equal ones lie along one line.
MAX_FILLED = 0.1
#: Any other number is one where it is no galaxy's speed, and the same in `REPEATED` spaxels; where there are more such numbers, the unit is wrong.
MOST_FILLERS = 3

log = logging.getLogger("darkhaloscope")


#: Why a galaxy is rejected whose maps hold nothing.
NOTHING_MEASURED = (
    "no spaxel has a positive flux and a velocity that are finite, not masked and with errors above 0 (turn MASK round if it is not 0 where "
    "the maps are good)"
)


def read_plain(path: str | os.PathLike, quality: Quality) -> Maps:
    """Read a galaxy's maps in the plain layout, recognised as FITS (gzipped or not) or NPZ by content.

    Parameters
    ----------
    path : file
    quality : unused; a file in this layout holds one line and one kind of kinematics, which it names.

    Raises
    ------
    PlainMapsError
        The file is unreadable; an array or a fact is missing or impossible; velocities are no galaxy's.
    """
    return _maps(*read_file(Path(path)), Path(path))


def _maps(planes: dict[str, NDArray], given: dict[str, object], path: Path) -> Maps:
    facts = checked_facts(given, path)
    shape = check_planes(planes, path)
    check_centre(facts, shape, path)
    if (factor := conversion(facts["flux_unit"], FLUX_UNIT)) is not None:
        # However the unit of the cuts is written, and whatever its power of ten: one galaxy, one verdict.
        facts["flux_unit"] = FLUX_UNIT
        planes = planes | {name: planes[name] * factor for name in ("flux", "flux_err") if name in planes}
    bad = planes["mask"] != 0 if "mask" in planes else np.zeros(shape, bool)
    _tell_turned(planes["flux"], bad, path)
    bad = bad | (planes["flux"] == 0)  # no light, so that nothing else was measured
    filled = {value: int((~bad & (planes["velocity"] == value)).sum()) for value in fillers(planes["velocity"], ~bad)}
    said = ", ".join(f"{value:g} in {n} spaxels" for value, n in filled.items())
    if filled:
        log.warning("%s: the velocity is exactly %s, which is taken for no measurement", path, said)
    planes = planes | {name: _without(planes[name], filled, name) for name in ("flux", "velocity", "dispersion") if name in planes}
    measured = {name: _measured(planes, name, bad) for name in ("flux", "velocity", "dispersion")}
    (flux, flux_ivar, flux_valid), (velocity, velocity_ivar, velocity_valid) = measured["flux"], measured["velocity"]
    dispersion, _, dispersion_valid = measured["dispersion"]
    used = flux_valid & velocity_valid & (flux > 0)
    low, high = np.percentile(velocity[used], PEAK_PERCENTILES) if used.any() else (0.0, 0.0)
    if high - low > 2 * MAX_SPEED_KMS:
        raise PlainMapsError(
            f"{path}: velocities from {low:.4g} to {high:.4g}, expected a galaxy's, in km/s, within {MAX_SPEED_KMS:g} of their middle; "
            "convert them (are they in m/s?), and set those that are no measurement to NaN, or write a MASK that is not 0 there"
        )
    if dispersion_valid.any() and (middle := np.median(dispersion[dispersion_valid])) > MAX_DISPERSION_KMS:
        raise PlainMapsError(
            f"{path}: the dispersion is {middle:.4g} in the median, expected a galaxy's, in km/s, below {MAX_DISPERSION_KMS:g}; "
            "convert it, or write its unit as BUNIT (is it in m/s?), and set what is no measurement to NaN"
        )
    shape_of_light = _ellipse(flux, used, facts, facts["pixel_scale_arcsec"])
    return Maps(
        **{key: facts[key] for key in ("galaxy_id", "physical_id", "instrument", "line", "kinematics", "flux_unit", "z")},
        **{key: facts[key] for key in ("psf_fwhm_arcsec", "pixel_scale_arcsec")},
        ba=shape_of_light["ba"],
        pa_deg=shape_of_light["pa_deg"],
        reff_arcsec=shape_of_light["reff_arcsec"],
        r_re=shape_of_light["r_re"],
        gradient_step_arcsec=GRADIENT_STEP_RE * shape_of_light["reff_arcsec"],
        counted=outline(velocity_valid),
        errors_known="flux_err" in planes,
        unfit=None if used.any() else NOTHING_MEASURED,
        facts={"filled": said} if filled else {},
        flux=flux,
        flux_ivar=flux_ivar,
        flux_valid=flux_valid,
        velocity=velocity,
        velocity_ivar=velocity_ivar,
        velocity_valid=velocity_valid,
        dispersion=np.maximum(dispersion, 0.0),
        dispersion_valid=dispersion_valid,
    )


def _tell_turned(flux: NDArray, masked: NDArray, path: Path) -> None:
    """Warn of a mask, (ny, nx) bool, that takes away what is bright."""
    finite = np.isfinite(flux)
    # A number that fills what is masked is no light.
    if (finite & masked).any() and (finite & ~masked).any() and np.ptp(flux[finite & masked]) > 0:
        away, left = (float(np.median(flux[finite & part])) for part in (masked, ~masked))
        if away > MASKED_LIGHT * max(left, 0):
            log.warning(
                "%s: MASK takes away spaxels with a median flux of %.3g and leaves some of %.3g; turn it round if it is not 0 where the maps are good",
                path,
                away,
                left,
            )


def fillers(velocity: NDArray, use: NDArray) -> list[float]:
    """Return the velocities that stand for no measurement.

    Parameters
    ----------
    velocity : (ny, nx) km/s
    use : (ny, nx) bool, the spaxels that are not known to be bad

    Returns
    -------
    list of float
        Those of `FILLERS` that are too many, or lie further from the other velocities than these from each other; and any number that
        several spaxels have and that no galaxy can have beside the others.
    """
    values, counts = np.unique(velocity[use & np.isfinite(velocity)].astype(float), return_counts=True)
    if len(values) < 2:
        return []
    # Each value once: fillers may be most of a map.
    far = values[(abs(values - np.median(values)) > MAX_SPEED_KMS) & (counts >= REPEATED)]
    found = far.tolist() if len(far) <= MOST_FILLERS else []
    known = np.isin(values, FILLERS)
    for value, count in zip(values[known], counts[known], strict=True):
        others = values[(values != value) & ~np.isin(values, found)]
        if value not in found and others.size:
            apart = max(others.min() - value, value - others.max()) > np.ptp(others)
            if apart or count > MAX_FILLED * counts.sum():
                found.append(float(value))
    return found


def _without(plane: NDArray, filled: Iterable[float], name: str) -> NDArray:
    """Return a plane with NaN where it is filled; the flux and the dispersion of a galaxy may be 0."""
    return np.where(np.isin(plane, [value for value in filled if value or name == "velocity"]), np.nan, plane)


def outline(measured: NDArray) -> NDArray:
    """Return the spaxels within the convex outline of the measured ones: what lies outside is empty field.

    Parameters
    ----------
    measured : (ny, nx) bool

    Returns
    -------
    (ny, nx) bool
        `measured` itself where its spaxels span no area.
    """
    from scipy.spatial import Delaunay, QhullError  # half a second, which readers of other files need not wait

    # The outline of all is that of the first and last in each row: a large map has thousands of these, not millions.
    rows = np.flatnonzero(measured.any(1))
    first, last = measured[rows].argmax(1), measured.shape[1] - 1 - measured[rows, ::-1].argmax(1)
    ends = np.unique(np.concatenate([np.column_stack([first, rows]), np.column_stack([last, rows])]), axis=0)
    try:
        hull = Delaunay(ends)
    except (QhullError, ValueError):
        return measured
    y, x = np.indices(measured.shape)
    return measured | (hull.find_simplex(np.column_stack([x.ravel(), y.ravel()])) >= 0).reshape(measured.shape)


def _measured(planes: dict[str, NDArray], name: str, bad: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return values, inverse variances (1 where no errors are given) and validity of one quantity; 0 where not valid."""
    if name not in planes:
        return np.zeros(bad.shape), np.zeros(bad.shape), np.zeros(bad.shape, bool)
    values = planes[name].astype(float)
    error = planes[f"{name}_err"].astype(float) if f"{name}_err" in planes else np.ones(bad.shape)
    good = ~bad & np.isfinite(values) & np.isfinite(error) & (error > 0)
    return np.where(good, values, 0.0), np.where(good, 1 / np.where(good, error, 1.0) ** 2, 0.0), good


def _ellipse(flux: NDArray, used: NDArray, facts: dict, pixel: float) -> dict:
    """Return b/a, position angle, effective radius and elliptical radii: as given, otherwise from the light.

    Centre, axis ratio and angle are those of the flux's first and second moments; the effective radius is
    the semi-major axis of the ellipse with half of the flux. Where nothing is used, the light is taken for the same everywhere.
    """
    if not used.any():  # about the middle of the maps
        used, flux = np.ones(flux.shape, bool), np.ones(flux.shape)
    y, x = np.nonzero(used)
    light = flux[used] / flux[used].sum()
    x0 = (light * x).sum() if facts["centre_x_pix"] is None else facts["centre_x_pix"]
    y0 = (light * y).sum() if facts["centre_y_pix"] is None else facts["centre_y_pix"]
    dx, dy = x - x0, y - y0
    xx, yy, xy = ((light * a * b).sum() for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    small, large = np.linalg.eigvalsh([[xx, xy], [xy, yy]])
    ba, pa_deg = facts["ba"], facts["pa_deg"]
    if ba is None:
        ba = float(np.sqrt(max(small, 0.0) / large)) if large > 0 else 1.0
        ba = min(max(ba, MIN_AXIS_RATIO), 1.0)
    if pa_deg is None:
        # The angle from x towards y; north is up and east to the left, so that x points to PA −90°.
        pa_deg = float((math.degrees(0.5 * math.atan2(2 * xy, xx - yy)) - 90) % 180)
    axis = math.radians(pa_deg + 90)
    rows, columns = np.indices(flux.shape)
    along = (columns - x0) * math.cos(axis) + (rows - y0) * math.sin(axis)
    across = (rows - y0) * math.cos(axis) - (columns - x0) * math.sin(axis)
    radius = np.hypot(along, across / ba) * pixel
    reff = facts["reff_arcsec"]
    if reff is None:
        order = np.argsort(radius[used], kind="stable")
        middle = np.cumsum(light[order]) - light[order] / 2
        reff = max(float(np.interp(0.5, middle, radius[used][order])), pixel / 2)
    return {"ba": float(ba), "pa_deg": float(pa_deg), "reff_arcsec": float(reff), "r_re": radius / reff}
