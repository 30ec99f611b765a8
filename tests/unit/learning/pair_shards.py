"""Small shards of noiseless pairs and their stamps, rendered once for the tests of this folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.network import Network
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import write_table
from darkhaloscope.tasks.subhalo.manifest import build_manifest
from darkhaloscope.tasks.subhalo.render import render_pairs, render_rows
from darkhaloscope.tasks.subhalo.schema import pair_schema, stamp_schema

SIZE = 32


def pair_dataset(**changes) -> SubhaloDataset:
    """A small dataset of disks with strong subhalos, which keeps pairs."""
    values = {
        "size": {"train": 24, "validation": 12, "test": 8},
        "pairs": True,
        "splits": {"tolerance": 0.5},
        "sources": {"mix": {"disk": 1.0}, "sample": None},
        "subhalo": {"profiles": {"sis": 1.0}, "theta_e_factor": 0.2},
        "instrument": {"stamp_size": SIZE, "pixel_scale_arcsec": 0.12, "psf": {"fwhm_arcsec": 0.2}, **changes.pop("instrument", {})},
        "rendering": {"accuracy": 0.03, "batch_size": 24},
    }
    return SubhaloDataset.model_validate(values | changes)


def split_rows(dataset: SubhaloDataset, split: str) -> pa.Table:
    """Rows of the manifest of one split."""
    rows = build_manifest("few", dataset, None, Cosmology())
    return rows.filter(np.array(rows["split"].to_pylist()) == split)


def write_pairs(path: Path, pairs: pa.Table, dataset: SubhaloDataset) -> Path:
    """Write pairs as rule render_pairs does."""
    described = {"instrument": json.dumps(dataset.instrument.plain(), sort_keys=True), "seed": str(dataset.seed)}
    write_table(path, pair_schema(dataset.instrument.stamp_size), pairs, row_group=10, **described)
    return path


def render_all(folder: Path, dataset: SubhaloDataset) -> dict[str, Path]:
    """Render pairs of the training rows, and the stamps of all splits."""
    rows = {split: split_rows(dataset, split) for split in ("train", "validation", "test")}
    found = {"pairs": write_pairs(folder / "pairs.parquet", render_pairs(rows["train"], dataset, None, Cosmology()), dataset)}
    for split, some in rows.items():
        found[split] = folder / f"{split}.parquet"
        write_table(found[split], stamp_schema(SIZE), render_rows(some, dataset, None, Cosmology()))
    return found


def network(channels: str = "both", architecture: str = "toy", training: dict | None = None, **pairs) -> Network:
    """A network that trains on pairs."""
    settings = {"epochs": 4, "batch_size": 8, "learning_rate": 0.01, **(training or {}), "pairs": pairs}
    return Network.model_validate({"architecture": architecture, "channels": channels, "width": 4, "training": settings})
