"""Compiled loops that lie beside the library are those of the code as it is."""

import ast
import os
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
