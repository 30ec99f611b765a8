"""Stamps a second of `render_stamps` and `inject_stamps` beside those of the rendering engine within them, and what else takes time.

The job of a shard is done again from its record, by the library's function, in one thread: reading, rendering, measures, noise, and
the file. The engine's part is its own calls, of the same stamps in the same run. CPU seconds of the process; the start of a job (3 s)
is left out. Parts are timed where they are called and overlap in nothing.

    PYTHONPATH=workflow/scripts python benchmarks/bench_stages.py results/demo/datasets/lensfinder/stamps/test/00000.parquet results/demo/datasets/subhalo/stamps/test/00000.parquet
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import torch

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.lensfinder import LensFinderDataset
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import write_table
from darkhaloscope.ifu.bank import read_bank
from darkhaloscope.stamps.manifest import read_rows
from darkhaloscope.stamps.seen import write_seen
from darkhaloscope.surveys.legacysurvey import bricks
from darkhaloscope.tasks.lensfinder import inject, inputs, light
from darkhaloscope.tasks.lensfinder import schema as lensfinder
from darkhaloscope.tasks.lensfinder import seen as lensfinder_seen
from darkhaloscope.tasks.subhalo import observation, render
from darkhaloscope.tasks.subhalo import schema as subhalo
from darkhaloscope.tasks.subhalo import seen as subhalo_seen

#: What is timed: the part, and where the functions are looked up that it consists of.
PARTS: dict[str, list[tuple[ModuleType | type, str]]] = {
    "engine": [(light, "render_accurate"), (render, "render_together")],
    "cutouts": [(bricks.Brick, "cutout")],
    "PSFs": [(light, "convolve"), (render, "convolve")],
    "critical curves, stretches": [(light, "stretches"), (render, "stretches"), (render, "critical_curve"), (render, "count_images")],
    "pyramids of sources": [(light, "build_pyramid")],
    "noise of velocities": [(observation, "noisy_velocity"), (observation, "velocity_errors")],
    "measures": [(inject, "_plain"), (inject, "_host"), (inject, "_arc"), (render, "arc_signal_to_noise"), (render, "half_light_radius")],
    "files": [(__import__(__name__), "write_table"), (__import__(__name__), "write_seen")],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+", type=Path, help="Parquet files of stamps of a finished run, seen from its folder")
    parser.add_argument("--stamps", type=int, help="so many of the first rows of each")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    spent: Counter[str] = Counter()
    for part, functions in PARTS.items():
        for home, name in functions:
            setattr(home, name, timed(getattr(home, name), part, spent))
    for shard in arguments.shards:
        rows, work = job(shard)
        rows = rows.slice(0, arguments.stamps or rows.num_rows)
        work(rows.slice(0, 64))  # compiled loops are loaded
        spent.clear()
        start = time.process_time()
        digest = work(rows)
        cpu = time.process_time() - start
        rest = cpu - sum(spent.values())
        n, engine = rows.num_rows, spent["engine"]
        print(f"\n{shard}: {n} stamps, {n / cpu:.0f} a second; the engine {n / engine:.0f}; ratio {engine / cpu:.2f}; images {digest}")
        for part, seconds in (*spent.most_common(), ("all else", rest)):
            print(f"  {part:30}{1e3 * seconds / n:8.2f} ms a stamp {seconds / cpu:6.0%}")


def timed(function: Callable, part: str, spent: Counter[str]) -> Callable:
    """Return a function that adds its CPU seconds to those of a part, less those of other parts that it calls."""

    def call(*args, **kwargs):
        inner, start = sum(spent.values()), time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[part] += time.process_time() - start - (sum(spent.values()) - inner)

    return call


def job(shard: Path) -> tuple[pa.Table, Callable[[pa.Table], str]]:
    """Return the rows of a shard, and what makes stamps of some of them and returns a digest of their images."""
    record = json.loads((shard.parent / "provenance" / f"{shard.name}.json").read_text(encoding="utf-8"))
    params, wildcards, files = record["params"], record["wildcards"], list(record["inputs"])
    root = shard.parents[4]

    def only(ending: str) -> list[str]:
        return [path for path in files if path.endswith(ending)]

    if record["rule"] == "inject_stamps":
        dataset = LensFinderDataset.model_validate(params["dataset"])
        manifest, schema, seen = lensfinder.MANIFEST, lensfinder.stamp_schema(dataset.camera.stamp_size), lensfinder_seen.SEEN
        folders = sorted((root / "legacysurvey" / dataset.survey / "bricks").iterdir())
        stills = inputs.open_stills(
            {"cosmos": only("cosmos_sources.parquet"), "catalog": [params["catalog"]], "bank": only("bank.parquet")}
        )

        def make(rows: pa.Table) -> pa.Table:
            cutouts = inputs.cut_rows(rows, folders, dataset.camera.stamp_size, **params["survey"])
            return inject.inject_rows(rows, dataset, cutouts, stills, params["survey"]["bands"])
    else:
        dataset = SubhaloDataset.model_validate(params["dataset"])
        manifest, schema, seen = subhalo.MANIFEST, subhalo.stamp_schema(dataset.instrument.stamp_size), subhalo_seen.SEEN
        bank = read_bank(only("bank.parquet")[0]) if only("bank.parquet") else None

        def make(rows: pa.Table) -> pa.Table:
            return render.render_rows(rows, dataset, bank, Cosmology.model_validate(params["cosmology"]))

    def work(rows: pa.Table) -> str:
        made = make(rows)
        with tempfile.TemporaryDirectory() as folder:
            write_table(Path(folder) / shard.name, schema, made)
            write_seen(Path(folder) / "seen.parquet", Path(folder) / shard.name, made, seen, dataset)
        name = "image" if "image" in made.column_names else "flux"
        return hashlib.sha256(made[name].combine_chunks().storage.values.to_numpy().tobytes()).hexdigest()[:12]

    return read_rows(only("manifest.parquet")[0], manifest, wildcards["split"], int(wildcards["shard"]), dataset.shard_size), work


if __name__ == "__main__":
    main()
