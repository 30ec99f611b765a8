"""Seconds and memory that the check of a dataset takes by its number of stamps, as rule check_stamps runs it.

What was seen of the stamps is synthetic: shards of 10,000 rows in the schema of each task, numbers drawn and identifiers all different; the
last split has one shard, from which pictures are taken. Each size is checked by a process of its own, whose peak of resident memory is its
kernel's count; the first line of a task is a tenth of the least size. The last line of each task is what a job that makes stamps spends on
seeing them (48 pixels on a side in the subhalo task, 64 in the lens finder's), less its writing.

    PYTHONPATH=workflow/scripts python benchmarks/bench_checks.py --stamps 1000000 4000000 16000000
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

from darkhaloscope.config.lensfinder import LensFinderDataset
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import Column, Schema, write_table
from darkhaloscope.stamps.checks import measure_stamps
from darkhaloscope.stamps.seen import ROW_GROUP, see, seen_schema
from darkhaloscope.tasks import part

SHARD, SIZE = 10_000, 8
DATASETS = {"subhalo": SubhaloDataset, "lensfinder": LensFinderDataset}
#: Columns in which no two rows are alike.
DIFFERENT = ("stamp_id", "task_id", "number", "digest", "object_id")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=int, nargs="+", default=[1_000_000, 4_000_000, 16_000_000], help="stamps of the datasets")
    parser.add_argument("--task", choices=tuple(DATASETS), action="append", help="whose; both by default")
    parser.add_argument("--folder", type=Path, help="(used by the benchmark itself)")
    arguments = parser.parse_args()
    if arguments.folder:
        print(json.dumps(measure(arguments.folder, arguments.task[0])))
        return
    print(f"{'task':>11}{'stamps':>12}{'files [MB]':>12}{'CPU [s]':>9}{'CPU-s per million':>19}{'peak [MB]':>11}")
    for task in arguments.task or DATASETS:
        for stamps in (min(arguments.stamps) // 10, *arguments.stamps):
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder), task, stamps)
                command = [sys.executable, __file__, "--task", task, "--folder", folder]
                f = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            rate = 1e6 * f["cpu"] / stamps
            print(f"{task:>11}{stamps:12,}{f['files_mb']:12,.0f}{f['cpu']:9.1f}{rate:19.1f}{f['peak_mb']:11.0f}", flush=True)
        print(f"{task:>11}: {seeing(task):.0f} CPU-s per million stamps to see them", flush=True)


def seeing(task: str, stamps: int = 2000) -> float:
    """Return the CPU seconds that a million stamps take to be seen."""
    seen, dataset, rng = part(task, "checks").CHECKS.seen, DATASETS[task](), np.random.default_rng(1)
    schema = part(task, "schema").stamp_schema(part(task, "schema").size_of(dataset))
    rows = {c.name: drawn(c, rng, stamps) if c.shape is None else rng.random((stamps, *c.shape)) for c in schema.columns}
    table, start = schema.table(rows), time.process_time()
    see(table, seen, dataset)
    return 1e6 * (time.process_time() - start) / stamps


def write(folder: Path, task: str, stamps: int) -> None:
    """Write what was seen of a dataset's shards, and the one shard of stamps that is shown."""
    seen = part(task, "checks").CHECKS.seen
    schema, rng = seen_schema(seen, DATASETS[task]()), np.random.default_rng(1)
    rows = {column.name: drawn(column, rng) for column in schema.columns}
    rows |= {"label": np.arange(SHARD) % 2, "is_control": np.arange(SHARD) % 2 == 0}
    for shard in range(-(-stamps // SHARD)):
        split = "train" if shard else "test"
        number = np.arange(shard * SHARD, (shard + 1) * SHARD)
        rows |= {name: rng.permutation(number) for name in DIFFERENT} | {"number": number, "split": [split] * SHARD}
        rows |= {name: [f"{split}-{k % 1500}" for k in number] for name in ("galaxy_id", "physical_id", "source_id")}
        rows["region_id"] = number % 500 + 500 * (split == "test")
        # No two galaxies at one place.
        rows["ra"], rows["dec"] = number * 1e-3 % 360, number * 1e-3 // 360 * 1e-3
        known = {c.name: rows[c.name] for c in schema.columns}
        write_table(folder / f"{split}-{shard:06d}.parquet", schema, schema.table(known), row_group=ROW_GROUP, bytes="0")
    shape = {"subhalo": (SIZE, SIZE), "lensfinder": (3, SIZE, SIZE)}[task]
    pictures = Schema("stamps", tuple(Column(name, "float32", "", "", shape) for name in seen.images))
    write_table(folder / "stamps.parquet", pictures, pictures.table({name: np.ones((SHARD, *shape)) for name in seen.images}))


def drawn(column: Column, rng: np.random.Generator, count: int = SHARD) -> object:
    """Return some values of a column."""
    if column.dtype == "string":
        return rng.choice(["first", "second", "third"], count).tolist()
    if column.dtype == "bool":
        return np.full(count, column.name != "mask_fault")
    if column.dtype.startswith("float"):
        return rng.lognormal(0, 1, count)
    return rng.integers(0, 100, count)


def measure(folder: Path, task: str) -> dict[str, float]:
    """Check a dataset; return CPU seconds, peak memory and the size of the files."""
    files = {split: sorted(folder.glob(f"{split}-*.parquet")) for split in ("train", "validation", "test")}
    start = time.process_time()
    quality = measure_stamps(files, [folder / "stamps.parquet"], DATASETS[task](), part(task, "checks").CHECKS)
    repeated = next(g.found for g in quality.gates if g.name == "duplicates")
    if "1" in repeated:
        raise SystemExit(f"all rows are different, and the check found {repeated}")
    return {
        "cpu": time.process_time() - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "files_mb": sum(path.stat().st_size for paths in files.values() for path in paths) / 1e6,
    }


if __name__ == "__main__":
    main()
