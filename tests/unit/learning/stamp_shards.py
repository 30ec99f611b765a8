"""Tiny stamp shards of random numbers, for the tests of this folder."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit

from darkhaloscope.core.tables import write_table
from darkhaloscope.learning.scaling import Normalisation
from darkhaloscope.learning.score import margins_of
from darkhaloscope.learning.splits import MEMORY_BYTES, read_split
from darkhaloscope.tasks.subhalo.schema import stamp_schema

KINDS = {"string": "x", "float64": 1.0, "int64": 1, "int32": 1, "int8": 1, "bool": False}


def stamp_columns(n: int, *, size: int = 16, first: int = 0, seed: int = 0, signal: float = 0.0) -> dict[str, np.ndarray]:
    """Random stamps, half positives; `signal` brightens one corner of the positives in flux and speed."""
    rng = np.random.default_rng([seed, first])
    columns = {c.name: np.full(n, KINDS[c.dtype]) for c in stamp_schema(size).columns if c.shape is None}
    numbers = first + np.arange(n)
    labels = (numbers % 2).astype(np.int8)
    mask = (rng.random((n, size, size)) < 0.6).astype(np.uint8)
    flux = rng.normal(0.2, 0.1, (n, size, size))
    velocity = rng.normal(30.0, 60.0, (n, size, size))
    flux[labels == 1, 3:6, 3:6] += signal
    velocity[labels == 1, 3:6, 3:6] += 300 * signal
    columns |= {
        "stamp_id": np.array([f"tiny-{k}" for k in numbers]),
        "number": numbers,
        "label": labels,
        "flux_noise": np.full(n, 0.1),
        "flux": flux.astype(np.float32),
        "velocity": (velocity * mask).astype(np.float32),
        "velocity_sigma": (sigma := (rng.uniform(5, 15, (n, size, size)) * mask).astype(np.float32)),
        "mask": mask,
        "observed_velocity": (velocity * mask).astype(np.float32),
        "observed_sigma": sigma,
        "observed_mask": mask,
    }
    return columns


def write_shards(folder: Path, columns: dict[str, np.ndarray], bounds: list[int], name: str = "shard") -> list[Path]:
    """Write stamps into shards cut at the rows `bounds` (first and last row included)."""
    schema = stamp_schema(columns["flux"].shape[1])
    paths = []
    for k, (start, stop) in enumerate(itertools.pairwise(bounds)):
        path = folder / f"{name}-{k:03d}.parquet"
        write_table(path, schema, schema.table({c: v[start:stop] for c, v in columns.items()}), row_group=7)
        paths.append(path)
    return paths


@dataclass(frozen=True)
class Inputs:
    """All inputs of a split, (n, size, size, c), with labels and numbers."""

    inputs: torch.Tensor
    labels: torch.Tensor
    numbers: np.ndarray
    normalisation: Normalisation

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        return self.inputs.shape[1]


def read_stamps(paths, network, *, normalisation=None, fraction=1.0, memory_bytes=MEMORY_BYTES) -> Inputs:
    """Read a split whole."""
    training = network.training.model_copy(update={"train_fraction": fraction})
    split = read_split(paths, network.model_copy(update={"training": training}), normalisation=normalisation, memory_bytes=memory_bytes)
    inputs = torch.from_numpy(np.array(split.images.take(np.arange(len(split)))))
    return Inputs(inputs, torch.from_numpy(split.stamps.labels), split.numbers, split.normalisation)


def classify(classifier, data: Inputs, threads: int = 1) -> np.ndarray:
    """Return the scores of inputs."""
    return expit(margins_of(classifier, data.inputs.numpy(), np.empty((len(data), 0), np.float32), threads))
