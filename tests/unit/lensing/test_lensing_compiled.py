"""Compiled loops that lie beside the library are those of the code as it is."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

from darkhaloscope import lensing


def test_loops_older_than_any_module_of_them_are_removed(tmp_path):
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    for k, name in enumerate(lensing.COMPILED):
        (tmp_path / f"{name}.py").touch()
        os.utime(tmp_path / f"{name}.py", (100 + k, 100 + k))
    for name, time in (("sampling.old", 101), ("sampling.new", 103)):
        (cache / f"{name}.nbi").touch()
        os.utime(cache / f"{name}.nbi", (time, time))
    lensing.drop_stale_loops(tmp_path)
    assert [path.name for path in cache.iterdir()] == ["sampling.new.nbi"]


def test_every_module_that_numba_compiles_is_named():
    folder = Path(lensing.__file__).parent
    imports = {
        path.stem
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "numba"
    }
    assert imports == set(lensing.COMPILED)


RENDER = """
import hashlib
import torch
from darkhaloscope.lensing import engine
from darkhaloscope.lensing.render import Grid
from unit.lensing.conftest import disk, pixels, random_lens, random_subhalos

torch.set_num_threads(1)
digest = hashlib.sha256()
grid = Grid(24, 0.2)
for light in (disk(4), pixels()):
    n = light.x.shape[0]
    arguments = light, random_lens(n), random_subhalos(n), grid, 1.0, 0.3
    plan = engine.plan_images(*arguments)
    image, doubt, _ = engine.compiled_images(*arguments, plan)
    for values in (plan.columns, image.numpy(), doubt.numpy()):
        digest.update(values.tobytes())
print(digest.hexdigest())
"""


def run(folder):
    """Render with the copy of the library in `folder`, in a process of its own, and return a digest of the images."""
    paths = [str(folder), *(p for p in sys.path if p and not p.endswith("workflow/scripts"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", RENDER], env=environment, check=True, capture_output=True, text=True).stdout


def test_what_was_compiled_now_and_what_was_read_from_disk_give_the_same_bits(tmp_path):
    """Whatever is on disk: nothing, everything, or one of the two functions, as where two jobs compile at a time."""
    shutil.copytree(Path(lensing.__file__).parents[1], tmp_path / "darkhaloscope", ignore=shutil.ignore_patterns("__pycache__"))
    cache = tmp_path / "darkhaloscope/lensing/__pycache__"
    kept = {}
    for name in ("nothing", "everything", "plan_rows", "render_rows"):
        if name.endswith("rows"):
            for path in cache.glob("*.nb?"):
                if f".{name}-" not in path.name:
                    path.unlink()
        kept[name] = run(tmp_path)
        assert {path.name.split("-")[0] for path in cache.glob("*.nbi")} == {"sampling.plan_rows", "sampling.render_rows"}
    assert len(set(kept.values())) == 1, kept
