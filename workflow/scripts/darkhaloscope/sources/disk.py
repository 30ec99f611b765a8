"""Analytic rotating disks: their parameters, their knots, and their image in closed form. A kind of source with velocities."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gamma, gammaincinv, lambertw

from ..core.random import quantile, stream
from .kinds import Columns, Draws, Moving
from .source import Disk, Knots, Source, SourceError

#: Knots lie within this many scale radii of the centre.
OUTERMOST_KNOT = 3.0


def draw_knots(seed: int, number: int, count: int, share: float, sigma: float, scale_radius: float) -> tuple[Knots, float]:
    """Draw the knots of one row's disk, and the direction of its bar.

    Radii follow the light of the exponential disk out to `OUTERMOST_KNOT` scale radii, azimuths are uniform,
    shares vary by a factor of 3 at most. The first knots of a row stay the same when it gets more of them,
    but for their shares.

    Parameters
    ----------
    seed, number : int
        Seed of the dataset and number of the row: the same two give the same knots.
    count : int
        Number of knots.
    share : float
        Share of the light in all knots.
    sigma, scale_radius : float, arcsec

    Returns
    -------
    Knots of `count` entries, and the bar's azimuth in the plane of the disk [rad].
    """
    draws = stream(seed, number, "knots")
    bar_phi = np.pi * draws.random()
    u = draws.random((count, 3))
    radius = scale_radius * _exponential_radius(u[:, 0])
    azimuth = 2 * np.pi * u[:, 1]
    weight = 0.5 + u[:, 2]
    return Knots(
        x=radius * np.cos(azimuth),
        y=radius * np.sin(azimuth),
        share=share * weight / max(weight.sum(), 1e-12),
        sigma=np.full(count, sigma),
    ), float(bar_phi)


def no_knots() -> Knots:
    """Return an empty set of knots."""
    return Knots(*(np.zeros(0) for _ in range(4)))


def disk_moments(disk: Disk, x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
    """Return surface brightness per arcsec² and velocity in km/s at places (x, y) from the centre.

    Parameters
    ----------
    x, y : arrays of one shape, arcsec

    Raises
    ------
    SourceError
        The disk is seen edge-on, where a thin disk has no image, or its parts add up to more than all light.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    cos_i, sin_i = np.cos(disk.inclination), np.sin(disk.inclination)
    if cos_i < 1e-3:
        raise SourceError(f"a thin disk at inclination {np.degrees(disk.inclination):.2f}° has no image: keep it below 89.9°")
    smooth = 1 - disk.bulge_fraction - disk.knots.share.sum()
    if smooth < -1e-9:
        raise SourceError(
            f"bulge ({disk.bulge_fraction:g}) and knots ({disk.knots.share.sum():g}) hold more than all of the light: lower one of them"
        )
    along = x * np.cos(disk.pa) + y * np.sin(disk.pa)
    across = y * np.cos(disk.pa) - x * np.sin(disk.pa)
    radius = np.hypot(along, across / cos_i)
    azimuth = np.arctan2(across / cos_i, along)

    flux = smooth / (2 * np.pi * disk.scale_radius**2 * cos_i) * np.exp(-radius / disk.scale_radius)
    flux = flux + disk.bulge_fraction * _sersic(np.hypot(along, across), disk.bulge_radius, disk.bulge_n)
    for kx, ky, share, sigma in zip(disk.knots.x, disk.knots.y, disk.knots.share, disk.knots.sigma, strict=True):
        square = (along - kx) ** 2 + (across - ky * cos_i) ** 2
        flux = flux + share / (2 * np.pi * sigma**2) * np.exp(-square / (2 * sigma**2))

    rise = 1 - np.exp(-radius / disk.turnover)
    bar = disk.bar_amplitude * np.exp(-radius / (2 * disk.scale_radius)) * np.cos(2 * (azimuth - disk.bar_phi)) * np.cos(azimuth)
    velocity = disk.v_sys + sin_i * rise * (disk.v_max * np.cos(azimuth) + disk.radial_flow * np.sin(azimuth) + bar)
    return flux, velocity


def disk_source(disk: Disk, pixel_scale_arcsec: float, size: int, kind: str = "disk", provenance: dict | None = None) -> Source:
    """Return a disk's images at pixel centres, (size, size), valid everywhere."""
    axis = (np.arange(size) - (size - 1) / 2) * pixel_scale_arcsec
    flux, velocity = disk_moments(disk, *np.meshgrid(axis, axis))
    parameters = asdict(replace(disk, knots=no_knots()))
    del parameters["knots"]
    return Source(
        kind=kind,
        flux=flux,
        velocity=velocity,
        dispersion=np.full(flux.shape, disk.dispersion),
        valid=np.ones(flux.shape, bool),
        pixel_scale_arcsec=pixel_scale_arcsec,
        provenance={**parameters, "n_knots": len(disk.knots.x), **(provenance or {})},
    )


# --- the kind ----------------------------------------------------------------------------------


def disk_columns(draws: Draws, radius: NDArray, v_max: NDArray, inclination: NDArray) -> dict[str, NDArray]:
    """Return the columns of disks whose scale radius [arcsec], rotation speed [km/s] and inclination [rad] are given."""
    u, disk = draws.u, draws.sources.disk
    return {
        "disk_scale_radius_arcsec": radius,
        "disk_turnover_arcsec": radius * quantile(disk.turnover_ratio, u["turnover"]),
        "disk_v_max_kms": v_max,
        "disk_inclination_rad": inclination,
        "disk_dispersion_kms": quantile(disk.dispersion_kms, u["dispersion"]),
        "disk_n_knots": np.rint(quantile(disk.n_knots, u["n_knots"])).astype(int),
        "disk_knot_fraction": quantile(disk.knot_fraction, u["knot_fraction"]),
        "disk_knot_radius_arcsec": radius * quantile(disk.knot_radius_ratio, u["knot_radius"]),
        "disk_bulge_fraction": quantile(disk.bulge_fraction, u["bulge_fraction"]),
        "disk_bulge_sersic_n": quantile(disk.bulge_sersic_n, u["bulge_n"]),
        "disk_bulge_radius_arcsec": radius * quantile(disk.bulge_radius_ratio, u["bulge_radius"]),
        "disk_bar_amplitude_kms": quantile(disk.bar_amplitude_kms, u["bar"]),
        "disk_radial_flow_kms": quantile(disk.radial_flow_kms, u["radial_flow"]),
    }


def row_disk(columns: Columns, row: int, seed: int) -> Disk:
    """Return the analytic disk of one row, its knots drawn from the row's own stream."""

    def value(name: str) -> float:
        return float(columns[f"disk_{name}"][row])

    knots, bar_phi = draw_knots(
        seed,
        int(columns["number"][row]),
        int(columns["disk_n_knots"][row]),
        value("knot_fraction"),
        value("knot_radius_arcsec"),
        value("scale_radius_arcsec"),
    )
    return Disk(
        scale_radius=value("scale_radius_arcsec"),
        turnover=value("turnover_arcsec"),
        v_max=value("v_max_kms"),
        inclination=value("inclination_rad"),
        dispersion=value("dispersion_kms"),
        knots=knots,
        pa=float(columns["src_phi_rad"][row]),
        bulge_fraction=value("bulge_fraction"),
        bulge_n=value("bulge_sersic_n"),
        bulge_radius=value("bulge_radius_arcsec"),
        bar_amplitude=value("bar_amplitude_kms"),
        bar_phi=bar_phi,
        radial_flow=value("radial_flow_kms"),
    )


def most_knots(sources) -> float:
    """Return the most knots that a disk of these sources can have."""
    return sources.disk.n_knots.bounds[1]


def _draw(draws: Draws) -> dict[str, NDArray]:
    u, disk = draws.u, draws.sources.disk
    inclination = np.radians(quantile(disk.inclination_deg, u["inclination"]))
    return disk_columns(draws, quantile(disk.scale_radius_arcsec, u["scale_radius"]), quantile(disk.v_max_kms, u["v_max"]), inclination)


MOVING = Moving(draw=_draw, disk=row_disk, most_knots=most_knots)


# --- profiles ----------------------------------------------------------------------------------


def _exponential_radius(uniform: NDArray) -> NDArray:
    """Radius in scale radii that holds a share of an exponential disk's light: 1 − (1 + x) e^(−x), cut and inverted."""
    inside = 1 - (1 + OUTERMOST_KNOT) * np.exp(-OUTERMOST_KNOT)
    return -1 - lambertw(-(1 - inside * uniform) / np.e, -1).real


def _sersic(radius: NDArray, half_light: float, n: float) -> NDArray:
    """Sérsic profile of total flux 1, with the exact b_n (Ciotti 1991, A&A 249, 99)."""
    b = gammaincinv(2 * n, 0.5)
    total = 2 * np.pi * n * half_light**2 * gamma(2 * n) * b ** (-2 * n)
    return np.exp(-b * (radius / half_light) ** (1 / n)) / total
