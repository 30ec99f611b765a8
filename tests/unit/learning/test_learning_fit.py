"""Training: learns, repeats to the bit, survives SIGKILL, says in words what is wrong; weights and scores."""

import copy
import csv
import dataclasses
import json
import logging
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from darkhaloscope.config.network import Network, Training
from darkhaloscope.core.files import sha256
from darkhaloscope.detectors.schema import SCORES
from darkhaloscope.learning.checkpoints import WholeCheckpoints, usable_checkpoint
from darkhaloscope.learning.fit import CHECKPOINT, train_network, write_history
from darkhaloscope.learning.losses import stamp_losses
from darkhaloscope.learning.networks import ARCHITECTURES, HISTORY, Classifier, Trained, build_network, describe_network
from darkhaloscope.learning.scaling import INPUTS, LearningError
from darkhaloscope.learning.score import score_stamps
from darkhaloscope.learning.weights import load_network, save_network
from unit.learning.interrupted import train_until
from unit.learning.stamp_shards import classify, read_stamps, stamp_columns, write_shards

EPOCHS = 4

#: Channel modes of flux and velocity stamps; networks of bands have tests of their own.
KINEMATIC = {channels: inputs for channels, inputs in INPUTS.items() if channels != "bands"}


def network(architecture="deep_baseline", channels="both", training=None, **keys):
    settings = {"epochs": EPOCHS, "batch_size": 16, "learning_rate": 0.02, **(training or {})}
    return Network.model_validate({"architecture": architecture, "channels": channels, "width": 4, "training": settings, **keys})


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return {
        "train": write_shards(folder, stamp_columns(120, signal=0.5), [0, 50, 120], "train"),
        "validation": write_shards(folder, stamp_columns(60, first=1000, signal=0.5), [0, 60], "validation"),
        "test": write_shards(folder, stamp_columns(150, first=2000, signal=0.5), [0, 150], "test"),
    }


@pytest.fixture(scope="module")
def trained(splits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    result = train_network(splits["train"], splits["validation"], network(), 1, folder / "checkpoints", 1)
    save_network(result, folder / "weights.safetensors", folder / "network.json")
    return result, folder


def weights_digest(result, folder, name):
    save_network(result, folder / f"{name}.safetensors", folder / f"{name}.json")
    return sha256(folder / f"{name}.safetensors"), sha256(folder / f"{name}.json")


# --- architectures


@pytest.mark.parametrize("size", [16, 17, 48, 64])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_takes_every_size_and_channel_mode(architecture, size):
    for channels in KINEMATIC:
        module = build_network(network(architecture, channels))
        assert module(torch.zeros(2, len(KINEMATIC[channels]), size, size)).shape == (2, 2)


def test_parameters_counted_by_hand():
    def conv(a, b):
        return 9 * a * b + b

    branch = {c: conv(c, 16) + conv(16, 32) + conv(32, 64) for c in (1, 2, 3)}
    flux = describe_network(network("flux_baseline", "flux"))
    assert flux["parameters"] == branch[3] + 64 * 32 + 32 + 32 * 2 + 2
    assert flux["multiply_adds"] == 9 * (48**2 * 3 * 16 + 24**2 * 16 * 32 + 12**2 * 32 * 64) + 64 * 32 + 32 * 2
    assert describe_network(network("toy", "flux"))["parameters"] == conv(3, 16) + conv(16, 32) + 32 * 2 + 2
    head = {1: 64 * 64 + 64 + 64 * 2 + 2, 2: 128 * 64 + 64 + 64 * 2 + 2}
    for channels, parameters in {
        "both": branch[1] + branch[3] + head[2],
        "flux": branch[1] + branch[2] + head[2],
        "velocity": branch[3] + head[1],
        "mask": branch[1] + head[1],
    }.items():
        assert describe_network(network("dual_stream", channels))["parameters"] == parameters


def test_streams_see_their_own_channels():
    """The gradient of each stream reaches its channels alone."""
    for architecture in ("dual_stream", "deep_dual_stream"):
        for channels, inputs in KINEMATIC.items():
            module = build_network(network(architecture, channels)).eval()
            assert (module.flux is not None) == ("flux" in inputs) and module.velocity is not None
            for stream, columns in ((module.flux, inputs[:1]), (module.velocity, inputs["flux" in inputs :])):
                if stream is not None:
                    layer = next(m for m in stream.modules() if isinstance(m, torch.nn.Conv2d))
                    assert layer.in_channels == len(columns)
                    # With this stream's weights at zero, only the other stream's channels move the logits.
                    silent = copy.deepcopy(module)
                    for value in (silent.flux if stream is module.flux else silent.velocity).parameters():
                        torch.nn.init.zeros_(value)
                    pixels = torch.rand(1, len(inputs), 16, 16, requires_grad=True)
                    silent(pixels).sum().backward()
                    moved = (pixels.grad.abs().amax((0, 2, 3)) > 0).tolist()
                    assert moved == [name not in columns for name in inputs]


MODES = [*((c, False) for c in KINEMATIC), ("velocity", True), ("both", True)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("channels", "shuffled"), MODES)
def test_every_architecture_and_mode_is_saved_loaded_and_scored(architecture, channels, shuffled, splits, tmp_path):
    settings = network(architecture, channels, shuffle_velocity=shuffled)
    data = read_stamps(splits["test"], settings)
    torch.manual_seed(3)
    classifier = Classifier(build_network(settings).eval(), settings, data.normalisation, data.size, 3)
    files = tmp_path / "n.safetensors", tmp_path / "n.json"
    save_network(Trained(classifier, [], 1, {}), *files)
    scores = score_stamps(splits["test"], *files, dataset="d", detector="n")
    with torch.inference_mode():
        expected = classifier.module(data.inputs.permute(0, 3, 1, 2)).double().softmax(1)[:, 1].numpy()
    # Batches of another size may sum in another order.
    np.testing.assert_allclose(scores["score"], expected, atol=1e-5)
    assert np.ptp(expected) > 0


# --- training


def test_it_learns_and_its_metrics_are_those_of_sklearn(trained, splits):
    result, _ = trained
    assert [row["epoch"] for row in result.history] == list(range(1, EPOCHS + 1))
    assert all(tuple(row) == HISTORY for row in result.history)
    best = result.history[result.best_epoch - 1]
    assert best["val_auc"] == max(row["val_auc"] for row in result.history)
    assert best["val_auc"] > 0.9
    classifier = result.classifier
    data = read_stamps(splits["validation"], classifier.network, normalisation=classifier.normalisation)
    score = classify(classifier, data)
    assert roc_auc_score(data.labels, score) == pytest.approx(best["val_auc"], abs=1e-12)
    # float32 losses summed in other batches
    assert log_loss(data.labels, score) == pytest.approx(best["val_loss"], rel=1e-5)
    assert ((score > 0.5) == (data.labels.numpy() == 1)).mean() == pytest.approx(best["val_accuracy"])
    assert result.counts == {"training": 120, "validation": 60}


def test_seed_and_stamps_alone_decide_the_weights(trained, splits, tmp_path):
    result, folder = trained
    columns = stamp_columns(120, signal=0.5)
    other_shards = write_shards(tmp_path, columns, [0, 7, 90, 120], "other")[::-1]
    again = train_network(other_shards, splits["validation"], network(), 1, tmp_path / "a", 1)
    assert weights_digest(again, tmp_path, "again") == (sha256(folder / "weights.safetensors"), sha256(folder / "network.json"))
    assert again.history == result.history
    other = train_network(splits["train"], splits["validation"], network(), 2, tmp_path / "b", 1)
    assert weights_digest(other, tmp_path, "other")[0] != sha256(folder / "weights.safetensors")


def test_sigkill_within_an_epoch_changes_no_bit(trained, splits, tmp_path, caplog):
    _, folder = trained
    # An epoch reads 8 training batches and 1 of validation: call 23 is in the third epoch.
    ended = train_until(signal.SIGKILL, 23, "darkhaloscope.learning.streaming.Batches", splits, network(), tmp_path)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    with caplog.at_level(logging.INFO):
        resumed = train_network(splits["train"], splits["validation"], network(), 1, tmp_path / "checkpoints", 1)
    assert f"resuming after epoch 2 of {EPOCHS}" in caplog.text
    assert weights_digest(resumed, tmp_path, "resumed") == (sha256(folder / "weights.safetensors"), sha256(folder / "network.json"))
    assert resumed.history == trained[0].history
    # Once finished, nothing is trained again.
    caplog.clear()
    with caplog.at_level(logging.INFO):
        finished = train_network(splits["train"], splits["validation"], network(), 1, tmp_path / "checkpoints", 1)
    assert "training loss" not in caplog.text
    assert weights_digest(finished, tmp_path, "finished") == weights_digest(resumed, tmp_path, "resumed")


@pytest.mark.parametrize(("call", "kept"), [(3, 0), (23, 2)])
def test_sigterm_is_an_error_that_says_how_to_go_on(trained, splits, tmp_path, call, kept):
    """In the first and in the third epoch (9 batches each): the job fails, and goes on when it is run again."""
    ended = train_until(signal.SIGTERM, call, "darkhaloscope.learning.streaming.Batches", splits, network(), tmp_path)
    assert ended.returncode == 1, ended.stderr
    checkpoint = tmp_path / "checkpoints" / CHECKPOINT
    done = len(usable_checkpoint(checkpoint)["callbacks"]["course"]["history"]) if checkpoint.exists() else 0
    assert done == kept
    assert f"training was stopped by SIGTERM in epoch {done + 1} of {EPOCHS}" in ended.stderr
    assert ("the same command goes on from there" if done else "the same command begins anew") in ended.stderr
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} <= {CHECKPOINT}
    resumed = train_network(splits["train"], splits["validation"], network(), 1, tmp_path / "checkpoints", 1)
    assert weights_digest(resumed, tmp_path, "resumed")[0] == sha256(trained[1] / "weights.safetensors")


@pytest.mark.parametrize("damage", ["half", "flipped", "pickle"])
def test_a_damaged_checkpoint_is_not_used(trained, tmp_path, damage, caplog):
    _, folder = trained
    path = tmp_path / CHECKPOINT
    content = (folder / "checkpoints" / CHECKPOINT).read_bytes()
    path.write_bytes(content)
    assert usable_checkpoint(path) is not None
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        path.write_bytes(content[:-500] + bytes([content[-500] ^ 1]) + content[-499:])
    else:
        WholeCheckpoints().save_checkpoint({"object": Path("x")}, path)
    assert usable_checkpoint(path) is None
    assert "is not used" in caplog.text


def test_a_checkpoint_of_other_settings_is_not_used(trained, splits, tmp_path, caplog):
    _, folder = trained
    (tmp_path / CHECKPOINT).write_bytes((folder / "checkpoints" / CHECKPOINT).read_bytes())
    changed = network(training={"learning_rate": 0.01})
    result = train_network(splits["train"], splits["validation"], changed, 1, tmp_path, 1)
    assert "belongs to other stamps, settings or another seed" in caplog.text
    fresh = train_network(splits["train"], splits["validation"], changed, 1, tmp_path / "fresh", 1)
    assert weights_digest(result, tmp_path, "a") == weights_digest(fresh, tmp_path, "b")


def test_early_stopping_holds_after_a_restart(splits, tmp_path):
    settings = network("toy", training={"epochs": 30, "patience": 2, "learning_rate": 1e-12, "schedule": "constant", "augment": False})
    result = train_network(splits["train"], splits["validation"], settings, 1, tmp_path, 1)
    assert len(result.history) == result.best_epoch + 2 < 30
    again = train_network(splits["train"], splits["validation"], settings, 1, tmp_path, 1)
    assert again.history == result.history


def test_bfloat16_cosine_and_focal_loss_train(splits, tmp_path):
    training = {"precision": "bfloat16", "schedule": "cosine", "loss": "focal", "optimizer": "adam", "epochs": 1}
    result = train_network(splits["train"], splits["validation"], network("deep_dual_stream", training=training), 1, tmp_path, 1)
    assert all(v.dtype in (torch.float32, torch.int64) for v in result.classifier.module.state_dict().values())
    assert np.isfinite(list(result.history[0].values())).all()


def test_focal_loss_against_its_formula():
    margin, labels = torch.tensor([2.0, -1.0, 0.3]), torch.tensor([1, 1, 0])
    logits = torch.stack([torch.zeros(3), margin], 1)
    p = expit(np.where(labels == 1, margin, -margin))
    focal = stamp_losses(logits, labels, Training(loss="focal", focal_gamma=2.0)).each
    np.testing.assert_allclose(focal, -((1 - p) ** 2) * np.log(p), rtol=1e-5)
    np.testing.assert_allclose(stamp_losses(logits, labels, Training()).each, -np.log(p), rtol=1e-5)


def test_the_log_has_progress_and_no_advertisement(splits, tmp_path, caplog, capfd, recwarn):
    with caplog.at_level(logging.INFO):
        train_network(splits["train"], splits["validation"], network("toy", training={"epochs": 1}), 1, tmp_path, 1)
    assert "epoch 1 of 1" in caplog.text and "steps/s" in caplog.text and "left" in caplog.text
    out, err = capfd.readouterr()
    assert not out and "Tip" not in err + caplog.text and "GPU available" not in err + caplog.text
    assert not [w for w in recwarn if "lightning" in str(w.filename)]
    assert [p.name for p in tmp_path.iterdir()] == [CHECKPOINT]


def test_torch_is_left_as_it_was(splits, tmp_path):
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    train_network(splits["train"], splits["validation"], network("toy", training={"epochs": 1}), 1, tmp_path, 1)
    assert torch.get_num_threads() == before[0] and torch.are_deterministic_algorithms_enabled() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_history_as_csv(trained, tmp_path):
    write_history(trained[0].history, tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == HISTORY
    assert [float(r["val_auc"]) for r in rows] == [r["val_auc"] for r in trained[0].history]


# --- scores


def score(paths, folder, threads=1):
    return score_stamps(paths, folder / "weights.safetensors", folder / "network.json", dataset="tiny", detector="deep", threads=threads)


def test_scores_make_a_table_of_scores(trained, splits):
    _, folder = trained
    columns = score(splits["test"], folder)
    table = SCORES.table(columns)
    assert table.num_rows == 150
    want = stamp_columns(150, first=2000, signal=0.5)
    assert table["stamp_id"].to_pylist() == list(want["stamp_id"])
    assert table["label"].to_pylist() == list(want["label"])
    assert roc_auc_score(want["label"], table["score"].to_numpy()) > 0.9


@pytest.mark.parametrize("bounds", [[0, 1, 2, 70, 70, 150], list(range(0, 151, 10))])
def test_scores_are_the_same_bits_for_any_shards(trained, splits, tmp_path, bounds):
    _, folder = trained
    whole_bits = score(splits["test"], folder)["score"].to_numpy()
    shards = write_shards(tmp_path, stamp_columns(150, first=2000, signal=0.5), bounds)[::-1]
    assert score(shards, folder)["score"].to_numpy().tobytes() == whole_bits.tobytes()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_are_the_same_bits_for_any_place_in_a_batch(architecture, trained, splits):
    torch.manual_seed(1)
    classifier = dataclasses.replace(trained[0].classifier, module=build_network(network(architecture)).eval())
    data = read_stamps(splits["test"], classifier.network, normalisation=classifier.normalisation)
    bits = classify(classifier, data)
    for rows in (torch.randperm(150), torch.arange(37), torch.arange(149, 150)):
        some = dataclasses.replace(data, inputs=data.inputs[rows], labels=data.labels[rows])
        assert classify(classifier, some).tobytes() == bits[rows.numpy()].tobytes()
    assert classify(classifier, data, threads=2).tobytes() == bits.tobytes()


def test_shuffled_velocity_scores_do_not_depend_on_shards(splits, tmp_path):
    mixed = network("toy", shuffle_velocity=True, training={"epochs": 1})
    result = train_network(splits["train"], splits["validation"], mixed, 1, tmp_path / "c", 1)
    save_network(result, tmp_path / "weights.safetensors", tmp_path / "network.json")
    shards = write_shards(tmp_path, stamp_columns(150, first=2000, signal=0.5), [0, 11, 150])
    assert score(shards, tmp_path)["score"].equals(score(splits["test"], tmp_path)["score"])


# --- errors


def test_one_class_alone(splits, tmp_path):
    columns = stamp_columns(20)
    columns["label"][:] = 0
    controls = write_shards(tmp_path, columns, [0, 20])
    with pytest.raises(LearningError, match="20 training stamps are all controls"):
        train_network(controls, splits["validation"], network(), 1, tmp_path, 1)
    with pytest.raises(LearningError, match="validation stamps are all controls"):
        train_network(
            splits["train"], write_shards(tmp_path, columns | {"number": columns["number"] + 5000}, [0, 20]), network(), 1, tmp_path, 1
        )


def test_splits_that_overlap_or_differ_in_size(splits, tmp_path):
    with pytest.raises(LearningError, match="120 stamps are in training and in validation"):
        train_network(splits["train"], splits["train"], network(), 1, tmp_path, 1)
    larger = write_shards(tmp_path, stamp_columns(20, size=20, first=9000), [0, 20])
    with pytest.raises(LearningError, match="16 pixels on a side, validation stamps 20"):
        train_network(splits["train"], larger, network(), 1, tmp_path, 1)


def test_diverged_training_says_so(splits, tmp_path):
    wild = network("flux_baseline", training={"learning_rate": 1e30, "schedule": "constant", "epochs": 2})
    with pytest.raises(LearningError, match=r"training diverged; lower training\.learning_rate"):
        train_network(splits["train"], splits["validation"], wild, 1, tmp_path, 1)


def test_float16_without_a_gpu(splits, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LearningError, match="float16 needs a GPU"):
        train_network(splits["train"], splits["validation"], network(training={"precision": "float16"}), 1, tmp_path, 1)


def test_scoring_stamps_of_another_size(trained, tmp_path):
    _, folder = trained
    with pytest.raises(LearningError, match=r"20×20 pixels, but the network .* 16×16"):
        score(write_shards(tmp_path, stamp_columns(4, size=20), [0, 4]), folder)


def test_scoring_nothing(trained, tmp_path):
    _, folder = trained
    with pytest.raises(LearningError, match="hold no rows"):
        score(write_shards(tmp_path, stamp_columns(4), [0, 0]), folder)
    with pytest.raises(LearningError, match="list of shards is empty"):
        score([], folder)


def test_round_trip_of_weights(trained):
    result, folder = trained
    loaded = load_network(folder / "weights.safetensors", folder / "network.json")
    assert (loaded.network, loaded.normalisation, loaded.size, loaded.seed) == (
        result.classifier.network,
        result.classifier.normalisation,
        16,
        1,
    )
    for name, value in result.classifier.module.state_dict().items():
        assert torch.equal(loaded.module.state_dict()[name], value)


def test_weights_that_are_not_those_of_the_json(trained, splits, tmp_path):
    _, folder = trained
    described = json.loads((folder / "network.json").read_text())
    weights = tmp_path / "weights.safetensors"
    content = (folder / "weights.safetensors").read_bytes()

    def expect(match, change, data=content):
        weights.write_bytes(data)
        (tmp_path / "network.json").write_text(change if isinstance(change, str) else json.dumps({**described, **change}))
        with pytest.raises(LearningError, match=match):
            load_network(weights, tmp_path / "network.json")

    expect("is not the weights file that .* describes", {}, content[:-1] + bytes([content[-1] ^ 1]))
    expect("does not fit the architecture `toy`", {"network": network("toy").model_dump(mode="json")})
    expect("does not hold what scoring needs", {"network": {**described["network"], "architecture": "resnet"}})
    expect("inputs .* offsets", {"normalisation": {"offset": [0.0], "scale": [1.0]}})
    expect("found 'darkhaloscope network 0'", {"format": "darkhaloscope network 0"})
    expect("as JSON, but reading fails", "{")
    (tmp_path / "network.json").write_text(json.dumps(described))
    weights.unlink()
    with pytest.raises(LearningError, match="weights of a network, which cannot be read"):
        load_network(weights, tmp_path / "network.json")
    with pytest.raises(LearningError, match="none.json: expected the description of a network as JSON, but reading fails .No such file"):
        load_network(weights, tmp_path / "none.json")
