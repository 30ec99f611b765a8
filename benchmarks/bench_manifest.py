"""Seconds and memory that 12 million rows of a manifest take, in both tasks that draw one, as rule build_manifest draws them.

The subhalo task's is the default dataset, of all kinds of sources, from a bank of 200 galaxies; the lens finder's the v4 grid of 648
cells, from a synthetic parent sample of as many galaxies as it has stamps. Each is drawn at full size and at a tenth of it by a process of
its own, whose peak of resident memory is its kernel's count. The parent sample is in memory both times (about 90 bytes per galaxy): what
grows between the two is what stamps cost. Counts of splits, classes and cells are checked on the file.

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
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.lensfinder import LensFinderDataset
from darkhaloscope.config.presets import preset
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.stamps.manifest import write_manifest
from darkhaloscope.tasks import part

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from sky import write_parent

GRID = ("theta_e_arcsec", "src_dmag", "src_reff_arcsec", "src_e", "shear")
CELLS = 648


SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=int, default=12_000_000, help="rows of the large manifests")
    parser.add_argument("--task", choices=("subhalo", "lensfinder"), action="append", help="which to draw; both by default")
    parser.add_argument("--folder", type=Path, help="(used by the benchmark itself)")
    arguments = parser.parse_args()
    if arguments.folder:
        print(json.dumps(measure(arguments.folder, arguments.task[0], arguments.stamps)))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'task':>11}{'stamps':>12}{'wall [s]':>10}{'CPU [s]':>10}{'peak [MB]':>11}{'file [MB]':>11}")
        for task in arguments.task or ("subhalo", "lensfinder"):
            if task == "lensfinder":
                write_parent(Path(folder) / "parent.parquet", arguments.stamps)
            for stamps in (arguments.stamps // 10, arguments.stamps):
                command = [sys.executable, __file__, "--stamps", str(stamps), "--task", task, "--folder", folder]
                f = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                print(f"{task:>11}{stamps:12,}{f['wall']:10.0f}{f['cpu']:10.0f}{f['peak_mb']:11.0f}{f['file_mb']:11.0f}", end="")
                print(f"  {f['cells'][0]} to {f['cells'][1]} stamps per cell" if f["cells"] else "", flush=True)


def measure(folder: Path, task: str, stamps: int) -> dict:
    """Draw one manifest; return seconds, peak memory, size of the file and the least and most stamps of a cell of the grid."""
    size = {split: 2 * round(stamps * share / 2) for split, share in SHARES.items()}
    manifest, drawing = folder / f"{task}-{stamps}.parquet", part(task, "manifest")
    start = time.perf_counter()
    if task == "lensfinder":
        dataset = LensFinderDataset.model_validate(preset("datasets")["lensfinder-v4"] | {"size": size})
        files = {"parent": [str(folder / "parent.parquet")], "cosmos": [], "bank": []}
        rows = drawing.draw("big", dataset, files, Cosmology())
    else:
        dataset = SubhaloDataset.model_validate({"size": size, "splits": {"tolerance": 0.3}})
        rows = drawing.draw_manifest("big", dataset, galaxies(200), Cosmology())
    write_manifest(manifest, drawing.MANIFEST, rows)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "wall": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        "file_mb": manifest.stat().st_size / 1e6,
    }
    return {**figures, "cells": check(manifest, size, GRID if task == "lensfinder" else ())}


def galaxies(count: int) -> pa.Table:
    """Return what a manifest takes from a bank of MaNGA sources."""
    rng = np.random.default_rng(1)
    return pa.table(
        {
            "galaxy_id": [f"{8000 + i}-12701" for i in range(count)],
            "physical_id": [f"1-{i}" for i in range(count)],
            "pixel_scale_kpc": np.full(count, 0.6),
            "psf_fwhm_kpc": np.full(count, 1.6),
            "half_light_radius_kpc": rng.uniform(2, 8, count),
            "inclination_rad": rng.uniform(0.3, 1.2, count),
            "v_peak_kms": rng.uniform(100, 300, count),
        }
    )


def check(manifest: Path, sizes: dict[str, int], grid: tuple[str, ...]) -> tuple[int, int] | None:
    """Count splits, classes and cells of a manifest; raise SystemExit unless they are those asked for."""
    table = pq.read_table(manifest, columns=["split", "label", *grid])
    for split, size in sizes.items():
        here = table.filter(pc.equal(table["split"], split))
        positives = pc.sum(here["label"]).as_py()
        if (here.num_rows, positives) != (size, size // 2):
            raise SystemExit(f"{split} has {here.num_rows} rows, {positives} of them positives; {size} and {size // 2} were asked for")
    if not grid:
        return None
    lensed = table.filter(pc.equal(table["label"], 1))
    codes = np.zeros(lensed.num_rows, np.int64)
    for name in grid:
        values, place = np.unique(lensed[name].to_numpy(), return_inverse=True)
        codes = codes * len(values) + place
    counts = np.unique(codes, return_counts=True)[1]
    if len(counts) != CELLS:
        raise SystemExit(f"{len(counts)} of the grid's {CELLS} cells have stamps")
    return int(counts.min()), int(counts.max())


if __name__ == "__main__":
    main()
