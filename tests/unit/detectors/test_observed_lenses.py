"""Observed lenses: galaxy's light, arcs, fit without a person, and subhalos, on images that lenstronomy made."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy import constants, units
from astropy.cosmology import FlatLambdaCDM
from lenstronomy.LensModel.lens_model import LensModel
from scipy.stats import multivariate_normal

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.evidence import MassFunction
from darkhaloscope.config.observed import Fit, Observed, Subhalos
from darkhaloscope.detectors.evidence.fit import linearise
from darkhaloscope.detectors.evidence.pixels import stack
from darkhaloscope.detectors.evidence.plane import SHARPEST, SourcePlane
from darkhaloscope.detectors.evidence.process import Kernel, evidence, fields, solve
from darkhaloscope.detectors.evidence.scan import marginalise
from darkhaloscope.detectors.evidence.sensitivity import mass_steps
from darkhaloscope.detectors.observed.arcs import NoArcs, find_arcs, radius_of
from darkhaloscope.detectors.observed.findings import halo_row, halos_by_promise
from darkhaloscope.detectors.observed.fit import fit_lens, focus, mass_prior
from darkhaloscope.detectors.observed.halos import HaloPlane, PseudoJaffe, halos, pseudo_jaffe
from darkhaloscope.detectors.observed.light import fit_galaxy
from darkhaloscope.detectors.observed.pixels import cut_pixels
from darkhaloscope.detectors.observed.schema import PROMISES
from darkhaloscope.detectors.observed.subhalos import Halo, Looker, Trial
from darkhaloscope.surveys.observed import read_lens
from observed_lens import SCALE, simulate, write

DEFAULT = Fit()


def observed(folder, **kinds):
    image, noise, psf, arc = simulate(**kinds)
    return read_lens(write(folder, image, noise, psf), Observed(path=str(folder.parent))), arc


@pytest.fixture(scope="module")
def lens(tmp_path_factory):
    return observed(tmp_path_factory.mktemp("lenses") / "smooth")


@pytest.fixture(scope="module")
def fitted(lens):
    return fit_lens(lens[0], DEFAULT)


@pytest.fixture(scope="module")
def looker(fitted):
    asked = {"smooth": ((0.9, 0.8), (5.0, 0.0))}
    return Looker(fitted, Subhalos(place_step=4, controls=3, injections=1, asked=asked), Cosmology(), (0.2, 0.6))


def test_the_galaxy_is_fitted_beneath_the_arcs(lens):
    one, arc = lens
    galaxy = fit_galaxy(one)
    light = one.image - arc  # the galaxy with noise
    y, x = (np.indices(one.image.shape) - 60) * SCALE
    ring = (np.hypot(x, y) > 0.4) & (np.hypot(x, y) < 2.5)
    # 2% of the galaxy's light on average over the ring where arcs are: faint ends of the arcs stay below the threshold, and in the galaxy.
    assert abs((galaxy.model - light)[ring].mean()) < 0.02 * light[ring].mean()
    # Pixels without arcs have residuals of the noise alone: scatter 1 to 5%.
    empty = ring & (arc < 0.1 * one.noise)
    assert ((one.image - galaxy.model) / one.noise)[empty].std() == pytest.approx(1, abs=0.05)
    assert np.hypot(galaxy.x - 0.02, galaxy.y + 0.01) < 0.01
    e = (1 - 0.8) / (1 + 0.8)
    assert np.hypot(galaxy.e1 - e * np.cos(1.3), galaxy.e2 - e * np.sin(1.3)) < 0.02


def test_other_light_is_integrated_out_as_a_dense_gaussian_likelihood_says(lens):
    one, _ = lens
    galaxy = fit_galaxy(one)
    pixels = cut_pixels(one, galaxy, find_arcs(one, galaxy).within(1.3), 4, 8)
    channel, kernel = pixels.channel, Kernel.of(((0.5, 0.2),), 1)
    batch = stack([channel])
    prior = mass_prior(galaxy, 1.15, DEFAULT)
    values = torch.as_tensor(prior.mean)[None]
    beta = (torch.stack((batch.x, batch.y), -1) - prior.deflect(values, batch.x, batch.y))[0].numpy()
    distance = np.linalg.norm(beta[:, None] - beta[None], axis=-1) * np.sqrt(3) / 0.2
    source = 0.25 * (1 + distance) * np.exp(-distance)
    b = channel.operator.toarray()
    dense = b @ source @ b.T + channel.light @ channel.light.T + np.diag(channel.variance)
    expected = multivariate_normal(np.zeros(len(dense)), dense, allow_singular=False).logpdf(channel.data)
    # Kernels are float32: 10⁻⁴ of a sum of hundreds of terms.
    assert float(solve(batch, torch.as_tensor(beta)[None], kernel).log_evidence) == pytest.approx(expected, rel=1e-3, abs=0.1)
    bare = solve(stack([replace(channel, light=None)]), torch.as_tensor(beta)[None], kernel)
    assert abs(float(bare.log_evidence) - expected) > 1


def test_a_source_of_some_extent_is_a_dense_gaussian_process_and_its_score_the_slope_of_the_evidence(lens):
    one, _ = lens
    galaxy = fit_galaxy(one)
    batch = stack([cut_pixels(one, galaxy, find_arcs(one, galaxy).within(1.3), 4, 8, rays_per_pixel=False).channel])
    kernel = Kernel.of(((0.5, 0.8),), 1, extent=1.2)
    prior = SourcePlane.about(mass_prior(galaxy, 1.15, DEFAULT), batch)
    values = torch.as_tensor(prior.mean)[None]
    beta = torch.stack((batch.x, batch.y), -1) - prior.deflect(values, batch.x, batch.y)
    # The bright light is about the origin, and of size 1: the geometric mean of distances, softened.
    assert float(torch.einsum("br,brk->bk", prior.bright, beta).abs().max()) < 1e-9
    size = float(prior.place(prior.angles(values, batch.x, batch.y))[1])
    assert float((prior.bright * (beta.square().sum(-1)[0] + (SHARPEST / size) ** 2).log()).sum()) == pytest.approx(0, abs=1e-9)
    at = beta[0].numpy()
    distance, bright = np.linalg.norm(at[:, None] - at[None], axis=-1) * np.sqrt(3) / 0.8, 1 / (1 + (at**2).sum(1) / 1.44)
    dense = 0.25 * (1 + distance) * np.exp(-distance) * bright[:, None] * bright
    solved = solve(batch, beta, kernel)
    assert np.abs(solved.covariance[0].numpy() - dense).max() < 1e-5
    assert float(evidence(batch, beta, kernel)) == pytest.approx(float(solved.log_evidence), rel=1e-5)
    score = fields(batch, solved).score.double()
    step = torch.as_tensor(np.random.default_rng(1).standard_normal(beta.shape)) * 1e-3
    rise = float(evidence(batch, beta + step, kernel) - evidence(batch, beta - step, kernel)) / 2
    # Kernels are float32, the step is not small: a hundredth.
    assert float((score * step).sum()) == pytest.approx(rise, rel=0.02)


def test_the_lens_parameters_have_the_slope_of_the_evidence_with_the_light_in_the_middle(lens):
    one, _ = lens
    galaxy = fit_galaxy(one)
    batch = stack([cut_pixels(one, galaxy, find_arcs(one, galaxy).within(1.3), 4, 8, rays_per_pixel=False).channel])
    kernel = Kernel.of(((0.5, 0.8),), 1, extent=1.2)
    prior = SourcePlane.about(mass_prior(galaxy, 1.15, DEFAULT, multipoles=False), batch)
    values = torch.as_tensor(prior.mean)[None]
    score = linearise(batch, prior, values, kernel).score[0]
    for k, width in enumerate(prior.width):
        step = torch.zeros_like(values)
        step[0, k] = 0.005 * width
        up, down = (
            evidence(batch, torch.stack((batch.x, batch.y), -1) - prior.deflect(values + s, batch.x, batch.y), kernel)
            for s in (step, -step)
        )
        # The difference of two sums in float32, over a step in which the slope changes: some percent.
        assert float(score[k]) == pytest.approx(float(up - down) / 0.01, rel=0.05, abs=5), prior.names[k]


def test_the_radius_of_two_images_is_the_mean_of_both_and_one_image_is_said_to_be_alone():
    # θ_E + β on one side, three times as bright, and θ_E − β opposite.
    radius, two = radius_of(np.array([1.5, -0.7]), np.array([0.0, 0.1]), np.array([3.0, 1.0]))
    assert radius == pytest.approx((1.5 + np.hypot(0.7, 0.1)) / 2) and two
    radius, two = radius_of(np.array([1.5, 1.4]), np.array([0.0, 0.2]), np.array([3.0, 1.0]))
    assert radius == pytest.approx(1.5) and not two


def test_stamps_with_and_without_other_light_stand_together(lens):
    one, _ = lens
    galaxy = fit_galaxy(one)
    channel = cut_pixels(one, galaxy, find_arcs(one, galaxy).within(1.3), 4, 8, rays_per_pixel=False).channel
    prior, kernel = mass_prior(galaxy, 1.15, DEFAULT), Kernel.of(((0.5, 0.2),), 2)
    values = torch.as_tensor(prior.mean).expand(2, -1)
    together = linearise(stack([channel, replace(channel, light=None)]), prior, values, kernel).log_posterior
    alone = [linearise(stack([c]), prior, values[:1], kernel[:1]).log_posterior for c in (channel, replace(channel, light=None))]
    assert torch.allclose(together, torch.cat(alone), rtol=1e-6)


def test_bins_see_what_a_direct_mean_over_pixels_sees(lens):
    one, _ = lens
    galaxy = fit_galaxy(one)
    pixels = cut_pixels(one, galaxy, find_arcs(one, galaxy), 2, 4)
    data = pixels.image(pixels.channel.data)
    for number in (0, len(pixels.channel.data) // 2, len(pixels.channel.data) - 1):
        inside = pixels.bins == number
        assert data[inside][0] * pixels.unit == pytest.approx((one.image - galaxy.model)[inside].mean())
    # A flat source is seen as flat: the weights of a bin's rays add up to 1, but for the PSF's reach beyond the rays.
    seen = np.asarray(pixels.channel.operator.sum(1)).ravel()
    assert seen.max() < 1 + 1e-9 and np.median(seen) > 0.98


def test_arcs_are_found_and_an_image_without_any_is_said_to_have_none(lens, tmp_path):
    one, arc = lens
    arcs = find_arcs(one, fit_galaxy(one))
    y, x = (np.indices(arc.shape) - 60) * SCALE
    outside = np.hypot(x, y) > 0.4
    # The rest lies below the threshold of single pixels.
    assert arc[arcs.light & outside].sum() > 0.95 * arc[outside].sum()
    assert 1.15 < arcs.outer < 2.8
    empty, _ = observed(tmp_path / "empty", arcs=False)
    with pytest.raises(NoArcs, match="pixels of light beside the galaxy's"):
        find_arcs(empty, fit_galaxy(empty))


def test_what_a_galaxy_s_middle_leaves_is_neither_taken_for_arcs_nor_fitted(lens):
    """Dust or a disk leaves light that no sum of ellipses has: here four lobes at 0.48″, as bright as the arcs."""
    one, _ = lens
    galaxy = fit_galaxy(one)
    clean = find_arcs(one, galaxy)
    y, x = (np.indices(one.image.shape) - 60) * SCALE
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    lobes = clean.brightness * np.exp(-(((radius - 0.48) / 0.06) ** 2) / 2) * np.cos(2 * angle) ** 2
    arcs = find_arcs(replace(one, image=one.image + lobes), galaxy)
    assert arcs.radius == pytest.approx(clean.radius, rel=0.01)
    # Half of θ_E, 1.15″, is left out of the fit.
    assert clean.inner == pytest.approx(0.5 * 1.15, abs=0.1) and arcs.inner == pytest.approx(clean.inner, abs=0.02)


def test_masked_pixels_are_in_no_bin_and_change_nothing(lens):
    one, _ = lens
    good = one.good.copy()
    good[40:44, 70:90] = False
    masked = replace(one, good=good, image=np.where(good, one.image, 1e6), noise=np.where(good, one.noise, 1e6))
    galaxy = fit_galaxy(masked)
    pixels = cut_pixels(masked, galaxy, find_arcs(masked, galaxy), 2, 4)
    assert (pixels.bins[~good] == -1).all() and np.abs(pixels.channel.data).max() < 10
    assert np.hypot(galaxy.x - 0.02, galaxy.y + 0.01) < 0.01


@pytest.mark.parametrize(("seed", "theta_e"), [(2, 0.85), (3, 1.4)])
def test_the_mass_is_found_without_a_person(tmp_path, seed, theta_e):
    fit = fit_lens(observed(tmp_path / "lens", seed=seed, theta_e=theta_e)[0], DEFAULT)
    # HST images give θ_E to about a percent, systematic errors of binned pixels included.
    assert fit.parameter("theta_e") == pytest.approx(theta_e, rel=0.015)
    assert fit.converged and fit.chi2 < 1.15 and fit.focus < DEFAULT.focus


def test_a_lens_of_too_large_an_einstein_radius_does_not_bring_the_arcs_together(fitted):
    values = fitted.values[None].repeat(2, 1)
    values[1, 0] *= 1.38
    small, large = focus(stack([fitted.pixels.channel] * 2), fitted.prior, values).tolist()
    assert small < 0.5 * large and small < DEFAULT.focus


def test_the_fit_has_the_lens_radius_and_place_and_its_quadrupole(fitted):
    values = dict(zip(fitted.prior.names, fitted.values.tolist(), strict=True))
    assert values["theta_e"] == pytest.approx(1.15, rel=0.015)
    # Places are from the galaxy's centre, which is the mass's.
    assert np.hypot(values["x"], values["y"]) < 0.01
    # Ellipticity and shear stand in for each other: a third of what an ellipticity makes is a shear, and the sum is what the arcs know best.
    e = (1 - 0.75) / (1 + 0.75)
    truth = np.array([e * np.cos(1.2) / 3 + 0.02, e * np.sin(1.2) / 3 - 0.015])
    found = np.array([values["e1"] / 3 + values["gamma1"], values["e2"] / 3 + values["gamma2"]])
    assert np.abs(found - truth).max() < 0.02
    assert fitted.chi2 == pytest.approx(1, abs=0.2)


def test_the_fit_has_the_lens_slope_ellipticity_and_shear(fitted):
    found = dict(zip(fitted.prior.names, zip(fitted.values.tolist(), fitted.errors.tolist(), strict=True), strict=True))
    e = (1 - 0.75) / (1 + 0.75)
    truth = {"slope": 2.05, "e1": e * np.cos(1.2), "e2": e * np.sin(1.2), "gamma1": 0.02, "gamma2": -0.015}
    for name, value in truth.items():
        # Within the errors, or a hundredth or two.
        assert abs(found[name][0] - value) < max(4 * found[name][1], 0.02), name


def test_a_source_plane_is_the_same_for_a_lens_that_only_stretches_and_shifts_it(fitted):
    """What no image can tell is no part of the source: β and λβ + c are one."""
    batch, prior = fitted.batch, fitted.prior
    beta = prior.angles(fitted.values[None], batch.x, batch.y)
    at, size = prior.place(beta)
    again, larger = prior.place(3 * beta + torch.tensor([0.3, -0.2]))
    # The softening is in arcsec: it is what keeps the smallest sources apart.
    assert float((again - at).abs().max()) < 0.05 * float(at.abs().max()) and float(larger / size) == pytest.approx(3, rel=0.05)
    shift = torch.as_tensor(np.random.default_rng(3).standard_normal(beta.shape)) * 1e-4
    carried = prior.carry(shift, at, size)
    moved = (prior.place(beta + shift)[0] - prior.place(beta - shift)[0]) / 2
    assert torch.allclose(carried, moved, atol=1e-3 * float(moved.abs().max()))


def test_pseudo_jaffe_halos_are_those_of_lenstronomy_and_hold_their_mass():
    radius = np.geomspace(0.01, 5, 40)
    strength, truncation = 0.08, 0.33
    # lenstronomy's PJAFFE has sigma0 and two radii; with a core of nothing, b = 2 σ0 r_t Ra/(Ra + Rs) (Keeton 2001).
    core = 1e-7
    theirs = LensModel(["PJAFFE"]).alpha(
        radius, 0 * radius, [{"sigma0": strength / (2 * core) * (1 + core / truncation), "Ra": core, "Rs": truncation}]
    )[0]
    np.testing.assert_allclose(pseudo_jaffe(torch.as_tensor(radius), strength, truncation), theirs, rtol=1e-4)
    (first, *_), critical = halos(Subhalos(log10_mass_msun=(9.5, 10.0), injected_log10_mass_msun=(9.5,)), (0.222, 0.609), Cosmology())
    # All of the mass, from far away: α = M/(π Σ_cr r).
    assert isinstance(first, PseudoJaffe)
    far = float(first.along(torch.tensor([1e4], dtype=torch.float64), 1.4))
    assert far * 1e4 * np.pi * critical == pytest.approx(10**9.5, rel=1e-3)
    # Σ_cr of J0946+1006 by astropy's distances.
    cosmology = FlatLambdaCDM(H0=Cosmology().h0, Om0=Cosmology().om0)
    dl, ds, dls = (
        d.to("Mpc") for d in (*cosmology.angular_diameter_distance([0.222, 0.609]), cosmology.angular_diameter_distance_z1z2(0.222, 0.609))
    )
    surface = constants.c**2 / (4 * np.pi * constants.G) * ds / (dl * dls) * (dl * units.arcsec.to("rad")) ** 2
    assert critical == pytest.approx(float(surface.to("Msun").value), rel=1e-3)


@pytest.mark.parametrize("profile", ["pseudo_jaffe", "nfw"])
def test_a_halo_beside_the_lens_has_the_slope_of_the_evidence(fitted, profile):
    batch, settings = stack([fitted.coarse.channel]), Subhalos(profile=profile)
    template = halos(settings, (0.2, 0.6), Cosmology())[0][3]
    plane = HaloPlane.beside(SourcePlane.about(fitted.prior, batch), template, 1.15, (2.0, 0.6))
    values = torch.cat((fitted.values, torch.tensor([0.6, 0.3, 1.1], dtype=torch.float64)))[None]
    score = linearise(batch, plane, values, fitted.kernel).score[0]
    for k in (0, 1, *range(-3, 0)):
        step = torch.zeros_like(values)
        step[0, k] = 0.003 * plane.width[k]
        up, down = (
            evidence(batch, torch.stack((batch.x, batch.y), -1) - plane.deflect(values + s, batch.x, batch.y), fitted.kernel)
            for s in (step, -step)
        )
        assert float(score[k]) == pytest.approx(float(up - down) / 0.006, rel=0.05, abs=5), plane.names[k]


def test_data_of_the_coarse_image_are_means_of_those_of_the_image(looker):
    fit = looker.fit
    assert len(fit.coarse.channel.data) < 0.5 * len(fit.pixels.channel.data)
    np.testing.assert_allclose(looker.coarsely @ fit.batch.data[0], fit.coarse.channel.data, atol=1e-9)


def test_a_trace_from_nearby_points_steps_where_the_whole_score_does(looker):
    fit = looker.fit
    whole = linearise(fit.batch, fit.prior, fit.values[None], fit.kernel)
    known = linearise(fit.batch, fit.prior, fit.values[None], fit.kernel, looker.trace)
    assert torch.allclose(known.fields.score, whole.fields.score, rtol=1e-3, atol=1e-3 * float(whole.fields.score.abs().max()))
    assert torch.equal(known.log_posterior, whole.log_posterior) and torch.allclose(known.jacobian, whole.jacobian, rtol=1e-4, atol=1e-4)


def test_rays_that_all_move_alike_change_nothing(looker):
    """The source moves along: T̃ vanishes, though T, with the source held, does not."""
    fit = looker.fit
    tried = looker.attempt(fit.batch, fit.linear, torch.ones(1, fit.batch.x.shape[1], 2) * 0.01)
    assert float(tried[0].whitened.norm()) < 1e-2 * float(tried[1].norm())


def test_a_light_halo_moves_the_map_by_what_is_promised(looker):
    fit, number = looker.fit, looker.searched
    scan, depth = looker.scan()
    place = int(depth[number].argmax())
    count = len(looker.where.x)
    direct = looker.attempt(fit.batch, fit.linear, looker.moved)[1][:, number * count + place]
    chi2 = max(float(fit.linear.solved.chi2(fit.batch)[0]), 1.0)
    added = 0.02 * chi2**0.5 * (fit.linear.solved.factor[0].double() @ direct)
    after = []
    for data in (fit.batch.data, fit.batch.data + added):
        # About the same lens: what is promised is for its parameters marginalised, not fitted.
        batch = replace(fit.batch, data=data)
        tried, _ = looker.attempt(
            batch, linearise(batch, fit.prior, fit.values[None], fit.kernel), looker.moved[number * count : (number + 1) * count]
        )
        after.append(marginalise([tried], fit.prior.offset(fit.values[None])[0], 1).z[0, place])
    assert after[0] == pytest.approx(scan.z[number, place], abs=1e-3)
    # A fiftieth of a halo, so that what is not linear does not count.
    assert (after[1] - after[0]) / 0.02 == pytest.approx(depth[number, place], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("mass", [9.5, 10.0])
def test_an_injected_halo_is_found_where_it_is_and_as_heavy_as_it_is(looker, mass):
    """From the image alone, the lens fitted anew: place within the resolution, mass within 0.4 dex (its size is that of the searched mass)."""
    _, depth = looker.scan()
    number = list(looker.masses).index(mass)
    place = int(depth[number].argmax())
    x, y = float(looker.where.x[place]), float(looker.where.y[place])
    batch, smooth = looker.smooth_fit(looker.fit.batch.data[0] + looker.changed(number, (x, y)))
    _, found = looker.look(batch, smooth)
    assert found.z > 5 and np.hypot(found.x - x, found.y - y) < 0.15
    assert looker.log10_mass(found) == pytest.approx(mass, abs=0.4)
    assert all(0 < error < 1 for error in found.errors)


@pytest.mark.slow
def test_a_halo_of_lenstronomy_s_is_found_blind(tmp_path):
    """An SIS of 0.08″ on the ring, in the image from the start: nothing is known of it by the fit."""
    at = (0.55, 1.02)
    fit = fit_lens(observed(tmp_path / "lens", seed=4, subhalo=(0.08, *at))[0], DEFAULT)
    looker = Looker(fit, Subhalos(), Cosmology(), (0.2, 0.6))
    _, found = looker.look(*looker.smooth_fit(fit.batch.data[0]))
    assert found.z > 5 and np.hypot(found.x + fit.pixels.x0 - at[0], found.y + fit.pixels.y0 - at[1]) < 0.2


def test_an_injected_halo_is_the_linear_one_where_it_is_light(looker):
    fit = looker.fit
    place = (float(looker.where.x[3]), float(looker.where.y[3]))
    assert looker.masses[0] == 8.5
    exact = looker.changed(0, place)
    linear = fit.linear.solved.factor[0].double() @ looker.attempt(fit.batch, fit.linear, looker.moved[3:4])[1][:, 0]
    assert float((exact - linear).norm()) < 0.2 * float(linear.norm())
    beta = fit.linear.solved.beta[0]
    assert torch.allclose(fit.linear.solved.kernel.between(0, beta, beta), fit.linear.solved.covariance[0], atol=1e-5)


def test_trials_are_the_observed_image_controls_and_injections_the_same_each_time(looker):
    _, depth = looker.scan()
    trials = looker.trials(depth)
    assert [t.kind for t in trials] == ["observed", *["control"] * 3, *["injection", "asked", "asked"] * 3]
    on_arc, beyond = ([t for t in trials if t.kind == "asked" and t.x == x] for x in (0.9, 5.0))
    assert [t.log10_mass_msun for t in on_arc] == [9.0, 9.5, 10.0] and np.isfinite([t.promised for t in on_arc]).all()
    # Off the arcs the map promises nothing, and nothing is found there.
    assert np.isnan([t.promised for t in beyond]).all() and min(t.distance for t in beyond) > 2
    # Noise alone: the greatest of a hundred places, mass and place free.
    assert max(t.found.z for t in trials if t.kind == "control") < 6
    assert all(np.isfinite([t.promised, t.distance]).all() == (t.kind == "injection") for t in trials if t.kind != "asked")
    assert np.isfinite(trials[0].negative) and [t.found for t in looker.trials(depth)] == [t.found for t in trials]


def test_a_halo_of_no_mass_is_a_row_like_any_other(looker):
    none = Trial("observed", Halo(0.0, 0.3, 0.2, (0.4, 0.1, 0.1), 0.0, 0.0), 1.5, negative=2.0)
    row = halo_row(looker, [none, replace(none, kind="control"), replace(none, kind="control", found=replace(none.found, z=-1.0))])
    assert np.isnan(row["found_log10_mass_error"]) and row["z_max"] == 0 and row["found_log10_mass"] < 4
    assert row["false_alarm"] == pytest.approx(2 / 3) and row["z_negative"] == 2.0


def test_halos_by_promise_are_those_of_the_mass_function():
    """All halos of the mapped masses, at places that promise z = 1.5 (half of them) and 7."""
    masses = np.array([8.0, 9.0, 10.0])
    depth = np.tile([1.5, 7.0], (3, 2))
    # dN/dM ∝ M⁻² from 10⁸ to 10^9.5 M☉, a bound between two masses, holds 6·10⁹ M☉ per arcsec².
    settings = MassFunction(slope=-2, fraction=0.1, mass_bounds_msun=(1e8, 10**9.5))
    counted = halos_by_promise(depth, masses, mass_steps(settings, masses, 1.2e11), area=0.5)
    # Of N(M) = A/M² the mass is A ln(M₂/M₁) and the number A (1/M₁ − 1/M₂); the trapezoidal rule of eight steps per dex is half a percent off.
    total = 6e9 / (1.5 * np.log(10)) * (1e-8 - 10**-9.5) * 0.5
    assert counted.sum() == pytest.approx(4 * total, rel=0.02)
    where = [np.searchsorted(PROMISES, z, side="right") - 1 for z in (1.5, 7.0)]
    assert counted[where] == pytest.approx([2 * total] * 2, rel=0.02)
