"""Background clumps drawn from a mass function: a list per row, the same for both classes.

dN/dM ∝ M^slope between two masses, uniform in area about the lens. The clumps add their mass to that of the smooth lens:
its Einstein radius and critical curve are stated without them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...config.cosmology import Cosmology
from ...config.subhalo import Population, SubhaloDataset
from ...core.random import quantile, stream
from ...lensing.lens import NONE, Subhalos, nfw_angles
from ...lensing.profiles import codes
from ...stamps.columns import Columns
from .lights import UNUSED

#: Mass at which the normalisation is given [M☉].
PIVOT_MSUN = 1e8


@dataclass(frozen=True)
class Clumps:
    """Clumps of n rows: their profiles, padded, and each row's number and mass of them, (n,)."""

    halos: Subhalos
    count: NDArray[np.int64]
    mass_msun: NDArray[np.float64]


def mean_count(population: Population, theta_e: NDArray) -> NDArray:
    """Return the expected number of clumps of lenses with Einstein radii `theta_e` [arcsec], (n,).

    Density × area × ∫ (M/10⁸ M☉)^(slope + 1) d log₁₀M.
    """
    low, high = (math.log(m / PIVOT_MSUN) for m in population.mass_msun)
    power = population.slope + 1
    # expm1 keeps the integral of a slope near −1, where it is the logarithm of the bounds' ratio.
    integral = high - low if power == 0 else math.exp(power * low) * math.expm1(power * (high - low)) / power
    return population.density * math.pi * (population.radius * np.asarray(theta_e, float)) ** 2 * integral / math.log(10)


def draw_masses(population: Population, uniform: NDArray) -> NDArray:
    """Return the masses [M☉] at uniform numbers in [0, 1), by the inverse of the mass function's cumulative law."""
    low, high = (math.log(m) for m in population.mass_msun)
    power = population.slope + 1
    span = (high - low) * uniform if power == 0 else np.log1p(uniform * math.expm1(power * (high - low))) / power
    return np.exp(low + span)


def draw_clumps(columns: Columns, dataset: SubhaloDataset, cosmology: Cosmology, dtype: torch.dtype) -> Clumps | None:
    """Draw the clumps of rows of the manifest, each from the row's own stream; None where the dataset has none.

    The number is Poisson, with the mean of `mean_count`.
    """
    population = dataset.population
    if population.density == 0:
        return None
    mean = mean_count(population, columns["theta_e_arcsec"])
    draws = []
    for number, expected in zip(columns["number"], mean, strict=True):
        generator = stream(dataset.seed, int(number), "population")
        draws.append(generator.random((int(generator.poisson(expected)), 5)))
    count = np.array([len(d) for d in draws])
    row, u = np.repeat(np.arange(len(count)), count), np.concatenate(draws).T
    mass = draw_masses(population, u[0])
    radius, angle = population.radius * columns["theta_e_arcsec"][row] * np.sqrt(u[1]), 2 * np.pi * u[2]
    concentration = quantile(dataset.subhalo.concentration, u[3])
    r_s, alpha_rs = nfw_angles(mass, concentration, columns["z_lens"][row], columns["z_source"][row], cosmology)
    place = (row, np.concatenate([np.arange(k) for k in count]))

    def padded(values: NDArray, fill: float) -> torch.Tensor:
        out = np.full((len(count), max(1, count.max())), fill)
        out[place] = values
        return torch.as_tensor(out)

    halos = Subhalos(
        kind=padded(np.full(len(row), codes()[population.profile]), NONE).long(),
        x=padded(columns["lens_x_arcsec"][row] + radius * np.cos(angle), 0.0).to(dtype),
        y=padded(columns["lens_y_arcsec"][row] + radius * np.sin(angle), 0.0).to(dtype),
        theta_e=padded(np.full(len(row), UNUSED), UNUSED).to(dtype),
        r_s=padded(r_s, UNUSED).to(dtype),
        alpha_rs=padded(alpha_rs, UNUSED).to(dtype),
        r_t=padded(r_s * quantile(dataset.subhalo.truncation, u[4]), UNUSED).to(dtype),
    )
    return Clumps(halos, count, np.bincount(row, mass, len(count)))
