"""The tables of the lens finder's stamps: names kept from the tables of earlier generations."""

from __future__ import annotations

from ...config.legacysurvey import BANDS
from ...core.tables import Column, Schema
from ...stamps.schema import IDENTITY


def _c(name: str, dtype: str, unit: str, description: str, nullable: bool = False) -> Column:
    return Column(name, dtype, unit, description, nullable=nullable)


def _bands(name: str, dtype: str, unit: str, description: str, nullable: bool = False) -> tuple[Column, ...]:
    return tuple(_c(f"{name}_{b}", dtype, unit, f"{description}, {b}", nullable) for b in BANDS)


TASK = (
    _c("task_id", "string", "", "Identifier of the injection or control: host and replicate; its hash keys all randomness of the stamp"),
    _c("experiment_id", "string", "", "Dataset that the row was made for"),
    _c("region_id", "int64", "", "HEALPix region (nested) of the host, by which splits are made"),
    _c("region_split", "string", "", "Split of the region: that of the stamp"),
    _c("brickname", "string", "", "Brick that the cutout comes from"),
    _c("object_id", "int64", "", "Host in the parent sample"),
    _c("replicate", "int32", "", "Which of the injections into this host; 0 for controls"),
    _c("ra", "float64", "deg", "Right ascension of the host"),
    _c("dec", "float64", "deg", "Declination of the host"),
    _c("is_control", "bool", "", "Whether nothing is injected"),
    _c("contaminant_class", "string", "", "What the host is beside a galaxy, where that is known (mock skies); null elsewhere", True),
)

SOURCE = (
    _c("source_kind", "string", "", "sersic, cosmos or manga; null for controls", True),
    _c(
        "source_id",
        "string",
        "",
        "Galaxy of the source, by which splits are made: COSMOS IDENT or MANGAID; null for sersic and controls",
        True,
    ),
    _c("src_dmag", "float64", "mag", "Magnitude of the unlensed source less that of the host, r as observed; null for controls", True),
    _c("src_reff_arcsec", "float64", "arcsec", "Half-light radius of the unlensed source; null for controls", True),
    _c("src_e", "float64", "", "Ellipticity (1 − q)/(1 + q) of a sersic source; null for others", True),
    _c("src_n", "float64", "", "Sérsic index of a sersic source; null for others", True),
    _c("src_x_arcsec", "float64", "arcsec", "Source centre from the lens centre, to the right (west); null for controls", True),
    _c("src_y_arcsec", "float64", "arcsec", "Source centre from the lens centre, up (north); null for controls", True),
    _c("src_phi_rad", "float64", "rad", "Direction of the source's major axis, or rotation of its image, counter-clockwise from x", True),
    _c("src_flip", "bool", "", "Whether the source image is reflected about its y axis before it is rotated; null for controls", True),
    _c("src_gr", "float64", "mag", "Observed g − r of the source, from a prior; one morphology in all bands", True),
    _c("src_rz", "float64", "mag", "Observed r − z of the source, from a prior; one morphology in all bands", True),
)

LENS = (
    _c("theta_e_arcsec", "float64", "arcsec", "Einstein radius; 0 for controls"),
    _c("lens_e", "float64", "", "Ellipticity (1 − q)/(1 + q) of the SIE; null for controls", True),
    _c("lens_phi_rad", "float64", "rad", "Direction of its major axis, counter-clockwise from x (west); null for controls", True),
    _c("shear", "float64", "", "External shear; null for controls", True),
    _c("shear_phi_rad", "float64", "rad", "Direction of the shear; null for controls", True),
)

CONDITIONS = (
    *_bands("mag", "float64", "mag", "Magnitude of the host as observed, not dereddened"),
    *_bands("psfsize", "float64", "arcsec", "psfsize at the host in the parent sample"),
    *_bands("psfdepth", "float64", "1/nanomaggy²", "Point-source depth at the host: inverse variance"),
    _c("ebv", "float64", "mag", "Galactic reddening E(B−V)"),
)

#: One row per stamp, before any pixel is read.
INJECTION_MANIFEST = Schema("injection manifest", (*IDENTITY, *TASK, *SOURCE, *LENS, *CONDITIONS))

MEASURES = (
    _c("cutout_ok", "bool", "", "Whether the cutout has pixels enough to be used; the image is 0 everywhere where not"),
    _c("cutout_reason", "string", "", "Why not; null where it is ok", True),
    _c("bad_pixel_frac", "float64", "", "Largest share of bad pixels in a band: invvar 0, masked or not finite"),
    _c(
        "host_x_arcsec",
        "float64",
        "arcsec",
        "Host, and the lens with it, from the stamp's middle, to the right (west); null without a good cutout",
        True,
    ),
    _c(
        "host_y_arcsec",
        "float64",
        "arcsec",
        "Host, and the lens with it, from the stamp's middle, up (north); null without a good cutout",
        True,
    ),
    *_bands("sky_sigma", "float64", "nanomaggy", "Median noise of a good pixel, 1/√invvar; null where the cutout is not ok", True),
    *_bands("psf_fwhm_used", "float64", "arcsec", "FWHM of the PSF of the injection, psfsize at the host inverted; null without one", True),
    _c("theta_over_psf", "float64", "", "θ_E over psf_fwhm_used_r; 0 for controls, null without a PSF", True),
    _c("arc_snr", "float64", "", "max(signal·√invvar) over the good pixels, r; 0 for controls"),
    _c("arc_snr_sum", "float64", "", "Σ signal / √Σ(1/invvar) over the good pixels, r; 0 for controls"),
    _c("arc_snr_matched", "float64", "", "√Σ(signal²·invvar) over the good pixels, r, the optimal one; 0 for controls"),
    *(
        _c(f"{name}_{b}", "float64", "", f"{name} in {b}; 0 for controls")
        for name in ("arc_snr", "arc_snr_sum", "arc_snr_matched")
        for b in ("g", "z")
    ),
    *_bands("total_injected_flux", "float64", "nanomaggy", "Noiseless lensed flux inside the stamp; 0 for controls"),
    _c(
        "flux_closure",
        "float64",
        "",
        "Relative difference between the unlensed source's flux in a stamp and that of its magnitude; null for controls",
        True,
    ),
    _c(
        "lensed_hlr_arcsec",
        "float64",
        "arcsec",
        "Radius about the lens with half of the observed lensed light, r, noiseless; null for controls",
        True,
    ),
    _c("magnification", "float64", "", "Lensed over unlensed flux before the PSF; null for controls", True),
    _c("tangential_stretch", "float64", "", "1/Σ w|1 − κ − γ| over the image, w the share of lensed light; null for controls", True),
    _c("radial_stretch", "float64", "", "1/Σ w|1 − κ + γ|, likewise; null for controls", True),
    _c("physics_valid", "bool", "", "Whether flux closes, and nothing is demagnified or infinite; true for controls"),
    _c(
        "metrics_ok", "bool", "", "Whether every measure is finite and most of the arc's light falls on good pixels; true for good controls"
    ),
    _c("stamp_size", "int32", "pixel", "Pixels on a side"),
    _c("bandset", "string", "", "Bands of the image, in order"),
    _c("pipeline_version", "string", "", "Version of this project that made the stamp"),
)


def image_column(size: int) -> Column:
    """Return the image column of stamps with `size` pixels on a side."""
    return Column(
        "image",
        "float32",
        "nanomaggy",
        "Stamp in g, r, z: cutout plus lensed source; rows go north, columns west; 0 where cutout_ok is false",
        (len(BANDS), size, size),
    )


def injection_schema(size: int) -> Schema:
    """Return the schema of a shard of lens-finder stamps."""
    return Schema("injected stamps", (*INJECTION_MANIFEST.columns, *MEASURES, image_column(size)))


def without_arc_schema(size: int) -> Schema:
    """Return the schema of positives without their arcs, with what networks are given; `label` stays 1."""
    kept = tuple(c for c in TASK + CONDITIONS if c.name in ("object_id", "replicate") or c.name.startswith("psf"))
    image = Column("image", "float32", "nanomaggy", "Stamp in g, r, z, its arc taken away", (len(BANDS), size, size))
    return Schema("stamps without arcs", (*IDENTITY, *kept, image))


def scalar_columns() -> tuple[Column, ...]:
    """Return every column of a stamp that is not an image: what strata can be made of."""
    return (*INJECTION_MANIFEST.columns, *MEASURES)


#: Schema of stamps of the default size.
INJECTION = injection_schema(64)
