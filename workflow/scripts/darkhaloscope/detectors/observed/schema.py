"""The tables of observed lenses: what was fitted and found, one row per lens, and what is found where it is known what is there."""

from __future__ import annotations

import math

from ...core.tables import Column, Schema

#: Parameters of the mass; places are from the middle of the image.
MASS = ("theta_e", "slope", "e1", "e2", "x", "y", "gamma1", "gamma2", "m3_cos", "m3_sin", "m4_cos", "m4_sin")
_ANGLES = ("theta_e", "x", "y")
#: Pixels on a side of the source's picture.
SOURCE_SIZE = 61
#: A subhalo is found where it is within this distance [arcsec].
NEAR = 0.3
#: Edges of promised z, by which injections are counted.
PROMISES = (-math.inf, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 14.0, 20.0, math.inf)
#: Maps of a lens: name and what they show.
MAPS = {
    "data": "Image less the galaxy's light, in units of the arcs' brightness; NaN where not fitted",
    "model": "Lensed source as found",
    "residual": "Data less model and galaxy, in standard deviations of the bin",
    "z": "m′/√ν′ of the searched mass at each place, linear in the mass",
    "limit": "Least log₁₀ mass whose promised z passes the threshold there; NaN where that of none mapped does",
}


def _c(name: str, dtype: str, unit: str, description: str) -> Column:
    return Column(name, dtype, unit, description)


def _f(name: str, unit: str, description: str) -> Column:
    return Column(name, "float64", unit, f"{description}; NaN where not fitted")


def lens_columns() -> tuple[Column, ...]:
    """Return the columns of a lens that are not images."""
    return (
        _c("lens", "string", "", "Lens, the name of its folder"),
        _c("missing", "string", "", "What was not given, in words"),
        _c("flags", "string", "", "Why the fit is not to be trusted, in words; empty where it is"),
        _c("good", "bool", "", "Whether the fit is to be trusted: arcs found, converged, focused, χ² near 1"),
        _f("z_lens", "", "Redshift of the lens, the config's where unknown"),
        _f("z_source", "", "Redshift of the source, the config's where unknown"),
        _f("theta_e_published_arcsec", "arcsec", "θ_E of the sample's table, where it has one"),
        _f("theta_e_effective_arcsec", "arcsec", "Radius of the circle with the area within the critical curve"),
        _f("q", "", "Axis ratio of the mass"),
        _f("angle_deg", "deg", "Position angle of its major axis, counter-clockwise from the rows"),
        _f("shear", "", "Size of the external shear"),
        *(_f(f"fit_{n}", "arcsec" if n in _ANGLES else "", f"{n} of the mass") for n in MASS),
        *(_f(f"fit_{n}_error", "arcsec" if n in _ANGLES else "", f"Standard error of {n}, the rest marginalised") for n in MASS),
        _f("light_q", "", "Axis ratio of the galaxy's light"),
        _f("chi2", "", "dᵀC⁻¹d per bin"),
        _f("focus", "", "median radius of the bright light on the source plane over that in the image"),
        _f("rival", "", "ln evidence of the next best optimum less that of the best"),
        _c("converged", "bool", "", "Whether another step promises nothing"),
        _c("bins", "int64", "", "Bins that were fitted"),
        _c("rays", "int64", "", "Rays"),
        _f("kernel_amplitude", "", "Amplitude of the source's kernel, in units of the arcs' brightness"),
        _f("kernel_length", "", "Length of the source's kernel, in units of the source's size"),
        _f("source_size_arcsec", "arcsec", "Size of the source: geometric mean of the distances of its light from its middle"),
        _f("z_max", "", "Greatest z of a halo fitted with the lens, ±√(2 Δ ln E)"),
        _f("z_negative", "", "Greatest −z of a negative mass, likewise: what the model's errors give"),
        _f("z_map", "", "Greatest m′/√ν′ of the linear map, from which halos are fitted"),
        _f("false_alarm", "", "Share of controls of this lens with a greater z_max, (k + 1)/(n + 1)"),
        _f("found_x_arcsec", "arcsec", "Place of that halo from the middle of the image, to the right"),
        _f("found_x_error_arcsec", "arcsec", "Its standard error, the lens marginalised"),
        _f("found_y_arcsec", "arcsec", "Its place, up"),
        _f("found_y_error_arcsec", "arcsec", "Its standard error"),
        _f("found_log10_mass", "dex(M☉)", "log₁₀ of its mass, its size being that of the searched mass"),
        _f("found_log10_mass_error", "dex(M☉)", "Its standard error"),
        _f("found_log_ratio", "", "How much ln E + ln prior of the lens gains by it"),
        _f("least_log10_mass", "dex(M☉)", "Least mass whose promised z passes the threshold somewhere"),
        _f("median_log10_mass", "dex(M☉)", "Median over the places where a mapped mass passes it"),
        _f("seen_share", "", "Share of the places where a mapped mass passes it"),
        Column(
            "halos",
            "float64",
            "",
            "Subhalos of the mass function by their promised z: below 1, 1 to 2, … 5 to 6, 6 to 8, 8 to 10, 10 to 14, 14 to 20, 20 and more",
            (len(PROMISES) - 1,),
        ),
        _f("seconds_galaxy", "s", "CPU time of galaxy and arcs"),
        _f("seconds_search", "s", "CPU time of the search on the coarse image"),
        _f("seconds_fit", "s", "CPU time of the fit"),
        _f("seconds_subhalos", "s", "CPU time of scan, controls and injections"),
        _c("source_arcsec", "float64", "arcsec", "Side of the source's picture"),
    )


def lens_schema(size: int) -> Schema:
    """Return the schema of observed lenses with maps of `size` pixels on a side."""
    maps = tuple(Column(name, "float32", "", text, (size, size)) for name, text in MAPS.items())
    source = Column("source", "float32", "", "Source as found, in units of the arcs' brightness", (SOURCE_SIZE, SOURCE_SIZE))
    return Schema("observed lenses", (*lens_columns(), *maps, source))


TRIALS = Schema(
    "trials",
    (
        _c("lens", "string", "", "Lens"),
        _c(
            "kind",
            "string",
            "",
            "observed, control (the fitted lens with noise), injection (a subhalo in the observed image) or asked (one at a place of the config)",
        ),
        Column("log10_mass_msun", "float64", "dex(M☉)", "Injected mass", nullable=True),
        Column("x_arcsec", "float64", "arcsec", "Its place from the middle of the image, to the right", nullable=True),
        Column("y_arcsec", "float64", "arcsec", "Its place, up", nullable=True),
        Column("promised", "float64", "", "z that the linear map promises for it", nullable=True),
        _c("z", "float64", "", "Greatest z of a halo fitted with the lens"),
        _c("found_x_arcsec", "float64", "arcsec", "Its place from the middle of the image, to the right"),
        _c("found_y_arcsec", "float64", "arcsec", "Its place, up"),
        _c("found_log10_mass", "float64", "dex(M☉)", "log₁₀ of its mass"),
        Column("distance_arcsec", "float64", "arcsec", "Its distance from the injected place", nullable=True),
        Column("z_negative", "float64", "", "Greatest −z of a negative mass, of the observed image", nullable=True),
        _c("z_map", "float64", "", "Greatest m′/√ν′ of the linear map"),
    ),
)
