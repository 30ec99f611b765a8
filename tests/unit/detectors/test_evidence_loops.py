"""What compiled loops give on a processor against what torch gives on any device, and the projection against the marginal observer."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.linalg import solve_triangular

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import Lens
from darkhaloscope.detectors.evidence import loops, process
from darkhaloscope.detectors.evidence.fit import different
from darkhaloscope.detectors.evidence.operators import Sparse, operator
from darkhaloscope.detectors.evidence.prior import LensPrior
from darkhaloscope.detectors.evidence.process import Kernel
from darkhaloscope.detectors.evidence.scan import Trial, marginalise
from darkhaloscope.lensing.lens import join
from darkhaloscope.stamps.columns import row_columns
from darkhaloscope.tasks.subhalo.marginal import MACRO, MULTIPOLES, Model, marginal_d_prime, tangents
from darkhaloscope.tasks.subhalo.observation import flux_variance
from darkhaloscope.tasks.subhalo.render import subhalos_at

#: Width of a parameter that is as good as free, in σ.
WIDE = 1e4


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def symmetric(*shape):
    values = random(*shape)
    return values + values.mT


@pytest.mark.parametrize("profile", ["sis", "sie", "epl"])
def test_deflections_and_derivatives_are_those_of_the_profiles(profile):
    """The closed forms against forward-mode differentiation of the engine's own profiles, in float32."""
    prior = LensPrior.of(Lens(profile=profile))
    rng = np.random.default_rng(5)
    values = prior.values(torch.as_tensor(rng.uniform(-3, 3, (4, len(prior.names)))))
    radius, angle = rng.uniform(0.3, 1.7, (4, 60)), rng.uniform(0, 2 * np.pi, (4, 60))
    x, y = (torch.as_tensor(radius * f(angle)) for f in (np.cos, np.sin))
    deflection, pushed = prior.derivatives(values, x, y)
    expected, by_torch = prior.differentiate(values, x, y)
    np.testing.assert_allclose(deflection, expected, atol=3e-6)
    np.testing.assert_allclose(pushed, by_torch, atol=3e-5)
    assert torch.equal(deflection, prior.deflect(values, x, y))


def test_a_ray_at_the_centre_is_finite():
    prior = LensPrior.of(Lens())
    values = torch.as_tensor(prior.mean)[None]
    deflection, pushed = prior.derivatives(values, torch.zeros(1, 1), torch.zeros(1, 1))
    assert bool(torch.isfinite(deflection).all()) and bool(torch.isfinite(pushed).all())


def test_operators_are_the_same_matrix():
    matrices = [sp.random(n, r, density=0.3, random_state=n, format="csr") for n, r in ((9, 12), (6, 10))]
    here, there = operator(matrices, 9, 12, "cpu"), Sparse.made(matrices, 9, 12, "cpu")
    for one, other in ((here, there), (here.of([1, 0, 1]), there.of([1, 0, 1]))):
        stamps = len(one.rows)
        for call, values in (
            ("observe", random(stamps, 12, 3)),
            ("project", random(stamps, 9, 3)),
            ("between_pixels", symmetric(stamps, 12, 12)),
            ("between_rays", symmetric(stamps, 9, 9)),
        ):
            found, expected = getattr(one, call)(values), getattr(other, call)(values)
            np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=call)


@pytest.mark.parametrize(("n", "r"), [(9, 12), (16, 33), (37, 52)])  # fewer rows than are transposed together, as many, and more
def test_products_from_both_sides_are_those_of_dense_matrices(n, r):
    matrix = sp.random(n, r, density=0.3, random_state=n, format="csr")
    compiled, dense = operator([matrix], n, r, "cpu"), matrix.toarray()
    values, others = symmetric(1, r, r), symmetric(1, n, n)
    np.testing.assert_allclose(compiled.between_pixels(values)[0], dense @ values[0].numpy() @ dense.T, atol=1e-5)
    np.testing.assert_allclose(compiled.between_rays(others)[0], dense.T @ others[0].numpy() @ dense, atol=1e-5)


def test_covariances_are_those_of_torch():
    beta = random(2, 30, 2) / 3
    kernel = Kernel(torch.tensor([[0.5, 0.3], [0.4, 0.0]]), torch.tensor([[0.2, 0.6], [0.07, 1.0]]))
    bright = random(2, 30).abs()
    for found, lit, expected in zip(
        process.matern(beta, kernel), process.matern(beta, kernel, bright=bright), process._matern(beta, kernel), strict=True
    ):
        near = 1e-6 * float(expected.abs().max())
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=near)
        np.testing.assert_allclose(lit, expected * bright[:, :, None] * bright[:, None], rtol=1e-4, atol=10 * near)
    covariance, nothing = process.matern(beta, kernel, steep=False)
    assert torch.equal(covariance, process.matern(beta, kernel)[0]) and nothing.numel() == 0


def test_covariances_far_away_are_nothing():
    beta = torch.tensor([[[0.0, 0.0], [40.0, 0.0]]])
    assert float(process.matern(beta, Kernel.of(((1.0, 0.01),), 1))[0][0, 0, 1]) < 1e-30


def test_vector_fields_are_sums_over_rays():
    beta, covariance, steepness, pull, u = random(30, 2), symmetric(30, 30), symmetric(30, 30), symmetric(30, 30), random(30)
    steepness, edge = steepness.flip(0, 1), random(30, 2).flip(0)
    score, gradient = (np.empty((30, 2), np.float32) for _ in range(2))
    given = (beta.T.contiguous(), covariance, steepness, edge, pull, u)
    loops.vector_fields(*(a.numpy() for a in given), score, gradient)
    slope = steepness[..., None] * (beta[:, None] - beta[None]) + covariance[..., None] * edge[:, None]
    np.testing.assert_allclose(score, ((u[:, None] * u[None] - pull)[..., None] * slope).sum(1), atol=4e-4)
    np.testing.assert_allclose(gradient, (u[:, None] * slope).sum(1), atol=4e-4)


def test_kernels_are_the_same_whatever_fills_them_up():
    one = Kernel.of(((0.25, 0.07),), 2)
    assert one.equals(Kernel.of(((0.25, 0.07), (0.0, 1.0)), 2))
    assert not one.equals(Kernel.of(((0.25, 0.12), (0.0, 1.0)), 2))
    assert not one.equals(Kernel.of(((0.25, 0.07), (0.1, 1.0)), 2))


def test_starts_that_are_the_same_are_kept_once():
    offset, height = torch.tensor([[0.0, 0.0], [0.1, 0.1], [1.0, 0.0], [0.0, 2.0]]), torch.tensor([1.0, 3.0, 2.0, 0.0])
    assert different(offset, height, 2) == [1, 2]
    assert different(offset, height, 5) == [1, 2, 3]


def test_what_is_left_after_lens_and_source_is_the_marginal_observers(disks, shard):
    """√ν′ against `marginal_d_prime` where both are linear.

    The source is a Gaussian process whose covariance holds the directions of a disk's parameters, as good as free; the lens'
    parameters are marginalised as in a scan. The marginal observer projects all of them out by a singular value decomposition.
    """
    rows = shard[0].slice(0, 1)
    expected = marginal_d_prime(rows, disks, Cosmology())["marginal_d_prime_flux"][0]
    one = row_columns(rows)
    model = Model.of(one, disks, Cosmology())
    subhalos = subhalos_at(one, one["subhalo_x_arcsec"], one["subhalo_y_arcsec"], torch.float64)
    flux, with_it = (
        m.observe(m.start()[None])[0][0].numpy().ravel() for m in (model, replace(model, subhalos=join(model.subhalos, subhalos)))
    )
    instrument = disks.instrument
    variance = flux_variance(flux, float(one["peak_snr"][0]), instrument.noise.background_share)
    directions = tangents(one, disks, Cosmology())[0].reshape(-1, flux.size)
    directions = directions / np.linalg.norm(directions / np.sqrt(variance), axis=1, keepdims=True).clip(1e-12)
    lens = len(MACRO) + 2 * sum(float(one[f"multipole_m{m}"][0]) != 0 for m in MULTIPOLES)
    # Ten thousand σ along each direction: as good as free, and still a matrix that can be factorised.
    covariance = np.diag(variance) + WIDE**2 * directions[lens:].T @ directions[lens:]
    factor = np.linalg.cholesky(covariance)
    white, jacobian = (
        torch.as_tensor(solve_triangular(factor, a.T, lower=True)) for a in ((with_it - flux)[None], WIDE * directions[:lens])
    )
    nothing = torch.zeros(lens, dtype=torch.float64)
    scan = marginalise([Trial(white, nothing[:1], jacobian, nothing)], nothing, 1)
    # Directions that nearly depend on each other are rounded in both.
    assert scan.information[0, 0] ** 0.5 == pytest.approx(expected, rel=5e-3)
    assert expected < 0.8 * np.linalg.norm((with_it - flux) / np.sqrt(variance))
