"""Gates that a lens-finder dataset passes before anything is trained on it, and tables and pictures of what it holds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import union_categoricals

from ...config.lensfinder import ImportedDataset, LensFinderDataset
from ...config.subhalo import SPLITS
from ...core.random import row_keys, stable_hash
from ...core.tables import images, open_table
from . import gates
from .gates import Gate
from .pictures import Pictures, pick_pictures
from .schema import BANDS, image_column, injection_schema, scalar_columns

#: Columns of the table of distributions.
DESCRIBED = (
    "arc_snr", "arc_snr_sum", "arc_snr_matched", "theta_e_arcsec", "theta_over_psf", "lensed_hlr_arcsec", "magnification",
    "tangential_stretch", "radial_stretch", "src_dmag", "src_reff_arcsec", "src_gr", "src_rz", "total_injected_flux_r",
    "psf_fwhm_used_g", "psf_fwhm_used_r", "psf_fwhm_used_z", "psfsize_r", "psfdepth_r", "sky_sigma_r", "mag_g", "mag_r", "mag_z",
    "ebv", "bad_pixel_frac",
)  # fmt: skip
PERCENTILES = (5, 25, 50, 75, 95)
#: Shares of stamps above these arc S/N are given.
SNR_LEVELS = (1, 10, 50)
#: Stamps read at a time; stamps whose central pixels are kept, per split.
BATCH, CORE_SAMPLE = 512, 20000

Dataset = LensFinderDataset | ImportedDataset
Shards = Mapping[str, Sequence[str | os.PathLike]]


class InjectionQualityError(ValueError):
    """A dataset failed a gate; the message has one line per failed gate."""


@dataclass(frozen=True)
class InjectionQuality:
    """What was found: gates, one row of counts per split, distributions per split and class, pictures."""

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


def measure_injections(shards: Shards, dataset: Dataset) -> InjectionQuality:
    """Measure the stamps of a dataset, whether its gates pass or not.

    Parameters
    ----------
    shards : mapping
        Paths of the Parquet shards of each split.
    dataset : LensFinderDataset or ImportedDataset

    Raises
    ------
    TableError
        A shard is missing or has a wrong column.
    """
    size = dataset.camera.stamp_size if isinstance(dataset, LensFinderDataset) else dataset.stamp_size
    contents = {split: Contents.read(split, shards[split], size, dataset.gates.core_pixels) for split in SPLITS if shards.get(split)}
    table = _joined([c.scalars for c in contents.values()])
    found = [
        gates.counts(table, dataset),
        gates.split_fractions(table, dataset),
        gates.balance(table, dataset),
        gates.splits_named({s: c.wrong_split for s, c in contents.items()}),
        gates.finite({s: c.not_finite for s, c in contents.items()}),
        gates.cutouts(table, dataset.gates),
        gates.duplicates(table, np.concatenate([c.digests for c in contents.values()])),
        gates.leaks(table),
        gates.hosts(table, dataset),
        gates.flux_closure(table, dataset.gates),
        gates.flux_scale(table),
        gates.core_pixels({s: (c.core, c.core_label, c.core_ratio) for s, c in contents.items()}, dataset.gates),
        gates.same_conditions(table, dataset.gates),
    ]
    splits = {split: c.summary(shards[split]) for split, c in contents.items()}
    return InjectionQuality(found, splits, _distributions(table), pick_pictures(table, shards, size), _notes(dataset))


def require_gates(quality: InjectionQuality) -> None:
    """Raise `InjectionQualityError` where a gate has failed."""
    failed = [g for g in quality.gates if not g.passed]
    if failed:
        lines = [f"  {g.name}: asked {g.asked}; found {g.found}" for g in failed]
        raise InjectionQualityError(
            "\n".join([f"these stamps fail {len(failed)} of {len(quality.gates)} gates and must not be trained on:", *lines])
        )


# --- reading -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contents:
    """What is kept of one split: scalars, digests of images, and the central pixels of a sample."""

    scalars: pd.DataFrame
    digests: NDArray[np.uint64]
    not_finite: int
    wrong_split: int
    core: NDArray[np.float32]
    core_label: NDArray[np.int8]
    core_ratio: NDArray[np.float64]

    @classmethod
    def read(cls, split: str, paths: Sequence[str | os.PathLike], size: int, core_pixels: int) -> Contents:
        """Read shards batch by batch: images are looked at and dropped."""
        names = [c.name for c in scalar_columns() if c.name in gates.USED or c.name in DESCRIBED]
        nearest = gates.nearest_pixels(size, core_pixels)
        parts, digests, cores, not_finite, wrong = [], [], [], 0, 0
        for path in paths:
            with open_table(path, injection_schema(size)) as file:
                start = 0
                for batch in file.iter_batches(BATCH):
                    pixels = images(batch, image_column(size).name)
                    frame = batch.select([*names, "split"]).to_pandas()
                    wrong += int((frame.pop("split") != split).sum())
                    ok = frame["cutout_ok"].to_numpy(bool)
                    not_finite += int((~np.isfinite(pixels[ok])).any(axis=(1, 2, 3)).sum())
                    digests.append(np.array([stable_hash(p.tobytes()) for p in pixels[ok]], np.uint64))
                    cores.append(pixels[ok].reshape(ok.sum(), len(BANDS), -1)[:, :, nearest])
                    parts.append(_small(frame.assign(split=split, path=str(path), row=np.arange(start, start + len(frame)))))
                    start += len(frame)
        table = _joined(parts)
        core, sample = np.concatenate(cores), table[table["cutout_ok"]]
        kept = np.sort(np.argsort(row_keys(sample["number"].to_numpy()), kind="stable")[:CORE_SAMPLE])
        sample = sample.iloc[kept]
        return cls(
            table, np.concatenate(digests), not_finite, wrong, core[kept].reshape(len(kept), -1),
            sample["label"].to_numpy(np.int8), sample["theta_over_psf"].to_numpy(float),
        )  # fmt: skip

    def summary(self, paths: Sequence[str | os.PathLike]) -> dict:
        """Return the split's counts."""
        t, positive = self.scalars, self.scalars["label"] == 1
        arcs = t.loc[positive & t["cutout_ok"], "arc_snr"]
        return {
            "stamps": len(t),
            "positives": int(positive.sum()),
            "cutout_ok": int(t["cutout_ok"].sum()),
            "hosts": int(t["object_id"].nunique()),
            "regions": int(t["region_id"].nunique()),
            "bricks": int(t["brickname"].nunique()),
            "sources": int(t["source_id"].nunique()),
            "source_kinds": {str(k): int(n) for k, n in t["source_kind"].value_counts().sort_index().items() if n},
            "contaminants": {str(k): int(n) for k, n in t.loc[~positive, "contaminant_class"].value_counts().sort_index().items() if n},
            **{f"arc_snr_above_{level}": float((arcs > level).mean()) if len(arcs) else None for level in SNR_LEVELS},
            "resolved": float((t.loc[positive, "theta_over_psf"] >= 0.5).mean()) if positive.any() else None,
            "bytes": sum(os.path.getsize(p) for p in paths),
        }


#: Identifiers, kept as hashes, and names, kept as categories: a dataset of millions fits in memory.
HASHED = ("stamp_id", "task_id")
NAMES = ("source_kind", "source_id", "brickname", "contaminant_class", "split", "path")
#: Columns that need all their digits.
EXACT = ("ra", "dec")


def _small(frame: pd.DataFrame) -> pd.DataFrame:
    kinds = {c: "category" for c in NAMES if c in frame}
    kinds |= {c: np.float32 for c in frame.columns if frame[c].dtype == np.float64 and c not in EXACT}
    return frame.assign(**{c: pd.util.hash_array(frame[c].to_numpy(object), categorize=False) for c in HASHED if c in frame}).astype(kinds)


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate tables; categories stay categories."""
    columns = {}
    for name in parts[0].columns:
        if name in NAMES:
            columns[name] = union_categoricals([p[name].cat.remove_unused_categories() for p in parts], sort_categories=True)
        else:
            columns[name] = np.concatenate([p[name].to_numpy() for p in parts])
    return pd.DataFrame(columns)


# --- what the page says ------------------------------------------------------------------------


def _distributions(table: pd.DataFrame) -> pd.DataFrame:
    out = []
    for (split, label), group in table.groupby(["split", "label"], sort=True, observed=True):
        for name in DESCRIBED:
            values = group[name].to_numpy(float)
            known = values[np.isfinite(values)]
            row = {"split": str(split), "label": int(label), "column": name, "count": len(known), "missing": len(values) - len(known)}
            if len(known):
                row |= {k: float(v) for k, v in (("min", known.min()), ("max", known.max()), ("mean", known.mean()), ("sd", known.std()))}
                row |= {f"p{p}": float(v) for p, v in zip(PERCENTILES, np.percentile(known, PERCENTILES), strict=True)}
            out.append(row)
    order = {s: i for i, s in enumerate(SPLITS)}
    return pd.DataFrame(out).sort_values(["split", "label"], key=lambda c: c.map(order) if c.name == "split" else -c, kind="stable")


def _notes(dataset: Dataset) -> tuple[str, ...]:
    if isinstance(dataset, ImportedDataset):
        return (f"Imported from {dataset.table}.",)
    notes = [
        "Sources have one morphology in all bands; their colours are drawn from a prior.",
        "An arc's Poisson noise assumes "
        + ", ".join(f"{v:g} electrons per nanomaggy in {b}" for b, v in dataset.camera.electrons_per_nanomaggy.items())
        + "."
        if dataset.camera.poisson
        else "Arcs bring no Poisson noise of their own.",
        "A source's magnitude is that of the unlensed source: the host's r magnitude as observed plus src_dmag.",
    ]
    if dataset.controls == "paired":
        notes.append(
            "Controls are the positives' own galaxies: the sum of a stamp's pixels ranks every pair rightly, and a network can learn that alone."
        )
    return tuple(notes)
