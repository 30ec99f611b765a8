"""Seconds and memory that the evaluation of a large table of scores takes, beside pandas and scikit-learn on the same file.

A Parquet file of scores with ten strata columns (edges, quantiles and categories; five that positives alone have) is written
and evaluated twice, each time by a process of its own whose peak of resident memory is its kernel's count:

    this project   `evaluate_network` on `open_scores`, as rule evaluate_table does: all rates with intervals (DeLong, 500
                   resamples of both classes and of whole hosts, sources and bricks), overall and in every stratum; ids and scores
                   checked
    pandas         the whole table read by pandas, `roc_curve` and `roc_auc_score` overall and in every stratum, TPR at each
                   FPR and FPR at each TPR read off the curve; no interval, no check

Both must give the same values of AUC and TPR; a difference is an error.

    PYTHONPATH=workflow/scripts python benchmarks/bench_evaluation.py --rows 12000000
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
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from darkhaloscope.config.experiment import Evaluation, Stratum
from darkhaloscope.evaluation.any_table import open_scores
from darkhaloscope.evaluation.evaluate import evaluate_network

STRATA = {
    "theta_e_arcsec": Stratum(edges=(0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5), of_positives=True),
    "theta_over_psf": Stratum(edges=(0, 0.5, 1.0, 1.5, 1e9), of_positives=True),
    "arc_snr": Stratum(edges=(0, 1, 3, 10, 50, 1e9), of_positives=True),
    "src_dmag": Stratum(quantiles=4, of_positives=True),
    "source_kind": Stratum(of_positives=True),
    "psfsize_r": Stratum(quantiles=3),
    "psfdepth_r": Stratum(quantiles=3),
    "mag_r": Stratum(quantiles=5),
    "ebv": Stratum(edges=(0, 0.02, 0.05, 0.1)),
    "hemisphere": Stratum(),
}
EVALUATION = Evaluation(strata=STRATA, clusters=("object_id", "source_id", "brickname"))
CHUNK = 1 << 20
#: What the project promises for 12 million rows.
PROMISED_S, PROMISED_GB = 60, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=12_000_000, help="rows of the table")
    parser.add_argument("--way", choices=("project", "pandas"), help=argparse.SUPPRESS)
    parser.add_argument("--table", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measure(arguments.way, arguments.table)))
        return
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "scores.parquet"
        write(table, arguments.rows)
        found = {way: run(way, table) for way in ("project", "pandas")}
    for way, figures in found.items():
        print(
            f"{way:<10}{figures['seconds']:8.1f} s wall{figures['cpu']:8.1f} s CPU{figures['peak_gb']:8.2f} GB peak{figures['rates']:8d} rates"
        )
    worst = np.max(np.abs(np.subtract(found["project"]["auc"], found["pandas"]["auc"])))
    # A stamp on the edge between two quantiles may fall into either bin by the last bit of the edge.
    if worst > 1 / arguments.rows:
        raise SystemExit(f"the AUCs of both ways differ by up to {worst:.1e}, more than one stamp on an edge makes")
    kept = found["project"]["seconds"] < PROMISED_S and found["project"]["peak_gb"] < PROMISED_GB
    print(f"{arguments.rows:,} rows in < {PROMISED_S} s and < {PROMISED_GB:g} GB: {'kept' if kept else 'NOT KEPT'}")


def write(path: Path, n: int) -> None:
    """Write a table of scores, a million rows at a time."""
    writer = None
    for first in range(0, n, CHUNK):
        k, rng = min(CHUNK, n - first), np.random.default_rng(first)
        label = rng.random(k) < 0.5
        depth, psf, theta = rng.normal(24, 0.3, k), rng.uniform(0.9, 1.6, k), rng.uniform(0.5, 2.5, k)
        snr = rng.lognormal(1.4, 1.2, k)
        logit = rng.normal(-6 + 0.5 * (psf - 1.2), 2.5, k) + label * (4 + 2 * theta / psf + np.log(snr))
        of_lens = lambda values: np.where(label, values, np.nan)  # noqa: B023, E731 (used within this round)
        columns = {
            "stamp_id": pa.array([f"{first + i:012x}" for i in range(k)]),
            "label": label.astype(np.int8),
            "score": 1 / (1 + np.exp(-logit)),
            "split": pa.array(["test"] * k),
            "theta_e_arcsec": of_lens(theta),
            "theta_over_psf": of_lens(theta / psf),
            "arc_snr": of_lens(snr),
            "src_dmag": of_lens(rng.uniform(0.5, 2, k)),
            "source_kind": pa.array(np.where(label, rng.choice(["cosmos", "sersic", "manga"], k), None), from_pandas=True),
            "psfsize_r": psf,
            "psfdepth_r": depth,
            "mag_r": rng.normal(19.5, 0.8, k),
            "ebv": rng.uniform(0, 0.1, k),
            "object_id": (first + np.arange(k)) // 2,
            "source_id": pa.array(np.where(label, rng.integers(0, 20_000, k).astype(str), None), from_pandas=True),
            "brickname": pa.array(((first + np.arange(k)) // 1000).astype(str)),
            "hemisphere": pa.array(rng.choice(["north", "south"], k)),
        }
        batch = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, batch.schema, compression="zstd")
        writer.write_table(batch, row_group_size=CHUNK)
    writer.close()


def run(way: str, table: Path) -> dict:
    """Measure one way in a process of its own."""
    command = [sys.executable, __file__, "--way", way, "--table", str(table)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(way: str, table: str) -> dict:
    """Evaluate the table one way; return seconds, peak memory, the number of rates and the AUCs."""
    start = time.perf_counter()
    rates = project(table) if way == "project" else pandas(table)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_gb": usage.ru_maxrss * 1024 / 1e9,
        "rates": len(rates),
        "auc": [float(value) for metric, value in rates if metric == "auc"],
    }


def project(table: str) -> list[tuple[str, float]]:
    """Evaluate as the workflow does."""
    frames = evaluate_network({("scores", 0): open_scores(table)}, EVALUATION)
    both = pd.concat([frames["rates"], frames["strata"]])
    both = both[both.seed == "0"]
    return list(zip(both.metric, both.value, strict=True))


def pandas(table: str) -> list[tuple[str, float]]:
    """Evaluate in the straightforward way."""
    from sklearn.metrics import accuracy_score, roc_auc_score, roc_curve

    frame = pd.read_parquet(table)
    controls, rates = frame[frame.label == 0], []

    def judge(part: pd.DataFrame) -> None:
        fpr, tpr, _ = roc_curve(part.label, part.score, drop_intermediate=False)
        rates.append(("auc", roc_auc_score(part.label, part.score)))
        rates.append(("accuracy", accuracy_score(part.label, part.score >= 0.5)))
        rates.extend(("tpr_at_fpr", tpr[fpr <= f].max()) for f in EVALUATION.fprs)
        rates.extend(("fpr_at_tpr", fpr[tpr >= t].min()) for t in EVALUATION.tprs)

    judge(frame)
    for column, how in STRATA.items():
        pool = frame[frame.label == 1] if how.of_positives else frame
        if how.edges is not None:
            names = pd.cut(pool[column], how.edges, right=False)
        elif how.quantiles is not None:
            # Not pd.qcut, which puts stamps on an edge into the bin below.
            edges = np.quantile(pool[column], np.linspace(0, 1, how.quantiles + 1))
            names = pd.cut(pool[column], [*edges[:-1], np.nextafter(edges[-1], np.inf)], right=False)
        else:
            names = pool[column]
        for _, part in pool.groupby(names, observed=True):
            judge(pd.concat([part, controls]) if how.of_positives else part)
    return rates


if __name__ == "__main__":
    main()
