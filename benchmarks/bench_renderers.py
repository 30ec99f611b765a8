"""The subhalo chain's two renderers on the demo's stamps: `renderer: torch` against `renderer: lenstronomy`.

The first stamps of the demo's training split, each with and without its subhalo (at θ_E, at a random angle), behind the PSF: by
both renderers in one process with one thread. lenstronomy gets the coarsest uniform supersampling that brings the flux of every
image within the engine's accuracy of what it gives with `--converged` rays on a side. The engine's time includes the rough image
that it places subhalos by; lenstronomy places them by its image without subhalo. Times are those of the process. Without
`--bank`, the bank of the demo's galaxies, all stamps are of analytic disks.

    PYTHONPATH=workflow/scripts python benchmarks/bench_renderers.py --bank results/demo-full/manga/mock/bank.parquet
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import yaml

from darkhaloscope.config.run import load
from darkhaloscope.config.subhalo import Rendering, SubhaloDataset
from darkhaloscope.ifu.bank import read_bank
from darkhaloscope.lensing.observe import convolve, psf_kernel
from darkhaloscope.lensing.render import Grid
from darkhaloscope.stamps.columns import row_columns, take
from darkhaloscope.tasks.subhalo.lights import lights
from darkhaloscope.tasks.subhalo.manifest import build_manifest
from darkhaloscope.tasks.subhalo.render import RENDERERS, macro_lenses, subhalos_at

SUPERSAMPLINGS = (4, 6, 8, 12, 16)
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=int, default=32)
    parser.add_argument("--bank", help="bank of the demo's galaxies")
    parser.add_argument("--converged", type=int, default=24, help="rays on a side of the reference")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = load(yaml.safe_load((ROOT / "config" / "demo-full.yaml").read_text(encoding="utf-8")), ROOT)
    values = config.datasets["subhalo"].plain()
    values["size"] = {"train": arguments.stamps, "validation": 0, "test": 0}
    if not arguments.bank:
        values["sources"] |= {"sample": None, "mix": {"disk": 1.0}}
    dataset = SubhaloDataset.model_validate(values)
    bank = read_bank(arguments.bank) if arguments.bank else None
    columns = row_columns(build_manifest("bench", dataset, bank, config.cosmology))
    manga = columns["source_kind"] == "manga"
    groups = []
    for rows, light in lights(columns, dataset, bank, config.cosmology, torch.float32):
        some = take(columns, rows)
        groups.append((some, light(some)))
    accuracy = dataset.rendering.accuracy
    truth, _ = images(groups, dataset, renderer="lenstronomy", supersampling=arguments.converged)

    def error(found: np.ndarray) -> np.ndarray:
        return (np.abs(found - truth).max((2, 3)) / truth.max((2, 3))).max(0)

    runs = [images(groups, dataset) for _ in range(3)]  # the first may compile
    ours, fast = error(runs[0][0]), min(seconds for _, seconds in runs)
    print(f"{arguments.stamps} stamps ({manga.sum()} of MaNGA galaxies), accuracy {accuracy:g}")
    print(f"torch       {arguments.stamps / fast:8.1f} stamps/s; errs by {np.median(ours):.1e} (median), {ours.max():.1e} (largest)")
    for supersampling in SUPERSAMPLINGS:
        found, slow = images(groups, dataset, renderer="lenstronomy", supersampling=supersampling)
        theirs = error(found).max()
        print(
            f"lenstronomy {arguments.stamps / slow:8.2f} stamps/s with {supersampling} × {supersampling} rays; errs by {theirs:.1e}",
            flush=True,
        )
        if theirs <= accuracy:
            print(f"ratio at that accuracy {slow / fast:.1f}")
            return
    print(f"lenstronomy did not reach the accuracy; ratio at its finest {slow / fast:.1f}")


def images(groups, dataset: SubhaloDataset, **rendering) -> tuple[np.ndarray, float]:
    """Flux without and with subhalo behind the PSF, (2, n, h, w), and the seconds that they took."""
    start = time.process_time()
    grid = Grid(dataset.instrument.stamp_size, dataset.instrument.pixel_scale_arcsec)
    kernel = psf_kernel(dataset.instrument.psf, grid.pixel_scale, torch.float32)
    settings = Rendering.model_validate({**dataset.rendering.plain(), **rendering})
    out = []
    for columns, light in groups:
        renderer = RENDERERS[settings.renderer](light, macro_lenses(columns, torch.float32), None, grid, kernel, settings)
        convolve(renderer.rough(), kernel)
        angle = 2 * np.pi * columns["placement_1"]
        x, y = (columns[f"lens_{k}_arcsec"] + columns["theta_e_arcsec"] * f(angle) for k, f in (("x", np.cos), ("y", np.sin)))
        pair = renderer.pair(subhalos_at(columns, x, y, torch.float32))
        out.append(np.stack([convolve(image, kernel)[:, 0].double().numpy() for image in pair]))
    return np.concatenate(out, 1), time.process_time() - start


if __name__ == "__main__":
    main()
