"""Places of subhalos against the laws they are drawn from."""

import numpy as np
import pytest
from scipy import stats

from darkhaloscope.config.subhalo import Subhalo
from darkhaloscope.tasks.subhalo.placement import ARC_THRESHOLD, distance_to_arc, place_in_annulus, place_near_curve, place_on_arc


def draws(count):
    return np.random.default_rng(5).random((count, 3))


def test_on_the_arc_in_proportion_to_its_light():
    flux = np.zeros((8, 8))
    flux[2, 3], flux[5, 1], flux[6, 6] = 3.0, 1.0, 0.9 * ARC_THRESHOLD * 3
    places = np.array([place_on_arc(flux, 0.5, u) for u in draws(2000)])
    column, row = ((places / 0.5 + 3.5).T + 0.5).astype(int)
    assert set(zip(row, column, strict=True)) == {(2, 3), (5, 1)}
    # Three quarters, ± 5 standard deviations of 2,000 draws.
    assert np.mean(row == 2) == pytest.approx(0.75, abs=0.05)
    inside = places[row == 2, 0] / 0.5 + 3.5 - 3
    assert stats.kstest(inside, stats.uniform(-0.5, 1).cdf).pvalue > 1e-3


def test_in_the_annulus_uniform_in_area():
    subhalo = Subhalo(annulus=(0.9, 1.3))
    places = np.array([place_in_annulus(1.1, (0.2, -0.1), subhalo, u) for u in draws(2000)]) - (0.2, -0.1)
    radius = np.hypot(*places.T) / 1.1
    assert stats.kstest(radius, lambda r: (r**2 - 0.81) / (1.69 - 0.81)).pvalue > 1e-3
    assert stats.kstest(np.arctan2(places[:, 1], places[:, 0]), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


def test_near_a_curve_uniform_along_and_across():
    angle = np.linspace(0, 2 * np.pi, 512, endpoint=False)
    circle = np.stack([0.3 + np.cos(angle), np.sin(angle)], 1)
    places = np.array([place_near_curve(circle, Subhalo(critical_band_arcsec=0.2), u) for u in draws(2000)]) - (0.3, 0)
    across = np.hypot(*places.T) - 1
    # 512 vertices: chords lie 2e-5 inside the circle.
    assert stats.kstest(across, stats.uniform(-0.2, 0.4).cdf).pvalue > 1e-3
    assert stats.kstest(np.arctan2(places[:, 1], places[:, 0]), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


def test_distance_to_the_arc_is_to_its_nearest_bright_pixel():
    flux = np.zeros((9, 9))
    flux[4, 7], flux[0, 0] = 1.0, 0.4
    assert distance_to_arc(0.0, 0.0, flux, 0.1) == pytest.approx(0.3)
    assert distance_to_arc(0.3, 0.0, flux, 0.1) == pytest.approx(0, abs=1e-12)
