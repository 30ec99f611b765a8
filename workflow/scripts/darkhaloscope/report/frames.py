"""What metrics and columns of the evaluation's tables are called on a page."""

from __future__ import annotations

from ..evaluation.tidy import is_number, power

# Scripts of users read the report's tables by this name.
from ..evaluation.tidy import read_frame as read_frame

METRICS = {
    "auc": "AUC",
    "accuracy": "Accuracy",
    "tpr_at_fpr": "TPR at FPR {}",
    "fpr_at_tpr": "FPR at TPR {}",
    "tpr_at_false_positives": "TPR at {} false positives",
    "brier": "Brier score",
    "ece": "Expected calibration error",
    "threshold": "Threshold for FPR {}",
    "tpr_at_validation_fpr": "TPR, threshold for FPR {} from validation",
    "realised_fpr": "Realised FPR, threshold for FPR {} from validation",
    "tpr_at_global_fpr": "TPR at FPR {} of all controls",
    "delta_auc": "ΔAUC",
    "delta_tpr_at_fpr": "ΔTPR at FPR {}",
    "ideal_auc": "AUC of the ideal observer",
    "ideal_d_prime": "d′ of the ideal observer",
    "d_prime": "d′ of the network",
    "share": "Share of the ideal d′",
}


def metric_name(metric: str, at: float) -> str:
    """Return a metric as it is called in tables and figures."""
    name = METRICS.get(metric, metric.replace("_", " "))
    if metric == "tpr_at_false_positives":
        return name.format(f"{at:g}")
    return name.format(power(at)) if "{}" in name and is_number(at) else name.replace(" {}", "")


COLUMNS = {
    "all": "all stamps",
    "subhalo_profile": "subhalo profile",
    "mass_bin": "log₁₀ mass bin",
    "theta_e_arcsec": "θ_E [arcsec]",
    "theta_over_psf": "θ_E / PSF",
    "peak_snr": "peak S/N",
    "arc_snr_matched": "arc S/N (matched)",
    "subhalo_arc_distance_arcsec": "distance to arc [arcsec]",
    "source_kind": "source kind",
    "galaxy_id": "galaxy",
    "d_prime_flux": "ideal d′, flux",
    "d_prime_velocity": "ideal d′, velocity",
    "d_prime_both": "ideal d′, both",
    "log10_mass_msun": "log₁₀ M/M☉",
    "magnification": "magnification",
    "mask_fraction": "share with velocity",
    "subhalo_x_arcsec": "subhalo x [arcsec]",
    "subhalo_y_arcsec": "subhalo y [arcsec]",
    "subhalo_critical_distance_arcsec": "distance to critical curve [arcsec]",
    "arc_snr": "arc S/N (peak pixel)",
    "contaminant_class": "contaminant",
    "lensed_hlr_arcsec": "half-light radius, lensed [arcsec]",
    "mag_r": "host r [mag]",
    "psfsize_r": "psfsize r [arcsec]",
    "psfdepth_r": "psfdepth r [nanomaggy⁻²]",
    "psf_fwhm_used_r": "PSF FWHM r [arcsec]",
    "src_reff_arcsec": "source half-light radius [arcsec]",
    "src_dmag": "source − host r [mag]",
    "total_injected_flux_r": "arc flux r [nanomaggy]",
    "bad_pixel_frac": "share of bad pixels",
    "ra": "RA [deg]",
    "dec": "Dec [deg]",
    "brickname": "brick",
    "stamp_id": "stamp",
    "label": "label",
}


UNITS = {"arcsec": "arcsec", "rad": "rad", "mag": "mag", "kms": "km/s", "deg": "deg"}


def column_name(column: str) -> str:
    """Return a column as it is called on the page; the unit that ends a column's name goes into brackets."""
    words, _, unit = column.rpartition("_")
    plain = f"{words} [{UNITS[unit]}]" if words and unit in UNITS else column
    return COLUMNS.get(column, plain.replace("_", " "))
