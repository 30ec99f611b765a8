"""Training in several processes: each stamp once, the gradients of one process, the same bits when it goes on, and words where it cannot."""

import dataclasses
import logging
import os
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from darkhaloscope.config.network import Network
from darkhaloscope.core.files import sha256
from darkhaloscope.learning import fit, together
from darkhaloscope.learning.fit import train_network
from darkhaloscope.learning.pair_batches import PairOrder
from darkhaloscope.learning.ranks import ALONE, Rank
from darkhaloscope.learning.scaling import LearningError
from darkhaloscope.learning.splits import read_split
from darkhaloscope.learning.streaming import EpochOrder, InOrder
from darkhaloscope.learning.weights import save_network
from unit.learning.interrupted import train_until
from unit.learning.stamp_shards import stamp_columns, write_shards

EPOCHS = 2


def network(devices=1, architecture="flux_baseline", **training):
    # 120 stamps in batches of 16 are shares of 7 and 8.
    settings = {"epochs": EPOCHS, "batch_size": 16, "learning_rate": 0.01, "devices": devices, **training}
    return Network.model_validate({"architecture": architecture, "channels": "both", "width": 4, "training": settings})


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return {
        "train": write_shards(folder, stamp_columns(120, signal=0.5), [0, 50, 120], "train"),
        "validation": write_shards(folder, stamp_columns(61, first=1000, signal=0.5), [0, 61], "validation"),
    }


def train(splits, settings, folder, threads=2):
    return train_network(splits["train"], splits["validation"], settings, 1, folder, threads)


@pytest.fixture(scope="module")
def pair(splits, tmp_path_factory):
    """A training of two processes, with the gradients of each step of rank 0 as they enter the optimiser."""
    return with_gradients(splits, network(2), tmp_path_factory.mktemp("pair"))


def with_gradients(splits, settings, folder):
    found = []

    def keep(self, optimizer):
        found.append(torch.cat([p.grad.flatten() for p in self.parameters()]).clone())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit._Fitting, "on_before_optimizer_step", keep, raising=False)
        return train(splits, settings, folder / "checkpoints"), found


def weights(result, folder):
    save_network(result, folder / "w.safetensors", folder / "w.json")
    return sha256(folder / "w.safetensors")


# --- shares


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_epoch_shows_each_stamp_once_over_all_ranks_in_the_batches_of_one(tmp_path, ranks, streamed):
    paths = write_shards(tmp_path, stamp_columns(301), [0, 20, 301])
    settings = network(window_stamps=256, scratch_gb=0)
    images = read_split(paths, settings, workers=0, memory_bytes=0 if streamed else 1 << 30).images
    assert (images.resident is None) == streamed
    alone = [rows.tolist() for rows, _ in EpochOrder(images, 48, seed=3)]
    shares = [[rows.tolist() for rows, _ in EpochOrder(images, 48, 3, Rank(rank, ranks, ranks))] for rank in range(ranks)]
    assert [list(chain(*parts)) for parts in zip(*shares, strict=True)] == alone  # sizes of 43: no batch is even
    assert sorted(chain(*alone)) == list(range(301))
    for parts in zip(*shares, strict=True):
        assert max(map(len, parts)) - min(map(len, parts)) == 1
    validation = [np.concatenate([rows for rows, _ in InOrder(images, 48, Rank(rank, ranks, ranks))]) for rank in range(ranks)]
    assert sorted(np.concatenate(validation).tolist()) == list(range(301))
    # A rank reads its own rows alone, in its own order.
    order = EpochOrder(images, 48, 3, Rank(1, ranks, ranks))
    taken = [images.take(rows) for rows, _ in order]
    assert sum(map(len, taken)) == sum(map(len, shares[1]))


def test_pairs_are_shared_with_their_twins():
    """A batch of twins is split by pairs: both members are on one rank."""

    class Few:
        stamps = range(25)
        network = Network.model_validate(
            {"architecture": "toy", "channels": "both", "training": {"epochs": 1, "batch_size": 10, "pairs": {}}}
        )
        settings = network.training.pairs

        def __len__(self):
            return 50

    alone = list(PairOrder(Few(), 1))
    shares = [list(PairOrder(Few(), 1, rank=Rank(rank, 2, 2))) for rank in range(2)]
    for (rows, epoch, factor), *parts in zip(alone, *shares, strict=True):
        assert np.concatenate([part[0] for part in parts]).tolist() == rows.tolist()
        assert all(part[1:] == (epoch, factor) for part in parts)
    assert Rank().share(rows).tolist() == ALONE.share(rows).tolist() == rows.tolist()


# --- two processes


def test_two_processes_have_the_gradients_of_one(pair, splits, tmp_path):
    """The same global batches, of 15 stamps and so of shares of 7 and 8: sums in another order, a few roundings of float32 apart."""
    result, together_ = pair
    one, alone = with_gradients(splits, network(), tmp_path)
    assert len(alone) == len(together_) == 8 * EPOCHS
    scale = float(alone[0].abs().max())
    torch.testing.assert_close(together_[0], alone[0], rtol=1e-4, atol=1e-5 * scale)
    # Differences grow with the steps of Adam; what was learnt is the same.
    for row, other in zip(result.history, one.history, strict=True):
        assert row.keys() == other.keys()
        np.testing.assert_allclose(list(row.values()), list(other.values()), rtol=0.02)
    assert result.counts == one.counts == {"training": 120, "validation": 61}


def test_it_goes_on_with_the_same_bits(pair, splits, tmp_path, caplog):
    """Killed in the second epoch (8 training batches and one of validation each), with both ranks' processes gone."""
    ended = train_until(signal.SIGKILL, 12, "darkhaloscope.learning.streaming.Batches", splits, network(2), tmp_path)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    with caplog.at_level(logging.INFO):
        resumed = train(splits, network(2), tmp_path / "checkpoints")
    assert "2 processes train together" in caplog.text and f"resuming after epoch 1 of {EPOCHS}" in caplog.text
    assert resumed.history == pair[0].history
    assert weights(resumed, tmp_path) == weights(pair[0], tmp_path)
    assert not torch.distributed.is_initialized()
    # Rank 0 alone says how far the training is.
    assert caplog.text.count("best epoch") == 1
    # Another number of processes begins anew: it would not end with the same bits.
    with caplog.at_level(logging.WARNING):
        train(splits, network(), tmp_path / "checkpoints")
    assert "is not used" in caplog.text


def test_batch_norm_and_map_train_on_pairs_together(tmp_path):
    """Place and lens in the loss, single members, so that ranks have other numbers of positives: the loss is that of one process at the first step."""
    from unit.learning.pair_shards import network as pair_network
    from unit.learning.pair_shards import pair_dataset, render_all

    files = render_all(tmp_path, pair_dataset())
    split = {"train": [files["pairs"]], "validation": [files["validation"]]}
    found = {}
    for devices in (1, 2):
        training = {"epochs": 1, "batch_size": 12, "devices": devices}
        settings = pair_network(architecture="unet", training=training, twins=False, place_weight=0.2, lens_weight=0.3)
        (tmp_path / str(devices)).mkdir()
        found[devices] = with_gradients(split, settings, tmp_path / str(devices))
    assert len(found[1][1]) == len(found[2][1]) == 2
    assert all(torch.isfinite(g).all() for g in found[2][1])
    one, two = (found[k][0].history[0] for k in (1, 2))
    assert set(one) == set(two)
    # Batch norm takes the means of a rank's share where there is no GPU: near those of one process, not the same.
    assert two["train_loss"] == pytest.approx(one["train_loss"], rel=0.3)


@pytest.mark.parametrize("classes", [(3, 4), (0, 7)])
def test_losses_of_ranks_are_weighed_by_their_stamps_and_positives(classes, monkeypatch):
    """Means over shares, times the factors, average to the mean over all: of stamps, and of positives where one rank has none."""
    shares = [torch.tensor([1] * classes[0] + [0] * 4), torch.tensor([1] * classes[1] + [0] * 1)]
    values = [torch.rand(len(labels)) for labels in shares]
    every = torch.stack([torch.stack([torch.ones_like(x).sum(), x.sum()]).float() for x in shares]).sum(0)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda own: own.copy_(every))
    of_stamps, of_positives = 0.0, 0.0
    for labels, value in zip(shares, values, strict=True):
        fitting = fit._Fitting(torch.nn.Identity(), network().training, 1, Rank(0, 2, 2))
        stamps, positives = fitting._shares(labels)
        of_stamps += float(stamps * value.mean()) / 2
        if labels.any():
            of_positives += float(positives * value[labels > 0].mean()) / 2
    assert of_stamps == pytest.approx(float(torch.cat(values).mean()), rel=1e-6)
    assert of_positives == pytest.approx(float(torch.cat(values)[torch.cat(shares) > 0].mean()), rel=1e-6)


# --- what goes wrong, in words


def test_devices_that_are_not_there_are_named(splits, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with pytest.raises(LearningError, match=r"training\.devices asks for 2 devices, .* has no GPU, and 1 CPUs"):
        train(splits, network(2), tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        LearningError, match=r"training\.devices asks for 2 GPUs, but .* shows 1 to this job: set it to 1, or ask the cluster"
    ):
        train(splits, network(2), tmp_path)
    monkeypatch.undo()
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(LearningError, match=r"training\.nodes is 2, but this is no job of Slurm"):
        train(splits, network(1, nodes=2), tmp_path)


def test_batches_too_small_to_share_are_refused(splits, tmp_path):
    with pytest.raises(LearningError, match=r"2 processes share batches of 3 training stamps.*raise training\.batch_size"):
        train(splits, network(2, batch_size=3), tmp_path)


FAILING = """
import logging, os, sys, time
from darkhaloscope.config.network import Training
from darkhaloscope.learning import together
def call(text, rank):
    if rank.rank:
        raise ValueError(text)
    if sys.argv[1] == "waits":
        time.sleep(140)
    raise RuntimeError("Connection closed by peer")
if __name__ == "__main__":
    together.GRACE_SECONDS, together.NOTICE_SECONDS = 1.0 if sys.argv[1] == "waits" else 90.0, 90.0
    logging.basicConfig(format="%(message)s")
    import failing
    with together.all_ranks(Training(devices=2), 2, failing.call, text="no such pixel") as rank:
        call("", rank)
"""


@pytest.mark.parametrize("how", ["notices", "waits"])
def test_what_another_rank_said_is_the_error(tmp_path, how):
    """Whether rank 0 sees its partner go, or waits for it as a GPU does."""
    (tmp_path / "failing.py").write_text(FAILING)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "failing.py"), how],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert ended.returncode == 1
    assert "a process of the training ended with status 1: rank 1 on " in ended.stderr and "no such pixel" in ended.stderr
    assert ("LearningError" in ended.stderr) == (how == "notices")


# --- Slurm's commands


def test_srun_starts_the_ranks_of_other_nodes(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)
    assert not together._is_job_of_tasks()
    # What Slurm's executor leaves of the variables of a job with resource `mpi`.
    for name, value in {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "CUDA_VISIBLE_DEVICES": "0,1"}.items():
        monkeypatch.setenv(name, value)
    assert together._is_job_of_tasks()
    training = network(2, nodes=3, batch_size=64).training
    monkeypatch.setenv("PYTHONPATH", "/another/clone")
    here, elsewhere = together._commands(training, Rank(ranks=6, devices=2, threads=16))
    assert here[0][0] == sys.executable and here[1]["CUDA_VISIBLE_DEVICES"] == "0,1" and here[2:] == (1, False)
    command, environment, start, step = elsewhere
    assert {"--jobid=7", "--exclude=n1", "--nodes=2", "--ntasks=4", "--ntasks-per-node=2", "--gpus=4"} < set(command) and (start, step) == (
        2,
        True,
    )
    assert "CUDA_VISIBLE_DEVICES" not in environment and environment["OMP_NUM_THREADS"] == "16"
    # Every rank imports this library, whatever else the shell names.
    assert here[1]["PYTHONPATH"] == environment["PYTHONPATH"] == f"{Path(together.__file__).parents[2]}:/another/clone"
    environments = [together.RankEnvironment(dataclasses.replace(Rank(ranks=6, devices=2), rank=k)) for k in range(6)]
    assert [(e.node_rank(), e.local_rank()) for e in environments] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    # A shell in an allocation (sbatch --wrap), or a step: ranks of one node share the job's threads.
    for name in ("SLURM_NTASKS", "SLURM_STEP_ID"):
        monkeypatch.setenv(name, "1")
        assert not together._is_job_of_tasks()
        monkeypatch.delenv(name)
