"""Gates that a dataset passes before anything is trained on it, and tables of what it holds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from ...config.subhalo import SPLITS, SubhaloDataset
from ...core.random import stable_hash
from ...core.tables import images, open_table
from ...stamps.schema import MANIFEST, MEASURES, scalar_columns, stamp_images, stamp_schema

#: Chance that a faultless dataset fails the gate on class-separating columns, over all of its tests together.
FALSE_ALARM = 1e-6
#: Columns that name or order rows, or are the label.
NOT_DRAWN = ("stamp_id", "number", "split", "label")
#: Columns that the mask decides; they may know the label where the mask is cut from the observed flux.
FROM_MASK = ("mask_fraction", "mask_radius_pixels", "mask_offset_pixels")
PERCENTILES = (5, 25, 50, 75, 95)
#: Stamps read at a time.
BATCH = 512
#: Categories are merged until each is expected this often, or χ² means nothing.
LEAST_EXPECTED = 5.0


class QualityError(ValueError):
    """A dataset failed a gate; the message has one line per failed gate."""


@dataclass(frozen=True)
class Gate:
    """One gate: what it asks, what was found, and whether that passes."""

    name: str
    asked: str
    found: str
    passed: bool


Shards = Mapping[str, Sequence[str | os.PathLike]]


def check_stamps(shards: Shards, dataset: SubhaloDataset) -> dict:
    """Check the stamps of a dataset and describe them.

    Parameters
    ----------
    shards : mapping
        Paths of the Parquet shards of each split.
    dataset : SubhaloDataset

    Returns
    -------
    dict
        `gates` (list of name, asked, found, passed), `splits` (stamps, positives, galaxies, bytes of each
        split), `distributions` (list of rows: split, label, column, count, missing, min, max, mean, sd,
        percentiles). Ready for JSON.

    Raises
    ------
    QualityError
        A gate failed: all failed ones are named, with what was asked and found.
    TableError
        A shard is missing or has a wrong column.
    """
    report = measure_stamps(shards, dataset)
    failed = [g for g in report["gates"] if not g["passed"]]
    if failed:
        lines = [f"  {g['name']}: asked {g['asked']}; found {g['found']}" for g in failed]
        raise QualityError(
            "\n".join([f"these stamps fail {len(failed)} of {len(report['gates'])} gates and must not be trained on:", *lines])
        )
    return report


def measure_stamps(shards: Shards, dataset: SubhaloDataset) -> dict:
    """Return what `check_stamps` returns, whether the gates pass or not."""
    frames = {split: _Contents.read(shards[split], dataset) for split in SPLITS if shards.get(split)}
    table = pd.concat([c.scalars for c in frames.values()], ignore_index=True)
    gates = [
        _counts(frames, dataset),
        _balance(frames),
        _splits_named(frames),
        _finite(frames),
        _masks(frames),
        _duplicates(table, np.concatenate([c.digests for c in frames.values()])),
        _leaks(frames),
        _shares(frames, dataset),
        _separable(frames, dataset),
    ]
    return {
        "gates": [asdict(g) for g in gates],
        "splits": {split: c.summary(shards[split]) for split, c in frames.items()},
        "distributions": _distributions(table),
    }


def class_differences(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return, for each column, the p-value of positives and controls coming from one distribution.

    Numbers by the two-sample Kolmogorov–Smirnov test with its asymptotic law (conservative for small or
    tied samples), categories by χ² on the table of counts, rare ones merged. Constant columns are left out.

    Parameters
    ----------
    table : DataFrame with `label`
    columns : names to test

    Returns
    -------
    DataFrame
        column, test, statistic, p_value.
    """
    positive = (table["label"] == 1).to_numpy()
    out = []
    for name in columns:
        values = table[name]
        if values.nunique(dropna=True) < 2:
            continue
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            known = values.notna().to_numpy()
            a, b = values[positive & known], values[~positive & known]
            if len(a) and len(b):
                result = stats.ks_2samp(a, b, method="asymp")
                out.append((name, "KS", float(result.statistic), float(result.pvalue)))
        else:
            counts = _merged(pd.crosstab(values.astype(str), positive).to_numpy())
            if counts.shape[0] > 1 and counts.shape[1] > 1:
                result = stats.chi2_contingency(counts)
                out.append((name, "χ²", float(result.statistic), float(result.pvalue)))
    return pd.DataFrame(out, columns=["column", "test", "statistic", "p_value"])


# --- reading -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Contents:
    """What is kept of one split: scalars, and counts and digests of its images."""

    scalars: pd.DataFrame
    digests: NDArray
    not_finite: int
    mask_faults: int

    @classmethod
    def read(cls, paths: Sequence[str | os.PathLike], dataset: SubhaloDataset) -> _Contents:
        """Read shards batch by batch: images are looked at and dropped."""
        size = dataset.instrument.stamp_size
        names = [c.name for c in scalar_columns()]
        parts, digests, not_finite, faults = [], [], 0, 0
        for path in paths:
            with open_table(path, stamp_schema(size)) as file:
                for batch in file.iter_batches(BATCH):
                    pictures = {c.name: images(batch, c.name) for c in stamp_images(size)}
                    frame = batch.select(names).to_pandas()
                    parts.append(frame.assign(**_mask_shape(pictures["mask"])))
                    digests.append(
                        np.array(
                            [stable_hash(f.tobytes(), v.tobytes()) for f, v in zip(pictures["flux"], pictures["velocity"], strict=True)],
                            np.uint64,
                        )
                    )
                    bad = [
                        ~np.isfinite(pictures[k]).all(axis=(1, 2))
                        for k in ("flux", "velocity", "velocity_sigma", "observed_velocity", "observed_sigma")
                    ]
                    not_finite += int(np.any(bad, axis=0).sum())
                    faults += _mask_faults(pictures)
        return cls(pd.concat(parts, ignore_index=True), np.concatenate(digests), not_finite, faults)

    def summary(self, paths: Sequence[str | os.PathLike]) -> dict:
        """Return the split's counts."""
        return {
            "stamps": len(self.scalars),
            "positives": int((self.scalars["label"] == 1).sum()),
            "galaxies": int(self.scalars["mangaid"].nunique()),
            "source_kinds": {str(k): int(n) for k, n in self.scalars["source_kind"].value_counts().sort_index().items()},
            "bytes": sum(os.path.getsize(p) for p in paths),
        }


def _mask_shape(mask: NDArray) -> dict[str, NDArray]:
    """Size and place of each mask: what a network that sees the mask alone would look at first."""
    h, w = mask.shape[1:]
    y, x = np.indices((h, w)) - np.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
    count = np.maximum(mask.sum(axis=(1, 2), dtype=float), 1)
    mx, my = ((mask * a).sum(axis=(1, 2)) / count for a in (x, y))
    return {"mask_radius_pixels": (mask * np.hypot(x, y)).sum(axis=(1, 2)) / count, "mask_offset_pixels": np.hypot(mx, my)}


def _mask_faults(pictures: dict[str, NDArray]) -> int:
    """Stamps with a velocity or an error outside its mask, or no error inside it."""
    inside = pictures["mask"] == 1
    seen = pictures["observed_mask"] == 1
    wrong = ~np.isin(pictures["mask"], (0, 1)) | ~np.isin(pictures["observed_mask"], (0, 1))
    wrong |= (~inside & (pictures["velocity"] != 0)) | (~seen & (pictures["observed_velocity"] != 0))
    for where, sigma in ((inside, pictures["velocity_sigma"]), (seen, pictures["observed_sigma"])):
        wrong |= np.where(where, ~(sigma > 0), sigma != 0)
    return int(wrong.any(axis=(1, 2)).sum())


# --- gates -------------------------------------------------------------------------------------


def _counts(frames: dict[str, _Contents], dataset: SubhaloDataset) -> Gate:
    asked = {s: getattr(dataset.size, s) for s in SPLITS if getattr(dataset.size, s)}
    found = {s: len(c.scalars) for s, c in frames.items()}
    return Gate("counts", _words(asked), _words(found), asked == found)


def _balance(frames: dict[str, _Contents]) -> Gate:
    share = {s: float((c.scalars["label"] == 1).mean()) for s, c in frames.items()}
    return Gate(
        "balance",
        "half positives in each split",
        _words(share),
        all(2 * (c.scalars["label"] == 1).sum() == len(c.scalars) for c in frames.values()),
    )


def _splits_named(frames: dict[str, _Contents]) -> Gate:
    wrong = {s: int((c.scalars["split"] != s).sum()) for s, c in frames.items()}
    return Gate("splits named", "every stamp in the shards of its own split", f"stamps elsewhere: {_words(wrong)}", not any(wrong.values()))


def _finite(frames: dict[str, _Contents]) -> Gate:
    nullable = {c.name for c in scalar_columns() if c.nullable}
    # θ_E over PSF is infinite, by definition, where there is no PSF.
    names = [c.name for c in scalar_columns() if c.dtype == "float64" and c.name != "theta_over_psf"]
    bad = {s: c.not_finite for s, c in frames.items()}
    for content in frames.values():
        for name in names:
            values = content.scalars[name].to_numpy(float)
            wrong = int(np.isinf(values).sum() if name in nullable else (~np.isfinite(values)).sum())
            if wrong:
                bad[name] = bad.get(name, 0) + wrong
    return Gate("finite", "no NaN or infinity in images and measures", _words(bad), not any(bad.values()))


def _masks(frames: dict[str, _Contents]) -> Gate:
    faults = {s: c.mask_faults for s, c in frames.items()}
    return Gate(
        "masks",
        "each velocity and error 0 outside its mask, errors above 0 inside",
        f"stamps that differ: {_words(faults)}",
        not any(faults.values()),
    )


def _duplicates(table: pd.DataFrame, digests: NDArray) -> Gate:
    ids, numbers = int(table["stamp_id"].duplicated().sum()), int(table["number"].duplicated().sum())
    pixels = len(digests) - len(np.unique(digests))
    found = f"{ids} repeated ids, {numbers} repeated numbers, {pixels} repeated images"
    return Gate("duplicates", "no id, number or image twice", found, not (ids or numbers or pixels))


def _leaks(frames: dict[str, _Contents]) -> Gate:
    galaxies = {s: set(c.scalars["mangaid"].dropna()) for s, c in frames.items()}
    shared = [
        f"{m} in {a} and {b}" for i, a in enumerate(galaxies) for b in list(galaxies)[i + 1 :] for m in sorted(galaxies[a] & galaxies[b])
    ]
    return Gate("leaks", "no MANGAID in two splits", ", ".join(shared) or "none", not shared)


def _shares(frames: dict[str, _Contents], dataset: SubhaloDataset) -> Gate:
    """Shares of the galaxies that follow the fractions, among the splits that have stamps."""
    assigned = {p for names in dataset.splits.assigned.values() for p in names}
    free = {}
    for split, content in frames.items():
        galaxies = content.scalars[["mangaid", "plateifu"]].dropna()
        named = set(galaxies.loc[galaxies["plateifu"].isin(assigned), "mangaid"])
        free[split] = len(set(galaxies["mangaid"]) - named)
    # A galaxy is seen only if some stamp drew it: with few stamps per galaxy, shares of seen ones mean nothing.
    drawn = {s: int(c.scalars["mangaid"].notna().sum()) for s, c in frames.items()}
    total, asked_total = sum(free.values()), sum(dataset.splits.fractions.get(s, 0.0) for s in frames)
    if not total or not asked_total or any(drawn[s] < 10 * free[s] for s in frames):
        return Gate(
            "split fractions",
            "shares of the MANGAIDs as asked",
            f"not judged on the stamps ({_words(free)} free galaxies drawn); the manifest was",
            True,
        )
    asked = {s: dataset.splits.fractions.get(s, 0.0) / asked_total for s in frames}
    found = {s: n / total for s, n in free.items()}
    passed = all(abs(found[s] - asked[s]) <= dataset.splits.tolerance + 1e-9 for s in frames)
    return Gate("split fractions", f"{_words(asked)}, each ± {dataset.splits.tolerance:g}", _words(found), passed)


def _separable(frames: dict[str, _Contents], dataset: SubhaloDataset) -> Gate:
    """Columns that are drawn before the label, or measured without it, must not tell the classes apart."""
    columns = [c.name for c in MANIFEST.columns if c.name not in NOT_DRAWN]
    if dataset.contrast != "lensed":
        columns += [c.name for c in MEASURES if c.name not in FROM_MASK]
        columns += FROM_MASK if dataset.instrument.mask == "smooth" else ()
    tests = pd.concat([class_differences(c.scalars, columns).assign(split=s) for s, c in frames.items()], ignore_index=True)
    limit = FALSE_ALARM / max(len(tests), 1)
    failed = tests[tests["p_value"] < limit].sort_values("p_value")
    asked = f"p above {limit:.1e} in each of {len(tests)} tests (false-alarm rate {FALSE_ALARM:g} over all)"
    if len(failed):
        found = ", ".join(f"{r.column} in {r.split} ({r.test} p = {r.p_value:.1e})" for r in failed.itertuples())
        found += " tell positives from controls"
    else:
        least = tests.loc[tests["p_value"].idxmin()] if len(tests) else None
        found = "no test" if least is None else f"smallest p = {least['p_value']:.2g} ({least['column']}, {least['split']})"
    return Gate("class separability", asked, found, not len(failed))


# --- helpers -----------------------------------------------------------------------------------


def _distributions(table: pd.DataFrame) -> list[dict]:
    out = []
    names = [c.name for c in scalar_columns() if c.dtype == "float64"]
    for (split, label), group in table.groupby(["split", "label"], sort=True):
        for name in names:
            values = group[name].to_numpy(float)
            known = values[np.isfinite(values)]
            row = {"split": str(split), "label": int(label), "column": name, "count": len(known), "missing": len(values) - len(known)}
            if len(known):
                row |= {"min": known.min(), "max": known.max(), "mean": known.mean(), "sd": known.std()}
                row |= {f"p{p}": v for p, v in zip(PERCENTILES, np.percentile(known, PERCENTILES), strict=True)}
            out.append({k: float(v) if isinstance(v, np.floating) else v for k, v in row.items()})
    return out


def _merged(counts: NDArray) -> NDArray:
    """Merge the rarest categories until every expected count is large enough for χ²."""
    counts = counts[np.argsort(-counts.sum(axis=1), kind="stable")]
    rarer = counts.sum(axis=0).min() / max(counts.sum(), 1)
    while len(counts) > 1 and counts[-1].sum() * rarer < LEAST_EXPECTED:
        counts = np.vstack([counts[:-2], counts[-2:].sum(axis=0)])
        counts = counts[np.argsort(-counts.sum(axis=1), kind="stable")]
    return counts


def _words(values: Mapping[str, float]) -> str:
    return ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()) or "none"
