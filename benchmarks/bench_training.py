"""Seconds of CPU time that a training step of band networks takes per stamp, by the memory layout of the weights.

Networks of g, r, z see random stamps of 64 × 64 pixels. Layouts take turns, so that what else the machine does counts for both; times are those of
this process, the median over the repeats. `train_network` trains in `channels last`.

    PYTHONPATH=workflow/scripts python benchmarks/bench_training.py
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import numpy as np
import torch

from darkhaloscope.config.network import Network
from darkhaloscope.learning.losses import stamp_losses
from darkhaloscope.learning.networks import build_network

NETWORKS = ("slim", "timm:resnet18", "timm:efficientnet_b0", "resnet18", "efficientnet_b0", "convnext_tiny")
LAYOUTS = {"as made": torch.contiguous_format, "channels last": torch.channels_last}
SIZE = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| network | as made [ms] | channels last [ms] | ratio | bfloat16, channels last [ms] |\n|---|---|---|---|---|")
    for name in NETWORKS:
        section = Network(architecture=name, channels="bands", width=16)
        module = build_network(section)
        steps = {
            layout: _step(copy.deepcopy(module).to(memory_format=given), section, arguments.batch) for layout, given in LAYOUTS.items()
        }
        steps["bfloat16"] = _step(copy.deepcopy(module).to(memory_format=torch.channels_last), section, arguments.batch, half=True)
        times: dict[str, list[float]] = {layout: [] for layout in steps}
        for turn in range(arguments.repeats + 1):
            for layout, step in steps.items():
                start = time.process_time()
                step()
                if turn:  # the first chooses kernels
                    times[layout].append(1e3 * (time.process_time() - start) / arguments.batch)
        a, b, c = (float(np.median(values)) for values in times.values())
        print(f"| `{name}` | {a:.2f} | {b:.2f} | {a / b:.2f} | {c:.2f} |", flush=True)


def _step(module: torch.nn.Module, section: Network, batch: int, half: bool = False) -> Callable[[], None]:
    """Return one step of training on stamps that stay the same."""
    images = torch.randn(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(batch) % 2
    optimizer = torch.optim.AdamW(module.parameters(), 1e-4)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = module(images)
        stamp_losses(logits.float(), labels, section.training).each.mean().backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
