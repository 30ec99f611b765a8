"""Stamps of bands: each once per epoch, whatever reads them; chosen, weighed and refused in words; turned and shifted."""

import numpy as np
import pytest
import torch

from darkhaloscope.config.network import Jitter, Network, Scaling
from darkhaloscope.core.tables import TableError
from darkhaloscope.learning.augment import MARGIN, jitter_images, orient_images, shift_images, shifts
from darkhaloscope.learning.index import Emphasis, Extra, index_stamps, measure_bands
from darkhaloscope.learning.scaling import BANDS, SCALARS, LearningError
from darkhaloscope.learning.splits import BAD_PIXELS, read_split, training_loader, validation_loader
from darkhaloscope.learning.streaming import Stream
from unit.learning.band_shards import NOISE, band_columns, write_band_shards
from unit.learning.stamp_shards import stamp_columns, write_shards


def bands(training=None, **keys):
    return Network.model_validate({"architecture": "slim", "channels": "bands", "width": 4, "training": training or {}, **keys})


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """700 stamps in uneven shards and row groups."""
    columns = band_columns(700)
    return columns, write_band_shards(tmp_path_factory.mktemp("bands"), columns, [0, 13, 300, 301, 700], row_group=37)


# --- each stamp exactly once per epoch


@pytest.mark.parametrize(("window", "scratch"), [(256, 0), (256, 1), (700, 0)])
@pytest.mark.parametrize("workers", [0, 1, 4])
def test_each_stamp_exactly_once_per_epoch_with_its_own_pixels(many, workers, window, scratch):
    columns, paths = many
    stamps = index_stamps(paths)
    images = Stream(stamps, window, workers, scratch)
    for epoch in range(2):
        order = images.epoch_order(1, epoch)
        images.begin(order)
        seen = np.array_split(order, 11)
        pixels = np.concatenate([images.take(rows) for rows in seen])
        rows = np.concatenate(seen)
        assert sorted(stamps.numbers[rows]) == sorted(columns["number"])
        assert np.array_equal(pixels, columns["image"][rows])
        assert not images._ready  # nothing stays behind in memory


def test_the_order_depends_on_seed_and_epoch_alone(many):
    _, paths = many
    orders = {}
    for workers in (0, 4):
        for seed, epoch in ((1, 0), (1, 1), (2, 0)):
            order = Stream(index_stamps(paths[::-1] if workers else paths), 256, workers).epoch_order(seed, epoch)
            # Rows are sorted by number whatever the order of paths; groups are not.
            orders[workers, seed, epoch] = order
    assert not np.array_equal(orders[0, 1, 0], orders[0, 1, 1])
    assert not np.array_equal(orders[0, 1, 0], orders[0, 2, 0])
    again = Stream(index_stamps(paths), 256, 1).epoch_order(1, 0)
    assert np.array_equal(again, orders[0, 1, 0])


@pytest.mark.parametrize(("window", "scratch"), [(1000, 0), (256, 1)])
def test_a_set_in_memory_or_scratch_is_shuffled_whatever_its_shards(many, tmp_path, window, scratch):
    columns, paths = many
    other = write_band_shards(tmp_path, columns, [0, 400, 700], row_group=100)
    first, second = (Stream(index_stamps(p), window, 0, scratch) for p in (paths, other))
    assert np.array_equal(first.epoch_order(3, 2), second.epoch_order(3, 2))
    assert np.array_equal(first.resident, second.resident)


def test_windows_mix_shards(many):
    """A window's stamps come from row groups of all over the shards, not from neighbours on disk."""
    _, paths = many
    order = Stream(index_stamps(paths), 256, 0).epoch_order(1, 0)
    spread = [np.std(part) for part in np.array_split(order, 3)]
    assert min(spread) > 0.5 * np.std(np.arange(700))  # neighbours would give a third of it


def test_a_large_set_never_holds_more_than_two_windows(many):
    _, paths = many
    images = Stream(index_stamps(paths), 256, 2)
    order = images.epoch_order(1, 0)
    images.begin(order)
    most = 0
    for rows in np.array_split(order, 40):
        images.take(rows)
        most = max(most, sum(int(images._sizes[g]) for g in images._ready))
    assert most <= 2 * 256 + 37


def test_a_full_disk_is_said_before_training(many, monkeypatch):
    from darkhaloscope.learning import streaming

    monkeypatch.setattr(streaming.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(LearningError, match="set TMPDIR to a larger folder"):
        Stream(index_stamps(many[1]), 256, 0, 1.0)


# --- which stamps


def test_bad_pixels_and_bad_cutouts_are_dropped_and_counted(tmp_path):
    columns = band_columns(60)
    columns["image"][7, 1, 3, 3] = np.nan
    columns["image"][8, 0, 0, 0] = np.inf
    columns["cutout_ok"] = np.arange(60) % 20 != 0
    paths = write_band_shards(tmp_path, columns, [0, 60])
    for window in (256, 1000):
        split = read_split(paths, bands({"window_stamps": window, "scratch_gb": 0}))
        assert split.stamps.dropped == {"cutout not ok": 3, BAD_PIXELS: 2}
        assert sorted(split.numbers) == sorted(set(range(60)) - {0, 20, 40, 7, 8})
        assert np.isfinite(split.images.take(np.arange(len(split)))).all()


def test_streamed_sets_drop_bad_pixels_too(tmp_path):
    columns = band_columns(400)
    columns["image"][[5, 300], 0, 0, 0] = np.nan
    shards = write_band_shards(tmp_path, columns, [0, 170, 400])
    split = read_split(shards, bands({"window_stamps": 256, "scratch_gb": 0}), workers=1)
    assert split.images.resident is None and split.stamps.dropped == {BAD_PIXELS: 2} and len(split) == 398
    order = split.images.epoch_order(1, 0)
    split.images.begin(order)
    assert np.isfinite(split.images.take(order)).all()


def test_filters_leave_out_training_positives_alone(many):
    columns, paths = many
    network = bands({"min_theta_over_psf": 1.0, "min_arc_snr": 5.0})
    stamps = index_stamps(paths, training=network)
    positive = columns["label"] == 1
    keep = ~positive | ((columns["theta_over_psf"] >= 1.0) & (columns["arc_snr"] >= 5.0))
    assert np.array_equal(stamps.numbers, columns["number"][keep])
    assert sum(stamps.dropped.values()) == (~keep).sum()
    assert len(index_stamps(paths)) == 700  # validation and test keep them


def test_seeds_draw_their_own_share_and_the_same_one_again(many):
    _, paths = many
    network = bands({"seed_share": 0.5})
    drawn = [index_stamps(paths, training=network, seed=s).numbers for s in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1]) and len(drawn[0]) == 350
    # Two independent halves share a quarter: 175 ± 4 σ of a hypergeometric draw.
    assert abs(len(np.intersect1d(drawn[0], drawn[2])) - 175) < 4 * 9.4


def test_extras_join_with_their_weight_and_weights_have_mean_one(tmp_path):
    own = write_band_shards(tmp_path, band_columns(20), [0, 20], "own")
    other = write_band_shards(tmp_path, band_columns(10, seed=9), [0, 10], "other")
    stamps = index_stamps(own, extras=[Extra(tuple(other), 3.0, np.array([2, 4]))], emphasis=Emphasis(np.array([6]), 5.0))
    assert len(stamps) == 22 and len(np.unique(stamps.numbers)) == 22
    assert stamps.weights.mean() == pytest.approx(1)
    assert np.allclose(stamps.weights / stamps.weights[0], [*([1] * 6), 5, *([1] * 13), 3, 3])
    images = Stream(stamps, 1000, 0).resident
    assert np.array_equal(images[-2:], band_columns(10, seed=9)["image"][[2, 4]])


def test_what_cannot_be_used_is_refused_in_words(tmp_path):
    columns = band_columns(8)
    twice = [*write_band_shards(tmp_path, columns, [0, 8], "a"), *write_band_shards(tmp_path, columns, [0, 8], "b")]
    with pytest.raises(LearningError, match="8 stamps come more than once"):
        index_stamps(twice)
    with pytest.raises(TableError, match="does not exist"):
        index_stamps([tmp_path / "none.parquet"])
    with pytest.raises(TableError, match="channels `bands` are for lens-finder stamps"):
        index_stamps(write_shards(tmp_path, stamp_columns(4), [0, 4], "subhalo"))
    larger = write_band_shards(tmp_path, band_columns(4, size=20, first=50), [0, 4], "large")
    with pytest.raises(LearningError, match="differ in size"):
        index_stamps([twice[0], *larger])
    strange = write_band_shards(tmp_path, columns | {"label": np.full(8, 3, np.int8)}, [0, 8], "labels")
    with pytest.raises(LearningError, match="labels must be 0 or 1"):
        index_stamps(strange)
    nothing = write_band_shards(tmp_path, columns | {"cutout_ok": np.zeros(8, bool)}, [0, 8], "not-ok")
    with pytest.raises(LearningError, match="no stamps are left of 8: 8 cutout not ok"):
        index_stamps(nothing)


# --- stretch and scalars


def test_the_stretch_bends_at_the_noise_and_centres_the_pixels(many):
    columns, paths = many
    network = bands(scaling={"softening": 2.0})
    normalisation = read_split(paths, network).normalisation
    assert normalisation.inputs == (*BANDS, *SCALARS)
    # The MAD also sees the galaxy's wings, so it lies above the noise that was drawn.
    assert np.all(np.array(normalisation.softening) / (2.0 * NOISE) > 0.98)
    blank = np.random.default_rng(1).normal(0, 1, (400, 3, 16, 16)) * NOISE[:, None, None]
    measured = measure_bands(blank.astype(np.float32), np.zeros((400, 6)), Scaling(softening=1.0))
    assert np.allclose(measured.softening, NOISE, rtol=0.02)  # four σ of the median of 400 MADs of 256 pixels
    pixels = columns["image"][: len(columns["image"])].astype(np.float64)
    stretched = np.arcsinh(pixels / np.array(normalisation.softening)[:, None, None])
    assert np.allclose(stretched.mean((0, 2, 3)), normalisation.offset[:3], rtol=1e-5)
    assert np.allclose(stretched.std((0, 2, 3)), normalisation.scale[:3], rtol=1e-5)


def test_depth_is_the_five_sigma_magnitude(tmp_path):
    columns = band_columns(4) | {"psfdepth_r": np.full(4, 400.0), "psfdepth_g": np.zeros(4)}
    scalars = index_stamps(write_band_shards(tmp_path, columns, [0, 4])).scalars
    # σ = 1/√400 = 0.05 nanomaggies, 5σ = 0.25: 22.5 − 2.5 log10(0.25) = 24.005
    assert scalars[0, SCALARS.index("psfdepth_r")] == pytest.approx(24.005, abs=1e-3)
    assert not np.isfinite(scalars[0, SCALARS.index("psfdepth_g")])


# --- augmentation


def test_shifts_move_a_gaussian_as_the_formula_does():
    y, x = np.indices((64, 64), float)
    by = np.array([[0.37, -0.81], [-1.5, 0.25]])

    def gaussian(dx, dy):  # FWHM 4.6 pixels: 1.2″ seeing
        return np.exp(-((x - 31.5 - dx) ** 2 + (y - 30.2 - dy) ** 2) / (2 * (4.6 / 2.355) ** 2))

    images = torch.from_numpy(np.stack([np.stack([gaussian(0, 0)] * 3)] * 2)).float()
    moved = shift_images(images, torch.from_numpy(by)).numpy()
    for k, (dx, dy) in enumerate(by):
        assert np.abs(moved[k] - gaussian(dx, dy)).max() < 1e-4
    assert np.allclose(moved.sum((2, 3)), images.numpy().sum((2, 3)), rtol=1e-5)


def test_shifts_keep_the_power_of_noise():
    noise = torch.randn(200, 1, 48, 48, generator=torch.Generator().manual_seed(1))
    moved = shift_images(noise, torch.full((200, 2), 0.5))
    inner = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    # Half-pixel shifts lose the Nyquist row and column alone, 2/64 of the power; a bilinear shift would lose three quarters.
    assert float(moved[inner].var() / noise[inner].var()) == pytest.approx(1, abs=0.05)


def test_shifts_are_uniform_and_of_their_stamp_alone():
    numbers = np.arange(4000)
    drawn = shifts(numbers, 1, 0, 0.5)
    assert np.abs(drawn).max() <= 0.5 and np.abs(drawn.mean(0)).max() < 4 * 0.5 / np.sqrt(3 * 4000)
    assert np.array_equal(shifts(numbers[5:9], 1, 0, 0.5), drawn[5:9])
    assert not np.array_equal(shifts(numbers, 1, 1, 0.5), drawn)


def test_the_eight_orientations_are_those_of_the_square():
    images = torch.arange(2 * 9.0).view(1, 2, 3, 3).repeat(8, 1, 1, 1)
    turned = orient_images(images, torch.arange(8))
    square = {tuple(np.rot90(m, k).ravel()) for k in range(4) for m in (images[0, 1].numpy(), images[0, 1].numpy().T)}
    assert {tuple(t.ravel()) for t in turned[:, 1].numpy()} == square and len(square) == 8


def test_augmentation_is_anew_each_epoch_and_validation_stays_as_it_is(many):
    _, paths = many
    network = bands({"shift_pixels": 0.5, "batch_size": 700, "window_stamps": 1000})
    split = read_split(paths, network)
    training, validation = training_loader(split, network, 1), validation_loader(split, 700)
    (kept, _), _, weights = next(iter(validation))
    assert np.array_equal(kept.numpy(), split.images.resident) and np.array_equal(weights.numpy(), np.ones(700, np.float32))
    first, again = next(iter(training))[0][0], next(iter(training))[0][0]
    assert torch.equal(first, again)
    training.sampler.set_epoch(1)
    other = next(iter(training))[0][0]
    assert not torch.equal(first, other) and other.shape == first.shape


def galaxies(n=400, size=32):
    """Sky of known noise with a galaxy of 1 nanomaggy in each pixel of the middle."""
    rng = np.random.default_rng(6)
    images = rng.normal(0, 0.01, (n, 3, size, size))
    images[:, :, size // 2 - 3 : size // 2 + 3, size // 2 - 3 : size // 2 + 3] += 10.0
    return images.astype(np.float32)


def test_jitter_of_zero_points_and_brightness_is_as_wide_as_asked():
    images = galaxies()
    changed = jitter_images(images, np.arange(400), 1, 0, Jitter(colour_mag=0.1, brightness_mag=0.5))
    step = -2.5 * np.log10(changed[:, :, 16, 16] / images[:, :, 16, 16])
    # Zero points differ between bands by √2 · 0.1; all together move by ± 0.5, uniform.
    assert np.std(step[:, 0] - step[:, 1]) == pytest.approx(np.sqrt(2) * 0.1, rel=0.12)
    assert np.abs(step.mean(1)).max() < 0.5 + 0.3 and step.mean(1).std() == pytest.approx(
        np.hypot(0.5 / np.sqrt(3), 0.1 / np.sqrt(3)), rel=0.1
    )
    assert np.array_equal(jitter_images(images, np.arange(400), 1, 0, Jitter()), images)


def test_jitter_adds_noise_to_half_of_the_stamps_and_clips_some():
    images = galaxies()
    noisy = jitter_images(images, np.arange(400), 1, 0, Jitter(noise=2.0))
    spread = noisy[:, :, :8].std((1, 2, 3)) / 0.01
    # At u times 2σ, u uniform: √(1 + 4u²), at most √5; the other half stays as it is.
    assert (spread < 1.05).mean() == pytest.approx(0.5, abs=0.12) and 2.0 < spread.max() < 2.4
    clipped = jitter_images(images, np.arange(400), 1, 0, Jitter(clip=0.3))
    bounded = clipped.min((1, 2, 3)) >= 0
    assert bounded.mean() == pytest.approx(0.3, abs=0.08)
    # Levels lie between 30 and 300 times the sky's noise, a factor of e^0.3 of scatter aside.
    assert clipped[bounded].max() < 300 * 0.012 * np.exp(1.2) and np.array_equal(clipped[~bounded], images[~bounded])


def test_jitter_depends_on_seed_epoch_and_stamp_alone():
    images, how = galaxies(6), Jitter(noise=1.0, colour_mag=0.1, brightness_mag=1.0, clip=0.5)
    whole = jitter_images(images, np.arange(6), 1, 3, how)
    assert np.array_equal(jitter_images(images[4:], np.arange(4, 6), 1, 3, how), whole[4:])
    assert not np.array_equal(jitter_images(images, np.arange(6), 1, 4, how), whole)
    assert not np.array_equal(jitter_images(images, np.arange(6), 2, 3, how), whole)
