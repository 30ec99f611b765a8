"""How long the DAG of 12 million stamps takes to plan, against a bare Snakefile with the same jobs and files.

Both are planned by `snakemake --dry-run --quiet` in an empty folder, one after the other; the seconds are CPU seconds of the whole
process (user and system), so that other work on the machine counts for little, and the memory is its peak. A small plan goes
before: the first one in a folder parses all sources for their digests, two seconds that later ones do not spend. The bare Snakefile has
the same rules with the same inputs, outputs, logs and benchmarks, and nothing else: no params, resources, environments,
messages or functions but those that list the shards. The last column is the same dataset beside a second one as large,
which is in the config and not asked for.

    PYTHONPATH=workflow/scripts python benchmarks/bench_planning.py --shards 1200 12000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
STAMPS, VALIDATION, TEST = 12_000_000, 200_000, 200_000
SEEDS = [1, 2, 3]

BARE = """
SHARDS = {shards}
SEEDS = {seeds}
R = "results/plan"

def shards(*splits):
    return [f"{{R}}/datasets/big/stamps/{{split}}/{{i:05d}}.parquet" for split in splits for i in range(SHARDS[split])]

rule all:
    input: f"{{R}}/experiments/big/evaluation/flux/rates.csv"
rule build_manifest:
    output: R + "/datasets/{{dataset}}/manifest.parquet"
    log: R + "/logs/build_manifest/{{dataset}}.log"
    benchmark: R + "/benchmarks/build_manifest/{{dataset}}.tsv"
    shell: "true"
rule render_stamps:
    input: R + "/datasets/{{dataset}}/manifest.parquet"
    output: R + "/datasets/{{dataset}}/stamps/{{split}}/{{shard}}.parquet"
    log: R + "/logs/render_stamps/{{dataset}}/{{split}}/{{shard}}.log"
    benchmark: R + "/benchmarks/render_stamps/{{dataset}}/{{split}}/{{shard}}.tsv"
    shell: "true"
rule check_stamps:
    input: train=shards("train"), validation=shards("validation"), test=shards("test")
    output: R + "/datasets/big/quality/checks.json"
    log: R + "/logs/check_stamps/big.log"
    benchmark: R + "/benchmarks/check_stamps/big.tsv"
    shell: "true"
rule train_network:
    input: train=shards("train"), validation=shards("validation"), checks=R + "/datasets/big/quality/checks.json"
    output:
        R + "/detectors/big/flux/seed-{{seed}}/network.safetensors",
        R + "/detectors/big/flux/seed-{{seed}}/network.json",
        R + "/detectors/big/flux/seed-{{seed}}/history.csv",
    log: R + "/logs/train_network/big/flux/seed-{{seed}}.log"
    benchmark: R + "/benchmarks/train_network/big/flux/seed-{{seed}}.tsv"
    shell: "true"
rule score_stamps:
    input:
        R + "/detectors/big/flux/seed-{{seed}}/network.safetensors",
        R + "/detectors/big/flux/seed-{{seed}}/network.json",
        validation=shards("validation"), test=shards("test"), checks=R + "/datasets/big/quality/checks.json"
    output: R + "/detectors/big/flux/seed-{{seed}}/scores/big.parquet"
    log: R + "/logs/score_stamps/big/flux/seed-{{seed}}/big.log"
    benchmark: R + "/benchmarks/score_stamps/big/flux/seed-{{seed}}/big.tsv"
    shell: "true"
rule evaluate_scores:
    input: [f"{{R}}/detectors/big/flux/seed-{{seed}}/scores/big.parquet" for seed in SEEDS]
    output: [f"{{R}}/experiments/big/evaluation/flux/{{name}}.csv" for name in ("rates", "strata", "roc", "information")]
    log: R + "/logs/evaluate_scores/big/flux.log"
    benchmark: R + "/benchmarks/evaluate_scores/big/flux.tsv"
    shell: "true"
"""


def plan(folder: Path, *arguments: str) -> tuple[float, float]:
    """Plan in a folder; return CPU seconds and peak memory [MB]."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "all", "--cores", "1", *arguments]
    with open(folder / "out.txt", "w", encoding="utf-8") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit((folder / "out.txt").read_text()[-2000:])
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def config(folder: Path, shard_size: int, names: list[str]) -> str:
    """Write a config with datasets of 12 million stamps; return its path. Disks alone: no checkpoint hides a part of the DAG."""
    size = {"train": STAMPS - VALIDATION - TEST, "validation": VALIDATION, "test": TEST}
    dataset = {"size": size, "shard_size": shard_size, "sources": {"mix": {"disk": 1.0}}}
    experiment = {
        "question": "How long does it take to plan?",
        "dataset": "big",
        "detectors": ["flux"],
        "seeds": SEEDS,
        "tests": ["big"],
        "comparisons": [],
    }
    values = {
        "root": "results/plan",
        "run": ["big"],
        "datasets": dict.fromkeys(names, dataset),
        "detectors": {"flux": {}},
        "experiments": {"big": experiment},
    }
    path = folder / f"{'-'.join(names)}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(path)


def measure(shards: int, repeats: int) -> str:
    """Return one line of the table: the least of some repeats."""
    shard_size = STAMPS // shards
    counts = {"train": shards - 2 * (TEST // shard_size), "validation": VALIDATION // shard_size, "test": TEST // shard_size}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bare.smk").write_text(BARE.format(shards=counts, seeds=SEEDS), encoding="utf-8")
        target = "results/plan/experiments/big/evaluation/flux/rates.csv"
        ours = ["--snakefile", str(ROOT / "Snakefile"), target, "--configfile"]
        commands = {
            "bare": ["--snakefile", "bare.smk", "--workflow-profile", "none"],
            "ours": [*ours, config(folder, shard_size, ["big"])],
            "two": [*ours, config(folder, shard_size, ["big", "other"])],
        }
        plan(folder, *ours[:2], "results/plan/datasets/big/manifest.parquet", *commands["ours"][3:])
        taken = {key: min(plan(folder, *arguments) for _ in range(repeats)) for key, arguments in commands.items()}
    (bare, bare_mb), (ours_s, ours_mb), (two, _) = taken["bare"], taken["ours"], taken["two"]
    return f"| {shards:,} | {bare:.1f} | {bare_mb:,.0f} | {ours_s:.1f} | {ours_mb:,.0f} | {ours_s / bare:.2f} | {two:.1f} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, nargs="+", default=[1200, 12000], help="numbers of shards to plan; divisors of 12 million")
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    print("| shards | bare [CPU-s] | [MB] | this workflow [CPU-s] | [MB] | ratio | beside a second dataset [CPU-s] |")
    print("|---|---|---|---|---|---|---|")
    for shards in options.shards:
        print(measure(shards, options.repeats), flush=True)
