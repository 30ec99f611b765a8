"""Stamps per second from disk to a network: this project's shards against gzip NPZ cells in a Parquet column.

The same stamps of 64 × 64 pixels in g, r, z (noise with a galaxy in the middle, so that they compress as real ones do) are
written twice: as this project writes them, Arrow fixed-shape tensors of float32, and as older tables hold them, a
`stamp_npz` column of NPZ files compressed by numpy. Both are then read into float32 batches, files in the page cache, in
one thread. Rates are per second of CPU time, so that other work on the machine counts for none of them:

    cells      every cell opened by numpy.load, as a loader without a cache does each epoch
    decode     the first pass over the shards: every row group decoded into memory
    windows    a shuffled epoch of a set beyond memory and scratch file, every stamp decoded anew
    epoch      a shuffled epoch of a set that was decoded into its scratch file: what training on up to `scratch_gb` reads
    augmented  the same, with rotations, flips and subpixel shifts
    network    the forward and backward pass of the small preset, for scale

    PYTHONPATH=workflow/scripts python benchmarks/bench_loading.py --stamps 4096
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from darkhaloscope.config.network import Network
from darkhaloscope.core.tables import write_table
from darkhaloscope.learning.index import index_stamps
from darkhaloscope.learning.networks import build_network
from darkhaloscope.learning.streaming import Batches, EpochOrder, Stream, loader
from darkhaloscope.tasks.lensfinder.schema import stamp_schema

SIZE, BATCH, SHARD = 64, 256, 2048
DEFAULTS = {"string": "x", "float64": 1.0, "int64": 1, "int32": 1, "int8": 1, "bool": True}
#: What the project promises: shards are read at least this many times as fast as cells.
PROMISED = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=int, default=4096, help="stamps that are written and read")
    parser.add_argument("--repeats", type=int, default=3, help="each figure is the best of so many")
    parser.add_argument("--json", help="write the figures here as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        cells, shards = write(Path(folder), arguments.stamps)
        figures = measure(cells, shards, arguments.stamps, arguments.repeats)
    for name, rate in figures.items():
        print(f"{name:<12}{rate:>12,.0f} stamps/s{rate / figures['cells']:>10.1f} × cells")
    ratio = figures["epoch"] / figures["cells"]
    print(f"an epoch is read {ratio:.0f} times as fast as cells (promised: {PROMISED}): {'kept' if ratio >= PROMISED else 'NOT KEPT'}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({**figures, "ratio": ratio}, indent=2) + "\n")


def write(folder: Path, n: int) -> tuple[Path, list[Path]]:
    """Write the same stamps as cells and as shards."""
    rng = np.random.default_rng(1)
    y, x = np.indices((SIZE, SIZE)) - SIZE / 2
    galaxy = np.exp(-np.sqrt(x**2 + y**2) / 4).astype(np.float32) * np.float32([1, 3, 5])[:, None, None]
    schema = stamp_schema(SIZE)
    shards, cells = [], []
    for first in range(0, n, SHARD):
        count = min(SHARD, n - first)
        images = rng.normal(0, 0.03, (count, 3, SIZE, SIZE)).astype(np.float32) + galaxy
        columns = {c.name: np.full(count, DEFAULTS[c.dtype]) for c in schema.columns if c.shape is None}
        columns |= {"number": first + np.arange(count), "label": (np.arange(count) % 2).astype(np.int8), "image": images}
        shards.append(folder / f"{first:08d}.parquet")
        write_table(shards[-1], schema, schema.table(columns), row_group=256)
        for image in images:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, image_g=image[0], image_r=image[1], image_z=image[2])
            cells.append(buffer.getvalue())
    pq.write_table(pa.table({"stamp_npz": cells}), folder / "cells.parquet")
    return folder / "cells.parquet", shards


def measure(cells: Path, shards: list[Path], n: int, repeats: int) -> dict[str, float]:
    """Return stamps per second of every way to read."""
    stamps = index_stamps(shards)
    window = max(n // 4, 256)
    network = build_network(Network(architecture="slim", channels="bands", width=16))
    images, scalars = torch.randn(BATCH, 3, SIZE, SIZE), torch.zeros(BATCH, 6)

    def step() -> None:
        network(images, scalars).sum().backward()

    decoded = Stream(stamps, 256, 0, scratch_gb=100)
    return {
        "cells": rate(lambda: read_cells(cells), n, repeats),
        "decode": rate(lambda: read_shards(stamps), n, repeats),
        "windows": rate(lambda: epoch(Stream(stamps, window, 0), False), n, repeats),
        "epoch": rate(lambda: epoch(decoded, False), n, repeats),
        "augmented": rate(lambda: epoch(decoded, True), n, repeats),
        "network": rate(step, BATCH, repeats),
    }


def rate(work: Callable[[], None], n: int, repeats: int) -> float:
    """Return stamps per second of CPU time, of the fastest of several runs."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return n / min(times)


def read_cells(path: Path) -> None:
    """Read every cell into one float32 batch after the other."""
    batch = np.empty((BATCH, 3, SIZE, SIZE), np.float32)
    for k, cell in enumerate(pq.read_table(path)["stamp_npz"]):
        with np.load(io.BytesIO(cell.as_py()), allow_pickle=False) as arrays:
            for b, name in enumerate(("image_g", "image_r", "image_z")):
                batch[k % BATCH, b] = arrays[name]


def read_shards(stamps) -> None:
    """Read every row group in turn."""
    total = 0
    for rows, images in Stream(stamps, 256, 0).in_order():
        total += len(rows) + int(images[0, 0, 0, 0] > 1e9)
    if total != len(stamps):
        raise RuntimeError(f"{total} of {len(stamps)} stamps were read")


def epoch(images: Stream, augment: bool) -> None:
    """Read one shuffled epoch as training does."""
    batches = loader(Batches(images, 1, augment, 0.5 if augment else 0.0), EpochOrder(images, BATCH, 1))
    total = sum(len(labels) for _, labels, _ in batches)
    if total != len(images.stamps):
        raise RuntimeError(f"{total} of {len(images.stamps)} stamps came")


if __name__ == "__main__":
    main()
