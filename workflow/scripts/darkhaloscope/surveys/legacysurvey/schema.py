"""Columns of the tables that the Legacy Survey stage writes."""

from __future__ import annotations

from ...config.legacysurvey import BANDS
from ...core.tables import Column, Schema


def _per_band(name: str, dtype: str, unit: str, description: str, bands: tuple[str, ...] = BANDS) -> tuple[Column, ...]:
    return tuple(Column(f"{name}_{band}", dtype, unit, description.format(band=band)) for band in bands)


#: One row per luminous red galaxy, in the order of the sweeps.
PARENT = Schema(
    "parent",
    (
        Column("object_id", "int64", "", "release · 2⁴² + brickid · 2²² + objid: one number per object of all releases"),
        Column("release", "int32", "", "Release of the Tractor catalogue, 10000 to 10999 in DR10"),
        Column("brickid", "int32", "", "Number of the brick"),
        Column("objid", "int32", "", "Number of the object within its brick"),
        Column("brickname", "string", "", "Name of the brick"),
        Column("ra", "float64", "deg", "Right ascension"),
        Column("dec", "float64", "deg", "Declination"),
        Column("type", "string", "", "Tractor morphology: REX, EXP, DEV or SER"),
        *_per_band("flux", "float32", "nanomaggy", "Flux in {band} as observed", (*BANDS, "w1")),
        *_per_band(
            "mag",
            "float32",
            "mag",
            "Magnitude in {band}, AB, that the cuts are made in; corrected for extinction where the survey's `lrg.dereddened` says so",
        ),
        Column("ebv", "float32", "mag", "Galactic E(B−V)"),
        *_per_band(
            "psfsize",
            "float32",
            "arcsec",
            "PSF size in {band} in the survey's sense: 2.355 σ of the Gaussian of equal noise-equivalent area",
        ),
        *_per_band("psfdepth", "float32", "nanomaggy⁻²", "Inverse variance of a point source's flux in {band}"),
        Column("maskbits", "int32", "", "MASKBITS at the object"),
        *_per_band("nobs", "int16", "", "Exposures in {band} at the object"),
        Column("contaminant_class", "string", "", "Kind of the object where a table of labels knows it, otherwise empty"),
        Column("known_lens", "bool", "", "Whether a catalogue of known lenses has it"),
        Column("healpix", "int64", "", "HEALPix cell, nested, of the survey's `nside`"),
    ),
)

#: One row per known lens that falls on a brick of the survey.
KNOWN_LENSES = Schema(
    "known_lenses",
    (
        Column("name", "string", "", "Name of the lens"),
        Column("ra", "float64", "deg", "Right ascension: of the matched object where there is one, otherwise of the catalogue"),
        Column("dec", "float64", "deg", "Declination, likewise"),
        Column("theta_e_arcsec", "float32", "arcsec", "Einstein radius; NaN where the catalogue has none"),
        Column("grade", "string", "", "Grade in its catalogue; empty where it has none"),
        Column("source", "string", "", "Catalogue, by its name in the config, and its own reference"),
        Column("object_id", "int64", "", "Matched object of the parent sample; −1 where there is none"),
        Column("separation_arcsec", "float32", "arcsec", "Distance to the matched object; NaN where there is none"),
        Column("brickname", "string", "", "Brick that holds the position"),
        Column("healpix", "int64", "", "HEALPix cell, nested, of the survey's `nside`"),
        *_per_band(
            "mag", "float32", "mag", "Magnitude in {band} of the matched object, as the parent sample has it; NaN where there is none"
        ),
        *_per_band("psfsize", "float32", "arcsec", "PSF size in {band} of the matched object, otherwise the median of its brick"),
        *_per_band(
            "psfdepth",
            "float32",
            "nanomaggy⁻²",
            "Point-source depth in {band} of the matched object, otherwise from the median of its brick",
        ),
    ),
)
