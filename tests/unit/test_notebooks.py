"""The notebooks of docs/notebooks: each runs from its first cell to its last in an empty folder without the network, and says what is right."""

import json
import socket
from pathlib import Path

import matplotlib
import numpy as np
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "docs/notebooks"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the cells of a notebook one after the other; return what they leave. Who asks for the network is told so."""

    def refuse(*_):
        raise AssertionError("a notebook asked for the network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    matplotlib.use("agg")

    def cells(name):
        book, found = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")), {}
        for k, cell in enumerate(book["cells"]):
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), f"{name}.ipynb, cell {k}", "exec"), found)
        found["plt"].close("all")
        return found

    return cells


def test_there_is_one_for_an_image_a_table_and_the_readers_and_none_keeps_outputs():
    found = sorted(NOTEBOOKS.glob("*.ipynb"))
    assert [path.stem for path in found] == ["lensed-image", "readers", "scores-table"]
    for path in found:
        book = json.loads(path.read_text(encoding="utf-8"))
        code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
        assert book["nbformat"] == 4 and code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code), path


def test_lensed_image(run, capsys):
    found = run("lensed-image")
    smooth, gas = found["smooth"][0], found["gas"]
    y, x = np.indices(smooth.shape) - 31.5
    assert abs((smooth * np.hypot(x, y)).sum() / smooth.sum() * 0.06 - 1.1) < 0.1  # the light is on the ring
    # A velocity is a mean of the source's: none is beyond its rotation of 200 km/s, and both sides are seen.
    assert np.nanmax(np.abs(gas)) < 200 and np.nanmin(gas) < -80 and np.nanmax(gas) > 80
    curve = found["curve"]
    assert np.hypot(curve.x[0].numpy(), curve.y[0].numpy()).mean() == pytest.approx(1.1, abs=0.05)
    assert "the subhalo changes up to" in capsys.readouterr().out


def test_scores_table(run):
    found = run("scores-table")
    low, high = found["by_snr"]["value"].iloc[[0, -1]]
    # Normal scores s apart have AUC Φ(s/√2): 0.839 and 0.967 for 1.4 and 2.6; half of 4,000 stamps know it to 0.02.
    assert low == pytest.approx(0.839, abs=0.03) and high == pytest.approx(0.967, abs=0.02)
    assert found["auc"]["low"] < found["auc"]["value"] < found["auc"]["high"] and len(found["roc"]) > 10


def test_readers(run):
    found = run("readers")
    assert found["maps"].velocity.shape == found["maps"].velocity_valid.shape and found["maps"].velocity_valid.sum() > 100
    # Surface brightness is averaged: what little is lost lies at the edge.
    assert found["stamp"].image.sum() == pytest.approx(found["cutout"].image.sum(), rel=0.02)
    assert found["flux"].shape == (2, 64, 64)
