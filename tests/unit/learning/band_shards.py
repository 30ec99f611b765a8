"""Tiny shards of g, r, z stamps, for the tests of this folder."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from darkhaloscope.core.tables import write_table
from darkhaloscope.tasks.lensfinder.schema import stamp_schema

KINDS = {"string": "x", "float64": 1.0, "float32": 1.0, "int64": 1, "int32": 1, "int8": 1, "bool": True}
NOISE = np.array([0.02, 0.03, 0.06])


def band_columns(n: int, *, size: int = 16, first: int = 0, seed: int = 0, signal: float = 0.0) -> dict[str, np.ndarray]:
    """Noise and a central galaxy in g, r, z; odd numbers are positives with a blue blob of `signal` nanomaggies beside it."""
    rng = np.random.default_rng([seed, first])
    columns = {c.name: np.full(n, KINDS[c.dtype]) for c in stamp_schema(size).columns if c.shape is None}
    numbers = first + np.arange(n)
    labels = (numbers % 2).astype(np.int8)
    y, x = np.indices((size, size)) - size / 2
    galaxy = np.exp(-(x**2 + y**2) / 8) * np.array([0.3, 1.0, 2.0])[:, None, None]
    angle = rng.uniform(0, 2 * np.pi, n)
    blob = np.exp(-((x - 4 * np.cos(angle)[:, None, None]) ** 2 + (y - 4 * np.sin(angle)[:, None, None]) ** 2) / 3)
    image = rng.normal(0, 1, (n, 3, size, size)) * NOISE[:, None, None] + galaxy * rng.uniform(0.5, 1.5, n)[:, None, None, None]
    image += (labels * signal)[:, None, None, None] * blob[:, None] * np.array([1.0, 0.7, 0.4])[:, None, None]
    theta = rng.uniform(0.5, 2.5, n)
    return columns | {
        "stamp_id": np.array([f"tiny-{k}" for k in numbers]),
        "task_id": np.array([f"tiny-{k}" for k in numbers]),
        "number": numbers,
        "label": labels,
        "object_id": 10_000 + numbers // 2,
        "is_control": labels == 0,
        "theta_e_arcsec": np.where(labels == 1, theta, 0.0),
        "theta_over_psf": np.where(labels == 1, theta / 1.2, 0.0),
        "arc_snr": np.where(labels == 1, rng.uniform(0, 20, n), 0.0),
        "bandset": np.full(n, "grz"),
        "psfsize_r": rng.uniform(1.0, 1.5, n),
        "psfdepth_r": rng.uniform(200, 900, n),
        "image": image.astype(np.float32),
    }


def write_band_shards(
    folder: Path, columns: dict[str, np.ndarray], bounds: list[int], name: str = "shard", row_group: int = 7
) -> list[Path]:
    """Write stamps into shards cut at the rows `bounds` (first and last row included)."""
    schema = stamp_schema(columns["image"].shape[-1])
    paths = []
    for k, (start, stop) in enumerate(itertools.pairwise(bounds)):
        path = folder / f"{name}-{k:03d}.parquet"
        write_table(path, schema, schema.table({c: v[start:stop] for c, v in columns.items()}), row_group=row_group)
        paths.append(path)
    return paths
