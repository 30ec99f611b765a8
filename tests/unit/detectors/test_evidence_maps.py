"""The detector's maps: what they hold, that they are what it saw alone, and networks that learn from them."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.linalg import cholesky

from darkhaloscope.config.network import Network
from darkhaloscope.core.tables import TableError, images, write_table
from darkhaloscope.detectors.evidence.findings import OBSERVED, find_in_shard, join_maps, read_observed
from darkhaloscope.detectors.evidence.maps import between, residuals, velocity_pixels
from darkhaloscope.detectors.evidence.pixels import flux_channel, measure_sky, velocity_channel
from darkhaloscope.detectors.evidence.prior import LensPrior
from darkhaloscope.detectors.evidence.schema import FINDINGS, MAPS, evidence_stamp_schema, findings_schema
from darkhaloscope.detectors.evidence.starts import start_values
from darkhaloscope.learning.fit import train_network
from darkhaloscope.learning.pixels import EvidencePixels
from darkhaloscope.learning.scaling import EVIDENCE_INPUTS, inputs_of
from darkhaloscope.learning.score import score_stamps
from darkhaloscope.learning.weights import save_network
from darkhaloscope.tasks.subhalo.schema import stamp_schema


def quiet(done, total):
    pass


@pytest.fixture(scope="module")
def mapper(detector):
    """The detector, with maps."""
    return dataclasses.replace(detector, settings=detector.settings.model_copy(update={"maps": True}))


@pytest.fixture(scope="module")
def found(mapper, shard, tmp_path_factory):
    """Findings with maps of the shard, and their file."""
    folder = tmp_path_factory.mktemp("maps")
    table = find_in_shard(mapper, shard[1], folder / "part.parquet", "key", quiet)
    write_table(folder / "found.parquet", findings_schema(36), table)
    return table, folder / "found.parquet"


@pytest.fixture(scope="module")
def joined(found, shard, tmp_path_factory):
    schema, table = join_maps(shard[1], found[1])
    path = tmp_path_factory.mktemp("joined") / "00000.parquet"
    write_table(path, schema, table)
    return path


def test_maps_change_no_finding(found, detector, shard, tmp_path):
    plain = find_in_shard(detector, shard[1], tmp_path / "part.parquet", "key", quiet)
    assert found[0].select(plain.column_names).equals(plain) and plain.column_names == [c.name for c in FINDINGS.columns]


def test_maps_hold_what_the_findings_say(found):
    table = found[0]
    for channel in ("flux", "velocity", "both"):
        z, information = (images(table, f"map_{kind}_{channel}").astype(float) for kind in ("z", "d_prime"))
        # Pixels between those that were tried hold means: the greatest is one that was tried. Half precision: one part in 1,000.
        np.testing.assert_allclose(z.max((1, 2)), table[f"z_max_{channel}"].to_numpy(), rtol=1e-3)
        row, best = 0, np.unravel_index(z[0].argmax(), z[0].shape)
        assert information[row][best] == pytest.approx(table[f"d_prime_{channel}"][row].as_py(), rel=1e-3)
    x, y = (table[f"found_{axis}_arcsec"].to_numpy() for axis in "xy")
    z = images(table, "map_z_both").astype(float)
    for row in range(len(table)):
        i, j = np.unravel_index(z[row].argmax(), z[row].shape)
        assert ((j - 17.5) * 0.08, (i - 17.5) * 0.08) == pytest.approx((x[row], y[row]))


def test_residuals_are_white_for_a_dense_gaussian():
    """Against leave-one-out predictions one by one, and of unit variance over draws of the model."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(12, 12))
    c = a @ a.T + np.eye(12)
    lower = cholesky(c, lower=True)

    @dataclasses.dataclass
    class Stub:
        factor: torch.Tensor
        weights: torch.Tensor

    def of(data):
        return residuals(Stub(torch.tensor(lower)[None], torch.tensor(np.linalg.solve(c, data))[None]), 0, 12)

    data = lower @ rng.normal(size=12)
    for k in range(12):
        rest = np.arange(12) != k
        gain = np.linalg.solve(c[np.ix_(rest, rest)], c[rest, k])
        expected = (data[k] - gain @ data[rest]) / np.sqrt(c[k, k] - gain @ c[rest, k])
        assert of(data)[k] == pytest.approx(expected, rel=1e-6)
    many = np.stack([of(lower @ rng.normal(size=12)) for _ in range(3000)])
    np.testing.assert_allclose(many.var(0), 1, atol=0.12)  # √(2/3000) is 0.026


def test_residuals_lie_on_the_arc_and_have_the_noise_scatter(found, shard, disks):
    table = found[0]
    for row, stamp in enumerate(read_observed(shard[1], 36)):
        arc = measure_sky(stamp.flux, disks.instrument).arc
        flux, velocity = (images(table, f"map_residual_{c}")[row].astype(float) for c in ("flux", "velocity"))
        assert not flux[~arc].any() and not velocity[~arc].any()
        assert flux[arc].std() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("block", [1, 2])
def test_velocities_are_drawn_where_they_were_observed(shard, disks, mapper, block):
    """The map's pixels are those that the channel took its data from, block by block."""
    instrument = disks.instrument.model_copy(update={"velocity_block": block})
    stamp = read_observed(shard[1], 36)[0]
    sky = measure_sky(stamp.flux, instrument)
    flux = flux_channel(sky, mapper.kernel, mapper.scale)
    channel = velocity_channel(flux, sky, np.ones(len(flux.x)), stamp.velocity, stamp.sigma, stamp.mask, instrument)
    at = velocity_pixels(sky, stamp.sigma, stamp.mask, block)
    assert np.array_equal(stamp.velocity[at[:, 0], at[:, 1]], channel.data)


def test_pixels_between_are_means_of_their_neighbours():
    values, tried = np.zeros((5, 5)), np.zeros((5, 5), bool)
    values[1, 2], values[2, 1], values[2, 3], tried[1, 2], tried[2, 1], tried[2, 3] = 3, 6, 0, True, True, True
    arc = np.ones((5, 5), bool)
    arc[0, 2] = False
    out = between(values, tried, arc)
    assert out[2, 2] == 3 and out[1, 1] == 4.5 and out[1, 2] == 3 and out[0, 2] == 0 and out[4, 4] == 0


def test_maps_do_not_know_the_label(mapper, found, shard, tmp_path):
    """Every column but the observed images is shuffled among the stamps; maps stay the same to the last bit."""
    stamps, order = shard[0].slice(0, 2), pa.array([1, 0])
    shuffled = stamps
    for index, name in enumerate(stamps.column_names):
        if name not in {"stamp_id", "number", *OBSERVED}:
            shuffled = shuffled.set_column(index, shuffled.schema.field(index), stamps[name].combine_chunks().take(order))
    path = tmp_path / "shuffled.parquet"
    write_table(path, stamp_schema(36), shuffled)
    again = find_in_shard(mapper, path, tmp_path / "part.parquet", "key", quiet)
    for name in MAPS:
        assert np.array_equal(images(again, name), images(found[0], name)[:2]), name


def test_a_job_that_was_stopped_goes_on_with_its_maps(mapper, found, shard, tmp_path):
    table = found[0]
    write_table(tmp_path / "part.parquet", findings_schema(36), table.slice(0, 4), key="key")
    told = []
    again = find_in_shard(mapper, shard[1], tmp_path / "part.parquet", "key", lambda done, total: told.append((done, total)))
    assert told == [(6, 6)] and again["stamp_id"].to_pylist() == table["stamp_id"].to_pylist()
    assert np.array_equal(images(again, "map_z_flux")[:4], images(table, "map_z_flux")[:4])
    assert np.array_equal(images(again, "map_z_flux")[4:], images(table, "map_z_flux")[4:])


# --- networks


def network(channels="both", **keys):
    training = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01}
    values = {"architecture": "toy", "channels": channels, "width": 4, "sees": "evidence", "training": training, **keys}
    return Network.model_validate(values)


@pytest.mark.parametrize("channels", EVIDENCE_INPUTS)
@pytest.mark.parametrize("architecture", ["toy", "unet", "deep_dual_stream"])
def test_a_network_trains_on_maps_and_scores_the_same_stamps(channels, architecture, joined, tmp_path):
    settings = network(channels, architecture=architecture)
    half = pq.read_table(joined)
    size = images(half, "map_z_flux").shape[1]
    paths = {}
    for name, rows in (("train", [0, 1, 2, 3]), ("validation", [4, 5])):
        some = half.take(pa.array(rows))
        paths[name] = tmp_path / f"{name}.parquet"
        write_table(paths[name], evidence_stamp_schema(size), some)
    trained = train_network([paths["train"]], [paths["validation"]], settings, 1, tmp_path / "c", 1)
    assert trained.classifier.normalisation.inputs == inputs_of(settings) == EVIDENCE_INPUTS[channels]
    save_network(trained, tmp_path / "n.safetensors", tmp_path / "n.json")
    scores = score_stamps([joined], tmp_path / "n.safetensors", tmp_path / "n.json", dataset="d", detector="n")
    assert scores["stamp_id"].to_pylist() == half["stamp_id"].to_pylist() and np.isfinite(np.asarray(scores["score"])).all()


def test_inputs_are_the_maps_and_nothing_of_the_truth(joined):
    for channels in EVIDENCE_INPUTS:
        columns = EvidencePixels(network(channels)).columns
        assert set(columns) <= set(MAPS)
        # A network of one channel must not see the other's evidence.
        other = {"flux": ("velocity", "both"), "velocity": ("flux", "both"), "both": ()}[channels]
        assert not [name for name in columns if name.endswith(other)] or not other
    decoded = EvidencePixels(network("flux")).decode(joined, pq.read_metadata(joined), 0)
    assert np.array_equal(decoded[..., 1], images(pq.read_table(joined), "map_z_flux").astype(np.float32))


def test_what_holds_no_maps_is_refused_in_words(shard, found, joined, tmp_path):
    plain = tmp_path / "plain.parquet"
    write_table(plain, FINDINGS, found[0].select([c.name for c in FINDINGS.columns]))
    with pytest.raises(TableError, match="set `evidence.maps` to true"):
        join_maps(shard[1], plain)
    other = tmp_path / "other.parquet"
    write_table(other, findings_schema(36), found[0].take(pa.array([1, 0, 2, 3, 4, 5])))
    with pytest.raises(TableError, match="findings of other stamps"):
        join_maps(shard[1], other)
    with pytest.raises(TableError, match="give stamps as rule join_maps writes them"):
        train_network([shard[1]], [joined], network(), 1, tmp_path, 1)
    with pytest.raises(ValueError, match="sees: evidence has maps of flux, velocity or both"):
        network("mask")


# --- starts


def test_starts_are_the_estimates_in_the_priors_order(disks):
    prior = LensPrior.of(disks.lens)
    values = {"theta_e": np.array([0.8, 9.0, np.nan]), "gamma1": np.array([0.01, 0.0, -0.02]), "unknown": np.zeros(3)}
    starts = start_values(prior, values).numpy()
    k, g = prior.names.index("theta_e"), prior.names.index("gamma1")
    assert (
        starts[0, k] == pytest.approx(0.8)
        and starts[2, k] == pytest.approx(prior.mean[k])
        and starts[:, g] == pytest.approx(values["gamma1"])
    )
    # Far beyond the prior is its edge; what is not estimated is the mean.
    assert starts[1, k] == pytest.approx(prior.mean[k] + 4 * prior.width[k]) and (starts[:, prior.names.index("e1")] == 0).all()
    with pytest.raises(ValueError, match="nothing to start from"):
        start_values(prior, {"unknown": np.zeros(3)})
    with pytest.raises(ValueError, match="of 1 and 3 stamps"):
        start_values(prior, {"theta_e": np.zeros(3), "e1": np.zeros(1)})
