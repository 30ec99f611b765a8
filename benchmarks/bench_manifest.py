"""Seconds and memory that the manifest of the v4 grid takes: 12 million stamps, 648 cells, from a synthetic parent sample.

The dataset is the config's `lensfinder-v4`, at its own size and at a tenth of it, from one parent sample of as many galaxies as the
large one has stamps; each manifest is drawn as rule build_injections does, by a process of its own whose peak of resident memory is
its kernel's count. The parent sample is in memory both times (about 90 bytes per galaxy): what grows between the two is what
stamps cost. Counts of splits, classes and cells are checked on the file.

    PYTHONPATH=workflow/scripts python benchmarks/bench_manifest.py --stamps 12000000
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from darkhaloscope.config.lensfinder import LensFinderDataset, default_lensfinder_datasets
from darkhaloscope.tasks.lensfinder.hosts import read_parent
from darkhaloscope.tasks.lensfinder.manifest import build_injections

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from sky import write_parent

GRID = ("theta_e_arcsec", "src_dmag", "src_reff_arcsec", "src_e", "shear")
CELLS = 648


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=int, default=12_000_000, help="rows of the large manifest")
    parser.add_argument("--parent", type=Path, help="(used by the benchmark itself)")
    arguments = parser.parse_args()
    if arguments.parent:
        print(json.dumps(measure(arguments.parent, arguments.stamps)))
        return
    with tempfile.TemporaryDirectory() as folder:
        parent = write_parent(Path(folder) / "parent.parquet", arguments.stamps)
        print(f"parent sample: {arguments.stamps:,} galaxies, {parent.stat().st_size / 1e6:.0f} MB")
        print(f"{'stamps':>12}{'wall [s]':>10}{'CPU [s]':>10}{'peak [MB]':>11}{'file [MB]':>11}{'stamps per cell':>18}")
        for stamps in (arguments.stamps // 10, arguments.stamps):
            command = [sys.executable, __file__, "--stamps", str(stamps), "--parent", str(parent)]
            f = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            cells = f"{f['cells'][0]} to {f['cells'][1]}"
            print(f"{stamps:12,}{f['wall']:10.0f}{f['cpu']:10.0f}{f['peak_mb']:11.0f}{f['file_mb']:11.0f}{cells:>18}", flush=True)


def measure(parent: Path, stamps: int) -> dict:
    """Draw one manifest; return seconds, peak memory, size of the file and the least and most stamps of a cell."""
    settings = default_lensfinder_datasets()["lensfinder-v4"].model_dump()
    shares = {split: settings["size"][split] / 12_000_000 for split in settings["size"]}
    settings["size"] = {split: round(stamps * share) for split, share in shares.items()}
    dataset = LensFinderDataset.model_validate(settings)
    start = time.perf_counter()
    manifest = parent.with_name(f"manifest-{stamps}.parquet")
    build_injections("v4", dataset, read_parent(parent), {}, manifest, parent.with_name("bricks.csv"))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "wall": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        "file_mb": manifest.stat().st_size / 1e6,
    }
    return {**figures, "cells": check(manifest, dataset)}


def check(manifest: Path, dataset: LensFinderDataset) -> tuple[int, int]:
    """Count splits, classes and cells of a manifest; raise SystemExit unless they are those asked for."""
    table = pq.read_table(manifest, columns=["split", "label", *GRID])
    for split, size in dataset.size.model_dump().items():
        here = table.filter(pc.equal(table["split"], split))
        positives = pc.sum(here["label"]).as_py()
        if (here.num_rows, positives) != (size, size // 2):
            raise SystemExit(f"{split} has {here.num_rows} rows, {positives} of them positives; {size} and {size // 2} were asked for")
    lensed = table.filter(pc.equal(table["label"], 1))
    codes = np.zeros(lensed.num_rows, np.int64)
    for name in GRID:
        values, place = np.unique(lensed[name].to_numpy(), return_inverse=True)
        codes = codes * len(values) + place
    counts = np.unique(codes, return_counts=True)[1]
    if len(counts) != CELLS:
        raise SystemExit(f"{len(counts)} of the grid's {CELLS} cells have stamps")
    return int(counts.min()), int(counts.max())


if __name__ == "__main__":
    main()
