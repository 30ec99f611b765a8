"""The library without the workflow: the examples of docs/library.md run, and what pip would install is whole."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import darkhaloscope
from darkhaloscope.config.manga import Archive
from darkhaloscope.core.tables import Column, Schema, write_table
from darkhaloscope.learning import operators
from darkhaloscope.lensing.reference import render_with_lenstronomy
from darkhaloscope.mock.manga import make_mock_manga

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/library.md").read_text(encoding="utf-8")
EXAMPLES = {title: code for title, code in re.findall(r"(?ms)^## ([^\n]+)\n.*?```python\n(.*?)```", TEXT)}


def run(title):
    found = {}
    exec(compile(EXAMPLES[title], f"docs/library.md, {title}", "exec"), found)
    return found


def test_the_page_has_its_examples():
    assert set(EXAMPLES) == {"One lensed image", "A table of scores", "The readers"}


def test_one_lensed_image():
    found = run("One lensed image")
    smooth, difference = found["smooth"][0, 0].numpy(), found["difference"]
    assert smooth.shape == difference.shape == (64, 64)
    y, x = np.indices(smooth.shape) - 31.5
    # The light is on the ring of θ_E = 1.1″, and the subhalo changes it as lenstronomy says.
    assert abs((smooth * np.hypot(x, y)).sum() / smooth.sum() * 0.06 - 1.1) < 0.1
    reference = [render_with_lenstronomy(found["light"], found["lens"], s, found["grid"], 4) for s in (None, found["subhalo"])]
    wanted = found["convolve"](reference[1] - reference[0], found["kernel"])[0, 0].numpy()
    assert np.abs(difference - wanted).max() < 1e-6 * smooth.max() and np.abs(difference).max() > 0.05 * smooth.max()


def test_a_table_of_scores(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng, label = np.random.default_rng(1), np.arange(2000) % 2
    pq.write_table(pa.table({"label": label.astype("int8"), "score": 2 * label + rng.normal(size=2000)}), "scores.parquet")
    auc = run("A table of scores")["auc"]
    # Normal scores 2 apart: AUC Φ(2/√2) = 0.921, and 2,000 stamps know it to 0.006.
    assert auc["low"] < 0.921 < auc["high"] and f"AUC {auc['value']:.3f}" in capsys.readouterr().out


def test_the_readers(tmp_path, monkeypatch):
    sample = Archive()
    make_mock_manga(tmp_path / "archive", sample, 4)
    maps = next((tmp_path / "archive").rglob("manga-*-MAPS-*.fits.gz"))
    maps.rename(tmp_path / "manga-maps.fits.gz")
    flux = np.arange(3 * 8 * 8, dtype="float32").reshape(3, 8, 8)
    write_table(
        tmp_path / "stamps.parquet", s := Schema("stamps", (Column("flux", "float32", "", "Flux", (8, 8)),)), s.table({"flux": flux})
    )
    monkeypatch.chdir(tmp_path)
    found = run("The readers")
    assert found["maps"].velocity.shape == found["maps"].velocity_valid.shape
    assert np.array_equal(found["flux"], flux)


def test_what_pip_installs_is_what_the_library_imports_and_its_templates():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = set(project["project"]["dependencies"])
    pinned = {re.split(r"[=\[]", line)[0] for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"}
    assert names <= pinned
    modules = {"scikit-learn": "sklearn", "pyyaml": "yaml", "astropy-healpix": "astropy_healpix"}
    package = Path(darkhaloscope.__file__).parent
    sources = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    for name in names:
        assert re.search(rf"(?m)^\s*(?:import|from) {modules.get(name, name)}\b", sources), f"nothing imports {name}"
    # Every other file of the library lies in a `templates` folder or is a list of names, and the package data has both.
    assert project["tool"]["setuptools"]["package-data"] == {"*": ["templates/*", "*.txt"]}
    others = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts]
    assert others and all(path.parent.name == "templates" or path.suffix == ".txt" for path in others), others


@pytest.mark.slow
def test_a_wheel_holds_modules_and_templates(tmp_path):
    import shutil
    import subprocess
    import sys
    import zipfile

    pytest.importorskip("setuptools")
    source = tmp_path / "source"
    shutil.copytree(ROOT / "workflow/scripts/darkhaloscope", source / "workflow/scripts/darkhaloscope")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", tmp_path, source]
    subprocess.run(command, check=True, capture_output=True, text=True)
    [wheel] = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "workflow/scripts"
    wanted = {str(p.relative_to(package)) for p in (package / "darkhaloscope").rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert wanted <= held, wanted - held


@pytest.mark.parametrize("first", ["timm", "darkhaloscope.learning"])
def test_timm_is_imported_whatever_was_imported_first(first, tmp_path):
    """With what set-up writes into an environment, and no library installed."""
    operators.install(tmp_path)
    metadata = tmp_path / "darkhaloscope_operators-1.dist-info"
    listed = {line.split(",")[0] for line in (metadata / "RECORD").read_text().splitlines()}
    assert listed == {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}  # so that pip can uninstall it
    code = f"import {first}, timm, torchvision; timm.create_model('resnet18'); import darkhaloscope.learning; print('fine')"
    path = os.pathsep.join([str(tmp_path), str(ROOT / "workflow/scripts")])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.skipif(
    os.path.exists("/dev/nvidiactl") or os.uname().sysname != "Linux" or os.uname().machine != "x86_64", reason="a GPU, or no x86-64 Linux"
)
def test_setup_takes_cpu_builds_where_there_is_no_gpu_and_their_index_answers(tmp_path):
    (tmp_path / "Makefile").write_text(f"include {ROOT / 'Makefile'}\nshow:\n\t@echo '$(PIP_ARGS)'\n")
    (tmp_path / "cpu/torch").mkdir(parents=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))

    def show(*arguments):
        done = subprocess.run(
            ["make", "--no-print-directory", "-f", "Makefile", "show", *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/cpu"
        assert show(f"CPU_BUILDS={address}") == f"--extra-index-url {address}"
        assert show(f"CPU_BUILDS={address}", "PIP_ARGS=--quiet") == "--quiet"
        server.shutdown()
    assert show(f"CPU_BUILDS={address}") == ""  # nobody answers: the build that the given indexes have
