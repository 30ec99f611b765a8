"""Shards to inputs: exactly the stamps, whatever the shards; scaling; order; errors in words."""

import dataclasses
import errno
import os
import tempfile

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from darkhaloscope.config.network import Network, Scaling
from darkhaloscope.core.tables import TableError
from darkhaloscope.learning import streaming
from darkhaloscope.learning.augment import orient_images, orientations
from darkhaloscope.learning.index import index_stamps
from darkhaloscope.learning.pixels import BadPixels, KinematicPixels, scale_flux, scale_velocity
from darkhaloscope.learning.scaling import LearningError, Normalisation
from darkhaloscope.learning.splits import derangement, read_split
from darkhaloscope.learning.streaming import Batches, EpochOrder, InOrder, loader
from darkhaloscope.tasks.subhalo.schema import stamp_schema
from unit.learning.stamp_shards import read_stamps, stamp_columns, write_shards

UNIT = {
    "flux": Normalisation(("flux", "mask", "inverse_sigma"), (0.0,) * 3, (1.0,) * 3),
    "mask": Normalisation(("mask",), (0.0,), (1.0,)),
    "velocity": Normalisation(("velocity", "mask", "inverse_sigma"), (0.0,) * 3, (1.0,) * 3),
    "both": Normalisation(("flux", "velocity", "mask", "inverse_sigma"), (0.0,) * 4, (1.0,) * 4),
}


def network(channels="both", **keys):
    return Network.model_validate({"architecture": "toy", "channels": channels, **keys})


def test_inputs_are_the_scaled_pixels(tmp_path):
    columns = stamp_columns(30)
    data = read_stamps(write_shards(tmp_path, columns, [0, 30]), network(), normalisation=UNIT["both"])
    mask = columns["mask"] > 0
    median = np.array([np.median(v[m]) for v, m in zip(columns["velocity"], mask, strict=True)])
    # float32 arithmetic against float64
    np.testing.assert_allclose(data.inputs[..., 0], np.arcsinh(columns["flux"] / 0.1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(data.inputs[..., 1], np.where(mask, (columns["velocity"] - median[:, None, None]) / 100, 0), atol=1e-6)
    np.testing.assert_array_equal(data.inputs[..., 2], mask)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(data.inputs[..., 3], np.where(mask, 100 / columns["velocity_sigma"], 0), rtol=1e-6)
    np.testing.assert_array_equal(data.labels, columns["label"])
    assert list(data.numbers) == list(columns["number"])


@pytest.mark.parametrize("channels", ["flux", "velocity", "mask"])
def test_channel_modes_are_parts_of_both(tmp_path, channels):
    paths = write_shards(tmp_path, stamp_columns(12), [0, 12])
    both = read_stamps(paths, network("both"), normalisation=UNIT["both"])
    some = read_stamps(paths, network(channels), normalisation=UNIT[channels])
    columns = [both.normalisation.inputs.index(name) for name in some.normalisation.inputs]
    assert torch.equal(some.inputs, both.inputs[..., columns])


@pytest.mark.parametrize("shuffle", [False, True])
def test_data_do_not_depend_on_shards_nor_on_memory(tmp_path, shuffle):
    columns = stamp_columns(40)
    one = read_stamps(write_shards(tmp_path, columns, [0, 40], "one"), network(shuffle_velocity=shuffle))
    many = write_shards(tmp_path, columns, [0, 3, 3, 29, 40], "many")
    for other in (
        read_stamps(many, network(shuffle_velocity=shuffle)),
        read_stamps(many[::-1], network(shuffle_velocity=shuffle), memory_bytes=0),
    ):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.labels, other.labels)
        assert one.normalisation == other.normalisation


def test_normalised_training_inputs_have_unit_spread(tmp_path):
    data = read_stamps(write_shards(tmp_path, stamp_columns(50), [0, 50]), network())
    flux, velocity, mask, inverse = data.inputs.double().unbind(-1)
    inside = mask > 0
    assert flux.mean() == pytest.approx(0, abs=1e-5)
    assert flux.std(correction=0) == pytest.approx(1, abs=1e-5)
    for values in (velocity, inverse):
        assert (values[inside] ** 2).mean() == pytest.approx(1, abs=1e-5)
        assert not values[~inside].any()
    assert set(mask.unique().tolist()) == {0.0, 1.0}


def test_normalisation_knows_no_label(tmp_path):
    columns = stamp_columns(20)
    turned = {**columns, "label": 1 - columns["label"]}
    a, b = (read_stamps(write_shards(tmp_path, c, [0, 20], n), network()) for c, n in ((columns, "a"), (turned, "b")))
    assert a.normalisation == b.normalisation


def test_shuffled_velocity_comes_with_its_mask_and_error_from_another_stamp(tmp_path):
    paths = write_shards(tmp_path, stamp_columns(25), [0, 10, 25])
    plain = read_stamps(paths, network(), normalisation=UNIT["both"])
    mixed = read_stamps(paths, network(shuffle_velocity=True), normalisation=UNIT["both"])
    other = derangement(plain.numbers)
    assert torch.equal(mixed.inputs[..., 0], plain.inputs[..., 0])
    assert torch.equal(mixed.inputs[..., 1:], plain.inputs[other][..., 1:])
    assert torch.equal(mixed.labels, plain.labels)


@pytest.mark.parametrize("n", [2, 3, 1000])
def test_derangement_leaves_none_in_place_and_uses_each_once(n):
    other = derangement(np.arange(n) + 5)
    assert (other != np.arange(n)).all()
    assert sorted(other) == list(range(n))


def test_noise_free_stamps_have_finite_inputs():
    flux = np.ones((1, 2, 2), np.float32)
    assert scale_flux(flux, np.zeros(1), Scaling(flux="noise")) == pytest.approx(1000.0)
    assert scale_flux(np.zeros((1, 2, 2), np.float32), np.zeros(1), Scaling(flux="peak")) == pytest.approx(0.0)


def test_velocity_scalings():
    velocity = np.array([[[10.0, 20.0], [60.0, 7.0]]], np.float32)
    sigma = np.full((1, 2, 2), 5, np.float32)
    mask = np.array([[[True, True], [True, False]]])
    centred = np.array([[[-10.0, 0.0], [40.0, 0.0]]])  # the median of 10, 20, 60 is 20
    for how, want in (("fixed", centred / 100), ("noise", centred / 5), ("asinh", np.arcsinh(centred / 5))):
        np.testing.assert_allclose(scale_velocity(velocity, sigma, mask, Scaling(velocity=how)), want, rtol=1e-6)
    bare = scale_velocity(velocity, sigma, mask, Scaling(centre_velocity=False))
    np.testing.assert_allclose(bare, [[[0.1, 0.2], [0.6, 0.0]]], rtol=1e-6)
    empty = scale_velocity(velocity, sigma, np.zeros_like(mask), Scaling())
    assert not empty.any()


def test_train_fraction_keeps_the_classes_and_nests(tmp_path):
    paths = write_shards(tmp_path, stamp_columns(100), [0, 100])
    small, large = (read_stamps(paths, network("mask"), fraction=f) for f in (0.2, 0.5))
    assert (len(small), int(small.labels.sum())) == (20, 10)
    assert (len(large), int(large.labels.sum())) == (50, 25)
    assert set(small.numbers) < set(large.numbers)


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("streamed", [False, True])
def test_each_stamp_exactly_once_per_epoch(tmp_path, workers, streamed):
    """Threads read ahead, not processes: a fork after threads of OpenMP is not safe."""
    paths = write_shards(tmp_path, stamp_columns(300), [0, 20, 300])
    limits = {"window_stamps": 256, "scratch_gb": 0}
    images = read_split(paths, network("mask", training=limits), workers=workers, memory_bytes=0 if streamed else 1 << 30).images
    assert (images.resident is None) == streamed
    images.stamps = dataclasses.replace(images.stamps, labels=np.arange(300))  # the label tells which stamp came
    order = EpochOrder(images, 48, seed=3)
    epochs = []
    for epoch in range(2):
        order.set_epoch(epoch)
        batches = [labels for _, labels, _ in loader(Batches(images, seed=3, augment=True), order)]
        assert sorted(torch.cat(batches).tolist()) == list(range(300))
        assert {len(b) for b in batches} <= {42, 43}
        epochs.append(torch.cat(batches).tolist())
    assert epochs[0] != epochs[1]
    assert len(list(InOrder(images, 48))) == len(InOrder(images, 48)) == 7


def test_streamed_inputs_are_those_in_memory(tmp_path):
    paths = write_shards(tmp_path, stamp_columns(300), [0, 20, 300])
    whole, streamed = (
        read_split(paths, network(training={"window_stamps": 256, "scratch_gb": 0}), memory_bytes=limit) for limit in (1 << 30, 0)
    )
    assert streamed.images.resident is None and whole.normalisation == streamed.normalisation
    for rows, images in streamed.images.in_order():
        assert np.array_equal(images, whole.images.take(rows))


def test_orientations_follow_seed_epoch_and_stamp():
    numbers = np.arange(8000)
    codes = orientations(numbers, seed=1, epoch=2)
    np.testing.assert_array_equal(orientations(numbers[::-1], 1, 2), codes[::-1])
    assert (orientations(numbers, 1, 3) != codes).mean() == pytest.approx(7 / 8, abs=0.02)
    # 1000 of each expected, 5 sigma of a binomial
    assert np.abs(np.bincount(codes, minlength=8) - 1000).max() < 150


def test_orient_gives_the_eight_symmetries_with_values_kept():
    stamp = torch.arange(2 * 9.0).reshape(1, 3, 3, 2) - 9
    turned = orient_images(stamp.repeat(8, 1, 1, 1).permute(0, 3, 1, 2), torch.arange(8)).permute(0, 2, 3, 1).numpy()
    image = stamp[0, ..., 0].numpy()
    expected = {r.tobytes() for m in (image, image[::-1]) for r in (np.rot90(np.ascontiguousarray(m), k).copy() for k in range(4))}
    assert {np.ascontiguousarray(t[..., 0]).tobytes() for t in turned} == expected
    np.testing.assert_array_equal(turned[..., 1] - turned[..., 0], 1)  # channels move together, signs stay


# --- errors


def test_no_stamps(tmp_path):
    with pytest.raises(LearningError, match="list of shards is empty"):
        read_stamps([], network())
    with pytest.raises(LearningError, match="hold no rows"):
        read_stamps(write_shards(tmp_path, stamp_columns(4), [0, 0]), network())


def test_wrong_schema_names_file_and_column(tmp_path):
    columns = stamp_columns(4)
    schema = stamp_schema(16)
    table = schema.table(columns)
    path = tmp_path / "broken.parquet"
    pq.write_table(table.drop_columns(["velocity_sigma"]), path)
    with pytest.raises(TableError, match=r"broken\.parquet.*velocity_sigma"):
        read_stamps([path], network())
    pq.write_table(table.drop_columns(["flux"]), path)
    with pytest.raises(TableError, match=r"broken\.parquet.*image column `flux`"):
        read_stamps([path], network())
    with pytest.raises(TableError, match="does not exist"):
        read_stamps([tmp_path / "none.parquet"], network())


def test_bad_pixels_are_counted_and_named(tmp_path):
    columns = stamp_columns(30)
    columns["observed_velocity"][4, 2, 3] = np.nan
    columns["observed_velocity"][4, 2, 4] = np.inf
    columns["flux"][21, 0, 0] = -np.inf
    paths = write_shards(tmp_path, columns, [0, 10, 30])
    with pytest.raises(BadPixels, match=r"3 values .* in 2 of 30 stamps.*tiny-4 \(2\), tiny-21 \(1\)"):
        read_stamps(paths, network())
    with pytest.raises(BadPixels, match="tiny-21"):
        read_stamps(paths, network("flux"))
    read_stamps(paths, network("mask"))  # what a network does not see cannot spoil it


def test_a_shard_given_twice(tmp_path):
    paths = write_shards(tmp_path, stamp_columns(10), [0, 10])
    with pytest.raises(LearningError, match="10 stamps come more than once"):
        read_stamps(paths * 2, network())


def test_strange_labels(tmp_path):
    columns = stamp_columns(10)
    columns["label"][3] = 2
    with pytest.raises(LearningError, match="tiny-3 has 2"):
        read_stamps(write_shards(tmp_path, columns, [0, 10]), network())


def test_sizes_that_differ_or_are_too_small(tmp_path):
    a = write_shards(tmp_path, stamp_columns(4), [0, 4], "a")
    b = write_shards(tmp_path, stamp_columns(4, size=20, first=4), [0, 4], "b")
    assert index_stamps(b, KinematicPixels(network())).size == 20
    with pytest.raises(LearningError, match=r"16×16 in .*20×20 in "):
        read_stamps(a + b, network())
    with pytest.raises(LearningError, match="too small"):
        read_stamps(write_shards(tmp_path, stamp_columns(4, size=12), [0, 4], "c"), network())


def test_normalisation_of_other_channels(tmp_path):
    paths = write_shards(tmp_path, stamp_columns(4), [0, 4])
    with pytest.raises(LearningError, match="normalisation is for inputs"):
        read_stamps(paths, network("both"), normalisation=UNIT["flux"])


def test_a_network_that_sees_the_flux_never_reads_the_label_blind_mask(tmp_path):
    """Mask and σ_v of the smooth lens, held against the flux, would show the subhalo; velocity alone keeps them."""
    columns = stamp_columns(20)
    rng = np.random.default_rng(5)
    columns["observed_mask"] = (rng.random(columns["mask"].shape) < 0.5).astype(np.uint8)
    columns["observed_sigma"] = (20.0 * columns["observed_mask"]).astype(np.float32)
    columns["observed_velocity"] = (-columns["velocity"] * columns["observed_mask"]).astype(np.float32)
    paths = write_shards(tmp_path, columns, [0, 20])
    both = read_stamps(paths, network("both"), normalisation=UNIT["both"])
    alone = read_stamps(paths, network("velocity"), normalisation=UNIT["velocity"])
    np.testing.assert_array_equal(both.inputs[..., 2], columns["observed_mask"])
    np.testing.assert_array_equal(alone.inputs[..., 1], columns["mask"])
    assert (both.inputs[..., 1][columns["observed_mask"] == 0] == 0).all()
    np.testing.assert_allclose(both.inputs[..., 3], 5.0 * columns["observed_mask"])
    own = read_stamps(paths, network("velocity", label_blind=False), normalisation=UNIT["velocity"])
    np.testing.assert_array_equal(own.inputs, both.inputs[..., 1:])


def test_a_scratch_file_has_its_place_on_the_disk_before_it_is_written(monkeypatch):
    """A sparse one on a disk that fills up meanwhile ends the process with SIGBUS: no traceback, no message."""
    kept = []

    def remembered(**options):
        file = tempfile.NamedTemporaryFile(**options)  # noqa: SIM115  (the caller closes it)
        kept.append(os.dup(file.fileno()))
        return file

    monkeypatch.setattr(streaming.tempfile, "TemporaryFile", remembered)
    images = streaming.room_for((7, 300, 300))
    reserved = 512 * os.fstat(kept[0]).st_blocks
    os.close(kept[0])
    assert images.shape == (7, 300, 300) and not images.any() and reserved >= images.nbytes


def test_a_scratch_file_that_the_disk_does_not_hold_is_refused_in_words(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(LearningError, match="stamps take 4000000.0 GB .*set TMPDIR to a larger folder"):
        streaming.room_for((1_000_000_000, 1000, 1000))
    monkeypatch.setattr(os, "posix_fallocate", full)  # another program took the rest in between
    with pytest.raises(LearningError, match="No space left on device.*training.scratch_gb to 0"):
        streaming.room_for((7, 30, 30))
