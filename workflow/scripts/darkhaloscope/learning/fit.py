"""Fitting a network to stamps: seeded, resumable at each epoch's start, one history row per epoch."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from ..config.network import Network, Training
from ..core.files import write_text
from ..core.random import stable_hash
from ..core.stopping import Stopped
from ..stamps.rows import bands_of
from .checkpoints import WholeCheckpoints, usable_checkpoint
from .device import find_device, training_arithmetic
from .index import Emphasis, Extra
from .losses import place_loss, stamp_losses
from .networks import HISTORY, Classifier, Trained, build_network
from .pair_batches import PairSplit, choose_pairs, pair_loader
from .pretrained import start_from_file
from .ranks import Rank
from .scaling import LearningError
from .splits import Split, read_split, training_loader, validation_loader
from .together import RankEnvironment, all_ranks, gathered

log = logging.getLogger(__name__)

CHECKPOINT = "last.ckpt"

#: Stamps per step where nothing is learnt.
VALIDATION_BATCH = 256

#: Seconds between progress lines.
PROGRESS_SECONDS = 15.0


def train_network(
    train_paths: Sequence[str | Path],
    validation_paths: Sequence[str | Path],
    network: Network,
    seed: int,
    folder_for_checkpoints: str | Path,
    threads: int,
    *,
    extras: Sequence[Extra] = (),
    emphasis: Emphasis | None = None,
) -> Trained:
    """Train a network on stamp shards.

    Called again after it was killed, it goes on from the last finished epoch and, on a CPU with
    the same number of threads, ends with the same bits as an uninterrupted run.

    On several devices or nodes (`network.training`) one process for each trains a share of every batch; the batch size is that of all
    together. Rank 0 is this process. The metrics are those of all stamps, history and checkpoint are written by rank 0, and the same
    number of devices and nodes ends with the same bits.

    Training loss, accuracy and AUC are those of the running predictions during the epoch, each made
    before its own step and on turned stamps; validation follows the epoch. The learning rate is
    that of the epoch's last step.

    Parameters
    ----------
    train_paths, validation_paths : shards of the two splits; of the first, shards of noiseless pairs where the network trains on them
    network : architecture, channels, scaling and training
    seed : initial weights, order of stamps and augmentation follow from it
    folder_for_checkpoints : where the state after each epoch is kept; a state of other stamps,
        settings or seed is not used
    threads : CPU threads of the job; ranks on one machine share them
    extras, emphasis : stamps of bands that join the training ones, and those that weigh more

    Raises
    ------
    TableError, LearningError, BadPixels
        As `read_split` and `read_pairs`; also for a split of one class, stamps in both splits, a loss that is not finite, devices
        that are not there, a rank that failed.
    TrainingStopped
        SIGTERM or SIGINT came while fitting.
    """
    files = {"train_paths": list(train_paths), "validation_paths": list(validation_paths), "folder": Path(folder_for_checkpoints)}
    given = {**files, "network": network, "seed": seed, "extras": tuple(extras), "emphasis": emphasis}
    with all_ranks(network.training, threads, train_rank, **given) as rank:
        return train_rank(**given, rank=rank)


def train_rank(
    train_paths: Sequence[str | Path],
    validation_paths: Sequence[str | Path],
    network: Network,
    seed: int,
    folder: Path,
    extras: Sequence[Extra],
    emphasis: Emphasis | None,
    rank: Rank,
) -> Trained:
    """Train as one of the processes that train together; `train_network` says what is given and starts them."""
    threads = rank.threads
    if network.trains_on_pairs:
        training = choose_pairs(train_paths, network, seed)
    else:
        training = read_split(train_paths, network, seed=seed, extras=extras, emphasis=emphasis, workers=threads)
    validation = read_split(validation_paths, network, normalisation=training.normalisation, workers=threads)
    _check_splits(training, validation)
    _check_shares(training, validation, network.training, rank)
    log.info(
        "%d training and %d validation stamps of %d×%d pixels, on the %s",
        *(len(training), len(validation), training.size, training.size, find_device().type.upper().replace("CUDA", "GPU")),
    )
    folder.mkdir(parents=True, exist_ok=True)
    settings = network.training
    with _reproducible(seed, threads), _quiet():
        module = build_network(network)
        if network.pretrained:
            start_from_file(module, network)
        if network.channels == "bands":
            module.set_normalisation(training.normalisation)
        if network.regresses_lens:
            module.lens.mean.copy_(torch.from_numpy(training.lens_mean))
            module.lens.width.copy_(torch.from_numpy(training.lens_width))
        # Convolutions follow the layout of their weights; in this one most networks take less time (docs/benchmarks.md).
        module = module.to(memory_format=torch.channels_last)
        fitting = _Fitting(module, settings, -(-len(training) // settings.batch_size), rank)
        course = _Course(_fingerprint(network, seed, training, validation), settings, folder / CHECKPOINT, seed)
        resume = course.restore(usable_checkpoint(course.path))
        if not course.finished():
            try:
                _trainer(settings, course, folder, rank).fit(
                    fitting,
                    pair_loader(training, seed, threads, rank)
                    if network.trains_on_pairs
                    else training_loader(training, network, seed, rank),
                    validation_loader(validation, VALIDATION_BATCH, rank),
                    ckpt_path=str(course.path) if resume else None,
                    weights_only=True,
                )
            except (Stopped, SIGTERMException) as stop:  # the latter, a kind of SystemExit that says success, outside a stage
                raise _stopped(course, str(stop) or "SIGTERM") from None
    fitting.module.load_state_dict(course.best)
    module = fitting.module.to(memory_format=torch.contiguous_format).float().cpu().eval()
    log.info(
        "best epoch %d of %d: validation AUC %.4f", course.best_epoch, len(course.history), course.history[course.best_epoch - 1]["val_auc"]
    )
    classifier = Classifier(module, network, training.normalisation, training.size, seed, bands=bands_of(train_paths))
    counts = {"training": len(training), "validation": len(validation)}
    splits = (("training", training), ("validation", validation))
    counts |= {f"{use}, {reason}": n for use, split in splits for reason, n in split.stamps.dropped.items()}
    return Trained(classifier, course.history, course.best_epoch, counts)


def write_history(history: Sequence[dict[str, float]], path: str | Path) -> None:
    """Write the history as CSV, one row per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HISTORY, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())


class TrainingStopped(LearningError):
    """Training was told to stop; the message says how far it got and how to go on."""


class _Fitting(lightning.LightningModule):
    """Loss, predictions and optimiser, as the training library asks for them."""

    def __init__(self, module: nn.Module, training: Training, steps: int, rank: Rank) -> None:
        super().__init__()
        self.module = module
        self.process = rank
        self.training_settings = training
        self.steps = steps
        self.seen: dict[str, list[Tensor]] = {"train": [], "val": []}

    def training_step(self, batch: tuple[Any, ...], _: int) -> Tensor:
        return self._loss("train", batch)

    def validation_step(self, batch: tuple[Any, ...], _: int) -> None:
        self._loss("val", batch)

    def _loss(self, use: str, batch: tuple[Any, ...]) -> Tensor:
        inputs, labels, weights, *known = batch
        pairs = self.training_settings.pairs
        beside = torch.zeros((), device=labels.device)
        of_stamps, of_positives = self._shares(labels) if use == "train" else (1.0, 1.0)
        if known and (pairs.place_weight or pairs.lens_weight):
            logits, found, lens = self.module.outputs(inputs)
            beside = of_positives * pairs.place_weight * place_loss(found.float(), known[0], labels, inputs.shape[-2:], self.module.cell)
            if lens is not None:
                beside = beside + of_stamps * pairs.lens_weight * nn.functional.smooth_l1_loss(lens.float(), known[1], beta=0.5)
        else:
            logits = self.module(*inputs) if isinstance(inputs, tuple | list) else self.module(inputs)
        losses = stamp_losses(logits.float(), labels, self.training_settings)
        margin = losses.logits[:, 1] - losses.logits[:, 0]
        self.seen[use].append(torch.stack([margin, labels.float(), losses.each], 1).detach())
        return of_stamps * (losses.each * weights).mean() + beside

    def _shares(self, labels: Tensor) -> tuple[Any, Any]:
        """Return the factors of this rank's means over stamps and over positives with which the ranks' mean is that over all."""
        if not self.process.together:
            return 1.0, 1.0
        own = torch.stack([torch.ones_like(labels).sum(), (labels > 0).sum()]).float()
        every = own.clone()
        torch.distributed.all_reduce(every)
        return tuple(self.process.ranks * own / every.clamp(min=1))

    def metrics(self, use: str) -> dict[str, float]:
        """Return loss, accuracy and AUC of the predictions since the last call."""
        seen = torch.cat(self.seen[use]).double().cpu().numpy()
        self.seen[use] = []
        margin, label, loss = (gathered(seen) if self.process.together else seen).T
        if not (np.isfinite(loss).all() and np.isfinite(margin).all()):
            raise LearningError(
                f"the {'training' if use == 'train' else 'validation'} loss is not finite: training diverged; lower "
                f"training.learning_rate (now {self.training_settings.learning_rate:g}) or set training.precision to float32"
            )
        accuracy = ((margin > 0) == (label > 0)).mean()
        return {f"{use}_loss": float(loss.mean()), f"{use}_accuracy": float(accuracy), f"{use}_auc": float(roc_auc_score(label, margin))}

    def configure_optimizers(self) -> Any:
        t = self.training_settings
        total = t.epochs * self.steps
        if t.optimizer == "adamw":
            optimizer = torch.optim.AdamW(self.parameters(), t.learning_rate, weight_decay=t.weight_decay)
        else:
            optimizer = torch.optim.Adam(self.parameters(), t.learning_rate)
        if t.schedule == "constant":
            return optimizer
        if t.schedule == "one_cycle":
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, t.learning_rate, total_steps=max(total, 2))
        else:
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _Course(lightning.Callback):
    """History, best weights, early stopping, progress lines and the checkpoint at each epoch's end."""

    state_key = "course"

    def __init__(self, fingerprint: str, training: Training, path: Path, seed: int) -> None:
        self.fingerprint = fingerprint
        self.settings = training
        self.path = path
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch = 0
        self.learning_rate = training.learning_rate
        self.seed = seed
        self.on_sigterm = signal.getsignal(signal.SIGTERM)

    def restore(self, checkpoint: dict[str, Any] | None) -> bool:
        """Take over the state of a checkpoint of this very training; say whether there was one."""
        if checkpoint is None:
            return False
        state = checkpoint.get("callbacks", {}).get(self.state_key, {})
        if state.get("fingerprint") != self.fingerprint:
            log.warning("%s belongs to other stamps, settings or another seed and is not used", self.path)
            return False
        self.load_state_dict(state)
        log.info("resuming after epoch %d of %d from %s", len(self.history), self.settings.epochs, self.path)
        return True

    def finished(self) -> bool:
        """Say whether all epochs are done, or the validation AUC has not risen for `patience` of them."""
        done = len(self.history)
        stale = 0 < self.settings.patience <= done - self.best_epoch
        return done >= self.settings.epochs or (done > 0 and stale)

    def state_dict(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint, "history": self.history, "best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history, self.best, self.best_epoch = list(state["history"]), dict(state["best"]), state["best_epoch"]

    def on_train_start(self, trainer: lightning.Trainer, module: _Fitting) -> None:
        self.started = self.told = time.monotonic()
        self.steps_here = 0
        if module.process.together:
            # The library's own handler would send to the other ranks in the middle of whatever they are at.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, self.on_sigterm)
            if len(set(gathered(np.array([len(self.history)])).tolist())) > 1:
                raise LearningError(
                    f"not all processes of the training can read {self.path}: put the results on a file system that all nodes share"
                )

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: _Fitting) -> None:
        if module.process.together:  # dropout differs by rank, and a training that goes on draws what it would have drawn
            torch.manual_seed(stable_hash("epoch of a rank", self.seed, trainer.current_epoch, module.process.rank) % (1 << 63))

    def on_train_batch_start(self, trainer: lightning.Trainer, module: _Fitting, batch: Any, step: int) -> None:
        self.learning_rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(self, trainer: lightning.Trainer, module: _Fitting, outputs: Any, batch: Any, step: int) -> None:
        self.steps_here += 1
        if module.process.together and step + 1 == module.steps:
            for buffer in module.module.buffers():  # means of batches, which on CPUs are those of a rank's share
                torch.distributed.broadcast(buffer, 0)
        now = time.monotonic()
        if now - self.told >= PROGRESS_SECONDS:
            self.told = now
            epoch = trainer.current_epoch + 1
            log.info("epoch %d of %d, step %d of %d: %s", epoch, self.settings.epochs, step + 1, module.steps, self._pace(module, step + 1))

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: _Fitting) -> None:
        epoch = trainer.current_epoch + 1
        row = {"epoch": epoch, **module.metrics("train"), **module.metrics("val"), "learning_rate": float(self.learning_rate)}
        self.history.append(row)
        if self.best_epoch == 0 or _merit(row) > _merit(self.history[self.best_epoch - 1]):
            self.best_epoch = epoch
            self.best = {k: v.detach().cpu().clone() for k, v in module.module.state_dict().items()}
        log.info(
            "epoch %d of %d: training loss %.4f, AUC %.4f; validation loss %.4f, AUC %.4f; %s",
            *(epoch, self.settings.epochs, row["train_loss"], row["train_auc"], row["val_loss"], row["val_auc"]),
            self._pace(module, module.steps),
        )
        self.told = time.monotonic()
        trainer.save_checkpoint(self.path)
        trainer.should_stop = self.finished()

    def _pace(self, module: _Fitting, step: int) -> str:
        rate = self.steps_here / max(time.monotonic() - self.started, 1e-9)
        epochs_left = self.settings.epochs - len(self.history)
        left = max(epochs_left * module.steps - (step if step < module.steps else 0), 0) / rate
        return f"{rate:.1f} steps/s, {int(left) // 60} min {int(left) % 60} s left"


def _stopped(course: _Course, signal: str) -> TrainingStopped:
    done, epochs = len(course.history), course.settings.epochs
    if done:
        kept = f"the state after epoch {done} is in {course.path}, and the same command goes on from there"
    else:
        kept = "no epoch had ended, and the same command begins anew"
    return TrainingStopped(f"training was stopped by {signal} in epoch {min(done + 1, epochs)} of {epochs}: {kept}")


def _merit(row: dict[str, float]) -> tuple[float, float]:
    return row["val_auc"], -row["val_loss"]


def _check_splits(training: Split | PairSplit, validation: Split) -> None:
    training.require_both_classes("training")
    validation.require_both_classes("validation")
    if training.size != validation.size:
        raise LearningError(
            f"training stamps have {training.size} pixels on a side, validation stamps {validation.size}; give splits of one dataset"
        )
    shared = np.intersect1d(training.numbers, validation.numbers)
    if len(shared):
        raise LearningError(
            f"{len(shared)} stamps are in training and in validation (number {shared[0]} first); the splits must be disjoint"
        )


def _check_shares(training: Split | PairSplit, validation: Split, settings: Training, rank: Rank) -> None:
    """Raise `LearningError` where a rank would have less than two stamps in a step, or none to validate."""
    smallest = len(training) // -(-len(training) // settings.batch_size)
    if rank.together and (smallest < 2 * rank.ranks or len(validation) < rank.ranks):
        raise LearningError(
            f"{rank.ranks} processes share batches of {smallest} training stamps, and {len(validation)} validation stamps: each needs two of a "
            "batch and one of these; raise training.batch_size, which is that of all together, or lower training.devices or nodes"
        )


def _fingerprint(network: Network, seed: int, training: Split | PairSplit, validation: Split) -> str:
    """Digest of all that decides the outcome, threads and device apart: settings, seed and stamps."""
    digest = hashlib.sha256(f"{network.model_dump_json(exclude={'description'})} {seed} {torch.__version__}".encode())
    for data in (training, validation):
        for values in data.evidence():
            digest.update(str(np.shape(values)).encode())
            digest.update(values)
    return digest.hexdigest()


def _trainer(settings: Training, course: _Course, folder: Path, rank: Rank) -> lightning.Trainer:
    device = find_device()
    strategy = "auto"
    if rank.together:
        # Gradients are summed in one order throughout: of more than two, without a look for unused parameters, the order changes after the
        # first step, and a training that goes on has a first step of its own.
        strategy = DDPStrategy(find_unused_parameters=rank.ranks > 2, process_group_backend="nccl" if device.type == "cuda" else "gloo")
    return lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=rank.devices,
        num_nodes=rank.ranks // rank.devices,
        strategy=strategy,
        sync_batchnorm=rank.together and device.type == "cuda",
        precision={"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}[training_arithmetic(settings.precision, device)],
        max_epochs=settings.epochs,
        callbacks=[course],
        # Never what the variables of a Slurm job say, which must not be taken for a launcher's.
        plugins=[WholeCheckpoints(), RankEnvironment(rank) if rank.together else LightningEnvironment()],
        default_root_dir=folder,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@contextlib.contextmanager
def _reproducible(seed: int, threads: int) -> Iterator[None]:
    """Seed torch, fix its threads and choose deterministic algorithms for the block."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    # The gradient of max_pool2d on a GPU has no deterministic kernel: same bits are promised on CPUs.
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(stable_hash("initial weights", seed) % (1 << 63))
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=before[2])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the training library's notices on hardware, workers and hosted services out of the log."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message=r".*does not have many workers.*|.*deterministic.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
