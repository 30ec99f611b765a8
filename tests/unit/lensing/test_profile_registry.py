"""A lens profile is a module, a line and an entry: added from outside, it is drawn and lenses as it does in lenstronomy."""

import os
import subprocess
import sys

#: What a person writes for a point mass, which can be a main lens and a subhalo.
POINT = """
from numba import njit
from darkhaloscope.config import lenses

lenses.MAIN["point"] = ()
lenses.SUBHALO["point"] = ("theta_e_factor",)

from darkhaloscope.lensing import profiles
from darkhaloscope.lensing.compiled import inner
from darkhaloscope.lensing.floats import F
from darkhaloscope.lensing.profiles.profile import CX, CY, P, Profile

def point(x, y, theta_e):
    scale = theta_e * theta_e / (x * x + y * y).clamp(min=1e-12)
    return scale * x, scale * y

@njit(**inner)
def point_loop(n, x, y, u, v, q):
    for j in range(n):
        dx, dy = x[j] - q[CX], y[j] - q[CY]
        a = q[P] * q[P] / (dx * dx + dy * dy + F(1e-12))
        u[j] -= a * dx
        v[j] -= a * dy

POINT = Profile("point", ("theta_e",), point, ("POINT_MASS", lambda theta_e: {"theta_E": theta_e}), point_loop, lambda theta_e: (theta_e,), sharp=True)
profiles.MAIN["point"] = profiles.SUBHALO["point"] = POINT
"""
RUN = """
import point
import numpy as np, torch
from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.lensing import engine
from darkhaloscope.lensing.lens import Subhalos, critical_curve, macro_hessian, macro_lens
from darkhaloscope.lensing.observe import convolve
from darkhaloscope.lensing.profiles import codes
from darkhaloscope.lensing.reference import lens_model
from darkhaloscope.lensing.render import Grid, render
from darkhaloscope.tasks.subhalo.manifest import build_manifest
from darkhaloscope.tasks.subhalo.render import render_rows
from unit.lensing.conftest import pixels

torch.set_num_threads(1)
values = {"size": {"train": 4, "validation": 0, "test": 0}, "instrument": {"stamp_size": 32}, "sources": {"sample": None, "mix": {"disk": 1.0}},
          "lens": {"profile": "point"}, "subhalo": {"profiles": {"point": 1.0}}}
dataset = SubhaloDataset.model_validate(values)
manifest = build_manifest("points", dataset, None, Cosmology())
rows = manifest.to_pylist()
assert {r["lens_profile"] for r in rows} == {r["subhalo_profile"] for r in rows} == {r["mass_bin"] for r in rows} == {"point"}
assert all(r["subhalo_theta_e_arcsec"] > 0 and r["subhalo_rs_arcsec"] is None and r["lens_e"] == 0 for r in rows)
stamps = render_rows(manifest, dataset, None, Cosmology())
slow = dataset.model_copy(update={"rendering": dataset.rendering.model_copy(update={"renderer": "lenstronomy", "supersampling": 12})})
theirs = render_rows(manifest, slow, None, Cosmology())
for name in ("magnification", "lensed_hlr_arcsec", "critical_radius_arcsec"):
    np.testing.assert_allclose(stamps[name].to_numpy(), theirs[name].to_numpy(), rtol=0.02)

# The compiled loops, torch and lenstronomy, as main lens and as subhalo, with shear and a multipole.
one = torch.ones(2, dtype=torch.float64)
lens = macro_lens("point", 0.9 * one, gamma1=0.03 * one, m4=0.01 * one)
subhalos = Subhalos(torch.full((2, 1), codes()["point"]), 0.8 * one[:, None], 0.3 * one[:, None], 0.1 * one[:, None], *(one[:, None] for _ in range(3)))
light, grid, kernel = pixels(), Grid(24, 0.15), torch.ones(5, 5, dtype=torch.float64) / 25
ours = convolve(engine.render_accurate(light, lens, subhalos, grid, 2e-3, kernel), kernel)
exact = convolve(render(light, lens, subhalos, grid, 24), kernel)
error = ((ours - exact).abs().amax((2, 3)) / exact.abs().amax((2, 3))).max()
assert error < 4e-3, error
x, y = torch.randn(2, 40, dtype=torch.float64).chunk(2)
model, arguments = lens_model(lens, subhalos, 0)
fxx, fxy, _, fyy = lens_model(lens, None, 0)[0].hessian(x[0].numpy(), y[0].numpy(), lens_model(lens, None, 0)[1])
for a, b in zip(macro_hessian(lens[:1], x, y), (fxx, fxy, fyy)):
    np.testing.assert_allclose(a[0].numpy(), b, rtol=1e-6, atol=1e-6)
# The model-based detector looks for it, and for no halo; examples, report and marginal observer take it as it is.
from darkhaloscope.detectors.evidence.prior import LensPrior, subhalo_profiles
from darkhaloscope.evaluation.examples import _subhalo
from darkhaloscope.report.facts import dataset_facts
from darkhaloscope.tasks.subhalo.marginal import marginal_d_prime

(sought,) = subhalo_profiles(dataset, Cosmology())
assert (sought.name, sought.kind, sought.factor) == ("point", codes()["point"], 0.03)
apart = torch.tensor([0.5], dtype=torch.float64)
torch.testing.assert_close(sought.along(apart, 1.0), (0.03 * 1.0) ** 2 / apart)
assert not {"e1", "slope"} & set(LensPrior.of(dataset.lens).names)
assert _subhalo(rows[0]).startswith("POINT subhalo of θ_E 0.0"), _subhalo(rows[0])
found = marginal_d_prime(stamps.slice(0, 1), dataset, Cosmology())
assert len(found) == 1 and 0 < found["marginal_d_prime_both"][0] <= found["ideal_d_prime_both"][0], found.T
assert dict(dataset_facts(dataset))["subhalo strength"] == "POINT: 0.03 θ_E"

# The critical curve of a point mass alone is its Einstein ring.
alone = macro_lens("point", 0.9 * one)
torch.testing.assert_close(critical_curve(alone).radius, alone.theta_e, atol=1e-8, rtol=0)
print("code", codes()["point"])
"""


def test_a_profile_that_is_added_lenses_in_torch_in_the_compiled_loops_and_in_lenstronomy(tmp_path):
    (tmp_path / "point.py").write_text(POINT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", RUN], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # After those that the project has, whose codes stay what they are.
    assert done.stdout.split() == ["code", "4"]


def test_every_profile_has_an_entry_in_the_config_and_a_line_in_the_registry():
    from darkhaloscope.config import lenses
    from darkhaloscope.lensing import lens, profiles

    assert list(profiles.MAIN) == list(lenses.MAIN) and list(profiles.SUBHALO) == list(lenses.SUBHALO)
    assert profiles.codes() == {"sis": lens.SIS, "nfw": lens.NFW, "tnfw": lens.TNFW} == {"sis": 1, "nfw": 2, "tnfw": 3}
