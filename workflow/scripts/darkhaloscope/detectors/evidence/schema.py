"""The tables of the model-based detector: what it found in each stamp, and what it would have seen."""

from __future__ import annotations

from ...core.tables import Column, Schema
from ...tasks.subhalo.schema import scalar_columns

#: Lens parameters in the table, NaN where the dataset does not vary them.
LENS = ("theta_e", "slope", "e1", "e2", "x", "y", "gamma1", "gamma2", "m3_cos", "m3_sin", "m4_cos", "m4_sin")
_ANGLES = ("theta_e", "x", "y")


def _c(name: str, dtype: str, unit: str, description: str) -> Column:
    return Column(name, dtype, unit, description)


_SEEN = {"flux": "from the flux", "velocity": "from the velocity", "both": "from both"}
FINDINGS = Schema(
    "findings",
    (
        _c("stamp_id", "string", "", "Stamp"),
        _c("number", "int64", "", "Number of the stamp in its dataset"),
        *(
            _c(f"log_bayes_{c}", "float64", "", f"ln of the mean likelihood ratio over places, profiles and strengths, {t}")
            for c, t in _SEEN.items()
        ),
        *(_c(f"z_max_{c}", "float64", "", f"Greatest m′/√ν′ over places and profiles, {t}") for c, t in _SEEN.items()),
        *(_c(f"d_prime_{c}", "float64", "", f"√ν′ there, {t}: what the subhalo would give on average") for c, t in _SEEN.items()),
        _c("found_x_arcsec", "float64", "arcsec", "Place of the greatest z of both channels, to the right"),
        _c("found_y_arcsec", "float64", "arcsec", "Its place, up"),
        _c("found_profile", "string", "", "Its profile"),
        *(_c(f"fit_{n}", "float64", "arcsec" if n in _ANGLES else "", f"{n} of the lens as found") for n in LENS),
        *(_c(f"fit_{n}_error", "float64", "arcsec" if n in _ANGLES else "", f"Standard error of {n}, the rest marginalised") for n in LENS),
        _c("chi2_flux", "float64", "", "dᵀC⁻¹d per pixel of the flux"),
        _c("chi2_velocity", "float64", "", "The same of the velocity; NaN without one"),
        _c("pixels", "int64", "", "Pixels of the arc that were fitted"),
        _c("steps", "int64", "", "Steps of the fit that led upwards, on the image itself"),
        _c("restarted", "bool", "", "Whether the lens was looked for anew, because the first fit had a bad χ²"),
        _c("trusted", "bool", "", "Whether lens and source fit the stamp; a stamp without enough light is not trusted, and says nothing"),
    ),
)


#: Maps of a stamp's pixels, by name: unit and meaning.
MAPS = {
    **{
        f"map_residual_{c}": f"Pixels of the {c} less what the model predicts of each from all others, over the error of that; 0 elsewhere"
        for c in ("flux", "velocity")
    },
    **{f"map_z_{c}": f"Greatest m′/√ν′ over profiles at each place, {t}; 0 where none was tried" for c, t in _SEEN.items()},
    **{f"map_d_prime_{c}": f"√ν′ of that profile, {t}" for c, t in _SEEN.items()},
}


def map_columns(size: int) -> tuple[Column, ...]:
    """Return the columns of the detector's maps of stamps with `size` pixels on a side."""
    return tuple(Column(name, "float16", "", description, (size, size)) for name, description in MAPS.items())


def findings_schema(size: int | None) -> Schema:
    """Return the schema of findings, with the maps of stamps of a size, or without any."""
    return FINDINGS if size is None else Schema("findings", (*FINDINGS.columns, *map_columns(size)))


def evidence_stamp_schema(size: int) -> Schema:
    """Return the schema of stamps as the detector's maps show them: their scalar columns, and the maps in place of their images."""
    return Schema("evidence stamps", (*scalar_columns(), *map_columns(size)))


def sensitivity_schema(size: int) -> Schema:
    """Return the schema of sensitivity maps of stamps with `size` pixels on a side."""
    return Schema(
        "sensitivity",
        (
            Column("stamp_id", "string", "", "Stamp"),
            Column("channel", "string", "", "flux, velocity or both"),
            Column(
                "least_log10_mass",
                "float64",
                "dex(M☉)",
                "Least mass that would pass the threshold somewhere; NaN where none mapped would",
                nullable=True,
            ),
            Column("median_log10_mass", "float64", "dex(M☉)", "Median over the places where a mapped mass would pass it", nullable=True),
            Column("seen_share", "float64", "", "Share of the places where a mapped mass would pass it"),
            Column("expected", "float64", "", "Subhalos of the mass function expected above the threshold"),
            Column(
                "limit",
                "float32",
                "dex(M☉)",
                "Least mass that would pass the threshold, per pixel; NaN where none or not tried",
                (size, size),
            ),
        ),
    )
