"""Columns that strata can be made of, by kind of dataset: known when the config is read, when no table can be.

The schemas of the tables are the source (`scalar_columns` of each task's `schema`); a test holds them together.
"""

from __future__ import annotations

import re

from .sources import MOVING, STILL, SourceKind, columns_of

#: A name of clusters that are cells of the sky, made of `ra` and `dec`.
SKY_CELLS = re.compile(r"healpix-(\d+)")
TEXT, NUMBER, YES_NO = "text", "numbers", "yes or no"

_SUBHALO = {
    TEXT: "stamp_id split source_kind lens_profile subhalo_profile mass_bin",
    YES_NO: "src_flip",
    NUMBER: """
        number label z_source src_x_arcsec src_y_arcsec src_phi_rad src_scale
        z_lens theta_e_arcsec lens_slope lens_e lens_phi_rad lens_x_arcsec lens_y_arcsec shear shear_phi_rad
        multipole_m3 multipole_m3_phi_rad multipole_m4 multipole_m4_phi_rad
        log10_mass_msun concentration subhalo_theta_e_arcsec subhalo_rs_arcsec subhalo_alpha_rs_arcsec subhalo_rt_arcsec
        placement_1 placement_2 placement_3 peak_snr smooth_peak psf_fwhm_arcsec theta_over_psf
        subhalo_x_arcsec subhalo_y_arcsec subhalo_arc_distance_arcsec subhalo_critical_distance_arcsec critical_radius_arcsec
        magnification tangential_stretch radial_stretch lensed_hlr_arcsec image_count clump_count clump_mass_msun
        arc_snr arc_snr_sum arc_snr_matched flux_noise mask_fraction source_fwhm_arcsec
        d_prime_flux d_prime_velocity d_prime_both
    """,
}

_LENSFINDER = {
    TEXT: """
        stamp_id split task_id experiment_id region_split brickname contaminant_class source_kind cutout_reason bandset
        pipeline_version
    """,
    YES_NO: "is_control src_flip cutout_ok physics_valid metrics_ok",
    NUMBER: """
        number label region_id object_id replicate ra dec
        src_dmag src_reff_arcsec src_x_arcsec src_y_arcsec src_phi_rad src_gr src_rz
        theta_e_arcsec lens_e lens_phi_rad shear shear_phi_rad
        mag_g mag_r mag_z psfsize_g psfsize_r psfsize_z psfdepth_g psfdepth_r psfdepth_z ebv
        bad_pixel_frac host_x_arcsec host_y_arcsec host_core_flux_g host_core_flux_r host_core_flux_z host_size_arcsec sky_sigma_g sky_sigma_r sky_sigma_z
        psf_fwhm_used_g psf_fwhm_used_r psf_fwhm_used_z theta_over_psf
        arc_snr arc_snr_sum arc_snr_matched arc_snr_g arc_snr_z arc_snr_sum_g arc_snr_sum_z arc_snr_matched_g arc_snr_matched_z
        total_injected_flux_g total_injected_flux_r total_injected_flux_z flux_closure lensed_hlr_arcsec
        magnification tangential_stretch radial_stretch stamp_size
    """,
}


def _by_name(kinds: dict[str, str], sources: dict[str, SourceKind]) -> dict[str, str]:
    """Columns that all rows have, and those of the kinds of sources."""
    every = {name: kind for kind, names in kinds.items() for name in names.split()}
    return every | {name: TEXT if dtype == "string" else NUMBER for name, (dtype, _, _) in columns_of(sources).items()}


#: What each column of a kind of dataset holds, by name. Stamps made elsewhere are brought into the lens finder's table.
COLUMNS: dict[str, dict[str, str]] = {
    "subhalo": _by_name(_SUBHALO, MOVING),
    "lensfinder": _by_name(_LENSFINDER, STILL),
    "imported": _by_name(_LENSFINDER, STILL),
}

#: Strata that are more than a column, registered in `evaluation.strata`, and the kinds of datasets whose stamps have them.
STRATA: dict[str, tuple[str, ...]] = {"resolved": ("lensfinder", "imported")}
