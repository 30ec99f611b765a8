"""The tables of the lens finder's stamps: names kept from the tables of earlier generations."""

from __future__ import annotations

from ...config.legacysurvey import BANDS
from ...config.lensfinder import LensFinderDataset
from ...config.sources import STILL
from ...core.tables import Column, Schema
from ...sources.columns import kind_columns
from ...stamps.columns import IDENTITY, shared

#: What stands in the lens finder's tables for what controls do not have.
NULL = {"description": "null for controls", "nullable": True}


def _bands(name: str, dtype: str, unit: str, description: str, nullable: bool = False) -> tuple[Column, ...]:
    return tuple(Column(f"{name}_{b}", dtype, unit, f"{description}, {b}", nullable=nullable) for b in BANDS)


TASK = (
    Column(
        "task_id", "string", "", "Identifier of the injection or control: host and replicate; its hash keys all randomness of the stamp"
    ),
    Column("experiment_id", "string", "", "Dataset that the row was made for"),
    Column("region_id", "int64", "", "HEALPix region (nested) of the host, by which splits are made"),
    Column("region_split", "string", "", "Split of the region: that of the stamp"),
    Column("brickname", "string", "", "Brick that the cutout comes from"),
    Column("object_id", "int64", "", "Host in the parent sample"),
    Column("replicate", "int32", "", "Which of the injections into this host; 0 for controls"),
    Column("ra", "float64", "deg", "Right ascension of the host"),
    Column("dec", "float64", "deg", "Declination of the host"),
    Column("is_control", "bool", "", "Whether nothing is injected"),
    Column(
        "contaminant_class",
        "string",
        "",
        "What the host is beside a galaxy, where that is known (mock skies); null elsewhere",
        nullable=True,
    ),
)

SOURCE = (
    *shared("source_kind", **NULL),
    Column(
        "src_dmag",
        "float64",
        "mag",
        "Magnitude of the unlensed source less that of the host, r as observed; null for controls",
        nullable=True,
    ),
    Column("src_reff_arcsec", "float64", "arcsec", "Half-light radius of the unlensed source; null for controls", nullable=True),
    *kind_columns(STILL, "null for controls"),
    *shared("src_x_arcsec", "src_y_arcsec", "src_phi_rad", "src_flip", **NULL),
    Column("src_gr", "float64", "mag", "Observed g − r of the source, from a prior; one morphology in all bands", nullable=True),
    Column("src_rz", "float64", "mag", "Observed r − z of the source, from a prior; one morphology in all bands", nullable=True),
)

LENS = (
    *shared("theta_e_arcsec", description="0 for controls"),
    *shared("lens_e", "lens_phi_rad", "shear", "shear_phi_rad", **NULL),
)

CONDITIONS = (
    *_bands("mag", "float64", "mag", "Magnitude of the host as observed, not dereddened"),
    *_bands("psfsize", "float64", "arcsec", "psfsize at the host in the parent sample"),
    *_bands("psfdepth", "float64", "1/nanomaggy²", "Point-source depth at the host: inverse variance"),
    Column("ebv", "float64", "mag", "Galactic reddening E(B−V)"),
)

#: One row per stamp, before any pixel is read.
MANIFEST = Schema("injection manifest", (*IDENTITY, *TASK, *SOURCE, *LENS, *CONDITIONS))

MEASURES = (
    Column("cutout_ok", "bool", "", "Whether the cutout has pixels enough to be used; the image is 0 everywhere where not"),
    Column("cutout_reason", "string", "", "Why not; null where it is ok", nullable=True),
    Column("bad_pixel_frac", "float64", "", "Largest share of bad pixels in a band: invvar 0, masked or not finite"),
    Column(
        "host_x_arcsec",
        "float64",
        "arcsec",
        "Host, and the lens with it, from the stamp's middle, to the right (west); null without a good cutout",
        nullable=True,
    ),
    Column(
        "host_y_arcsec",
        "float64",
        "arcsec",
        "Host, and the lens with it, from the stamp's middle, up (north); null without a good cutout",
        nullable=True,
    ),
    *_bands(
        "host_core_flux", "float64", "nanomaggy", "Flux within 1 arcsec of the host before anything is injected; null where not ok", True
    ),
    Column(
        "host_size_arcsec",
        "float64",
        "arcsec",
        "Radius of half the flux within 4 arcsec of the host in r, before anything is injected; null where not ok",
        nullable=True,
    ),
    *_bands("sky_sigma", "float64", "nanomaggy", "Median noise of a good pixel, 1/√invvar; null where the cutout is not ok", True),
    *_bands("psf_fwhm_used", "float64", "arcsec", "FWHM of the PSF of the injection, psfsize at the host inverted; null without one", True),
    *shared("theta_over_psf", description="in r, by psf_fwhm_used_r; 0 for controls, null without a PSF", nullable=True),
    *shared("arc_snr", "arc_snr_sum", "arc_snr_matched", description="in r; 0 for controls"),
    *(
        Column(f"{name}_{b}", "float64", "", f"{name} in {b}; 0 for controls")
        for name in ("arc_snr", "arc_snr_sum", "arc_snr_matched")
        for b in ("g", "z")
    ),
    *_bands("total_injected_flux", "float64", "nanomaggy", "Noiseless lensed flux inside the stamp; 0 for controls"),
    Column(
        "flux_closure",
        "float64",
        "",
        "Relative difference between the unlensed source's flux in a stamp and that of its magnitude; null for controls",
        nullable=True,
    ),
    *shared("lensed_hlr_arcsec", description="in r, null for controls", nullable=True),
    *shared("magnification", "tangential_stretch", "radial_stretch", **NULL),
    Column("physics_valid", "bool", "", "Whether flux closes, and nothing is demagnified or infinite; true for controls"),
    Column(
        "metrics_ok", "bool", "", "Whether every measure is finite and most of the arc's light falls on good pixels; true for good controls"
    ),
    Column("stamp_size", "int32", "pixel", "Pixels on a side"),
    Column("bandset", "string", "", "Bands of the image, in order"),
    Column("pipeline_version", "string", "", "Version of this project that made the stamp"),
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


def stamp_schema(size: int) -> Schema:
    """Return the schema of a shard of lens-finder stamps."""
    return Schema("injected stamps", (*MANIFEST.columns, *MEASURES, image_column(size)))


def without_arc_schema(size: int) -> Schema:
    """Return the schema of positives without their arcs, with what networks are given; `label` stays 1."""
    kept = tuple(c for c in TASK + CONDITIONS if c.name in ("object_id", "replicate") or c.name.startswith("psf"))
    image = Column("image", "float32", "nanomaggy", "Stamp in g, r, z, its arc taken away", (len(BANDS), size, size))
    return Schema("stamps without arcs", (*IDENTITY, *kept, image))


def size_of(dataset: LensFinderDataset) -> int:
    """Return the pixels on a side of a dataset's stamps."""
    return dataset.camera.stamp_size


def scalar_columns() -> tuple[Column, ...]:
    """Return every column of a stamp that is not an image: what strata can be made of."""
    return (*MANIFEST.columns, *MEASURES)
