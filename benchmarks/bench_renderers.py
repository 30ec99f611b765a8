"""The subhalo chain's two renderers on the demo's stamps: `renderer: torch` against `renderer: lenstronomy`.

The first stamps of the demo's training split are made by `render_rows`, everything included (placement, PSF, noise, measures),
by both renderers in one process with one thread. lenstronomy gets the coarsest uniform supersampling that brings the
noiseless flux of every stamp within the engine's accuracy of what it gives with `--converged` rays on a side. Times are
those of the process. Without `--bank`, the bank of the demo's galaxies, all stamps are of analytic disks.

    PYTHONPATH=workflow/scripts python benchmarks/bench_renderers.py --bank results/demo/manga/mock/bank.parquet
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import yaml

from darkhaloscope.config.run import load
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.manga.bank import read_bank
from darkhaloscope.stamps.manifest import build_manifest
from darkhaloscope.stamps.render import noiseless_pairs, render_rows

SUPERSAMPLINGS = (2, 3, 4, 6, 8, 12, 16)
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=int, default=32)
    parser.add_argument("--bank", help="bank of the demo's galaxies")
    parser.add_argument("--converged", type=int, default=24, help="rays on a side of the reference")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = load(yaml.safe_load((ROOT / "config" / "demo.yaml").read_text(encoding="utf-8")), ROOT)
    values = config.datasets["subhalo"].plain()
    values["size"] = {"train": arguments.stamps, "validation": 0, "test": 0}
    if not arguments.bank:
        values["sources"] |= {"sample": None, "mix": {"disk": 1.0}}
    bank = read_bank(arguments.bank) if arguments.bank else None
    rows = build_manifest("bench", SubhaloDataset.model_validate(values), bank, config.cosmology)
    accuracy = values["rendering"]["accuracy"]

    def dataset(**rendering) -> SubhaloDataset:
        return SubhaloDataset.model_validate(values | {"rendering": values["rendering"] | rendering})

    def flux(**rendering) -> np.ndarray:
        pairs = noiseless_pairs(rows, dataset(**rendering), bank, config.cosmology)
        return np.stack((pairs["smooth_flux"], pairs["perturbed_flux"])) / np.asarray(rows["smooth_peak"])[None, :, None, None]

    def seconds(**rendering) -> float:
        start = time.process_time()
        render_rows(rows, dataset(**rendering), bank, config.cosmology, lambda done, total: None)
        return time.process_time() - start

    truth = flux(renderer="lenstronomy", supersampling=arguments.converged)

    def error(**rendering) -> np.ndarray:
        return np.abs(flux(**rendering) - truth).max((0, 2, 3))

    ours = error()  # compiles, too
    print(f"{arguments.stamps} stamps, accuracy {accuracy:g}: torch errs by {np.median(ours):.1e} (median), {ours.max():.1e} (largest)")
    chosen = next((s for s in SUPERSAMPLINGS if error(renderer="lenstronomy", supersampling=s).max() <= accuracy), SUPERSAMPLINGS[-1])
    fast = min(seconds() for _ in range(3))
    slow = seconds(renderer="lenstronomy", supersampling=chosen)
    print(f"torch       {arguments.stamps / fast:8.1f} stamps/s")
    print(
        f"lenstronomy {arguments.stamps / slow:8.2f} stamps/s with {chosen} × {chosen} rays a pixel, which that accuracy takes on these stamps"
    )
    print(f"ratio       {slow / fast:8.1f}")


if __name__ == "__main__":
    main()
