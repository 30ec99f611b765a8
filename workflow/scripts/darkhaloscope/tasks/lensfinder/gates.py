"""The gates of a lens-finder dataset, each a function of what was read of its stamps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ...config.lensfinder import BANDS, ImportedDataset, InjectionGates, LensFinderDataset
from ...config.subhalo import SPLITS

#: Columns that gates use.
USED = (
    "stamp_id", "number", "label", "task_id", "region_id", "brickname", "object_id", "ra", "dec", "is_control", "contaminant_class", "source_kind", "source_id",
    "src_dmag", "theta_e_arcsec", "cutout_ok", "arc_snr", "theta_over_psf", "total_injected_flux_r", "flux_closure", "magnification", "physics_valid",
    *(f"{name}_{b}" for name in ("mag", "psfsize", "psfdepth") for b in BANDS),
)  # fmt: skip
#: Bounds of lensed flux in the stamp over magnification times the flux of the source's magnitude, in the median.
FLUX_SCALE = (0.9, 1.02)
#: Fewest stamps of a class in the regression on central pixels, and its penalty.
LEAST_CORE, PENALTY = 50, 1.0
#: Positions closer than this count as one galaxy [deg].
SAME_PLACE_DEG = 1e-4

Dataset = LensFinderDataset | ImportedDataset


@dataclass(frozen=True)
class Gate:
    """One gate: what it asks, what was found, and whether that passes."""

    name: str
    asked: str
    found: str
    passed: bool


def counts(table: pd.DataFrame, dataset: Dataset) -> Gate:
    """As many stamps in each split as the config asks for."""
    found = {s: int((table["split"] == s).sum()) for s in SPLITS}
    if isinstance(dataset, ImportedDataset):
        asked = {s: f"{'some' if n else 'no'} stamps" for s, n in dataset.shard_counts.items()}
        passed = all((found[s] > 0) == (n > 0) for s, n in dataset.shard_counts.items())
        return Gate("counts", _words(asked), _words(found), passed)
    asked = {s: getattr(dataset.size, s) for s in SPLITS}
    return Gate("counts", _words(asked), _words(found), asked == found)


def split_fractions(table: pd.DataFrame, dataset: Dataset) -> Gate:
    """Shares of the stamps in the splits."""
    tolerance = dataset.splits.tolerance
    if isinstance(dataset, ImportedDataset):
        asked = {s: dataset.splits.fractions.get(s, 0.0) if dataset.shards(s) else 0.0 for s in SPLITS}
    else:
        asked = {s: float(getattr(dataset.size, s)) for s in SPLITS}
    total = sum(asked.values())
    asked = {s: v / total for s, v in asked.items()}
    found = {s: float((table["split"] == s).mean()) for s in SPLITS}
    passed = all(abs(found[s] - asked[s]) <= tolerance + 1e-9 for s in SPLITS)
    return Gate("split fractions", f"{_words(asked)}, each ± {tolerance:g}", _words(found), passed)


def balance(table: pd.DataFrame, dataset: Dataset) -> Gate:
    """Half positives in each split; tables made elsewhere only need both classes."""
    share = {str(s): float((g["label"] == 1).mean()) for s, g in table.groupby("split", observed=True)}
    mislabelled = int(((table["label"] == 1) == table["is_control"].astype(bool)).sum())
    made = isinstance(dataset, LensFinderDataset)
    fair = all(v == 0.5 if made else 0 < v < 1 for v in share.values())
    asked = "half positives in each split" if made else "both classes in each split"
    return Gate(
        "balance", f"{asked}, label the reverse of is_control", f"{_words(share)}, {mislabelled} mislabelled", fair and not mislabelled
    )


def splits_named(wrong: Mapping[str, int]) -> Gate:
    """Every stamp in the shards of its own split."""
    return Gate("splits named", "every stamp in the shards of its own split", f"stamps elsewhere: {_words(wrong)}", not any(wrong.values()))


def finite(bad: Mapping[str, int]) -> Gate:
    """No NaN or infinity in a stamp whose cutout is ok."""
    return Gate("finite", "no NaN or infinity in stamps whose cutout is ok", f"stamps with some: {_words(bad)}", not any(bad.values()))


def cutouts(table: pd.DataFrame, limits: InjectionGates) -> Gate:
    """Enough cutouts are ok, as many in both classes."""
    share = {str(s): float(g["cutout_ok"].mean()) for s, g in table.groupby("split", observed=True)}
    ok = [table.loc[table["label"] == label, "cutout_ok"].sum() for label in (1, 0)]
    total = [int((table["label"] == label).sum()) for label in (1, 0)]
    p = 1.0
    if min(total) and sum(ok) not in (0, sum(total)):
        p = float(stats.chi2_contingency([ok, [t - o for t, o in zip(total, ok, strict=True)]]).pvalue)
    asked = f"at least {limits.min_cutout_ok:g} ok in each split, as often in both classes (p above {limits.false_alarm:g})"
    passed = min(share.values()) >= limits.min_cutout_ok and p >= limits.false_alarm
    return Gate("cutouts", asked, f"{_words(share)}, p = {p:.2g}", passed)


def duplicates(table: pd.DataFrame, digests: NDArray) -> Gate:
    """No id, number or image twice."""
    repeated = {k: int(table[k].duplicated().sum()) for k in ("stamp_id", "task_id", "number")}
    repeated["image"] = len(digests) - len(np.unique(digests))
    return Gate("duplicates", "no id, number or image twice", f"repeated: {_words(repeated)}", not any(repeated.values()))


def leaks(table: pd.DataFrame) -> Gate:
    """No region, host, place or source galaxy in two splits."""
    place = np.rint(table["dec"] / SAME_PLACE_DEG) * 4_000_000 + np.rint(table["ra"] / SAME_PLACE_DEG)
    keys = {"regions": table["region_id"], "hosts": table["object_id"], "places": place, "source galaxies": table["source_id"]}
    found = {}
    for name, key in keys.items():
        pairs = pd.DataFrame({"key": key, "split": table["split"].astype(str)}).dropna().drop_duplicates()
        found[name] = int(pairs["key"].duplicated().sum())
    return Gate("leaks", "no region, host, place or source galaxy in two splits", f"shared: {_words(found)}", not any(found.values()))


def hosts(table: pd.DataFrame, dataset: Dataset) -> Gate:
    """No galaxy with an arc and without one, unless the config pairs them: the arc would be all that differs."""
    positive = table["label"] == 1
    both = set(table.loc[positive, "object_id"].dropna()) & set(table.loc[~positive, "object_id"].dropna())
    if isinstance(dataset, LensFinderDataset) and dataset.controls == "paired":
        return Gate("hosts", "controls are the positives' hosts", f"{len(both)} galaxies in both classes", bool(both))
    return Gate("hosts", "no galaxy both a positive's host and a control", f"{len(both)} in both classes", not both)


def flux_closure(table: pd.DataFrame, limits: InjectionGates) -> Gate:
    """The unlensed source has the flux of its magnitude."""
    made = table[(table["label"] == 1) & table["cutout_ok"]]
    values = made["flux_closure"].to_numpy(float)
    known = values[np.isfinite(values)]
    asked = f"every source's flux within {limits.flux_closure:g} of its magnitude's"
    if not len(known):
        return Gate("flux closure", asked, "not judged: the table does not say", True)
    return Gate(
        "flux closure",
        asked,
        f"greatest difference {known.max():.2g}, {len(values) - len(known)} not known",
        bool(known.max() <= limits.flux_closure),
    )


def flux_scale(table: pd.DataFrame) -> Gate:
    """Arcs are as bright as magnitude and magnification say: wrong units of surface brightness show here."""
    made = table[(table["label"] == 1) & table["cutout_ok"]]
    expected = made["magnification"] * 10 ** (0.4 * (22.5 - made["mag_r"] - made["src_dmag"]))
    ratio = (made["total_injected_flux_r"] / expected).to_numpy(float)
    ratio = ratio[np.isfinite(ratio)]
    asked = f"median of injected over magnified flux between {FLUX_SCALE[0]:g} and {FLUX_SCALE[1]:g}"
    if not len(ratio):
        return Gate("flux scale", asked, "not judged: the table does not say", True)
    middle = float(np.median(ratio))
    return Gate("flux scale", asked, f"{middle:.4g}", FLUX_SCALE[0] <= middle <= FLUX_SCALE[1])


def core_pixels(samples: Mapping[str, tuple[NDArray, NDArray, NDArray]], limits: InjectionGates) -> Gate:
    """A logistic regression on the central pixels alone must not tell resolved lenses from controls.

    Parameters
    ----------
    samples : by split, central pixels (n, features), labels (n,) and θ_E/PSF (n,)
    """
    asked = f"AUC at most {limits.core_auc:g} from {limits.core_pixels} central pixels in each band, θ_E/PSF at least {limits.core_theta_over_psf:g}"
    chosen = {}
    for split, (core, label, ratio) in samples.items():
        keep = (label == 0) | ~(ratio < limits.core_theta_over_psf)
        chosen[split] = (np.arcsinh(core[keep].astype(float) / 0.1), label[keep])
    fit, judged = chosen.get("train"), chosen.get("test", chosen.get("validation"))
    if fit is None or judged is None or min(_classes(fit[1]) + _classes(judged[1])) < LEAST_CORE:
        return Gate("central pixels", asked, f"not judged: fewer than {LEAST_CORE} stamps of a class in training or test", True)
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=1 / PENALTY, max_iter=1000))
    with threadpool_limits(1):
        score = regression.fit(*fit).decision_function(judged[0])
    area = float(roc_auc_score(judged[1], score))
    return Gate("central pixels", asked, f"AUC {area:.3f}", area <= limits.core_auc)


def same_conditions(table: pd.DataFrame, limits: InjectionGates) -> Gate:
    """Positives and controls drawn from the same PSF, depth and magnitude: Kolmogorov–Smirnov tests, each galaxy once."""
    once = table.drop_duplicates(["label", "object_id"])
    tests = []
    for split, group in once.groupby("split", observed=True):
        for name in (f"{k}_{b}" for k in ("psfsize", "psfdepth", "mag") for b in BANDS):
            a, b = (group.loc[group["label"] == label, name].dropna() for label in (1, 0))
            if len(a) and len(b):
                tests.append((float(stats.ks_2samp(a, b, method="asymp").pvalue), f"{name} in {split}"))
    limit = limits.false_alarm / max(len(tests), 1)
    asked = f"p above {limit:.1e} in each of {len(tests)} tests"
    failed = sorted(t for t in tests if t[0] < limit)
    found = ", ".join(f"{what} p = {p:.1e}" for p, what in (failed or sorted(tests)[:1])) or "no test"
    return Gate("PSF, depth, magnitude", asked, found if failed else f"smallest: {found}", not failed)


# --- helpers -----------------------------------------------------------------------------------


def nearest_pixels(size: int, count: int) -> NDArray[np.int64]:
    """Return the flat indices of the pixels nearest to a stamp's middle."""
    axis = np.arange(size) - (size - 1) / 2
    return np.argsort((axis[:, None] ** 2 + axis[None, :] ** 2).ravel(), kind="stable")[:count]


def _classes(label: NDArray) -> list[int]:
    return [int((label == 1).sum()), int((label == 0).sum())]


def _words(values: Mapping[str, object]) -> str:
    return ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()) or "none"
