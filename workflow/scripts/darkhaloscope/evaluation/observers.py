"""The marginal observer's table: beside the strata of its stamps, and in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def with_strata(observers: pd.DataFrame, stamps: pd.DataFrame) -> pd.DataFrame:
    """Return the observers' table with `mass_bin` and `subhalo_profile` of its stamps, by `stamp_id`."""
    known = stamps[[c for c in ("stamp_id", "mass_bin", "subhalo_profile") if c in stamps]].drop_duplicates("stamp_id")
    own = observers.drop(columns=[c for c in known if c != "stamp_id" and c in observers])
    return own.merge(known, on="stamp_id", how="left", validate="one_to_one")


def marginal_observer(observers: pd.DataFrame) -> dict[str, Any] | None:
    """Return the medians of the marginal observer's d′ from flux and from both, how much further both see, and of how many stamps."""
    if "marginal_d_prime_flux" not in observers:
        return None
    flux, both = (observers[f"marginal_d_prime_{c}"].dropna() for c in ("flux", "both"))
    if not len(flux):
        return None
    gain = (observers["marginal_d_prime_both"] / observers["marginal_d_prime_flux"].replace(0, np.nan)).median()
    return {
        "flux": float(flux.median()),
        "both": float(both.median()),
        "gain": float(gain) if np.isfinite(gain) else None,
        "stamps": len(flux),
    }
