"""Kinds of sources, as far as the config must know them: their names, sections and columns, and what they need.

A kind is an entry here, a module of `sources/` that draws and images it, and its line in `sources.moving` or `sources.stills`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, create_model, model_validator

from .base import AboveZero, Distribution, Draw, FilePath, NonNegative, Section, UnitInterval, draw, within


@dataclass(frozen=True)
class SourceKind:
    """What the config knows of a kind of source.

    Attributes
    ----------
    needs : "sample" for galaxies of a sample with maps, "catalog" for a catalogue of images, or nothing
    section : its own section of `sources`, under the kind's name
    description : of that section
    columns : those of a stamp's row that it fills: name, type, unit, description; null for kinds that have no such property
    """

    needs: Literal["sample", "catalog"] | None = None
    section: type[Section] | None = None
    description: str = ""
    columns: tuple[tuple[str, str, str, str], ...] = ()


class Disk(Section):
    """Analytic rotating disks: exponential light with knots and a bulge, arctan-like rotation."""

    scale_radius_arcsec: AboveZero = Field(draw({"uniform": [0.12, 0.35]}), description="Scale radius R_s of the exponential disk [arcsec]")
    turnover_ratio: AboveZero = Field(
        draw({"uniform": [0.2, 0.6]}), description="Turnover radius of V(R) = V_max (1 − exp(−R/R_turn)) over R_s"
    )
    v_max_kms: AboveZero = Field(draw({"uniform": [120, 280]}), description="Asymptotic rotation speed [km/s]")
    inclination_deg: Annotated[Distribution, AfterValidator(within(0, 85))] = Field(
        draw({"uniform": [30, 75]}), description="Inclination, 0 is face-on [deg]"
    )
    dispersion_kms: NonNegative = Field(draw({"uniform": [15, 40]}), description="Intrinsic gas dispersion [km/s]")
    n_knots: NonNegative = Field(draw({"choice": [4, 6, 8, 10, 12]}), description="Number of bright star-forming knots")
    knot_fraction: UnitInterval = Field(draw({"uniform": [0.1, 0.5]}), description="Share of the light in knots")
    knot_radius_ratio: AboveZero = Field(draw({"uniform": [0.1, 0.25]}), description="Gaussian σ of a knot over R_s")
    bulge_fraction: UnitInterval = Field(draw({"uniform": [0.0, 0.3]}), description="Share of the light in a Sérsic bulge")
    bulge_sersic_n: AboveZero = Field(draw(2.0), description="Sérsic index of the bulge")
    bulge_radius_ratio: AboveZero = Field(draw(0.4), description="Half-light radius of the bulge over R_s")
    bar_amplitude_kms: NonNegative = Field(draw(0.0), description="Amplitude of the m = 2 non-circular motion [km/s]")
    radial_flow_kms: Draw = Field(draw(0.0), description="Radial motion in the plane of the disk, positive outwards [km/s]")

    @model_validator(mode="after")
    def _check(self) -> Disk:
        most = self.bulge_fraction.bounds[1] + self.knot_fraction.bounds[1]
        if most > 1 + 1e-9:
            raise ValueError(
                f"bulge_fraction and knot_fraction can add up to {most:g} of a disk's light: lower one of them so that they stay at or below 1"
            )
        return self


class CosmosSources(Section):
    """Real galaxies in GalSim's COSMOS format (23.5 and 25.2 samples)."""

    catalog: FilePath | None = Field(
        None,
        description="Path of real_galaxy_catalog_23.5.fits or _25.2.fits, the other files of the sample beside it; null takes the survey's mock sample",
    )
    exclusion: Literal["none", "bad_stamp", "bad_fits", "marginal"] = Field(
        "marginal",
        description="Suspect galaxies that are left out, as GalSim's exclusion_level; bad_stamp and marginal need the _selection.fits file",
    )
    half_light_radius_arcsec: tuple[float, float] = Field((0.1, 1.0), description="Bounds of the half-light radius [arcsec]")
    magnitude: tuple[float, float] = Field((0.0, 25.2), description="Bounds of the F814W magnitude [mag]")
    set_aside: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="Galaxies to leave out, by IDENT, such as those without a usable image"
    )
    most: int = Field(20000, ge=2, description="Galaxies used at most: those whose hashed IDENT comes first")

    @model_validator(mode="after")
    def _check(self) -> CosmosSources:
        for key in ("half_light_radius_arcsec", "magnitude"):
            low, high = getattr(self, key)
            if not low < high:
                raise ValueError(f"{key} bounds are in the wrong order: [{low:g}, {high:g}]")
        return self


_GALAXY = (
    ("galaxy_id", "string", "", "MaNGA galaxy of the source"),
    ("physical_id", "string", "", "Identifier of the galaxy, by which splits are made"),
)
_DISK = (
    ("disk_scale_radius_arcsec", "float64", "arcsec", "Exponential scale radius"),
    ("disk_turnover_arcsec", "float64", "arcsec", "Turnover radius of the rotation curve"),
    ("disk_v_max_kms", "float64", "km/s", "Asymptotic rotation speed"),
    ("disk_inclination_rad", "float64", "rad", "Inclination"),
    ("disk_dispersion_kms", "float64", "km/s", "Intrinsic dispersion"),
    ("disk_n_knots", "int32", "", "Bright knots"),
    ("disk_knot_fraction", "float64", "", "Share of the light in knots"),
    ("disk_knot_radius_arcsec", "float64", "arcsec", "Gaussian σ of a knot"),
    ("disk_bulge_fraction", "float64", "", "Share of the light in the bulge"),
    ("disk_bulge_sersic_n", "float64", "", "Sérsic index of the bulge"),
    ("disk_bulge_radius_arcsec", "float64", "arcsec", "Half-light radius of the bulge"),
    ("disk_bar_amplitude_kms", "float64", "km/s", "Amplitude of m = 2 motions"),
    ("disk_radial_flow_kms", "float64", "km/s", "Radial flow"),
)
_SOURCE_ID = (("source_id", "string", "", "Galaxy of the source, by which splits are made: its name in the catalogue or sample"),)

#: Sources with velocities, for the subhalo task, by their names in `sources.mix`.
MOVING: dict[str, SourceKind] = {
    "manga": SourceKind(needs="sample", columns=_GALAXY),
    "disk": SourceKind(section=Disk, description="Parameters of analytic disks", columns=_DISK),
    "hybrid": SourceKind(needs="sample", columns=(*_GALAXY, *_DISK)),
}

#: Images without velocities, for the lens finder.
STILL: dict[str, SourceKind] = {
    "sersic": SourceKind(
        columns=(("src_e", "float64", "", "Ellipticity (1 − q)/(1 + q)"), ("src_n", "float64", "", "Sérsic index")),
    ),
    "cosmos": SourceKind(needs="catalog", section=CosmosSources, description="Where cosmos sources come from", columns=_SOURCE_ID),
    "manga": SourceKind(needs="sample", columns=_SOURCE_ID),
}


class Mixed(Section):
    """Sources of several kinds with shares; `with_sections` adds the kinds' own sections."""

    def uses(self, kind: str) -> bool:
        """Return whether a kind has a share above 0."""
        return self.mix.get(kind, 0) > 0

    def used(self, kinds: Mapping[str, SourceKind], needs: str) -> list[str]:
        """Return the kinds with a share above 0 that need a sample, or a catalogue."""
        return [name for name, kind in kinds.items() if kind.needs == needs and self.uses(name)]


def with_sections(model: type[Mixed], kinds: Mapping[str, SourceKind]) -> type[Mixed]:
    """Return a model of sources with a key for each kind that has a section of its own."""
    fields = {name: (kind.section, Field(kind.section(), description=kind.description)) for name, kind in kinds.items() if kind.section}
    return create_model(model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **fields)


def columns_of(kinds: Mapping[str, SourceKind]) -> dict[str, tuple[str, str, str]]:
    """Return the columns of all kinds by name: type, unit, description with the kinds that have it null."""
    out: dict[str, tuple[str, str, str]] = {}
    for kind in kinds.values():
        for name, dtype, unit, description in kind.columns:
            lacking = [k for k, other in kinds.items() if name not in {c[0] for c in other.columns}]
            out[name] = (dtype, unit, description + (f"; null for {' and '.join(lacking)}" if lacking else ""))
    return out
