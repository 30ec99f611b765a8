"""Seconds per stamp and core of the model-based detector, and the share of each part.

Stamps come from a shard of a subhalo dataset with default physics (the reference run's `informative`, or any that a run rendered):

    PYTHONPATH=workflow/scripts python benchmarks/bench_evidence.py results/reference/datasets/informative/stamps/test/00000.parquet
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time

import torch

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.evidence import Evidence
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.detectors.evidence.detect import Detector
from darkhaloscope.detectors.evidence.findings import read_observed

#: Functions whose time is told, indented where they are part of those above: name in the profile, what it does.
PARTS = (
    ("measure_sky", "noise and arc"),
    ("_start", "start on the coarse image"),
    ("_fit", "fit on the image"),
    ("_velocities", "velocity"),
    ("_finding", "scan of places and profiles"),
    ("derivatives", "of all: deflections and their derivatives"),
    ("solve", "of all: covariance and its factor"),
    ("fields", "of all: score field and gradient"),
    ("whiten", "of all: whitened Jacobians"),
    ("stack", "of all: sparse operators"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shard", help="Parquet file of stamps")
    parser.add_argument("--stamps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=1, help="stamps at a time")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = SubhaloDataset()
    detector = Detector.of(dataset, Cosmology(), Evidence(batch_size=arguments.batch))
    stamps = read_observed(arguments.shard, dataset.instrument.stamp_size)[: arguments.stamps]
    detector.detect(stamps[:1])  # what is made once
    profile, wall, cpu = cProfile.Profile(), time.perf_counter(), time.process_time()
    profile.runcall(detector.detect, stamps)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"{len(stamps)} stamps, {arguments.batch} at a time, one thread: {cpu / len(stamps):.2f} s CPU and {wall / len(stamps):.2f} s wall per stamp"
    )
    found = {
        name: cumulative
        for (path, _, name), (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items()
        if name in dict(PARTS) and "detectors/evidence" in path
    }
    for name, what in PARTS:
        print(f"{what:45}{found.get(name, 0) / wall:7.0%}")


if __name__ == "__main__":
    main()
