"""Reading the evaluation's tables, and writing their values as text."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pandas as pd

from ..core.csv_tables import read_csv
from .context import ReportError

#: What the evaluation writes in `column` and `stratum` of a rate that is not of a stratum.
OVERALL = "all"
COMMITTEE = "committee"
_TEXT = {"test_dataset": str, "seed": str, "column": str, "stratum": str, "metric": str, "note": str}
_NEEDED = ("test_dataset", "seed", "metric", "at", "value", "low", "high", "resolved")


def read_frame(path: str | os.PathLike) -> pd.DataFrame:
    """Return a table of the evaluation, names as text whatever they look like."""
    try:
        return tidy(read_csv(path))
    except (OSError, ValueError) as error:
        raise ReportError(
            f"{path}: this table of the evaluation cannot be read ({error}); make it again with rule evaluate_scores"
        ) from error


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Return an evaluation table with text in its name columns, booleans in `resolved`, and no gaps among them.

    A table of ROC points has neither and is returned as it is.
    """
    if (frame.empty and not len(frame.columns)) or {"fpr", "tpr"} <= set(frame.columns):
        return frame
    missing = [c for c in _NEEDED if c not in frame.columns]
    if missing:
        raise ReportError(f"a table of the evaluation lacks the columns {missing}; it has {list(frame.columns)}")
    frame = frame.copy()
    for name in _TEXT:
        frame[name] = frame[name].astype("string").fillna("").astype(str) if name in frame else ""
    for name in ("at", "low", "high", "n_positives", "n_negatives", "negatives_needed"):
        frame[name] = pd.to_numeric(frame[name]) if name in frame else np.nan
    resolved = frame["resolved"] if "resolved" in frame else frame["value"].notna()
    frame["resolved"] = resolved.map(lambda v: str(v).lower() in ("true", "1", "1.0")).astype(bool)
    return frame


def main_seed(frame: pd.DataFrame) -> str | None:
    """Return the seed whose rates are quoted: the committee where there is one, else the first."""
    seeds = list(dict.fromkeys(frame["seed"])) if len(frame) else []
    if not seeds:
        return None
    return COMMITTEE if COMMITTEE in seeds else seeds[0]


def quoted(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the seed whose rates are quoted."""
    return frame[frame["seed"] == main_seed(frame)] if len(frame) else frame


def overall(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are not of a stratum."""
    return frame[frame["column"] == OVERALL] if len(frame) else frame


def pick(frame: pd.DataFrame, metric: str, at: float | None = None, **equal: str) -> pd.Series | None:
    """Return the first row with a metric, a rate and other columns' values, or None."""
    if frame.empty:
        return None
    keep = frame["metric"] == metric
    if at is not None:
        keep &= np.isclose(frame["at"].to_numpy(float), at, rtol=1e-6, atol=0)
    for name, value in equal.items():
        keep &= frame[name] == value
    rows = frame[keep]
    return rows.iloc[0] if len(rows) else None


def is_number(value: Any) -> bool:
    """Return whether a cell holds a finite number."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def rate_text(row: pd.Series | None, *, sign: bool = False) -> str:
    """Return a rate with its interval, or `unresolved (needs N negatives)`; never the number of an unresolved rate."""
    if row is None:
        return "not measured"
    if not bool(row["resolved"]):
        return unresolved_text(row)
    if not is_number(row["value"]):
        return "not defined"
    text = number(row["value"], sign=sign)
    if str(row.get("note", "")).startswith("lower limit"):
        return f"≥ {text}"
    if is_number(row["low"]) and is_number(row["high"]):
        text += f" [{number(row['low'], sign=sign)}, {number(row['high'], sign=sign)}]"
    return text


def unresolved_text(row: pd.Series) -> str:
    """Return what is said in place of a rate that the sample cannot resolve."""
    needed = row.get("negatives_needed")
    return f"unresolved (needs {math.ceil(needed):,} negatives)" if is_number(needed) else "unresolved"


def number(value: float, *, sign: bool = False) -> str:
    """Return a rate or a difference of rates with the digits that it deserves."""
    value = float(value)
    if not sign and abs(value) >= 10:
        return f"{value:.1f}".replace("-", "−")
    digits = 3 if value == 0 or abs(value) >= 0.0095 or sign else 4
    if not sign and 0.999 <= value < 1:
        digits = 5
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if not sign and value and float(text) == 0:
        text = f"{value:.1e}"
    return text.replace("-", "−")


def power(rate: float) -> str:
    """Return a rate as a reader writes it: 10⁻³, 5%, 0.9."""
    exponent = math.log10(rate)
    if abs(exponent - round(exponent)) < 1e-9 and rate < 0.05:
        return "10" + f"{round(exponent)}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{rate:g}" if rate >= 0.5 else f"{100 * rate:g}%"


def count(value: Any) -> str:
    """Return a count with separators, or a dash."""
    return f"{int(value):,}" if is_number(value) else "–"


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
    "plateifu": "galaxy",
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


def column_name(column: str) -> str:
    """Return a column as it is called on the page."""
    return COLUMNS.get(column, column.replace("_", " "))
