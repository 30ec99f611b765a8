"""Analytic disks against GalSim, numerical integrals and the closed form in torch that is lensed."""

import galsim
import numpy as np
import pytest
import torch
from scipy import stats

from darkhaloscope.lensing.light import DiskLight
from darkhaloscope.sources.disk import OUTERMOST_KNOT, Disk, disk_moments, disk_source, draw_knots, no_knots
from darkhaloscope.sources.source import SourceError

PARAMETERS = {
    "scale_radius": 0.25,
    "turnover": 0.1,
    "v_max": 210.0,
    "inclination": 1.0,
    "dispersion": 25.0,
    "pa": 0.7,
}


def test_light_of_a_smooth_disk_is_galsims_sheared_exponential():
    disk = Disk(**PARAMETERS, knots=no_knots())
    q = np.cos(disk.inclination)
    other = galsim.Exponential(scale_radius=disk.scale_radius * np.sqrt(q), flux=1).shear(q=q, beta=disk.pa * galsim.radians)
    x, y = np.random.default_rng(1).uniform(-1, 1, (2, 50))
    flux, _ = disk_moments(disk, x, y)
    # GalSim's exponential is exact up to its own 1e-5 table.
    assert flux == pytest.approx([other.xValue(a, b) for a, b in zip(x, y, strict=True)], rel=1e-4)


def test_bulge_is_galsims_sersic():
    disk = Disk(**PARAMETERS, knots=no_knots(), bulge_fraction=1.0, bulge_n=2.5, bulge_radius=0.2)
    other = galsim.Sersic(n=2.5, half_light_radius=0.2, flux=1)
    x, y = np.random.default_rng(1).uniform(0.02, 1, (2, 30))
    assert disk_moments(disk, x, y)[0] == pytest.approx([other.xValue(a, b) for a, b in zip(x, y, strict=True)], rel=1e-4)


def test_all_parts_together_have_flux_one():
    knots, _ = draw_knots(1, 2, 8, 0.4, 0.05, 0.25)
    disk = Disk(**PARAMETERS, knots=knots, bulge_fraction=0.2, bulge_n=1.0, bulge_radius=0.1)
    source = disk_source(disk, 0.01, 801)
    # 4 arcsec are 16 scale radii; what is left is the midpoint rule at the cusp.
    assert source.planes()[0].sum() * source.pixel_scale_arcsec**2 == pytest.approx(1, abs=2e-3)


def test_rotation_along_the_major_axis():
    disk = Disk(**PARAMETERS, knots=no_knots())
    r = np.array([0.05, 0.3, 3.0])
    _, velocity = disk_moments(disk, r * np.cos(disk.pa), r * np.sin(disk.pa))
    assert velocity == pytest.approx(disk.v_max * np.sin(disk.inclination) * (1 - np.exp(-r / disk.turnover)))
    _, minor = disk_moments(disk, -r * np.sin(disk.pa), r * np.cos(disk.pa))
    assert minor == pytest.approx(0, abs=1e-9)


def test_image_equals_the_light_that_is_lensed():
    knots, bar_phi = draw_knots(3, 5, 6, 0.3, 0.04, 0.25)
    disk = Disk(
        **PARAMETERS, knots=knots, bulge_fraction=0.2, bulge_radius=0.1, bar_amplitude=30.0, bar_phi=bar_phi, radial_flow=-15.0, v_sys=12.0
    )
    one = {
        "flux": 1.0, "x": 0.0, "y": 0.0, "pa": disk.pa, "inclination": disk.inclination, "scale_radius": disk.scale_radius,
        "bulge_fraction": 0.2, "bulge_n": 2.0, "bulge_radius": 0.1, "v_max": disk.v_max, "r_turn": disk.turnover, "v_sys": 12.0,
        "sigma0": disk.dispersion, "bar_amplitude": 30.0, "bar_phi": bar_phi, "radial_flow": -15.0,
    }  # fmt: skip
    several = {"knot_x": knots.x, "knot_y": knots.y, "knot_share": knots.share, "knot_sigma": knots.sigma}
    light = DiskLight(
        **{k: torch.tensor([v], dtype=torch.float64) for k, v in one.items()}, **{k: torch.as_tensor(v)[None] for k, v in several.items()}
    )
    source = disk_source(disk, 0.03, 64)
    axis = (torch.arange(64, dtype=torch.float64) - 31.5) * 0.03
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    planes = light.moments(x[None], y[None])[0].numpy()
    # The torch version expands b_n of the bulge: 1e-4 of its light.
    for mine, theirs in zip(source.planes(), planes, strict=True):
        assert np.abs(mine - theirs).max() < 2e-4 * np.abs(theirs).max()


def test_knots_are_the_rows_own():
    first, phi = draw_knots(1, 7, 6, 0.3, 0.04, 0.2)
    again, phi_again = draw_knots(1, 7, 6, 0.3, 0.04, 0.2)
    other, _ = draw_knots(1, 8, 6, 0.3, 0.04, 0.2)
    more, _ = draw_knots(1, 7, 9, 0.3, 0.04, 0.2)
    assert np.array_equal(first.x, again.x) and phi == phi_again
    assert not np.isin(first.x, other.x).any()
    assert np.array_equal(more.x[:6], first.x)
    assert first.share.sum() == pytest.approx(0.3)


def test_knots_follow_the_exponential_light():
    radii = np.concatenate([np.hypot(k.x, k.y) for k, _ in (draw_knots(1, n, 40, 0.3, 0.04, 0.2) for n in range(50))]) / 0.2
    law = stats.gamma(2)
    p = stats.kstest(radii, lambda r: law.cdf(r) / law.cdf(OUTERMOST_KNOT)).pvalue
    # One fixed seed; 1e-3 keeps a true failure visible with 2,000 radii.
    assert p > 1e-3 and radii.max() < OUTERMOST_KNOT


def test_no_knots_can_be_drawn():
    knots, _ = draw_knots(1, 7, 0, 0.3, 0.04, 0.2)
    assert len(knots.x) == 0


def test_an_edge_on_disk_is_refused():
    with pytest.raises(SourceError, match="inclination 90"):
        disk_moments(Disk(**{**PARAMETERS, "inclination": np.pi / 2}, knots=no_knots()), 0.0, 0.0)


def test_more_than_all_light_is_refused():
    knots, _ = draw_knots(1, 7, 3, 0.7, 0.04, 0.2)
    with pytest.raises(SourceError, match="more than all"):
        disk_moments(Disk(**PARAMETERS, knots=knots, bulge_fraction=0.5), 0.0, 0.0)
