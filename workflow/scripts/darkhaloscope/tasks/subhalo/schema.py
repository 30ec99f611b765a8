"""The tables of a subhalo dataset: one row per stamp, every drawn parameter and every measure."""

from __future__ import annotations

from ...config.sources import MOVING
from ...config.subhalo import SubhaloDataset
from ...core.tables import Column, Schema
from ...sources.columns import kind_columns
from ...stamps.columns import IDENTITY, shared

SOURCE = (
    *shared("source_kind"),
    Column("z_source", "float64", "", "Source redshift"),
    *shared("src_x_arcsec", "src_y_arcsec", "src_phi_rad", "src_flip"),
    Column("src_scale", "float64", "", "Factor on the physical size of a MaNGA galaxy; 1 for disks"),
    *kind_columns(MOVING),
)

LENS = (
    Column("lens_profile", "string", "", "sis, sie or epl"),
    Column("z_lens", "float64", "", "Lens redshift"),
    *shared("theta_e_arcsec"),
    Column("lens_slope", "float64", "", "Density slope γ, 2 is isothermal"),
    *shared("lens_e", "lens_phi_rad"),
    Column("lens_x_arcsec", "float64", "arcsec", "Lens from the stamp's middle, to the right"),
    Column("lens_y_arcsec", "float64", "arcsec", "Lens from the stamp's middle, up"),
    *shared("shear", "shear_phi_rad"),
    Column("multipole_m3", "float64", "", "Amplitude of the m = 3 multipole over θ_E"),
    Column("multipole_m3_phi_rad", "float64", "rad", "Direction of the m = 3 multipole"),
    Column("multipole_m4", "float64", "", "Amplitude of the m = 4 multipole over θ_E"),
    Column("multipole_m4_phi_rad", "float64", "rad", "Direction of the m = 4 multipole"),
)

SUBHALO = (
    Column("subhalo_profile", "string", "", "sis, nfw or tnfw; controls carry the phantom they would have had"),
    Column("log10_mass_msun", "float64", "dex(M☉)", "log₁₀ M200; null for sis", nullable=True),
    Column("mass_bin", "string", "", "Bin of log₁₀ mass that the draw came from, or `sis`"),
    Column("concentration", "float64", "", "c200; null for sis", nullable=True),
    Column("subhalo_theta_e_arcsec", "float64", "arcsec", "Einstein radius of an SIS subhalo; null for nfw and tnfw", nullable=True),
    Column("subhalo_rs_arcsec", "float64", "arcsec", "Scale radius; null for sis", nullable=True),
    Column(
        "subhalo_alpha_rs_arcsec",
        "float64",
        "arcsec",
        "Deflection at the scale radius of the untruncated profile; null for sis",
        nullable=True,
    ),
    Column("subhalo_rt_arcsec", "float64", "arcsec", "Truncation radius; null but for tnfw", nullable=True),
    Column("placement_1", "float64", "", "First uniform draw in [0, 1) of the subhalo's place"),
    Column("placement_2", "float64", "", "Second uniform draw"),
    Column("placement_3", "float64", "", "Third uniform draw"),
)

INSTRUMENT = (
    Column("peak_snr", "float64", "", "Signal-to-noise of a pixel of unit flux"),
    Column("smooth_peak", "float64", "flux/pixel", "Peak of the smooth lens' image, in the unit of flux"),
    Column("psf_fwhm_arcsec", "float64", "arcsec", "Full width at half maximum of the PSF; 0 without one"),
    *shared("theta_over_psf", description="infinite without a PSF"),
)

MANIFEST = Schema("manifest", (*IDENTITY, *SOURCE, *LENS, *SUBHALO, *INSTRUMENT))

PLACE = (
    Column("subhalo_x_arcsec", "float64", "arcsec", "Place of the (phantom) subhalo, to the right"),
    Column("subhalo_y_arcsec", "float64", "arcsec", "Place of the (phantom) subhalo, up"),
)

MEASURES = (
    *PLACE,
    Column(
        "subhalo_arc_distance_arcsec",
        "float64",
        "arcsec",
        "Distance of the subhalo from the nearest pixel of the smooth image above half of its peak",
    ),
    Column("subhalo_critical_distance_arcsec", "float64", "arcsec", "Distance of the subhalo from the critical curve of the smooth lens"),
    Column(
        "critical_radius_arcsec",
        "float64",
        "arcsec",
        "Radius of the circle with the area inside the tangential critical curve of the smooth lens",
    ),
    *shared("magnification", "tangential_stretch", "radial_stretch", description="1 unlensed"),
    *shared("lensed_hlr_arcsec"),
    Column(
        "image_count", "float64", "", "Images that the main lens makes of the source's centre, the demagnified one in the middle left out"
    ),
    Column("clump_count", "float64", "", "Background clumps drawn from `population`"),
    Column("clump_mass_msun", "float64", "M☉", "Their M200 together"),
    *shared("arc_snr", "arc_snr_sum", "arc_snr_matched"),
    Column("flux_noise", "float64", "flux/pixel", "Background noise σ per pixel"),
    Column("mask_fraction", "float64", "", "Share of the stamp's pixels with a velocity"),
    Column(
        "source_fwhm_arcsec", "float64", "arcsec", "Resolution of the source itself: the MaNGA PSF moved to z_s and scaled; 0 for disks"
    ),
    Column("d_prime_flux", "float64", "", "Ideal observer's d′ from flux, between the pair with and without the (phantom) subhalo"),
    Column("d_prime_velocity", "float64", "", "Ideal observer's d′ from velocity, on the label-blind mask"),
    Column("d_prime_both", "float64", "", "Quadrature sum of the two"),
)


def stamp_images(size: int) -> tuple[Column, ...]:
    """Return the image columns of stamps with `size` pixels on a side."""
    shape = (size, size)
    return (
        Column(
            "flux",
            "float32",
            "flux/pixel",
            "Observed flux, noise included, in a unit in which the smooth lens' peak is `smooth_peak` (label-blind)",
            shape,
        ),
        Column(
            "velocity",
            "float32",
            "km/s",
            "Observed flux-weighted velocity relative to the source's systemic one; 0 outside `mask`",
            shape,
        ),
        Column("velocity_sigma", "float32", "km/s", "Error σ_v that goes with `mask`; 0 outside it", shape),
        Column("mask", "uint8", "", "1 where a velocity exists, by the dataset's choice of mask: label-blind, or observed", shape),
        Column(
            "observed_velocity",
            "float32",
            "km/s",
            "The same velocity with the noise that the stamp's own flux gives it; 0 outside `observed_mask`. For networks that see the flux",
            shape,
        ),
        Column(
            "observed_sigma",
            "float32",
            "km/s",
            "Error σ_v as the observed flux gives it; 0 outside `observed_mask`. For networks that see the flux",
            shape,
        ),
        Column(
            "observed_mask", "uint8", "", "1 where the observed flux is high enough for a velocity. For networks that see the flux", shape
        ),
    )


def pair_images(size: int) -> tuple[Column, ...]:
    """Return the image columns of noiseless pairs with `size` pixels on a side."""
    flux, velocity = "in the unit of the stamp's flux, without noise", "without noise; 0 where there is no light"
    return (
        Column("smooth_flux", "float32", "flux/pixel", f"What the control shows, {flux}", (size, size)),
        Column("perturbed_flux", "float32", "flux/pixel", f"What the positive shows, {flux}", (size, size)),
        Column("smooth_velocity", "float32", "km/s", f"Velocity of the control in every block, {velocity}", (size, size)),
        Column("perturbed_velocity", "float32", "km/s", f"Velocity of the positive in every block, {velocity}", (size, size)),
    )


def pair_schema(size: int) -> Schema:
    """Return the schema of a shard of noiseless pairs; its metadata hold the instrument and the seed of the stamps' noise."""
    return Schema("pairs", (*MANIFEST.columns, *PLACE, *pair_images(size)))


def stamp_schema(size: int) -> Schema:
    """Return the schema of a stamp shard."""
    return Schema("stamps", (*MANIFEST.columns, *MEASURES, *stamp_images(size)))


def size_of(dataset: SubhaloDataset) -> int:
    """Return the pixels on a side of a dataset's stamps."""
    return dataset.instrument.stamp_size


def scalar_columns() -> tuple[Column, ...]:
    """Return every column of a stamp that is not an image: what strata can be made of."""
    return (*MANIFEST.columns, *MEASURES)
