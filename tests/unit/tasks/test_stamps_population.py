"""Background clumps: counts and masses against their analytic law, the same in both classes."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import integrate, stats

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import Population
from darkhaloscope.core.tables import images
from darkhaloscope.lensing.lens import TNFW
from darkhaloscope.stamps.columns import row_columns
from darkhaloscope.tasks.subhalo.manifest import build_manifest
from darkhaloscope.tasks.subhalo.population import draw_clumps, draw_masses, mean_count
from darkhaloscope.tasks.subhalo.render import render_rows

COSMOLOGY = Cosmology()
POPULATION = {"density": 1.5, "slope": -1.9, "mass_msun": [1e8, 1e10], "radius": 1.5}


@pytest.mark.parametrize("slope", [-1.9, -1.0, -0.4])
def test_the_mean_number_is_the_integral_of_the_mass_function(slope):
    population = Population(density=1.5, slope=slope, mass_msun=(1e7, 3e9), radius=1.5)
    per_dex, _ = integrate.quad(lambda x: 1.5 * (10**x / 1e8) ** (slope + 1), 7, np.log10(3e9))
    assert mean_count(population, np.array([1.0, 0.5])) == pytest.approx(per_dex * np.pi * np.array([1.5, 0.75]) ** 2, rel=1e-9)


@pytest.mark.parametrize("slope", [-1.9, -1.0, 0.5])
def test_masses_follow_the_power_law(slope):
    population = Population(slope=slope, mass_msun=(1e7, 1e9))
    u = (np.arange(1000) + 0.5) / 1000
    mass = draw_masses(population, u)
    cumulative = [integrate.quad(lambda x: np.exp((slope + 1) * x), np.log(1e7 / 1e8), np.log(m / 1e8))[0] for m in (*mass[::100], 1e9)]
    assert np.array(cumulative[:-1]) / cumulative[-1] == pytest.approx(u[::100], rel=1e-6)


def test_counts_masses_and_places_of_many_rows(make_dataset):
    dataset = make_dataset(size={"train": 600}, population=POPULATION, lens={"theta_e_arcsec": 1.0})
    columns = row_columns(build_manifest("few", dataset, None, COSMOLOGY))
    clumps = draw_clumps(columns, dataset, COSMOLOGY, torch.float64)
    used = clumps.halos.kind == TNFW
    assert (used.sum(1).numpy() == clumps.count).all() and used.shape[1] == clumps.count.max()
    mean = mean_count(dataset.population, columns["theta_e_arcsec"])[0]
    # Poisson: the mean of 600 draws is known to √(mean/600), the variance to about mean √(2/600); 5 and 5 of those.
    assert clumps.count.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / 600))
    assert clumps.count.var() == pytest.approx(mean, abs=5 * mean * np.sqrt(2.2 / 600))
    x, y = (getattr(clumps.halos, k) - torch.as_tensor(columns[f"lens_{k}_arcsec"])[:, None] for k in ("x", "y"))
    radius = torch.hypot(x, y)[used].numpy() / 1.5
    assert stats.kstest(radius**2, "uniform").pvalue > 1e-4
    assert clumps.halos.r_t[used].min() > 0 and (clumps.mass_msun >= 1e8 * clumps.count).all()


def test_clumps_are_the_same_in_both_classes_and_change_what_is_seen(make_dataset):
    quiet = {"noise": {"flux": False, "velocity": False, "peak_snr": 20}}
    few = {"size": {"train": 4}, "instrument": quiet, "rendering": {"accuracy": 1e-3}}
    without, having = make_dataset(**few), make_dataset(**few, population=POPULATION)
    rows = build_manifest("few", having, None, COSMOLOGY)
    place = rows.schema.get_field_index("label")

    def render(dataset, label):
        labelled = rows.set_column(place, rows.schema.field("label"), pa.array([label] * 4, rows.schema.field("label").type))
        return render_rows(labelled, dataset, None, COSMOLOGY)

    control, positive, smooth = render(having, 0), render(having, 1), render(without, 0)
    for name in ("clump_count", "clump_mass_msun", "d_prime_flux", "magnification"):
        assert control.column(name).combine_chunks().equals(positive.column(name).combine_chunks()), name
    assert (np.asarray(control.column("clump_count")) > 0).any()
    # Clumps of 10⁸ to 10¹⁰ M☉ move light by milli-arcseconds: by more than the accuracy of 10⁻³.
    change = np.abs(images(control, "flux") - images(smooth, "flux")).max((1, 2))
    assert change.max() > 1e-2
