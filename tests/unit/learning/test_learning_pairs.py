"""Training on noiseless pairs: the noise is the stamps' own, twins share it, the signal falls to its strength, nothing leaks."""

import dataclasses
import logging
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import kstest

from darkhaloscope.core.files import sha256
from darkhaloscope.core.tables import TableError, images, read_table, write_table
from darkhaloscope.learning.augment import orient_directions, orient_images, orient_points
from darkhaloscope.learning.fit import train_network
from darkhaloscope.learning.lens_estimates import estimate_lenses
from darkhaloscope.learning.losses import place_loss
from darkhaloscope.learning.map_network import LENS, MapNetwork
from darkhaloscope.learning.networks import build_network
from darkhaloscope.learning.pair_batches import (
    PairBatches,
    PairOrder,
    amplification,
    choose_pairs,
    members_of,
    observe,
    oriented_lenses,
)
from darkhaloscope.learning.pairs import read_pairs
from darkhaloscope.learning.pixels import BadPixels, KinematicPixels
from darkhaloscope.learning.scaling import LearningError
from darkhaloscope.learning.weights import load_network, save_network
from darkhaloscope.tasks.subhalo.observation import flux_variance, twin_fluxes, velocity_errors_everywhere
from darkhaloscope.tasks.subhalo.schema import pair_schema, stamp_images
from unit.learning.interrupted import train_until
from unit.learning.pair_shards import SIZE, network, pair_dataset, render_all, write_pairs


@pytest.fixture(scope="module")
def dataset():
    return pair_dataset()


@pytest.fixture(scope="module")
def files(dataset, tmp_path_factory):
    return render_all(tmp_path_factory.mktemp("pairs"), dataset)


@pytest.fixture(scope="module")
def pairs(files):
    return read_pairs([files["pairs"]])


# --- the noise is the stamps' own


@pytest.mark.parametrize("instrument", [{}, {"mask": "observed"}, {"velocity_block": 2}])
def test_with_the_datasets_own_noise_a_pair_becomes_its_training_stamp(instrument, tmp_path):
    dataset = pair_dataset(instrument=instrument)
    files = render_all(tmp_path, dataset)
    pairs, stamps = read_pairs([files["pairs"]]), pq.read_table(files["train"])
    assert stamps["number"].to_pylist() == pairs.numbers.tolist()
    for row, label in enumerate(pairs.labels):
        (seen,) = observe(pairs, row, (int(label),), pairs.noise_seed)
        for column in stamp_images(SIZE):
            stamp = images(stamps, column.name)[row]
            # Pairs are kept in float32, stamps are made in float64: a few parts in 10⁷, and an electron or a pixel at the mask's edge now and then.
            close = np.isclose(seen[column.name], stamp, rtol=1e-4, atol=1e-4)
            assert close.mean() > 0.995, column.name


def test_fresh_noise_has_the_variance_that_the_stamps_state(pairs):
    """Over 400 draws: mean the noiseless image, variance f/SNR² + (1 − f) F/SNR², velocity errors σ_v."""
    row, draws = 3, 400
    share, snr = pairs.instrument.noise.background_share, pairs.peak_snr[row]
    seen = [observe(pairs, row, (0, 1), seed) for seed in range(draws)]
    for member in (0, 1):
        truth = pairs.images[row, member].astype(float)
        variance = flux_variance(truth, snr, share)
        z = (np.stack([s[member]["flux"] for s in seen]) - truth) / np.sqrt(variance)
        # 1,024 pixels: the mean of each is within 5σ of 0, that of all within 4σ; variances have a scatter of √(2/400).
        assert np.abs(z.mean(0)).max() < 5 / np.sqrt(draws) and abs(z.mean()) < 4 / np.sqrt(z.size)
        assert z.var() == pytest.approx(1, abs=0.01) and np.abs(z.var(0) - 1).max() < 5.5 * np.sqrt(2 / draws)
        # The velocity where the line is bright, in the noise of what is there.
        errors = velocity_errors_everywhere(truth, variance, pairs.instrument.noise, 1)
        bright = truth > 0.5
        velocity = np.stack([s[member]["observed_velocity"] for s in seen])[:, bright]
        scatter = (velocity - pairs.images[row, 2 + member][bright]) / errors.sigma_v[bright]
        assert scatter.var() == pytest.approx(1, abs=0.03) and abs(scatter.mean()) < 0.02


def test_twins_share_electrons_and_each_has_the_law_of_a_single_stamp():
    rng = np.random.default_rng(1)
    without = rng.uniform(0, 1, (24, 24))
    having = np.maximum(without + rng.normal(0, 0.1, without.shape), 0)
    draws = np.stack([twin_fluxes(without, having, 12.0, 0.3, seed, 7) for seed in range(600)])
    for k, truth in enumerate((without, having)):
        variance = flux_variance(truth, 12.0, 0.3)
        z = (draws[:, k] - truth) / np.sqrt(variance)
        assert np.abs(z.mean(0)).max() < 5 / np.sqrt(600) and z.var() == pytest.approx(1, abs=0.01)
    # Their difference has the photon noise of the signal alone: |δ| (1 − f)/SNR².
    difference = draws[:, 1] - draws[:, 0] - (having - without)
    expected = np.abs(having - without) * 0.7 / 144
    assert difference.var(0).sum() == pytest.approx(expected.sum(), rel=0.03)
    same = twin_fluxes(without, without, 12.0, 0.3, 5, 7)
    assert np.array_equal(*same)


def test_noise_is_fresh_each_epoch_and_the_same_for_all_batches(files):
    settings = network()
    split = choose_pairs([files["pairs"]], settings, 1)
    batches = PairBatches(split, 1)
    first, again = (batches[np.array(rows), 0, 1.0] for rows in ([4, 9], [2, 9, 11]))
    # Row 9's control and positive, whatever its neighbours; the turn is the pair's own, too.
    for k, n in ((1, 3 - 2), (3, 3 + 1)):
        assert torch.equal(first[0][k], again[0][n])
    other = batches[np.array([4, 9]), 1, 1.0]
    pixels = KinematicPixels(settings)
    a, b = (members_of(split.stamps, 9, pixels, 1, epoch)[0] for epoch in (0, 1))
    assert not torch.equal(first[0], other[0]) and not np.array_equal(a, b)
    fixed = KinematicPixels(network(fresh_noise=False))
    a, b = (members_of(split.stamps, 9, fixed, 1, epoch)[0] for epoch in (0, 1))
    assert np.array_equal(a, b)
    threaded = PairBatches(split, 1, threads=3)[np.array([4, 9]), 0, 1.0]
    assert all(torch.equal(x, y) for x, y in zip(first, threaded, strict=True))


def test_twins_lie_in_one_batch_and_differ_by_their_subhalo_alone(files):
    split = choose_pairs([files["pairs"]], network(), 1)
    assert len(split) == 48
    seen = np.zeros(24, int)
    for rows, epoch, factor in PairOrder(split, 1):
        inputs, labels, weights, places, lenses = PairBatches(split, 1)[rows, epoch, factor]
        n = len(rows)
        seen[rows] += 1
        assert labels.tolist() == [0] * n + [1] * n and (weights == 1).all()
        assert torch.equal(places[:n], places[n:]) and torch.equal(lenses[:n], lenses[n:])
        # Without common noise no pixel at all would be the same; where the subhalo does next to nothing, most are.
        same = inputs[:n, 0] == inputs[n:, 0]
        assert 0.1 < same.float().mean() < 1
    assert (seen == 1).all()
    alone = choose_pairs([files["pairs"]], network(twins=False), 1)
    _, labels, *_ = PairBatches(alone, 1)[np.arange(24), 0, 1.0]
    assert len(alone) == 24 and labels.tolist() == alone.stamps.labels.tolist()


# --- the signal's schedule


def test_the_signal_falls_evenly_in_its_logarithm_and_stays_at_one(files, pairs):
    settings = network(amplify=8.0, amplify_share=0.5).training.pairs
    at = [amplification(settings, done) for done in (0, 1 / 6, 1 / 3, 0.5, 0.9)]
    assert at == pytest.approx([8, 4, 2, 1, 1]) and at[-1] == 1
    split = choose_pairs([files["pairs"]], network(amplify=8.0, amplify_share=0.5), 1)
    order, factors = PairOrder(split, 1), []
    for epoch in range(4):
        order.set_epoch(epoch)
        factors += [factor for *_, factor in order]
    assert factors[0] == 8 and np.all(np.diff(factors) <= 0) and factors[12:] == [1.0] * 12
    smooth, perturbed = pairs.images[5, :2].astype(float)
    noiseless = dataclasses.replace(pairs, instrument=pair_dataset(instrument={"noise": {"flux": False, "velocity": False}}).instrument)
    (seen,) = observe(noiseless, 5, (1,), 1, factor=3.0)
    np.testing.assert_allclose(seen["flux"], np.maximum(smooth + 3 * (perturbed - smooth), 0), atol=1e-6)
    # The constants of the inputs are those of the signal as it is.
    assert split.normalisation == choose_pairs([files["pairs"]], network(), 1).normalisation


# --- places, lenses, and how they turn


@pytest.mark.parametrize("code", range(8))
def test_places_and_directions_turn_with_their_image(code):
    codes = torch.tensor([code])
    image = torch.zeros(1, 1, 32, 32)
    image[0, 0, 25, 6] = 1  # x = 6 − 15.5, y = 25 − 15.5
    row, column = np.argwhere(orient_images(image, codes)[0, 0].numpy() == 1)[0]
    x, y = orient_points(torch.tensor([[6 - 15.5, 25 - 15.5]]), codes)[0].tolist()
    assert (column - 15.5, row - 15.5) == (x, y)
    # Second moments of an ellipse at 25° have the direction's components.
    yy, xx = np.indices((32, 32)) - 15.5
    u, v = xx * np.cos(0.44) + yy * np.sin(0.44), -xx * np.sin(0.44) + yy * np.cos(0.44)
    ellipse = torch.from_numpy(np.exp(-(u**2) / 24 - v**2 / 8))[None, None]
    seen = orient_images(ellipse, codes)[0, 0].numpy()
    moments = np.array([(seen * (xx**2 - yy**2)).sum(), 2 * (seen * xx * yy).sum()])
    turned = orient_directions(torch.tensor([[np.cos(0.88), np.sin(0.88)]]), codes)[0].numpy()
    np.testing.assert_allclose(moments / np.hypot(*moments), turned, atol=1e-3)


def test_lenses_are_those_of_the_manifest_and_turn_as_a_whole(pairs, files):
    table = pq.read_table(files["pairs"], columns=["theta_e_arcsec", "lens_e", "lens_phi_rad", "shear", "shear_phi_rad", "lens_x_arcsec"])
    lens = dict(zip(LENS, pairs.lens.T, strict=True))
    assert lens["theta_e"].tolist() == table["theta_e_arcsec"].to_pylist() and lens["x"].tolist() == table["lens_x_arcsec"].to_pylist()
    np.testing.assert_allclose(np.hypot(lens["e1"], lens["e2"]), table["lens_e"])
    np.testing.assert_allclose(
        np.arctan2(lens["gamma2"], lens["gamma1"]) % (2 * np.pi), 2 * table["shear_phi_rad"].to_numpy() % (2 * np.pi)
    )
    one = torch.tensor([[1.0, 2.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
    turned = oriented_lenses(one, torch.tensor([1]))[0]
    np.testing.assert_allclose(turned, [1, 2, -0.1, -0.2, 0.4, -0.3, -0.5, -0.6], rtol=1e-6)


@pytest.mark.parametrize("size", [16, 17, 32, 48])
def test_the_score_of_a_map_is_the_mean_likelihood_ratio_of_its_cells(size):
    torch.manual_seed(1)
    module = MapNetwork(3, 8).eval()
    with torch.inference_mode():
        logits, found, lens = module.outputs(torch.randn(2, 3, size, size))
    assert lens is None and found.shape[1:] == (-(-size // 8) * 2,) * 2
    expected = torch.log(torch.exp(found.double()).mean((1, 2)))
    np.testing.assert_allclose((logits[:, 1] - logits[:, 0]).double(), expected, atol=1e-5)


def test_the_place_loss_is_least_for_a_map_of_the_right_cell():
    # Cell (2, 9) of 12 × 12 lies at x = (9 − 5.5)·4, y = (2 − 5.5)·4.
    places, labels = torch.tensor([[14.0, -14.0], [0.0, 0.0]]), torch.tensor([1, 0])

    def loss(row, column, place=places):
        found = torch.full((2, 12, 12), -5.0)
        found[0, row, column] = 5
        return float(place_loss(found, place, labels, (48, 48), 4))

    everywhere = [[loss(r, c) for c in range(12)] for r in range(12)]
    assert np.unravel_index(np.argmin(everywhere), (12, 12)) == (2, 9)
    assert float(place_loss(torch.zeros(2, 12, 12), places, torch.tensor([0, 0]), (48, 48), 4)) == 0
    # The loss' gradient leaves controls alone.
    found = torch.zeros(2, 12, 12, requires_grad=True)
    place_loss(found, places, labels, (48, 48), 4).backward()
    assert found.grad[0].abs().sum() > 0 and found.grad[1].abs().sum() == 0


def test_a_map_learns_the_place_of_a_bright_pixel():
    """Cells and places have one frame: a pixel that marks the place is found there, whatever the side of the image."""
    for size in (32, 33):
        torch.manual_seed(2)
        module, rng = MapNetwork(1, 8), np.random.default_rng(3)
        optimiser = torch.optim.Adam(module.parameters(), 0.01)

        def some(n, size=size, rng=rng):
            at = rng.integers(4, size - 4, (n, 2))
            inputs = torch.zeros(n, 1, size, size)
            inputs[np.arange(n), 0, at[:, 1], at[:, 0]] = 3
            return inputs, torch.from_numpy(at - (size - 1) / 2).float()

        for _ in range(60):
            inputs, places = some(16)
            loss = place_loss(module.outputs(inputs)[1], places, torch.ones(16), inputs.shape[-2:], module.cell)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        inputs, places = some(64)
        with torch.inference_mode():
            found = module.eval().outputs(inputs)[1]
        best = found.flatten(1).argmax(1).numpy()
        n = found.shape[-1]
        x, y = ((np.stack(np.unravel_index(best, (n, n))[::-1]) - (n - 1) / 2) * 4).astype(float)
        # Within a cell's half diagonal, and no offset of all together beyond a pixel.
        away = np.stack([x, y], 1) - places.numpy()
        assert np.median(np.hypot(*away.T)) < 3 and np.abs(away.mean(0)).max() < 1


# --- nothing leaks


def test_pairs_of_other_splits_are_refused(files, dataset, tmp_path):
    table = read_table(files["pairs"], pair_schema(SIZE))
    split = table.schema.get_field_index("split")
    for name in ("test", "validation"):
        values = ["train"] * (len(table) - 1) + [name]
        path = write_pairs(tmp_path / f"{name}.parquet", table.set_column(split, table.schema.field(split), [values]), dataset)
        with pytest.raises(LearningError, match=f"split {name}, expected train alone"):
            read_pairs([path])


def test_no_pair_is_a_stamp_that_is_scored(pairs, files):
    for split in ("validation", "test"):
        stamps = pq.read_table(files[split], columns=["number", "physical_id", "theta_e_arcsec"])
        assert not set(stamps["number"].to_pylist()) & set(pairs.numbers.tolist())
        assert not set(stamps["theta_e_arcsec"].to_pylist()) & set(pairs.lens[:, 0].tolist())


def test_without_a_signal_twins_are_the_same_to_the_bit(pairs):
    """Inputs cannot tell place or label where the subhalo does nothing: every difference between twins comes from its light."""
    silent = dataclasses.replace(pairs, images=pairs.images[:, [0, 0, 2, 2]])
    for channels in ("flux", "velocity", "both"):
        pixels = KinematicPixels(network(channels))
        for row in range(6):
            inputs, labels = members_of(silent, row, pixels, 1, 0, factor=5.0)
            assert labels.tolist() == [0, 1] and np.array_equal(inputs[0], inputs[1])
    # And place and lens are targets, no inputs.
    assert KinematicPixels(network("both")).inputs == ("flux", "velocity", "mask", "inverse_sigma")


def test_label_blind_maps_are_the_same_for_twins(pairs):
    for row in range(6):
        control, positive = observe(pairs, row, (0, 1), 3)
        assert np.array_equal(control["mask"], positive["mask"]) and np.array_equal(control["velocity_sigma"], positive["velocity_sigma"])
        assert not np.array_equal(control["flux"], positive["flux"])


def test_each_single_member_looks_like_a_stamp_of_the_dataset(files, pairs):
    """Inputs drawn afresh and inputs of the rendered stamps have one distribution (two-sample Kolmogorov–Smirnov on pixels' noise)."""
    stamps = pq.read_table(files["train"])
    flux, snr = images(stamps, "flux"), pairs.peak_snr
    shown = pairs.images[np.arange(len(pairs)), pairs.labels].astype(float)
    sigma = np.sqrt(flux_variance(shown, snr[:, None, None], 0.5))
    fresh = np.stack([observe(pairs, k, (int(label),), 99)[0]["flux"] for k, label in enumerate(pairs.labels)])
    dark = shown < 0.05  # there the law is nearly normal; both are compared with it and with each other
    a, b = ((f - shown)[dark] / sigma[dark] for f in (flux, fresh))
    assert kstest(a, b).pvalue > 1e-3 and a.std() == pytest.approx(b.std(), rel=0.03)


# --- training


OPTIONS = {"amplify": 4.0, "place_weight": 0.2, "lens_weight": 0.3}


def weights(result, folder, name):
    save_network(result, folder / f"{name}.safetensors", folder / f"{name}.json")
    return sha256(folder / f"{name}.safetensors"), sha256(folder / f"{name}.json")


def test_it_learns_from_pairs_with_all_options(files, tmp_path, caplog):
    settings = network("flux", "unet", {"epochs": 6}, **OPTIONS)
    with caplog.at_level(logging.INFO):
        result = train_network([files["pairs"]], [files["validation"]], settings, 1, tmp_path / "c", 1)
    assert "the subhalo's signal is amplified by 4.00 at its start" in caplog.text
    losses = [row["train_loss"] for row in result.history]
    assert len(losses) == 6 and losses[-1] < losses[0] and result.counts["training"] == 48
    save_network(result, tmp_path / "n.safetensors", tmp_path / "n.json")
    loaded = load_network(tmp_path / "n.safetensors", tmp_path / "n.json")
    head = loaded.module.lens
    np.testing.assert_allclose(head.mean, read_pairs([files["pairs"]]).lens.mean(0), rtol=1e-6)
    assert loaded.network.training.pairs.lens_weight == 0.3


def test_killed_and_resumed_it_ends_with_the_same_bits(files, tmp_path):
    settings = network("flux", "unet", **OPTIONS)
    whole = train_network([files["pairs"]], [files["validation"]], settings, 1, tmp_path / "whole", 1)
    splits = {"train": [files["pairs"]], "validation": [files["validation"]]}
    # 6 batches an epoch: the 15th is in the third.
    ended = train_until(signal.SIGKILL, 15, "darkhaloscope.learning.pair_batches.PairBatches", splits, settings, tmp_path)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    resumed = train_network([files["pairs"]], [files["validation"]], settings, 1, tmp_path / "checkpoints", 1)
    assert resumed.history == whole.history
    assert weights(resumed, tmp_path, "resumed") == weights(whole, tmp_path, "whole")


def test_a_seed_or_an_option_changes_the_weights(files, tmp_path):
    found = {
        name: weights(train_network([files["pairs"]], [files["validation"]], settings, seed, tmp_path / name, 1), tmp_path, name)[0]
        for name, settings, seed in (
            ("a", network(training={"epochs": 1}), 1),
            ("b", network(training={"epochs": 1}), 2),
            ("c", network(training={"epochs": 1}, amplify=3.0), 1),
            ("d", network(training={"epochs": 1}, twins=False), 1),
            ("e", network(training={"epochs": 1}, fresh_noise=False), 1),
        )
    }
    assert len(set(found.values())) == 5


def test_a_share_of_the_pairs_is_a_learning_curve(files):
    half = choose_pairs([files["pairs"]], network(training={"train_fraction": 0.5}), 1)
    assert len(half.stamps) == 12 and half.stamps.labels.sum() == 6 and half.stamps.dropped == {"beyond train_fraction": 12}
    assert half.stamps.images.shape[0] == 12


# --- errors in words


def test_what_is_no_table_of_pairs_is_refused(files, dataset, tmp_path):
    with pytest.raises(LearningError, match="list of shards is empty"):
        read_pairs([])
    with pytest.raises(TableError, match="give shards of pairs, as render_pairs writes them"):
        read_pairs([files["train"]])
    table = read_table(files["pairs"], pair_schema(SIZE))
    bare = tmp_path / "bare.parquet"
    write_table(bare, pair_schema(SIZE), table)
    with pytest.raises(TableError, match="does not say how they are observed"):
        read_pairs([bare])
    with pytest.raises(LearningError, match="24 pairs come more than once"):
        read_pairs([files["pairs"], write_pairs(tmp_path / "twice.parquet", table, dataset)])
    other = write_pairs(tmp_path / "other.parquet", table, pair_dataset(seed=9))
    with pytest.raises(LearningError, match="pairs of several datasets"):
        read_pairs([files["pairs"], other])
    broken = images(table, "smooth_flux").copy()
    broken[3, 2, 2] = np.nan
    columns = {name: table[name].combine_chunks() for name in table.column_names if name != "smooth_flux"}
    columns = {n: images(table, n) if n.endswith(("_flux", "_velocity")) else v for n, v in columns.items()}
    path = write_pairs(tmp_path / "nan.parquet", pair_schema(SIZE).table({**columns, "smooth_flux": broken}), dataset)
    with pytest.raises(BadPixels, match="1 of 24 pairs"):
        read_pairs([path])


@pytest.mark.parametrize("channels", ["flux", "velocity", "both", "mask"])
def test_a_unet_takes_every_channel_mode(channels):
    module = build_network(network(channels, "unet"))
    inputs = len(KinematicPixels(network(channels)).inputs)
    assert module(torch.zeros(2, inputs, 48, 48)).shape == (2, 2)


def test_regressed_lenses_are_in_the_stamps_order_and_units(files, tmp_path):
    settings = network("flux", "unet", {"epochs": 1}, lens_weight=1.0)
    trained = train_network([files["pairs"]], [files["validation"]], settings, 1, tmp_path, 1)
    found = estimate_lenses([files["validation"]], trained.classifier)
    stamps = pq.read_table(files["validation"])
    assert found["number"].tolist() == sorted(stamps["number"].to_pylist()) and tuple(found) == ("number", *LENS)
    # One by one as all together, in arcsec about the population's mean.
    head, pixels = trained.classifier.module.lens, KinematicPixels(settings, trained.classifier.normalisation)
    inputs = pixels.decode(files["validation"], pq.read_metadata(files["validation"]), 0)
    with torch.inference_mode():
        lens = trained.classifier.module.outputs(torch.from_numpy(inputs).permute(0, 3, 1, 2))[2]
    expected = (head.mean + head.width * lens).numpy()
    order = np.argsort(stamps["number"].to_numpy())
    np.testing.assert_allclose(found["theta_e"], expected[order, 0], rtol=1e-4)
    without = dataclasses.replace(trained.classifier, network=network("flux", "unet"))
    with pytest.raises(LearningError, match="does not regress the lens: train one with architecture unet"):
        estimate_lenses([files["validation"]], without)
