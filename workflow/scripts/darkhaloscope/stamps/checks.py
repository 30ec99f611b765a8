"""A dataset's stamps read once: its gates, counts, distributions and pictures, whatever its task."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_float_dtype, is_numeric_dtype, union_categoricals

from ..config.subhalo import SPLITS
from ..core.random import row_keys, stable_hash
from ..core.tables import Schema, images, open_table
from .gates import Gate, Stamps, run_gates
from .pictures import Pictures, pick_pictures

PERCENTILES = (5, 25, 50, 75, 95)
#: Shares of positives above these arc S/N are given.
SNR_LEVELS = (1, 10, 50)
#: θ_E over PSF from which an arc counts as resolved.
RESOLVED = 0.5
#: Stamps read at a time; stamps whose features are kept, per split.
BATCH, SAMPLE = 512, 20000
#: Identifiers, kept as hashes: a dataset of millions fits in memory. Columns that need all their digits.
HASHED, EXACT = ("stamp_id", "task_id"), ("ra", "dec")

Shards = Mapping[str, Sequence[str | os.PathLike]]
Images = Mapping[str, NDArray]


@dataclass(frozen=True)
class Checks:
    """What is read of the stamps of one task for its checks, and what is said of them.

    Attributes
    ----------
    schema : schema of a shard of stamps with some pixels on a side
    size_of : pixels on a side of a dataset's stamps
    columns : scalars that gates, distributions and captions use
    described : columns of the table of distributions
    images : image columns that are read; they must be finite
    digested : those that no two stamps may share
    keys : what no two splits may share: columns, or functions of the table, by what they name
    counted : columns whose different values are counted in each split, by what they name
    planes : from images to those that are looked at, (n, planes, size, size)
    caption : from a row to the words below its picture
    ranked : column by which positives are picked for pictures, and what the first and the last are called
    notes : what a reader should know of a dataset
    usable : column that says whether a stamp has an image
    measure : from images to numbers of each stamp, columns of the table that gates are given
    features : from images and the dataset to numbers that are kept of a sample, (n, features)
    """

    schema: Callable[[int], Schema]
    size_of: Callable[[Any], int]
    columns: Sequence[str]
    described: Sequence[str]
    images: Sequence[str]
    digested: Sequence[str]
    keys: Mapping[str, str | Callable[[pd.DataFrame], pd.Series]]
    counted: Mapping[str, str]
    planes: Callable[[Images], NDArray]
    caption: Callable[[dict], str]
    ranked: tuple[str, str, str]
    notes: Callable[[Any], tuple[str, ...]]
    usable: str | None = None
    measure: Callable[[Images], dict[str, NDArray]] = lambda pictures: {}
    features: Callable[[Images, Any], NDArray] | None = None


@dataclass(frozen=True)
class Quality:
    """What was found: gates, one row of counts per split, distributions per split and class, pictures, notes."""

    gates: list[Gate]
    splits: dict[str, dict]
    distributions: pd.DataFrame
    pictures: list[Pictures] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def plain(self) -> dict:
        """Return all but the pictures, ready for JSON."""
        rows = [
            {k: v for k, v in row.items() if not (isinstance(v, float) and np.isnan(v))} for row in self.distributions.to_dict("records")
        ]
        return {"gates": [asdict(g) for g in self.gates], "splits": self.splits, "distributions": rows, "notes": list(self.notes)}


def measure_stamps(shards: Shards, dataset: Any, checks: Checks) -> Quality:
    """Measure the stamps of a dataset, whether its gates pass or not.

    Parameters
    ----------
    shards : mapping
        Paths of the Parquet shards of each split.
    dataset : section of the config
    checks : of its task, as `tasks.part(dataset.kind, "checks").CHECKS`

    Raises
    ------
    TableError
        A shard is missing or has a wrong column.
    """
    stamps = read_stamps(shards, dataset, checks)
    splits = {split: {**_summary(rows, checks), "bytes": sum(os.path.getsize(p) for p in shards[split])} for split, rows in stamps.splits()}
    pictures = pick_pictures(stamps.table, checks.images, checks.planes, checks.caption, checks.ranked)
    return Quality(run_gates(stamps), splits, distributions(stamps, checks.described), pictures, checks.notes(dataset))


def distributions(stamps: Stamps, columns: Sequence[str]) -> pd.DataFrame:
    """Return count, missing, extremes, mean, scatter and percentiles of columns, for each split and class, positives first."""
    out = []
    for split, rows in stamps.splits():
        for label in (1, 0):
            group = rows[rows["label"] == label]
            for name in columns if len(group) else ():
                values = group[name].to_numpy(float)
                known = values[np.isfinite(values)]
                row = {"split": split, "label": label, "column": name, "count": len(known), "missing": len(values) - len(known)}
                if len(known):
                    row |= {"min": known.min(), "max": known.max(), "mean": known.mean(), "sd": known.std()}
                    row |= {f"p{p}": v for p, v in zip(PERCENTILES, np.percentile(known, PERCENTILES), strict=True)}
                out.append({k: float(v) if isinstance(v, np.floating) else v for k, v in row.items()})
    return pd.DataFrame(out)


def _summary(rows: pd.DataFrame, checks: Checks) -> dict:
    """Return the counts of one split."""
    positive = rows["label"] == 1
    arcs = rows.loc[positive & rows["usable"], "arc_snr"]
    out = {
        "stamps": len(rows),
        "positives": int(positive.sum()),
        "usable": int(rows["usable"].sum()),
        **{what: int(rows[column].nunique()) for what, column in checks.counted.items()},
        "source_kinds": _counts(rows["source_kind"]),
        **{f"arc_snr_above_{level}": float((arcs > level).mean()) if len(arcs) else None for level in SNR_LEVELS},
        "resolved": float((rows.loc[positive, "theta_over_psf"] >= RESOLVED).mean()) if positive.any() else None,
    }
    return out | ({"contaminants": _counts(rows.loc[~positive, "contaminant_class"])} if "contaminant_class" in rows else {})


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(k): int(n) for k, n in values.value_counts().sort_index().items() if n}


# --- reading -----------------------------------------------------------------------------------


def read_stamps(shards: Shards, dataset: Any, checks: Checks) -> Stamps:
    """Read the shards of a dataset batch by batch: images are looked at and dropped."""
    parts, samples = [], {}
    for split in SPLITS:
        kept: tuple[NDArray, pd.DataFrame] | None = None
        for path in shards.get(split) or ():
            for frame, features in _batches(path, split, dataset, checks):
                parts.append(frame)
                if features is not None:
                    kept = _sampled(kept, features, frame[frame["usable"]])
        if kept is not None:
            samples[split] = _smallest(*kept)
    return Stamps(dataset, _joined(parts), samples, checks.keys)


def _batches(path: str | os.PathLike, split: str, dataset: Any, checks: Checks) -> Iterator[tuple[pd.DataFrame, NDArray | None]]:
    names, start = list(dict.fromkeys(("stamp_id", "number", "split", "label", *checks.columns))), 0
    with open_table(path, checks.schema(checks.size_of(dataset))) as file:
        for batch in file.iter_batches(BATCH):
            pictures = {name: images(batch, name) for name in checks.images}
            frame = batch.select(names).to_pandas()
            usable = frame[checks.usable].to_numpy(bool) if checks.usable else np.ones(len(frame), bool)
            complete = np.all([np.isfinite(p.reshape(len(p), -1)).all(1) for p in pictures.values()], axis=0)
            digest = [stable_hash(*(pictures[name][i].tobytes() for name in checks.digested)) for i in range(len(frame))]
            seen = {
                "split": split,
                "path": str(path),
                "row": np.arange(start, start + len(frame)),
                "misplaced": (frame["split"] != split).to_numpy(),
                "usable": usable,
                "finite": complete | ~usable,
                "digest": np.array(digest, np.uint64),
            }
            features = checks.features(pictures, dataset)[usable] if checks.features else None
            yield _small(frame.assign(**seen, **checks.measure(pictures))), features
            start += len(frame)


def _sampled(kept: tuple[NDArray, pd.DataFrame] | None, features: NDArray, rows: pd.DataFrame) -> tuple[NDArray, pd.DataFrame]:
    """Add stamps to a sample, and cut it down before it is twice as large as needed."""
    if kept is not None:
        features, rows = np.concatenate([kept[0], features]), _joined([kept[1], rows])
    return _smallest(features, rows) if len(rows) >= 2 * SAMPLE else (features, rows)


def _smallest(features: NDArray, rows: pd.DataFrame) -> tuple[NDArray, pd.DataFrame]:
    """Return the stamps whose hashed numbers come first, in their order: the same whatever the shards."""
    chosen = np.sort(np.argsort(row_keys(rows["number"].to_numpy()), kind="stable")[:SAMPLE])
    return features[chosen], rows.iloc[chosen].reset_index(drop=True)


def _small(frame: pd.DataFrame) -> pd.DataFrame:
    """Names as categories and numbers in single precision: a dataset of millions fits in memory."""
    hashes = {c: pd.util.hash_array(frame[c].to_numpy(object), categorize=False) for c in HASHED if c in frame}
    frame = frame.assign(**hashes)
    kinds = {c: "category" for c in frame if not (is_numeric_dtype(frame[c]) or is_bool_dtype(frame[c]))}
    kinds |= {c: np.float32 for c in frame if is_float_dtype(frame[c]) and c not in EXACT}
    return frame.astype(kinds)


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate tables; categories stay categories."""
    columns = {}
    for name in parts[0].columns:
        if isinstance(parts[0][name].dtype, pd.CategoricalDtype):
            columns[name] = union_categoricals([p[name].cat.remove_unused_categories() for p in parts], sort_categories=True)
        else:
            columns[name] = np.concatenate([p[name].to_numpy() for p in parts])
    return pd.DataFrame(columns)
