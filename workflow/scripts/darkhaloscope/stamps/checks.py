"""A dataset's seen stamps checked and described: its gates, counts, distributions and pictures, whatever its task."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .gates import Gate, run_gates
from .pictures import Pictures, pick_pictures
from .pieces import Piece, Shards, Stamps
from .seen import Images, Seen, seen_schema

PERCENTILES = (5, 25, 50, 75, 95)
#: Shares of positives above these arc S/N are given.
SNR_LEVELS = (1, 10, 50)
#: θ_E over PSF from which an arc counts as resolved.
RESOLVED = 0.5


@dataclass(frozen=True)
class Checks:
    """What is said of the stamps of one task.

    Attributes
    ----------
    seen : what was seen of each stamp when its shard was made
    described : columns of the table of distributions
    keys : what no two splits may share: columns, or functions of a piece, by what they name
    counted : columns whose different values are counted in each split, by what they name
    planes : from images to those that are looked at, (n, planes, size, size)
    caption : from a row to the words below its picture
    ranked : column by which positives are picked for pictures, and what the first and the last are called
    notes : what a reader should know of a dataset
    """

    seen: Seen
    described: Sequence[str]
    keys: Mapping[str, str | Callable[[Piece], pd.Series]]
    counted: Mapping[str, str]
    planes: Callable[[Images], NDArray]
    caption: Callable[[dict], str]
    ranked: tuple[str, str, str]
    notes: Callable[[Any], tuple[str, ...]]


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


def measure_stamps(seen: Shards, shown: Sequence[str | os.PathLike], dataset: Any, checks: Checks) -> Quality:
    """Measure the stamps of a dataset, whether its gates pass or not.

    Parameters
    ----------
    seen : mapping
        Paths of what was seen of the shards of each split (`stamps.seen.write_seen`).
    shown : the shards of stamps of the last split that has some, in the same order, of which pictures are taken
    dataset : section of the config
    checks : of its task, as `tasks.part(dataset.kind, "checks").CHECKS`

    Raises
    ------
    TableError
        A file is missing or has a wrong column.
    """
    stamps = Stamps(seen, seen_schema(checks.seen, dataset), dataset, checks.keys)
    notes = (*checks.notes(dataset), *([f"Distributions are of {stamps.sampled}."] if stamps.sampled else []))
    pictures = pick_pictures(stamps, shown, checks.seen, checks.planes, checks.caption, checks.ranked)
    return Quality(run_gates(stamps), _summary(stamps, checks), distributions(stamps, checks.described), pictures, notes)


def distributions(stamps: Stamps, columns: Sequence[str]) -> pd.DataFrame:
    """Return count, missing, extremes, mean, scatter and percentiles of columns, for each split and class, positives first."""
    out = []
    for split, rows in stamps.samples(("label", *columns)):
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


def _summary(stamps: Stamps, checks: Checks) -> dict[str, dict]:
    """Return the counts of every split that has stamps."""
    different = {what: _different(stamps, column) for what, column in checks.counted.items()}
    out = {}
    for split, found in stamps.each(_counts).items():
        arcs, positives = found["arcs"], found["positives"]
        out[split] = {
            **{name: found[name] for name in ("stamps", "positives", "usable")},
            **{what: counts[split] for what, counts in different.items()},
            "source_kinds": _named(found, "source_kind"),
            **{f"arc_snr_above_{level}": found["above", level] / arcs if arcs else None for level in SNR_LEVELS},
            "resolved": found["resolved"] / positives if positives else None,
            **({"contaminants": _named(found, "contaminant_class")} if "contaminant_class" in stamps.columns else {}),
            "bytes": stamps.bytes[split],
        }
    return out


def _counts(piece: Piece) -> Counter:
    rows = piece[["label", "usable", "arc_snr", "theta_over_psf"]]
    positive = rows["label"] == 1
    arcs = rows["arc_snr"][positive & rows["usable"]]
    out = Counter(stamps=len(rows), positives=int(positive.sum()), usable=int(rows["usable"].sum()), arcs=len(arcs))
    out["resolved"] = int((rows["theta_over_psf"][positive] >= RESOLVED).sum())
    out.update({("above", level): int((arcs > level).sum()) for level in SNR_LEVELS})
    out.update({("source_kind", kind): int(n) for kind, n in piece["source_kind"].value_counts().items()})
    if "contaminant_class" in piece:
        out.update({("contaminant_class", kind): int(n) for kind, n in piece["contaminant_class"][~positive].value_counts().items()})
    return out


def _named(found: Counter, column: str) -> dict[str, int]:
    return {key[1]: n for key, n in sorted((k, n) for k, n in found.items() if k[0] == column and n)}


def _different(stamps: Stamps, column: str) -> Counter:
    """Return how many values a column has in each split."""
    out: Counter = Counter()
    for part in stamps.different(lambda split, t: {split: t[column]}):
        out.update({split: len(values) for split, values in part.items()})
    return out
