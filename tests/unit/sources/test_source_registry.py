"""A kind of source is a module, a line and an entry: added from outside, it is drawn and rendered like the others."""

import os
import subprocess
import sys

import pytest

#: What a person writes for a new kind with velocities: maps, with a section, a column and random numbers of its own.
RING = """
import numpy as np
from pydantic import Field
from darkhaloscope.config.base import AboveZero, Section, draw
from darkhaloscope.config.sources import MOVING as ENTRIES, SourceKind

class Ring(Section):
    radius_arcsec: AboveZero = Field(draw({"uniform": [0.1, 0.2]}), description="Radius of the ring [arcsec]")

ENTRIES["ring"] = SourceKind(section=Ring, description="Rings", columns=(("ring_radius_arcsec", "float64", "arcsec", "Radius of the ring"),))

from darkhaloscope.core.random import quantile
from darkhaloscope.sources import moving
from darkhaloscope.sources.kinds import Moving
from darkhaloscope.sources.source import moment_planes

class RingMaps:
    def __init__(self, supply, columns):
        y, x = (np.indices((41, 41)) - 20) / 8.0
        radius = np.hypot(x, y)
        light = np.exp(-((radius - 1) ** 2) / 0.08)
        self.planes = moment_planes(light, 150 * x / np.maximum(radius, 0.1), np.full_like(x, 20.0), radius < 2.4)[None]

    def place(self, columns):
        n = len(columns["number"])
        return np.zeros(n, int), columns["ring_radius_arcsec"] / 8.0, np.zeros((n, 2))

    def resolution_arcsec(self, columns):
        return np.zeros(len(columns["number"]))

def drawn(draws):
    return {"ring_radius_arcsec": quantile(draws.sources.ring.radius_arcsec, draws.own("ring", 1)[:, 0])}

moving.KINDS["ring"] = Moving(draw=drawn, maps=RingMaps)
"""
RUN_RING = """
import ring
import numpy as np, torch
from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import Sources, SubhaloDataset
from darkhaloscope.tasks.subhalo.manifest import build_manifest
from darkhaloscope.tasks.subhalo.render import render_rows

torch.set_num_threads(1)
def made(**mix):
    values = {"size": {"train": 8, "validation": 4, "test": 0}, "instrument": {"stamp_size": 32}, "sources": {"sample": None, "mix": mix}}
    dataset = SubhaloDataset.model_validate(values)
    manifest = build_manifest("rings", dataset, None, Cosmology())
    return manifest, render_rows(manifest, dataset, None, Cosmology())

manifest, stamps = made(ring=0.5, disk=0.5)
kind, radius = (np.array(manifest[name].to_pylist(), object) for name in ("source_kind", "ring_radius_arcsec"))
assert set(kind) == {"ring", "disk"}, kind
assert all((r is not None) == (k == "ring") for r, k in zip(radius, kind)) and 0.1 <= min(r for r in radius if r) <= max(r for r in radius if r) <= 0.2
assert all((r is None) == (k == "ring") for r, k in zip(manifest["disk_v_max_kms"].to_pylist(), kind))
flux, velocity, mask = (np.stack(stamps[name].combine_chunks().to_numpy_ndarray()) for name in ("flux", "velocity", "mask"))
assert np.isfinite(flux).all() and (flux.max((1, 2)) > 0.5).all() and (mask.sum((1, 2)) > 10).all()
rings = kind == "ring"
assert 40 < np.abs(velocity[rings]).max() < 400
# A disk's bits do not depend on what other kinds there are: only their places in the mix do.
alone, plain = made(disk=1.0)
for name in ("disk_v_max_kms", "src_x_arcsec", "theta_e_arcsec"):
    assert [v for v, r in zip(alone[name].to_pylist(), rings) if not r] == [v for v, r in zip(manifest[name].to_pylist(), rings) if not r]
same = np.stack(plain["flux"].combine_chunks().to_numpy_ndarray())
assert (same[~rings] == flux[~rings]).all()
# Examples and their captions need nothing of the kind's own.
from darkhaloscope.evaluation.examples import choose_examples
from darkhaloscope.tasks.subhalo.lights import row_source
from darkhaloscope.stamps.columns import row_columns
import pyarrow.parquet as pq

columns = row_columns(manifest)
source = row_source(columns, int(np.flatnonzero(rings)[0]), SubhaloDataset.model_validate({"sources": {"sample": None, "mix": {"ring": 1.0}}}), None, Cosmology())
light = source.flux > 0.05
assert source.valid.any() and abs(np.abs(source.velocity[light]).max() - 150) < 1 and np.allclose(source.dispersion[light], 20)
pq.write_table(stamps, "stamps.parquet")
values = {"instrument": {"stamp_size": 32}, "sources": {"sample": None, "mix": {"ring": 0.5, "disk": 0.5}}}
captions = choose_examples("stamps.parquet", SubhaloDataset.model_validate(values), None, Cosmology())["caption"].to_pylist()
assert "ring" in captions and any(c.startswith("disk · ") for c in captions) and not any("nan" in c for c in captions), captions
try:
    Sources.model_validate({"mix": {"rings": 1.0}})
except ValueError as error:
    assert "ring" in str(error)
print("rings", int(rings.sum()))
"""

#: A new kind without velocities, for the lens finder, with a column of its own.
BAR = """
import numpy as np
from darkhaloscope.config.sources import STILL as ENTRIES, SourceKind

ENTRIES["bar"] = SourceKind(columns=(("bar_length", "float64", "", "Length of the bar over its half-light radius"),))

from darkhaloscope.sources import stills
from darkhaloscope.sources.kinds import Still
from darkhaloscope.sources.still import still_image

def image(files):
    def of(row):
        y, x = (np.indices((41, 41)) - 20) / 10.0
        light = np.exp(-np.abs(y) * 3 - np.abs(x) / float(row["bar_length"]))
        return still_image(light, float(row["src_reff_arcsec"]) / 10, "a bar")
    return of

stills.KINDS["bar"] = Still(image=image, draw=lambda draws: {"bar_length": 1 + draws.own("bar", 1)[:, 0]}, symmetric=True)
"""
RUN_BAR = """
import bar
import numpy as np, torch
from darkhaloscope.config.lensfinder import LensFinderDataset
from darkhaloscope.tasks.lensfinder.light import lens_sources
from darkhaloscope.tasks.lensfinder.priors import draw_injections, grid_cells
from darkhaloscope.tasks.lensfinder.schema import MANIFEST

torch.set_num_threads(1)
dataset = LensFinderDataset.model_validate({"sources": {"mix": {"bar": 0.5, "sersic": 0.5}}})
n = 8
columns = draw_injections(dataset, "train", np.arange(n), np.zeros(n, int), *grid_cells(dataset.injection, 1, "train", n), {})
bars = columns["source_kind"] == "bar"
assert 0 < bars.sum() < n and (np.isnan(columns["bar_length"]) == ~bars).all() and (np.isnan(columns["src_n"]) == bars).all()
assert "bar_length" in [c.name for c in MANIFEST.columns]
lensed = lens_sources(columns, np.zeros((n, 2)), np.full((n, 3), 1.2), dataset.camera, 1e-2, {})
assert (lensed.magnification > 1).all() and (lensed.closure < 0.02).all(), lensed
print("bars", int(bars.sum()))
"""


@pytest.mark.parametrize(("name", "module", "run"), [("ring", RING, RUN_RING), ("bar", BAR, RUN_BAR)])
def test_a_kind_that_is_added_is_drawn_and_rendered(tmp_path, name, module, run):
    (tmp_path / f"{name}.py").write_text(module)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", run], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name}s ") and int(done.stdout.split()[1]) > 0


def test_every_kind_has_an_entry_in_the_config_and_a_line_in_the_registry():
    from darkhaloscope.config import sources
    from darkhaloscope.sources import moving, stills

    assert list(moving.KINDS) == list(sources.MOVING) and list(stills.KINDS) == list(sources.STILL)
    for kind in moving.KINDS.values():
        assert (kind.disk is None) != (kind.maps is None)


def test_a_kind_without_its_line_is_named():
    from darkhaloscope.sources import moving, stills
    from darkhaloscope.sources.source import SourceError

    for kinds in (moving.KINDS, stills.KINDS):
        with pytest.raises(SourceError, match="source kind `ring` has an entry in config.sources and no line in `KINDS`"):
            kinds["ring"]
