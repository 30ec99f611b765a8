"""What follows training: calibration on validation stamps, and networks that were trained elsewhere."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from ..config.network import Network
from ..stamps.rows import bands_of
from .band_network import ForeignNetwork
from .calibration import fit_calibration
from .foreign import check_bands, load_into, read_state, recognise
from .networks import HISTORY, Classifier, Trained
from .scaling import LearningError
from .score import score_split
from .splits import read_split

log = logging.getLogger(__name__)


def calibrate(trained: Trained, validation_paths: Sequence[str | Path], threads: int = 1) -> Trained:
    """Return the network with the calibration that its config asks for, fitted on validation stamps.

    Raises
    ------
    LearningError
        The stamps cannot be scored, or are of one class.
    """
    classifier = trained.classifier
    kind = classifier.network.calibration
    if kind == "none":
        return trained
    margins, labels = _margins(classifier, validation_paths, threads)
    fitted = fit_calibration(margins, labels, kind)
    before, after = (log_loss(labels, p, labels=[0, 1]) for p in (expit(margins), fitted.apply(margins)))
    log.info("%s calibration on %d validation stamps: log loss %.4f, before %.4f", kind, len(labels), after, before)
    return dataclasses.replace(trained, classifier=dataclasses.replace(classifier, calibration=fitted))


def import_network(
    network: Network,
    seed: int,
    train_paths: Sequence[str | Path],
    validation_paths: Sequence[str | Path],
    threads: int = 1,
) -> Trained:
    """Take over weights that were trained elsewhere, as `network.weights` names them.

    The stretch ahead of them is `network.scaling`; its constants are measured on the dataset's training stamps. The
    history has one row, of the validation stamps as they are scored.

    Raises
    ------
    LearningError
        The file cannot be read without unpickling, is of no known architecture, or does not take g, r, z.
    """
    state = read_state(network.weights)
    taken = recognise(state, network.weights)
    log.info("%s: taken for %s", network.weights, taken)
    check_bands(taken, network.weights)
    training = read_split(train_paths, network, seed=seed, workers=threads)
    module = ForeignNetwork(taken, network.scaling)
    load_into(module.foreign, state)
    module.set_normalisation(training.normalisation)
    classifier = Classifier(
        module.eval(), network, training.normalisation, training.size, seed, recognised=taken, bands=bands_of(train_paths)
    )
    margins, labels = _margins(classifier, validation_paths, threads)
    score = expit(margins)
    row = dict.fromkeys(HISTORY, float("nan")) | {
        "epoch": 0,
        "val_loss": float(log_loss(labels, score, labels=[0, 1])),
        "val_accuracy": float(((margins > 0) == (labels == 1)).mean()),
        "val_auc": float(roc_auc_score(labels, margins)),
    }
    log.info("validation AUC %.4f on %d stamps", row["val_auc"], len(labels))
    return Trained(classifier, [row], 0, {"training": 0, "validation": len(labels)})


def _margins(classifier: Classifier, paths: Sequence[str | Path], threads: int) -> tuple[np.ndarray, np.ndarray]:
    found = score_split(paths, classifier, threads)
    margins, labels = found.margins, found.table["label"].to_numpy()
    if len(np.unique(labels)) < 2:
        raise LearningError(f"the {len(labels)} validation stamps are of one class: calibration and AUC need both")
    return margins, labels
