"""What a sample of observed lenses shows together: fits against published values, false alarms, completeness, expected and found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.stats import poisson

from ...config.observed import Subhalos
from ...core.intervals import wilson
from ...core.tables import Schema, read_table
from .schema import NEAR, PROMISES, lens_columns

#: A fit agrees with a published θ_E within this share of it.
AGREES = 0.05
SIGMA_PER_MAD = 1.4826


def gather(paths: Sequence[str | os.PathLike], schema: Schema) -> pa.Table:
    """Return the rows of several tables of one schema."""
    return pa.concat_tables([read_table(path, schema).replace_schema_metadata(None) for path in paths])


def listed(lenses: pa.Table) -> pd.DataFrame:
    """Return the columns of a table of lenses that are no images."""
    return lenses.select([c.name for c in lens_columns()]).to_pandas()


def describe_sample(lenses: pd.DataFrame, trials: pd.DataFrame, settings: Subhalos) -> dict[str, object]:
    """Return the figures of a sample: counts, θ_E against published values, z of real images and controls, completeness, expected number.

    Lenses whose fit is not to be trusted count in the numbers of lenses alone.
    """
    good = lenses[lenses["good"]]
    both = good[np.isfinite(good["theta_e_published_arcsec"])]
    ratio = both["theta_e_effective_arcsec"] / both["theta_e_published_arcsec"] - 1
    of_good = trials[trials["lens"].isin(good["lens"])]
    control, injected = of_good[of_good["kind"] == "control"], of_good[of_good["kind"] == "injection"]
    negative = good["z_negative"].to_numpy()
    # The least z that no negative mass of any lens reaches is the lowest threshold at which the sample's own errors raise no alarm.
    quiet = float(negative.max()) if len(negative) else np.nan
    asked = trials[trials["kind"] == "asked"].groupby(["lens", "log10_mass_msun"])
    thresholds = {"configured": settings.threshold, "quiet": quiet}
    detections = {name: detect(good, control, injected, threshold) for name, threshold in thresholds.items()}
    return _plain(
        {
            "lenses": len(lenses),
            "good": len(good),
            "flags": {
                k: int(v) for k, v in lenses.loc[~lenses["good"], "flags"].str.split("[:;0-9]").str[0].str.strip().value_counts().items()
            },
            "chi2_median": _median(good["chi2"]),
            "theta_e": {
                "compared": len(both),
                "median_difference": _median(ratio),
                "scatter": SIGMA_PER_MAD * _median((ratio - ratio.median()).abs()),
                "agree": int((ratio.abs() < AGREES).sum()),
                "apart": {row.lens: round(float(r), 3) for row, r in zip(both.itertuples(), ratio, strict=True) if abs(r) >= AGREES},
            },
            "z": {
                "observed_median": _median(good["z_max"]),
                "negative_median": _median(good["z_negative"]),
                "control_median": _median(control["z"]),
                "control_95": float(control["z"].quantile(0.95)) if len(control) else np.nan,
                "observed_above_all_controls": int((good["false_alarm"] <= 1.5 / (settings.controls + 1)).sum()),
            },
            "detections": detections,
            "asked": {
                lens: {f"{mass:g}": _share(_found(some, settings.threshold)) for (name, mass), some in asked if name == lens}
                for lens in sorted(settings.asked)
            },
            "could_show": {f"{mass:g}": int((good["least_log10_mass"] <= mass).sum()) for mass in settings.log10_mass_msun},
            "cpu_seconds_per_lens": _median(lenses[[c for c in lenses if c.startswith("seconds_")]].sum(axis=1)),
            "cpu_seconds": float(lenses[[c for c in lenses if c.startswith("seconds_")]].sum().sum()),
        }
    )


def detect(good: pd.DataFrame, control: pd.DataFrame, injected: pd.DataFrame, threshold: float) -> dict[str, object]:
    """Return what is above a threshold: lenses, negative masses, controls, injections by mass, and the subhalos that a mass function would show.

    An injection is found where z passes the threshold within `NEAR` of its place. The share that is found, by promised z, over all good lenses, times the mass function's halos of that
    promise is what is expected; none is where nothing was injected.
    """
    found = _found(injected, threshold)
    promise = pd.cut(injected["promised"], PROMISES, right=False, labels=False)
    share = found.groupby(promise).mean().reindex(range(len(PROMISES) - 1), fill_value=0.0)
    halos = np.stack(good["halos"]).sum(0) if len(good) else np.zeros(len(PROMISES) - 1)
    expected = float(halos @ share.to_numpy())
    masses = sorted(injected["log10_mass_msun"].unique())
    return {
        "threshold": threshold,
        "found": sorted(good.loc[good["z_max"] > threshold, "lens"]),
        "negative": sorted(good.loc[good["z_negative"] > threshold, "lens"]),
        "false_alarms_of_controls": _share(control["z"] > threshold),
        "completeness": {f"{mass:g}": _share(found[injected["log10_mass_msun"] == mass]) for mass in masses},
        "completeness_by_promise": {
            f"{low:g} to {high:g}": _share(found[promise == k]) for k, (low, high) in enumerate(pairwise(PROMISES)) if (promise == k).any()
        },
        "expected": expected,
        "chance_of_none": float(poisson.pmf(0, expected)),
    }


def _found(injected: pd.DataFrame, threshold: float) -> pd.Series:
    return (injected["z"] > threshold) & (injected["distance_arcsec"] <= NEAR)


def _share(passed: pd.Series) -> dict[str, float]:
    n, k = len(passed), int(passed.sum())
    low, high = wilson(k, n) if n else (0.0, 1.0)
    return {"of": n, "share": k / n if n else None, "low": float(low), "high": float(high)}


def _median(values: pd.Series) -> float:
    return float(values.median()) if len(values) else np.nan


def _plain(value: object) -> object:
    """Return figures with None in place of NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
