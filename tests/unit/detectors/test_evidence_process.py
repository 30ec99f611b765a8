"""The evidence against a dense Gaussian likelihood, its derivatives against finite differences, its score over noise draws."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.stats import multivariate_normal

from darkhaloscope.detectors.evidence.fit import Linear
from darkhaloscope.detectors.evidence.pixels import Channel, stack
from darkhaloscope.detectors.evidence.process import Kernel, _factorise, evidences, fields, moved_source, solve, source_flux, whiten
from darkhaloscope.detectors.evidence.scan import changes

PIXELS, RAYS = 30, 40
TERMS = ((0.5, 0.2), (0.3, 0.6))


@pytest.fixture
def channel():
    rng = np.random.default_rng(4)
    operator = sp.random(PIXELS, RAYS, density=0.2, random_state=3, format="csr")
    x, y = rng.uniform(-0.5, 0.5, (2, RAYS))
    return Channel(rng.standard_normal(PIXELS), rng.uniform(0.01, 0.05, PIXELS), operator, x, y)


def positions(channel):
    return torch.tensor(np.stack([channel.x, channel.y], 1))[None]


def dense_covariance(channel, beta):
    """B K Bᵀ + V in float64."""
    operator = channel.operator.toarray()
    return operator @ dense_kernel(beta) @ operator.T + np.diag(channel.variance)


def dense_kernel(beta):
    """K in float64, term by term as the Matérn kernel is defined."""
    distance = np.hypot(*(beta[:, None] - beta[None]).transpose(2, 0, 1))
    return sum(a**2 * (1 + np.sqrt(3) * distance / length) * np.exp(-np.sqrt(3) * distance / length) for a, length in TERMS)


def log_evidence(channel, beta):
    return multivariate_normal(cov=dense_covariance(channel, beta)).logpdf(channel.data)


def test_evidence_is_the_likelihood_of_a_dense_gaussian(channel):
    beta = positions(channel)
    solved = solve(stack([channel]), beta, Kernel.of(TERMS, 1))
    assert float(solved.log_evidence) == pytest.approx(log_evidence(channel, beta[0].numpy()), abs=5e-4)
    direct = channel.data @ np.linalg.solve(dense_covariance(channel, beta[0].numpy()), channel.data)
    assert float(solved.chi2(stack([channel]))) == pytest.approx(direct / PIXELS, rel=1e-5)


def test_evidences_of_several_kernels_are_those_of_each(channel):
    beta, batch = positions(channel), stack([channel, replace(channel, data=channel.data[::-1].copy())])
    both = beta.expand(2, -1, -1)
    # The second differs from the first in strength alone, the third in its extent, the last by stamp.
    kernels = [
        Kernel.of(TERMS, 2),
        Kernel.of(tuple((3 * a, length) for a, length in TERMS), 2),
        Kernel.of(TERMS, 2, extent=0.4),
        Kernel(*(torch.tensor(rows, dtype=torch.float64) for rows in ([[0.5, 0.3], [1.0, 0.6]], [[0.2, 0.6], [0.4, 0.1]]))),
    ]
    found = evidences(batch, both, kernels)
    expected = torch.stack([solve(batch, both, kernel).log_evidence for kernel in kernels], 1)
    assert float((found[:, 0] - found[:, 1]).abs().min()) > 1
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32 products in another order


@pytest.mark.parametrize("noise", [1e-2, 1e-3, 1e-4, 1e-6])
def test_a_factor_in_float32_is_taken_where_it_is_good_enough(noise):
    """Of an image of 300 pixels, noise down to a millionth of the light's variance: ln E to 0.1, where a subhalo moves it by several."""
    rng = np.random.default_rng(1)
    at = rng.uniform(-1, 1, (300, 2))
    distance = torch.cdist(*[torch.as_tensor(at)] * 2)
    light = ((1 + distance * 2) * torch.exp(-distance * 2)).float()
    covariance = light.double() + noise * torch.eye(300)
    data = torch.linalg.cholesky(covariance) @ torch.as_tensor(rng.standard_normal((300, 1)))
    batch = stack([Channel(data[:, 0].numpy(), np.full(300, noise), sp.eye(300, format="csr"), *at.T)])
    log_evidence = _factorise(batch, light[None].clone())[2]
    expected = multivariate_normal(cov=covariance.numpy()).logpdf(data[:, 0].numpy())
    assert float(log_evidence) == pytest.approx(expected, abs=0.1)


def test_bright_light_beside_the_source_is_not_rounded_to_float32():
    """A lens galaxy known to 300 beside noise of 0.01: its covariance in float32 is off by as much as the noise."""
    rng = np.random.default_rng(2)
    at = rng.uniform(-1, 1, (60, 2))
    distance = torch.cdist(*[torch.as_tensor(at)] * 2)
    source = ((1 + distance * 2) * torch.exp(-distance * 2)).float()
    light = 300 * rng.uniform(0.5, 1, (60, 2))
    covariance = source.double().numpy() + light @ light.T + 1e-4 * np.eye(60)
    data = np.linalg.cholesky(covariance) @ rng.standard_normal(60)
    batch = stack([Channel(data, np.full(60, 1e-4), sp.eye(60, format="csr"), *at.T, light)])
    # By numpy: scipy's normal takes a condition of 10¹¹ for a singular matrix.
    expected = -0.5 * (data @ np.linalg.solve(covariance, data) + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert float(_factorise(batch, source[None])[2]) == pytest.approx(expected, abs=0.01)


def test_score_field_is_the_derivative_of_the_evidence_by_the_rays(channel):
    beta, batch = positions(channel), stack([channel])
    found = fields(batch, solve(batch, beta, Kernel.of(TERMS, 1))).score[0].numpy()
    step = 1e-4
    for ray, axis in ((0, 0), (7, 1), (23, 0), (39, 1)):
        moved = np.zeros((RAYS, 2))
        moved[ray, axis] = step
        expected = (log_evidence(channel, beta[0].numpy() + moved) - log_evidence(channel, beta[0].numpy() - moved)) / (2 * step)
        assert found[ray, axis] == pytest.approx(expected, rel=2e-3, abs=2e-2)


def test_gradient_is_that_of_the_source_as_found(channel):
    beta, batch = positions(channel), stack([channel])
    solved = solve(batch, beta, Kernel.of(TERMS, 1))
    found = fields(batch, solved).gradient[0].numpy()
    u = channel.operator.T @ np.linalg.solve(dense_covariance(channel, beta[0].numpy()), channel.data)

    def source(at):
        distance = np.hypot(*(at[:, None] - beta[0].numpy()[None]).transpose(2, 0, 1))
        return sum(a**2 * (1 + np.sqrt(3) * distance / length) * np.exp(-np.sqrt(3) * distance / length) for a, length in TERMS) @ u

    at, step = beta[0].numpy(), 1e-5
    np.testing.assert_allclose(source_flux(batch, solved)[0].numpy(), source(at), rtol=1e-4, atol=1e-4)
    for axis in (0, 1):
        shift = np.eye(2)[axis] * step
        np.testing.assert_allclose(found[:, axis], (source(at + shift) - source(at - shift)) / (2 * step), rtol=2e-3, atol=2e-3)


def test_variance_is_the_information_in_the_predicted_change(channel):
    """|L⁻¹ T|² is what a change of the pixels by T tells: TᵀC⁻¹T."""
    beta, batch = positions(channel), stack([channel])
    solved = solve(batch, beta, Kernel.of(TERMS, 1))
    change = torch.randn(1, PIXELS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    dense = change[0].numpy().T @ np.linalg.solve(dense_covariance(channel, beta[0].numpy()), change[0].numpy())
    white = whiten(solved, change)[0]
    np.testing.assert_allclose((white.T @ white).numpy(), dense, rtol=1e-4, atol=1e-4)


def test_what_a_source_takes_up_is_the_derivative_of_the_score_by_the_data(channel):
    """The score is ½ wᵀ ∂C w less what does not know the data: its derivative by the data is C⁻¹ ∂C w = C⁻¹ T̃."""
    batch, beta, prior = stack([channel]), positions(channel), None
    kernel = Kernel.of(TERMS, 1)
    shift = torch.as_tensor(np.random.default_rng(3).standard_normal((2, RAYS, 2)), dtype=torch.float32) * 0.02

    def scores(data):
        one = replace(batch, data=data)
        solved = solve(one, beta, kernel)
        return torch.einsum("rk,srk->s", fields(one, solved).score[0], shift).double()

    solved = solve(batch, beta, kernel)
    linear = Linear(beta, solved, fields(batch, solved), prior, prior, prior)
    held, left = changes(batch, linear, 0, shift)
    step = torch.as_tensor(np.random.default_rng(4).standard_normal((1, PIXELS)))
    expected = torch.linalg.solve_triangular(solved.factor[0].double(), step.T, upper=False)[:, 0] @ left
    # float32 products, differences of thousands: a hundredth.
    assert (scores(batch.data + step) - scores(batch.data - step)).numpy() / 2 == pytest.approx(expected.numpy(), rel=0.01)
    # With the source held, pixels change by what its gradient says; moved all alike, it takes up everything.
    exact = batch.observe(moved_source(batch, solved, 0, shift / 100).T[None])[0].double()
    np.testing.assert_allclose(
        torch.linalg.solve_triangular(solved.factor[0].double(), exact, upper=False) * 100, held, atol=0.02 * float(held.abs().max())
    )
    alike = changes(batch, linear, 0, torch.full((1, RAYS, 2), 0.05))
    assert float(alike[1].norm()) < 1e-3 * float(alike[0].norm())


def test_a_moved_source_is_the_mean_of_the_gaussian_process_elsewhere(channel):
    batch, beta, kernel = stack([channel]), positions(channel), Kernel.of(TERMS, 1)
    solved = solve(batch, beta, kernel)
    shift = torch.as_tensor(np.random.default_rng(3).standard_normal((1, RAYS, 2)), dtype=torch.float32) * 0.1
    at = np.concatenate([beta[0].numpy(), beta[0].numpy() + shift[0].numpy()])
    operator = channel.operator.toarray()
    whole = dense_kernel(at)
    among = operator @ whole[:RAYS, :RAYS] @ operator.T + np.diag(channel.variance)
    mean = whole[:, :RAYS] @ operator.T @ np.linalg.solve(among, channel.data)
    moved = moved_source(batch, solved, 0, shift)[0].numpy()
    # Read by splines between points a tenth of the length apart, of kernels that have no third derivative at their middle: some thousandths.
    np.testing.assert_allclose(moved, mean[RAYS:] - mean[:RAYS], atol=4e-3 * np.abs(mean).max())


def test_mean_score_is_zero_over_draws_of_the_model(channel):
    """1,000 draws of source and noise: the derivative of a log likelihood has mean zero; what the source absorbs alone has not."""
    beta = positions(channel)
    rng, draws = np.random.default_rng(8), 1000
    root = np.linalg.cholesky(dense_covariance(channel, beta[0].numpy()))
    # A source drawn together: what noise and prior alone would make of it is far from nothing.
    change = beta[0].float()
    scores, quadratic = [], []
    for _ in range(draws // 50):
        batch = stack([replace(channel, data=root @ rng.standard_normal(PIXELS)) for _ in range(50)])
        solved = solve(batch, beta.expand(50, -1, -1), Kernel.of(TERMS, 50))
        found = fields(batch, solved)
        scores += torch.einsum("brk,rk->b", found.score, change).tolist()
        u = batch.project(solved.weights.float()[..., None])
        quadratic += torch.einsum("brk,rk->b", u * found.gradient, change).tolist()
    error = np.std(scores) / np.sqrt(draws)
    assert abs(np.mean(scores)) < 4 * error
    assert abs(np.mean(quadratic)) > 4 * np.std(quadratic) / np.sqrt(draws)


def test_padding_changes_nothing(channel):
    longer = Channel(
        *(np.concatenate([v, v]) for v in (channel.data, channel.variance)),
        sp.block_diag([channel.operator] * 2, "csr"),
        *(np.concatenate([v, v + 3]) for v in (channel.x, channel.y)),
    )
    alone, together = stack([channel]), stack([channel, longer])
    pad = torch.ones(1, RAYS, 2, dtype=torch.float64)
    beta = torch.cat([torch.cat([positions(channel), pad], 1), positions(longer)])
    one, two = (solve(b, x, Kernel.of(TERMS, len(x))) for b, x in ((alone, positions(channel)), (together, beta)))
    assert float(two.log_evidence[0]) == pytest.approx(float(one.log_evidence[0]), abs=2e-3)
    np.testing.assert_allclose(fields(together, two).score[0, :RAYS], fields(alone, one).score[0], rtol=1e-3, atol=2e-2)
    assert float(fields(together, two).score[0, RAYS:].abs().max()) == 0
