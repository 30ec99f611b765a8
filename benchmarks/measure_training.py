"""What each option of training on noiseless pairs gives: validation AUC after the last epoch, and CPU time, one line per training.

    python benchmarks/measure_training.py PAIRS… --validation STAMPS… [--epochs 8] [--number 4000] [--without twins amplify …] [--channels flux]

The recipe has fresh noise, twins, a signal amplified fourfold at first, a map with a place loss, and the lens as a second output; `--without`
leaves one out at a time (`map` takes `deep_baseline` in place of the U-Net, and with it leaves out place and lens), `--alone` trains with all
of these left out. The AUC is that of the last epoch, not of the best one, which validation stamps would have chosen; its interval is that
of Hanley & McNeil (1982). Stamps are rows of one dataset; test stamps are not touched.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time

import numpy as np
import pyarrow.parquet as pq
import torch

from darkhaloscope.config.network import Network
from darkhaloscope.learning.fit import train_network
from darkhaloscope.learning.lens_estimates import estimate_lenses
from darkhaloscope.learning.map_network import LENS
from darkhaloscope.learning.pairs import lens_parameters

RECIPE = {"fresh_noise": True, "twins": True, "amplify": 4.0, "place_weight": 0.2, "lens_weight": 0.3}
LEFT_OUT = {"fresh_noise": False, "twins": False, "amplify": 1.0, "place_weight": 0.0, "lens_weight": 0.0}


def network_of(options: argparse.Namespace, left_out: tuple[str, ...], share: float) -> Network:
    """Return the network of the recipe less some of its parts."""
    gone = {*left_out, *(("place_weight", "lens_weight") if "map" in left_out else ())}
    pairs = {key: LEFT_OUT[key] if key in gone else value for key, value in RECIPE.items()}
    # An epoch shows both twins: without them as many epochs more, so that all trainings see as many stamps.
    epochs = options.epochs * (1 if pairs["twins"] else 2)
    training = {"epochs": epochs, "batch_size": 32, "learning_rate": options.rate, "train_fraction": share, "pairs": pairs}
    architecture = "deep_baseline" if "map" in left_out else "unet"
    return Network.model_validate(
        {"architecture": architecture, "channels": options.channels, "width": options.width, "training": training}
    )


def interval(auc: float, n: int) -> tuple[float, float]:
    """Return the 95% interval of an AUC of n stamps, half of each class (Hanley & McNeil 1982)."""
    first, second, half = auc / (2 - auc), 2 * auc**2 / (1 + auc), n / 2
    error = np.sqrt((auc * (1 - auc) + (half - 1) * (first + second - 2 * auc**2)) / half**2)
    return auc - 1.96 * error, auc + 1.96 * error


def lens_errors(classifier, paths: list[str]) -> str:
    """Return how far regressed lenses are from the true ones of validation stamps, in widths of the population."""
    found = estimate_lenses(paths, classifier)
    tables = [
        pq.read_table(
            path, columns=[n for n in pq.read_schema(path).names if "lens" in n or "shear" in n or n in ("number", "theta_e_arcsec")]
        )
        for path in paths
    ]
    truth = np.concatenate([lens_parameters(t) for t in tables])[np.argsort(np.concatenate([t["number"].to_numpy() for t in tables]))]
    errors = [np.sqrt(np.mean((found[name] - truth[:, k]) ** 2)) / truth[:, k].std() for k, name in enumerate(LENS)]
    return ", ".join(f"{name} {error:.2f}" for name, error in zip(LENS, errors, strict=True))


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+")
    parser.add_argument("--validation", nargs="+", required=True)
    parser.add_argument("--number", type=int, default=0, help="pairs used; 0 for all")
    parser.add_argument("--without", nargs="*", default=[])
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rate", type=float, default=0.0025)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--channels", default="flux")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    total = sum(pq.read_metadata(path).num_rows for path in options.pairs)
    n = sum(pq.read_metadata(path).num_rows for path in options.validation)
    chosen: list[tuple[str, ...]] = [(), *(tuple(name.split("+")) for name in options.without)]
    chosen += [(*LEFT_OUT, "map")] if options.alone else []
    print(f"{options.channels}, width {options.width}, {options.number or total} pairs, {n} validation stamps")
    for left_out in chosen:
        network = network_of(options, left_out, min(1.0, (options.number or total) / total))
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            trained = train_network(options.pairs, options.validation, network, options.seed, folder, 1)
        last = trained.history[-1]
        low, high = interval(last["val_auc"], n)
        name = "recipe" if not left_out else "without " + ", ".join(left_out)
        print(
            f"{name}: AUC {last['val_auc']:.3f} [{low:.3f}, {high:.3f}], loss {last['val_loss']:.4f}, training AUC {last['train_auc']:.3f}, "
            f"{len(trained.history)} epochs, {time.process_time() - start:.0f} s CPU",
            flush=True,
        )
        if network.regresses_lens:
            print(f"  lens, rms error in widths: {lens_errors(trained.classifier, options.validation)}", flush=True)


if __name__ == "__main__":
    main()
