"""A new source of velocity maps: a module of its own and a line in the registry take it from its file to the bank."""

import importlib
import json
import sys
import textwrap

import numpy as np
import pytest

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.manga import Galaxies, Lensability, Quality
from darkhaloscope.ifu.bank import build_bank
from darkhaloscope.ifu.lensability import lensability_table
from darkhaloscope.ifu.members import READ, read_galaxy
from darkhaloscope.ifu.quality import measure_quality
from darkhaloscope.ifu.tensors import build_source_tensor, write_source_tensor

MODULE = '''
"""Maps of an instrument that writes text: a JSON file of lists."""

import json

import numpy as np

from darkhaloscope.ifu.maps import Maps, MapsError


def read_text_maps(path, quality):
    content = json.loads(open(path, encoding="utf-8").read())
    if "velocity" not in content:
        raise MapsError(f"{path}: expected a map `velocity`, found {', '.join(content)}; write the file anew")
    flux, velocity = np.array(content["flux"]), np.array(content["velocity"])
    good = flux > 0
    y, x = np.indices(flux.shape)
    radius = np.hypot(x - content["centre"][0], y - content["centre"][1]) * content["pixel"]
    return Maps(
        galaxy_id=content["name"], physical_id=content["name"], instrument="SINFONI", line="Ha-6564", kinematics="gas",
        z=content["z"], ba=0.7, pa_deg=90.0, reff_arcsec=content["reff"], psf_fwhm_arcsec=0.2, pixel_scale_arcsec=content["pixel"],
        flux=flux, flux_ivar=good / 0.1**2, flux_valid=good, velocity=velocity * good, velocity_ivar=good * 1.0, velocity_valid=good,
        dispersion=np.zeros_like(flux), dispersion_valid=np.zeros_like(good), r_re=radius / content["reff"], counted=good,
        gradient_step_arcsec=content["reff"] / 10,
    )
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "sinfoni_maps.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "sinfoni_maps", raising=False)
    return importlib.import_module("sinfoni_maps")


def test_a_module_and_a_line_make_a_member(module, monkeypatch, tmp_path):
    monkeypatch.setitem(READ, "sinfoni", module.read_text_maps)
    y, x = np.indices((40, 60))
    radius = np.hypot(x - 30, y - 20)
    flux = np.where(radius < 18, 900 * np.exp(-radius / 6), 0) * 0.05**2
    content = {"name": "GMASS-2438", "z": 1.6, "pixel": 0.05, "reff": 0.4, "centre": [30, 20]}
    content |= {"flux": flux.tolist(), "velocity": (12.0 * (x - 30)).tolist()}
    path = tmp_path / "GMASS-2438.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    maps = read_galaxy("sinfoni", path, Quality())
    metrics = measure_quality(maps, Quality())
    # 12 km/s per pixel of 0.05 arcsec over a tenth of 0.4 arcsec.
    assert metrics["vel_grad"] == pytest.approx(12 / 0.05 * 0.04)
    assert metrics["usable"], metrics["unusable_because"]
    files = [tmp_path / f"tensor.{ending}" for ending in ("npz", "json")]
    write_source_tensor(build_source_tensor(maps, metrics, 64, Cosmology(), ""), *files)
    bank = build_bank([files], lensability_table([metrics], Lensability()), Galaxies(n_top=1))
    assert (bank["instrument"].to_pylist(), bank.num_rows) == (["SINFONI"], 1)
    path.write_text(json.dumps({"flux": []}), encoding="utf-8")
    with pytest.raises(module.MapsError, match="expected a map `velocity`, found flux"):
        read_galaxy("sinfoni", path, Quality())
