"""The tables of the stamp stages: one row per stamp, every drawn parameter and every measure."""

from __future__ import annotations

from ..core.tables import Column, Schema
from ..sources.moving import kind_columns


def _c(name: str, dtype: str, unit: str, description: str, nullable: bool = False) -> Column:
    return Column(name, dtype, unit, description, nullable=nullable)


IDENTITY = (
    _c("stamp_id", "string", "", "Identifier: dataset-split-number"),
    _c("number", "int64", "", "Number of the row in its dataset; with the seed it keys all randomness of the stamp"),
    _c("split", "string", "", "train, validation or test"),
    _c("label", "int8", "", "1 positive, 0 control"),
)

SOURCE = (
    _c("source_kind", "string", "", "Kind of the source, by its name in `sources.mix`"),
    _c("z_source", "float64", "", "Source redshift"),
    _c("src_x_arcsec", "float64", "arcsec", "Source centre, to the right"),
    _c("src_y_arcsec", "float64", "arcsec", "Source centre, up"),
    _c(
        "src_phi_rad",
        "float64",
        "rad",
        "Rotation of the source (manga) or position angle of its kinematic major axis (disk, hybrid), counter-clockwise from x",
    ),
    _c("src_flip", "bool", "", "Whether the source image is reflected about its y axis before it is rotated"),
    _c("src_scale", "float64", "", "Factor on the physical size of a MaNGA galaxy; 1 for disks"),
    *kind_columns(),
)

LENS = (
    _c("lens_profile", "string", "", "sis, sie or epl"),
    _c("z_lens", "float64", "", "Lens redshift"),
    _c("theta_e_arcsec", "float64", "arcsec", "Einstein radius of the main lens"),
    _c("lens_slope", "float64", "", "Density slope γ, 2 is isothermal"),
    _c("lens_e", "float64", "", "Ellipticity (1 − q)/(1 + q)"),
    _c("lens_phi_rad", "float64", "rad", "Direction of the lens' major axis, counter-clockwise from x"),
    _c("lens_x_arcsec", "float64", "arcsec", "Lens centre, to the right"),
    _c("lens_y_arcsec", "float64", "arcsec", "Lens centre, up"),
    _c("shear", "float64", "", "External shear"),
    _c("shear_phi_rad", "float64", "rad", "Direction of the shear"),
    _c("multipole_m3", "float64", "", "Amplitude of the m = 3 multipole over θ_E"),
    _c("multipole_m3_phi_rad", "float64", "rad", "Direction of the m = 3 multipole"),
    _c("multipole_m4", "float64", "", "Amplitude of the m = 4 multipole over θ_E"),
    _c("multipole_m4_phi_rad", "float64", "rad", "Direction of the m = 4 multipole"),
)

SUBHALO = (
    _c("subhalo_profile", "string", "", "sis, nfw or tnfw; controls carry the phantom they would have had"),
    _c("log10_mass_msun", "float64", "dex(M☉)", "log₁₀ M200; null for sis", True),
    _c("mass_bin", "string", "", "Bin of log₁₀ mass that the draw came from, or `sis`"),
    _c("concentration", "float64", "", "c200; null for sis", True),
    _c("subhalo_theta_e_arcsec", "float64", "arcsec", "Einstein radius of an SIS subhalo; null for nfw and tnfw", True),
    _c("subhalo_rs_arcsec", "float64", "arcsec", "Scale radius; null for sis", True),
    _c("subhalo_alpha_rs_arcsec", "float64", "arcsec", "Deflection at the scale radius of the untruncated profile; null for sis", True),
    _c("subhalo_rt_arcsec", "float64", "arcsec", "Truncation radius; null but for tnfw", True),
    _c("placement_1", "float64", "", "First uniform draw in [0, 1) of the subhalo's place"),
    _c("placement_2", "float64", "", "Second uniform draw"),
    _c("placement_3", "float64", "", "Third uniform draw"),
)

INSTRUMENT = (
    _c("peak_snr", "float64", "", "Signal-to-noise of a pixel of unit flux"),
    _c("smooth_peak", "float64", "flux/pixel", "Peak of the smooth lens' image, in the unit of flux"),
    _c("psf_fwhm_arcsec", "float64", "arcsec", "Full width at half maximum of the PSF; 0 without one"),
    _c("theta_over_psf", "float64", "", "θ_E over PSF FWHM; infinite without a PSF"),
)

MANIFEST = Schema("manifest", (*IDENTITY, *SOURCE, *LENS, *SUBHALO, *INSTRUMENT))

MEASURES = (
    _c("subhalo_x_arcsec", "float64", "arcsec", "Place of the (phantom) subhalo, to the right"),
    _c("subhalo_y_arcsec", "float64", "arcsec", "Place of the (phantom) subhalo, up"),
    _c(
        "subhalo_arc_distance_arcsec",
        "float64",
        "arcsec",
        "Distance of the subhalo from the nearest pixel of the smooth image above half of its peak",
    ),
    _c("subhalo_critical_distance_arcsec", "float64", "arcsec", "Distance of the subhalo from the critical curve of the smooth lens"),
    _c(
        "critical_radius_arcsec",
        "float64",
        "arcsec",
        "Radius of the circle with the area inside the tangential critical curve of the smooth lens",
    ),
    _c("magnification", "float64", "", "Lensed flux over the flux of the same source unlensed, both in this stamp's row, before noise"),
    _c(
        "tangential_stretch",
        "float64",
        "",
        "1/Σ w|1 − κ − γ| over the image, w the share of lensed light, κ and γ of the main lens; 1 unlensed",
    ),
    _c("radial_stretch", "float64", "", "1/Σ w|1 − κ + γ|, likewise"),
    _c("lensed_hlr_arcsec", "float64", "arcsec", "Radius about the lens with half of the noiseless light behind the PSF"),
    _c("image_count", "float64", "", "Images that the main lens makes of the source's centre, the demagnified one in the middle left out"),
    _c("clump_count", "float64", "", "Background clumps drawn from `population`"),
    _c("clump_mass_msun", "float64", "M☉", "Their M200 together"),
    _c("arc_snr", "float64", "", "max(signal·√invvar) over the stamp"),
    _c("arc_snr_sum", "float64", "", "Σ signal / √Σ(1/invvar) over the stamp"),
    _c("arc_snr_matched", "float64", "", "√Σ(signal²·invvar) over the stamp, the optimal one"),
    _c("flux_noise", "float64", "flux/pixel", "Background noise σ per pixel"),
    _c("mask_fraction", "float64", "", "Share of the stamp's pixels with a velocity"),
    _c("source_fwhm_arcsec", "float64", "arcsec", "Resolution of the source itself: the MaNGA PSF moved to z_s and scaled; 0 for disks"),
    _c("d_prime_flux", "float64", "", "Ideal observer's d′ from flux, between the pair with and without the (phantom) subhalo"),
    _c("d_prime_velocity", "float64", "", "Ideal observer's d′ from velocity, on the label-blind mask"),
    _c("d_prime_both", "float64", "", "Quadrature sum of the two"),
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


def stamp_schema(size: int) -> Schema:
    """Return the schema of a stamp shard."""
    return Schema("stamps", (*MANIFEST.columns, *MEASURES, *stamp_images(size)))


def scalar_columns() -> tuple[Column, ...]:
    """Return every column of a stamp that is not an image: what strata can be made of."""
    return (*MANIFEST.columns, *MEASURES)
