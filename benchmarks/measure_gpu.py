"""One measurement of `benchmarks/gpu.sh`: rows of its table, `| what | figure |`, on the CPU and on the device that is asked for.

    PYTHONPATH=workflow/scripts:tests:benchmarks python benchmarks/measure_gpu.py engine --device cuda

Rates are of wall time: the device works while the CPU waits. Each is that of the fastest of a few runs, after one that is not counted, or, of
training steps and scoring, of all steps within a time. Networks get random stamps that lie on the device: loading is measured by itself.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from darkhaloscope.config.network import Network
from darkhaloscope.learning.device import repeatable_float32
from darkhaloscope.learning.losses import stamp_losses
from darkhaloscope.learning.networks import build_network
from darkhaloscope.learning.scaling import inputs_of

#: Networks whose training is measured: name, section, pixels on a side.
BANDS = [(name, {"architecture": name, "channels": "bands"}, 64) for name in ("resnet18", "convnext_tiny", "efficientnet_b0")]
KINEMATIC = [
    (f"{name}, both channels", {"architecture": name, "channels": "both"}, 48)
    for name in ("toy", "deep_baseline", "deep_dual_stream", "unet")
]
SECONDS = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASUREMENTS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="few stamps, to see that it runs")
    arguments = parser.parse_args()
    MEASUREMENTS[arguments.what](torch.device(arguments.device), arguments.small)


def tell(what: str, figure: str) -> None:
    """Print one row of the table, at once: a measurement that is cut leaves what it has."""
    print(f"| {what} | {figure} |", flush=True)


def engine(device: torch.device, small: bool) -> None:
    """The engine's rays summed by compiled loops on the CPU and by torch on the device, and plain rays of `render` on both."""
    from bench_rendering import subhalo_rows

    from darkhaloscope.lensing.engine import _with_pyramid, compiled_images, plan_images
    from darkhaloscope.lensing.render import render
    from unit.lensing.planned_rays import sum_plan

    n = 2 if small else 64
    light, lens, subhalos, grid, _ = subhalo_rows(n)
    light = _with_pyramid(light)
    plan = plan_images(light, lens, subhalos, grid, 3.0, 0.2)
    images, _, rays = compiled_images(light, lens, subhalos, grid, 3.0, 0.2, plan)
    cpu = rate(lambda: compiled_images(light, lens, subhalos, grid, 3.0, 0.2, plan), n, torch.device("cpu"))
    tell(
        "engine, compiled loops on the CPU",
        f"{cpu:,.0f} stamps/s, {torch.get_num_threads()} threads, {rays.double().mean():,.0f} rays each",
    )
    there = [on(part, device) for part in (light, lens, subhalos)]
    found, _ = sum_plan(plan, *there, grid)
    gpu = rate(lambda: sum_plan(plan, *there, grid), n, device)
    error = (found.cpu() - images).abs().amax((2, 3)) / images.abs().amax((2, 3))
    tell(
        "the same rays in torch on the device",
        f"{gpu:,.0f} stamps/s, {gpu / cpu:.2f} × the CPU; largest difference {error.max():.1e} of the peak",
    )
    truth = render(light, lens, subhalos, grid, 4)
    on_cpu, on_device = (
        rate(lambda given=given: render(*given, grid, 4), n, where)
        for given, where in (((light, lens, subhalos), torch.device("cpu")), (there, device))
    )
    again = render(*there, grid, 4).cpu()
    error = (again - truth).abs().amax((2, 3)) / truth.abs().amax((2, 3))
    tell(
        "4 × 4 rays everywhere, `lensing.render`",
        f"CPU {on_cpu:,.0f}, device {on_device:,.0f} stamps/s; largest difference {error.max():.1e} of the peak",
    )


def detector(device: torch.device, small: bool) -> None:
    """The evidence detector on rendered stamps of disks: seconds per stamp, and how far its findings are apart."""
    from darkhaloscope.config.cosmology import Cosmology
    from darkhaloscope.config.evidence import Evidence
    from darkhaloscope.config.subhalo import SubhaloDataset
    from darkhaloscope.core.tables import write_table
    from darkhaloscope.detectors.evidence.detect import Detector
    from darkhaloscope.detectors.evidence.findings import read_observed
    from darkhaloscope.tasks.subhalo.manifest import build_manifest
    from darkhaloscope.tasks.subhalo.render import render_rows
    from darkhaloscope.tasks.subhalo.schema import stamp_schema

    n = 1 if small else 16
    dataset = SubhaloDataset.model_validate(
        {"size": {"train": max(n, 2), "validation": 0, "test": 0}, "sources": {"sample": None, "mix": {"disk": 1.0}}}
    )
    rows = render_rows(build_manifest("gpu", dataset, None, Cosmology()), dataset, None, Cosmology())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stamps.parquet"
        write_table(path, stamp_schema(dataset.instrument.stamp_size), rows)
        stamps = read_observed(path, dataset.instrument.stamp_size)[:n]
    found = {}
    for name, where, count in (("CPU", "cpu", min(n, 4)), ("device", device, n)):
        made = Detector.of(dataset, Cosmology(), Evidence(batch_size=count), where)
        made.detect(stamps[:1])
        started = time.perf_counter()
        found[name] = made.detect(stamps[:count])
        seconds = time.perf_counter() - started
        tell(f"evidence detector, {name}, {count} at a time", f"{seconds / count:.2f} s per stamp")
    here, there = (found[name][0] for name in ("CPU", "device"))
    tell("its lens of one stamp, CPU and device", f"{abs((here.lens - there.lens) / here.errors).max():.1e} standard errors apart at most")


def training(device: torch.device, small: bool, networks: list = BANDS) -> None:
    """Forward, backward and optimiser's step; in bfloat16, as `training.precision` chooses on a GPU that has it, or float32 on a CPU."""
    batch, half = 2 if small else 256, device.type == "cuda"
    for name, section, size in networks:
        module, inputs = network(section, size, batch, device)
        module = module.to(memory_format=torch.channels_last)  # as training does
        labels = torch.arange(batch, device=device) % 2
        settings = Network.model_validate(section).training
        optimizer = torch.optim.AdamW(module.parameters(), 1e-4)

        def step(module=module, inputs=inputs, labels=labels, optimizer=optimizer, settings=settings) -> None:
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                logits = module(*inputs)
            stamp_losses(logits.float(), labels, settings).each.mean().backward()
            optimizer.step()

        tell(
            f"training, {name}, {size} pixels, {'bfloat16' if half else 'float32'}, batches of {batch}",
            f"{steady(step, batch, device, small):,.0f} stamps/s",
        )


def kinematic(device: torch.device, small: bool) -> None:
    """Training of networks of the subhalo task."""
    training(device, small, KINEMATIC)


def scoring(device: torch.device, small: bool) -> None:
    """Scores as rule score_stamps computes them: float32, the same algorithms each time, batches of 64; CPU and device agree."""
    from darkhaloscope.learning.score import BATCH

    batch = 2 if small else BATCH
    for name, section, size in (*BANDS, *KINEMATIC[1:2]):
        module, inputs = network(section, size, batch, device)
        module.eval()
        with torch.inference_mode(), repeatable_float32():
            speed = steady(lambda module=module, inputs=inputs: module(*inputs), batch, device, small)
            there = module(*inputs).float().cpu()
            here = module.cpu()(*(part.cpu() for part in inputs))
        margins = [(logits[:, 1] - logits[:, 0]).double().sigmoid() for logits in (here, there)]
        tell(
            f"scoring, {name}, {size} pixels, float32",
            f"{speed:,.0f} stamps/s; scores differ by {(margins[0] - margins[1]).abs().max():.1e} at most",
        )


def loading(device: torch.device, small: bool) -> None:
    """Stamps of bands from shards, as `bench_loading` reads them, and from memory to the device."""
    from bench_loading import BATCH, SIZE, measure, write

    n = 512 if small else 4096
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(*write(Path(folder), n), n, 1)
    for name, what in (
        ("decode", "first pass over shards"),
        ("epoch", "an epoch of decoded stamps"),
        ("augmented", "the same, turned and shifted"),
    ):
        tell(f"loading, {what}, one thread", f"{figures[name]:,.0f} stamps/s of CPU")
    batch = torch.randn(BATCH, 3, SIZE, SIZE)
    tell("loading, memory to the device", f"{rate(lambda: batch.to(device), BATCH, device):,.0f} stamps/s")


def network(section: dict, size: int, batch: int, device: torch.device) -> tuple[torch.nn.Module, list[torch.Tensor]]:
    """Return a network and random inputs on a device."""
    torch.manual_seed(1)
    settings = Network.model_validate(section)
    module = build_network(settings).to(device)
    if settings.channels == "bands":
        return module, [torch.randn(batch, 3, size, size, device=device), torch.zeros(batch, 6, device=device)]
    pixels = torch.randn(batch, len(inputs_of(settings)), size, size, device=device)
    return module, [pixels.to(memory_format=torch.channels_last)]


def on(part: Any, device: torch.device) -> Any:
    """Return a light, a lens or subhalos with its tensors on a device, in single precision."""
    values = {f.name: getattr(part, f.name) for f in fields(part)}
    moved = {
        name: value.to(device, torch.float32 if value.is_floating_point() else value.dtype)
        for name, value in values.items()
        if isinstance(value, torch.Tensor)
    }
    return replace(part, **moved)


def rate(work: Callable[[], Any], n: int, device: torch.device, repeats: int = 3) -> float:
    """Return stamps per second of the fastest of some runs, after one that may compile."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - started)
    return n / min(times[1:])


def steady(step: Callable[[], Any], n: int, device: torch.device, small: bool) -> float:
    """Return stamps per second over some seconds of steps, after three that choose algorithms."""
    for _ in range(0 if small else 3):
        step()
    wait(device)
    started, steps = time.perf_counter(), 0
    while steps == 0 or time.perf_counter() - started < (0.5 if small else SECONDS):
        step()
        wait(device)
        steps += 1
    return steps * n / (time.perf_counter() - started)


def wait(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


MEASUREMENTS = {
    "training": training,
    "kinematic": kinematic,
    "scoring": scoring,
    "engine": engine,
    "detector": detector,
    "loading": loading,
}

if __name__ == "__main__":
    main()
