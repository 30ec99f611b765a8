"""Least masses, mass functions and expected detections against numbers known otherwise."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from lenstronomy.Cosmo.lens_cosmo import LensCosmo
from pydantic import ValidationError
from scipy.integrate import quad
from scipy.stats import norm

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.evidence import Evidence, EvidenceDetector, Sensitivity
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.detectors.evidence.findings import read_observed
from darkhaloscope.detectors.evidence.fit import linearise
from darkhaloscope.detectors.evidence.prior import halo
from darkhaloscope.detectors.evidence.process import moved_source
from darkhaloscope.detectors.evidence.scan import deflections
from darkhaloscope.detectors.evidence.sensitivity import (
    expected_detections,
    least_mass,
    map_sensitivity,
    mass_function,
    mass_steps,
    sensitivity_schema,
    sigma_critical,
)


def test_least_mass_is_where_the_threshold_is_crossed():
    depth = np.array([[1.0, 6.0, 0.0, 4.0], [3.0, 8.0, 0.5, 5.0], [7.0, 9.0, 1.0, 6.0]])
    limit = least_mass(depth, np.array([8.0, 9.0, 10.0]), 5.0)
    np.testing.assert_allclose(limit, [9.5, 8.0, np.nan, 9.0])


def test_critical_density_is_that_of_lenstronomy():
    dataset, cosmology = SubhaloDataset(), Cosmology()
    expected = LensCosmo(0.3, 1.5, FlatLambdaCDM(H0=cosmology.h0, Om0=cosmology.om0)).sigma_crit_angle
    for mass in (8.0, 10.0):
        assert sigma_critical(halo("nfw", mass, 1.0, dataset, cosmology)) == pytest.approx(
            expected, rel=1e-3
        )  # their constants differ by 3 in 10,000


@pytest.mark.parametrize("slope", [-1.9, -2.0])
def test_the_mass_function_holds_its_share_of_the_mass(slope):
    settings = Sensitivity(slope=slope, fraction=0.03, mass_bounds_msun=(1e6, 1e10))
    mass = quad(lambda m: 10**m * mass_function(settings, np.array([10**m]), 8e10)[0], 6, 10)[0]
    assert mass == pytest.approx(0.03 * 8e10 / 2, rel=1e-4)


@pytest.mark.parametrize("bounds", [(1e6, 1e11), (4e6, 4e9), (10**8.6, 10**9.9), (1e6, 1e9)])
def test_expected_detections_are_an_integral_over_mass_and_place(bounds):
    """Bounds that lie between mapped masses, as the 4·10⁶ to 4·10⁹ M☉ of gravitational imaging do, take nothing else away.

    The trapezoidal rule of eight steps between two masses is 1% off where Φ rises by the whole threshold between them.
    """
    masses, settings = np.array([8.0, 9.0, 10.0]), Sensitivity(mass_bounds_msun=bounds)
    depth = np.array([[0.0, 1.0], [2.0, 3.0], [8.0, 9.0]])

    def seen(m, k):
        return mass_function(settings, np.array([10**m]), 8e10)[0] * norm.cdf(np.interp(m, masses, depth[:, k]) - 5)

    low, high = max(8.0, np.log10(bounds[0])), min(10.0, np.log10(bounds[1]))
    knots = [m for m in (9,) if low < m < high]
    expected = 0.01 * sum(quad(seen, low, high, args=(k,), points=knots or None)[0] for k in (0, 1))
    found = expected_detections(depth, masses, mass_steps(settings, masses, 8e10), 5.0, 0.01)
    assert found == pytest.approx(expected, rel=0.02)


def test_a_mass_function_beyond_all_mapped_masses_gives_no_detection():
    masses = np.array([8.0, 9.0])
    halos = mass_steps(Sensitivity(mass_bounds_msun=(1e5, 1e7)), masses, 8e10)
    assert expected_detections(np.full((2, 3), 9.0), masses, halos, 5.0, 0.01) == 0


def test_a_promised_z_is_what_a_halo_adds_to_it(detector, disks, shard):
    """The pixels of a light halo are added to the stamp, lens and kernel stay: m′ grows by the promised z times √ν′."""
    fitted = detector.fit(read_observed(shard[1], 36)[:1])[0]
    light = [halo("nfw", 8.0, 1.0, disks, Cosmology())]
    promised, before = fitted.promise(light)["flux"][0], fitted.scan(light)["flux"]
    batch, linear, row = fitted.channels["flux"]
    deflection = deflections(fitted.where, light, fitted.theta_e, batch.x[row], batch.y[row])
    size = fitted.plane.place(fitted.plane.angles(linear.values, batch.x, batch.y))[1]
    for k in (0, len(promised) // 2):
        change = batch.observe(moved_source(batch, linear.solved, row, -deflection[[k]] / size.float()).T[None])[0, :, 0]
        m = []
        for sign in (1, -1):
            seen = replace(batch, data=batch.data + sign * change.double())
            again = replace(fitted, channels={"flux": (seen, linearise(seen, fitted.plane, linear.values, linear.solved.kernel), row)})
            m.append(again.scan(light)["flux"].score[0, k])
        # Half of the difference: what is of second order in the change drops out. T itself moves with the data, by some percent.
        assert (m[0] - m[1]) / 2 == pytest.approx(promised[k] * np.sqrt(before.information[0, k]), rel=0.1)


def test_maps_of_a_stamp(detector, shard):
    settings = Sensitivity(threshold=3.0, kept=1.0, log10_mass_msun=(9.0, 10.0, 11.0), fraction=0.05)
    table = map_sensitivity(detector, read_observed(shard[1], 36)[:1], settings, Cosmology())
    sensitivity_schema(36).check(table.schema, "the maps")
    rows = {row["channel"]: row for row in table.select(["channel", "seen_share", "expected", "least_log10_mass"]).to_pylist()}
    assert set(rows) == {"flux", "velocity", "both"}
    # Two channels see what each of them sees, and more.
    assert rows["both"]["expected"] >= max(rows[c]["expected"] for c in ("flux", "velocity")) > 0
    assert rows["both"]["seen_share"] >= rows["flux"]["seen_share"]
    # What keeps half of its z passes half of the threshold where the whole passes the whole.
    half = settings.model_copy(update={"threshold": 1.5, "kept": 0.5})
    again = map_sensitivity(detector, read_observed(shard[1], 36)[:1], half, Cosmology())
    for name in ("least_log10_mass", "median_log10_mass", "seen_share"):
        assert again[name].to_pylist() == pytest.approx(table[name].to_pylist())


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValidationError, match="must increase"):
        Sensitivity(log10_mass_msun=(9, 8))
    with pytest.raises(ValidationError, match="not an increasing pair"):
        Sensitivity(mass_bounds_msun=(1e9, 1e8))
    with pytest.raises(ValidationError, match="at least one kernel"):
        Evidence(source_kernels=[[]])
    assert EvidenceDetector().seeds_of((3, 4)) == (0,)
