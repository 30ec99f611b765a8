"""What each stage of a finished run cost, from the benchmark files that Snakemake left, as a Markdown table.

    PYTHONPATH=workflow/scripts python benchmarks/cost_table.py results/reference

CPU seconds are those of the last sample before a job's end, which lies at most 30 s before it: long jobs are counted short by
that much. Work is what a stage's time grows with: stamps rendered, checked or scored, or stamps times epochs of training.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

#: What one unit of work is, of the stages whose cost follows the number of stamps.
UNITS = {
    "build_manifest": "stamp",
    "render_stamps": "stamp",
    "inject_stamps": "stamp",
    "check_stamps": "stamp",
    "train_network": "stamp × epoch",
    "score_stamps": "stamp",
}


@dataclass
class Cost:
    """What the jobs of one rule took together."""

    jobs: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    work: float = 0.0
    unmeasured: int = 0

    def add(self, row: dict[str, str], work: float) -> None:
        """Count one job; a job shorter than a sample has a time but neither CPU seconds nor memory."""
        self.jobs += 1
        self.wall_s += float(row["s"])
        if row["cpu_time"] in ("NA", "-"):
            self.unmeasured += 1
            return
        self.cpu_s += float(row["cpu_time"])
        self.peak_mb = max(self.peak_mb, float(row["max_rss"]))
        self.work += work


def rows_of(*files: Path) -> int:
    """Return the rows of Parquet files, those that exist."""
    return sum(pq.read_metadata(file).num_rows for file in files if file.is_file())


def work_of(root: Path, rule: str, job: Path) -> float:
    """Return the work of a job from what it made; `job` is its benchmark's path below the rule's folder, without ending."""
    parts = job.parts
    if rule in ("build_manifest", "check_stamps"):
        return rows_of(root / "datasets" / parts[0] / "manifest.parquet")
    if rule in ("render_stamps", "inject_stamps"):
        return rows_of(root / "datasets" / parts[0] / "stamps" / parts[1] / f"{parts[2]}.parquet")
    if rule == "train_network":
        with open(root / "detectors" / job / "history.csv", encoding="utf-8", newline="") as file:
            epochs = sum(1 for _ in csv.DictReader(file))
        return epochs * rows_of(*(root / "datasets" / parts[0] / "stamps/train").glob("*.parquet"))
    if rule == "score_stamps":
        return rows_of(root.joinpath("detectors", *parts[:3], "scores", f"{parts[3]}.parquet"))
    return 0.0


def costs(root: Path) -> dict[str, Cost]:
    """Return the cost of every rule of a run, in the order of the first benchmark's age."""
    found: dict[str, Cost] = defaultdict(Cost)
    files = sorted((root / "benchmarks").rglob("*.tsv"), key=lambda path: path.stat().st_mtime)
    for path in files:
        parts = path.relative_to(root / "benchmarks").with_suffix("").parts
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        if rows:
            found[parts[0]].add(rows[0], work_of(root, parts[0], Path(*parts[1:])))
    return dict(found)


def table(found: dict[str, Cost]) -> str:
    """Return the costs as a Markdown table."""
    lines = ["| stage | jobs | time [s] | CPU [s] | peak memory [MB] | work | CPU-s per million |", "|---|---|---|---|---|---|---|"]
    for rule, cost in found.items():
        unit = UNITS.get(rule)
        work, each = (f"{cost.work:,.0f} {unit}", f"{1e6 * cost.cpu_s / cost.work:,.0f}") if unit and cost.work else ("", "")
        name = f"`{rule}`" + (f" ({cost.unmeasured} too short to measure)" if cost.unmeasured else "")
        lines.append(f"| {name} | {cost.jobs} | {cost.wall_s:,.0f} | {cost.cpu_s:,.0f} | {cost.peak_mb:,.0f} | {work} | {each} |")
    return "\n".join(lines)


def size(root: Path) -> str:
    """Return how many bytes and files a stamp takes on disk."""
    shards = list(root.glob("datasets/*/stamps/*/*.parquet"))
    stamps, total = rows_of(*shards), sum(path.stat().st_size for path in shards)
    manifests = list(root.glob("datasets/*/manifest.parquet"))
    rows, extra = rows_of(*manifests), sum(path.stat().st_size for path in manifests)
    return (
        f"{stamps:,} stamps in {len(shards)} shards: {total / stamps:,.0f} bytes each, and {extra / rows:,.0f} in the manifest"
        if stamps and rows
        else "no stamps"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="root of a finished run, such as results/reference")
    root = parser.parse_args().root
    print(table(costs(root)))
    print()
    print(size(root))
