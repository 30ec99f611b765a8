"""Stamps from noiseless pairs while training: noise as the stamps' own is, twins, an amplified signal, and what is known of each.

Which noise a stamp gets follows from training seed, epoch and its number alone: batches, threads and an interruption change no bit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..config.network import Network, PairTraining
from ..core.random import stable_hash, stream
from ..tasks.subhalo.observation import Noiseless, block_sum, images_of, noisy_flux, twin_fluxes
from .augment import hashed, orient_directions, orient_images, orient_points, orientations
from .index import MEASURED, chosen_share
from .map_network import LENS
from .pairs import Pairs, read_pairs
from .pixels import KinematicPixels, normalise
from .ranks import ALONE, Rank
from .scaling import LearningError, Normalisation, measure

log = logging.getLogger(__name__)

#: Places of the images in `Pairs.images`.
SMOOTH_FLUX, PERTURBED_FLUX, SMOOTH_VELOCITY, PERTURBED_VELOCITY = range(4)


@dataclass(frozen=True, eq=False)
class PairSplit:
    """Training pairs with how they become stamps: stands where `Split` stands for training stamps.

    Attributes
    ----------
    stamps : Pairs
    network : the network that learns from them
    normalisation : constants of the input scaling
    lens_mean, lens_width : (q,) of the lens' population
    """

    stamps: Pairs
    network: Network
    normalisation: Normalisation
    lens_mean: NDArray
    lens_width: NDArray

    def __len__(self) -> int:
        """Return the stamps that an epoch shows."""
        return len(self.stamps) * (2 if self.settings.twins else 1)

    @property
    def settings(self) -> PairTraining:
        """How the network trains on pairs."""
        return self.network.training.pairs

    @property
    def size(self) -> int:
        """Pixels on a side."""
        return self.stamps.size

    @property
    def numbers(self) -> NDArray:
        """Stamp numbers, increasing."""
        return self.stamps.numbers

    def require_both_classes(self, use: str) -> None:
        """Raise `LearningError` unless an epoch shows positives and controls."""
        if not self.settings.twins and self.stamps.labels.min() == self.stamps.labels.max():
            raise LearningError(f"the {len(self)} {use} stamps are of one class; set training.pairs.twins, or make pairs of both labels")

    def evidence(self) -> Iterator[object]:
        """Give the bytes by which these pairs are known again."""
        yield from (self.stamps.numbers, self.stamps.labels, *self.stamps.footers)


def choose_pairs(paths: Sequence[str | Path], network: Network, seed: int) -> PairSplit:
    """Read the noiseless pairs that a network learns from.

    Parameters
    ----------
    paths : shards of pairs, in any order
    network : its filters choose among them: `train_fraction`, `seed_share`
    seed : training seed

    Raises
    ------
    TableError, LearningError, BadPixels
        As `read_pairs`.
    """
    pairs = read_pairs(paths)
    t = network.training
    criteria = {
        "beyond train_fraction": chosen_share(pairs.numbers, pairs.labels, t.train_fraction, stable_hash("training share")),
        "beyond the seed's share": chosen_share(pairs.numbers, pairs.labels, t.seed_share, stable_hash("subset of seed", seed)),
    }
    for reason, keep in criteria.items():
        if not keep.all():
            pairs = pairs.without(~keep, reason)
            log.info("%d pairs left out: %s", pairs.dropped[reason], reason)
    # Some of the pairs measure the constants, as an epoch before the first would show them, with the signal as it is.
    pixels = KinematicPixels(network)
    rows = np.sort(np.argsort(hashed(pairs.numbers, stable_hash("stretch")), kind="stable")[:MEASURED])
    shown = np.concatenate([members_of(pairs, row, pixels, seed, -1)[0] for row in rows])
    normalisation = measure([(np.arange(len(shown)), shown)], len(shown), pixels.inputs)
    width = pairs.lens.std(0)
    return PairSplit(pairs, network, normalisation, pairs.lens.mean(0), np.where(width > 1e-9, width, 1.0))


def members_of(pairs: Pairs, row: int, pixels: KinematicPixels, seed: int, epoch: int, factor: float = 1.0) -> tuple[NDArray, NDArray]:
    """Return what an epoch shows of one pair: inputs (m, size, size, c) float32 before normalisation, and labels (m,).

    Parameters
    ----------
    pixels : how columns become inputs; its network says whether both members are shown, and whether the noise is fresh
    seed, epoch : of training
    factor : on the subhalo's signal
    """
    settings = pixels.network.training.pairs
    noise_seed = stable_hash("fresh noise", seed, epoch) if settings.fresh_noise else pairs.noise_seed
    members = (0, 1) if settings.twins else (int(pairs.labels[row]),)
    seen = observe(pairs, row, members, noise_seed, factor)
    found = {column: np.stack([image[name] for image in seen]) for column, name in pixels.source.items()}
    found["flux_noise"] = np.full(len(members), np.sqrt(pairs.instrument.noise.background_share) / pairs.peak_snr[row])
    return pixels.scaled(found), np.array(members)


def observe(pairs: Pairs, row: int, members: tuple[int, ...], noise_seed: int, factor: float = 1.0) -> list[dict[str, NDArray]]:
    """Return what stamps of one pair would hold, (size, size) float32 each: the columns of `stamp_images`.

    Parameters
    ----------
    members : 0 for the control and 1 for the positive; both have common random numbers
    noise_seed : with the pair's number the key of its noise; the dataset's own gives the stamps' own noise
    factor : of the subhalo's signal, perturbed less smooth, in flux and in velocity
    """
    image, instrument, number = pairs.images[row].astype(np.float64), pairs.instrument, int(pairs.numbers[row])
    snr, noise = float(pairs.peak_snr[row]), instrument.noise
    smooth = _noiseless(image[SMOOTH_FLUX], image[SMOOTH_VELOCITY], instrument.velocity_block)
    flux, velocity = image[PERTURBED_FLUX], image[PERTURBED_VELOCITY]
    if factor != 1:
        flux = np.maximum(image[SMOOTH_FLUX] + factor * (flux - image[SMOOTH_FLUX]), 0)
        velocity = image[SMOOTH_VELOCITY] + factor * (velocity - image[SMOOTH_VELOCITY])
    both = (smooth, _noiseless(flux, velocity, instrument.velocity_block))
    if not noise.flux:
        fluxes = {k: both[k].flux for k in members}
    elif len(members) == 1:
        fluxes = {k: noisy_flux(both[k].flux, snr, noise.background_share, noise_seed, number) for k in members}
    else:
        fluxes = dict(enumerate(twin_fluxes(both[0].flux, both[1].flux, snr, noise.background_share, noise_seed, number)))
    return [
        {
            name: values.astype(np.float32)
            for name, values in images_of(fluxes[k], both[k], smooth, snr, instrument, noise_seed, number).items()
        }
        for k in members
    ]


def amplification(settings: PairTraining, done: float) -> float:
    """Return the factor on the subhalo's signal when a share `done` of the training is over: from `amplify` to 1, evenly in its logarithm."""
    return settings.amplify ** max(0.0, 1 - done / settings.amplify_share)


class PairOrder(Sampler):
    """Every pair exactly once per epoch: (rows, epoch, factor on the signal). Ranks share each batch."""

    def __init__(self, split: PairSplit, seed: int, rank: Rank = ALONE) -> None:
        self.split, self.seed, self.epoch, self.rank = split, seed, 0, rank
        self.epochs = split.network.training.epochs
        self.steps = -(-len(split) // split.network.training.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; the training library calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[NDArray, int, float]]:
        # A generator: the training library sets the epoch after it has asked for the iterator.
        epoch, settings = self.epoch, self.split.settings
        order = stream(self.seed, epoch, "training order").permutation(len(self.split.stamps))
        first = amplification(settings, epoch / self.epochs)
        if first > 1:
            log.info("epoch %d of %d: the subhalo's signal is amplified by %.2f at its start", epoch + 1, self.epochs, first)
        for step, rows in enumerate(np.array_split(order, self.steps)):
            yield self.rank.share(rows), epoch, amplification(settings, (epoch + step / self.steps) / self.epochs)


class PairBatches(Dataset):
    """Batches by the rows that a sampler gives: (inputs, labels, weights, places, lenses), all of b stamps.

    Inputs are (b, c, size, size), turned and reflected; places (b, 2) in pixels and lenses (b, q) in widths of their population are turned
    alike. With twins the first half of a batch holds the controls, the second the same lenses with their subhalos.
    """

    def __init__(self, split: PairSplit, seed: int, threads: int = 1) -> None:
        self.split, self.seed = split, seed
        self.pixels = KinematicPixels(split.network)
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="pairs") if threads > 1 else None

    def __getitem__(self, batch: tuple[NDArray, int, float]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        rows, epoch, factor = batch
        split, pairs = self.split, self.split.stamps

        def one(row: int) -> tuple[NDArray, NDArray]:
            return members_of(pairs, int(row), self.pixels, self.seed, epoch, factor)

        found = list(self.pool.map(one, rows) if self.pool else map(one, rows))
        # Member by member: all controls come first where there are twins.
        inputs, labels = (np.concatenate([f[part][k : k + 1] for k in range(len(found[0][1])) for f in found]) for part in (0, 1))
        rows = np.tile(rows, len(found[0][1]))
        normalise(inputs, split.normalisation)
        pixels = torch.from_numpy(inputs).permute(0, 3, 1, 2)  # pixels stay in place: torch's channels_last layout
        places = torch.from_numpy(pairs.place[rows])
        lenses = torch.from_numpy(pairs.lens[rows])
        if split.network.training.augment:
            codes = torch.from_numpy(orientations(pairs.numbers[rows], self.seed, epoch))
            pixels, places, lenses = orient_images(pixels, codes), orient_points(places, codes), oriented_lenses(lenses, codes)
        lenses = (lenses - torch.from_numpy(split.lens_mean)) / torch.from_numpy(split.lens_width)
        return pixels, torch.from_numpy(labels), torch.ones(len(rows)), places.float(), lenses.float()


def pair_loader(split: PairSplit, seed: int, threads: int, rank: Rank = ALONE) -> DataLoader:
    """Return the loader of training pairs, of a rank's share of each batch, as the training library takes it."""
    return DataLoader(PairBatches(split, seed, threads), sampler=PairOrder(split, seed, rank), batch_size=None)


def oriented_lenses(lenses: Tensor, codes: Tensor) -> Tensor:
    """Turn and reflect lens parameters (b, q) of the names `LENS` as `orient_images` does their images."""
    out = lenses.clone()
    for names, turn in ((("x", "y"), orient_points), (("e1", "e2"), orient_directions), (("gamma1", "gamma2"), orient_directions)):
        columns = [LENS.index(name) for name in names]
        out[:, columns] = turn(lenses[:, columns], codes)
    return out


def _noiseless(flux: NDArray, velocity: NDArray, block: int) -> Noiseless:
    """Return an image of the table as it was before its velocity was spread over the pixels of each block."""
    return Noiseless(flux, block_sum(flux, block), velocity[::block, ::block])
