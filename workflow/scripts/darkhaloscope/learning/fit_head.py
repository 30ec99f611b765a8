"""Fitting a network's last layer on the real galaxies of a dataset: logistic regressions, cross-fitted by pieces of the sky."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from ..config.network import Head
from ..core.tables import read_columns
from ..surveys.real_sky import sky_cells
from .altered import sample_bands
from .head import HeadedNetwork, HeadFit, Objects, objects_of
from .networks import Trained
from .rings import MEASURES
from .scaling import LearningError
from .score import features_of, margins_of

log = logging.getLogger(__name__)

#: Inverse strengths of the penalty among which folds within the training part choose, and the number of these folds.
STRENGTHS, INNER = (1e-3, 1e-2, 1e-1, 1.0), 5
#: Training stamps that join a fit at most.
MOCK_STAMPS = 2000


def fit_head(
    trained: Trained,
    real_paths: Sequence[str | Path],
    train_paths: Sequence[str | Path],
    threads: int = 1,
) -> Trained:
    """Return the network with a last layer fitted on real lenses and look-alikes in place of its own, where its config asks for one.

    Whole cells of the sky share a fold. For each fold a logistic regression with a square penalty is fitted on the galaxies of all
    other folds, the strength of its penalty chosen by folds among these alone; one more is fitted on all galaxies. The network's
    features, hundreds of them, weigh together what the measures do (`_ease`). Training stamps join each fit with the share of the
    weight that the config gives them, and an offset of their own. An object is judged by the head of its own fold, and every other
    stamp by the last one.

    Parameters
    ----------
    trained : a network of bands, whose own training saw none of these galaxies
    real_paths : tables of `surveys.real_sky`, both parts of the sky
    train_paths : training shards of the dataset
    threads : CPU threads

    Raises
    ------
    TableError, LearningError
        As `index_stamps`; also for too few galaxies or too few pieces of sky.
    """
    classifier, settings = trained.classifier, trained.classifier.network.head
    if settings is None:
        return trained
    images, scalars, labels, objects, cells = _real_galaxies(real_paths)
    module = HeadedNetwork(classifier.module, settings)
    headed = dataclasses.replace(classifier, module=module)
    own = margins_of(classifier, images, scalars, threads)
    features = features_of(headed, images, scalars, threads)
    given = _Given(np.empty((0, features.shape[1])), np.empty(0, np.int64), settings.mock_share, _ease(features.shape[1], settings))
    if settings.mock_share > 0:
        stamps, pixels = sample_bands(train_paths, MOCK_STAMPS)
        given = dataclasses.replace(given, features=features_of(headed, pixels, stamps.scalars, threads), labels=stamps.labels)
    folds = _folds(labels, cells, settings.folds, real_paths)
    margins, strengths = np.empty(len(labels)), []
    with threadpool_limits(1):
        for k in range(settings.folds + 1):
            use = folds != k  # no galaxy is in the last one: that head is of all
            strength = _strength(features[use], labels[use], cells[use], given, real_paths)
            weight, intercept = _regression(features[use], labels[use], given, strength)
            margins[~use] = features[~use] @ weight + intercept
            strengths.append(strength)
            with torch.no_grad():
                module.weight[k], module.intercept[k] = torch.from_numpy(weight), float(intercept)
    fit = HeadFit(
        names=tuple(map(str, objects.names)),
        ra=_known(objects.ra),
        dec=_known(objects.dec),
        folds=tuple(map(int, folds)),
        lenses=int(labels.sum()),
        lookalikes=int((1 - labels).sum()),
        mock=len(given.labels),
        strengths=tuple(strengths),
        auc=float(roc_auc_score(labels, margins)),
    )
    log.info(
        "head fitted on %d real lenses, %d look-alikes and %d training stamps: AUC of the real ones %.3f, each judged by the head of a fold "
        "without it; %.3f by the network alone",
        *(fit.lenses, fit.lookalikes, fit.mock, fit.auc, roc_auc_score(labels, own)),
    )
    return dataclasses.replace(trained, classifier=dataclasses.replace(classifier, module=module.eval(), head=fit))


@dataclasses.dataclass(frozen=True)
class _Given:
    """What every fit has beside real galaxies.

    `features` (n, f), `labels` (n,) of training stamps, and the `share` of the weight that they have; `ease` (f,), the width of the prior of
    each feature's slope relative to others.
    """

    features: NDArray
    labels: NDArray
    share: float
    ease: NDArray


def _ease(size: int, settings: Head) -> NDArray:
    """Return widths of the prior of each slope such that the network's features together have the variance of the measures together.

    With one width for all, hundreds of features that know simulations outvote sixteen measures on a hundred real galaxies.
    """
    measures = len(MEASURES) if settings.measures else 0
    learnt = size - measures
    return np.concatenate([np.full(learnt, np.sqrt(measures / learnt) if measures else 1.0), np.ones(measures)])


def _real_galaxies(paths: Sequence[str | Path]) -> tuple[NDArray, NDArray, NDArray, Objects, NDArray]:
    """Return images, scalars, labels, objects and cells of the sky of all usable real galaxies."""
    parts = []
    for path in paths:
        table = read_columns(path, ["number", "stamp_id", "ra", "dec"])
        stamps, images = sample_bands([path], table.num_rows)
        order = np.argsort(table["number"].to_numpy())
        rows = order[np.searchsorted(table["number"].to_numpy()[order], stamps.numbers)]
        parts.append((images, stamps.scalars, stamps.labels, table.take(rows)))
    if not parts:
        raise LearningError("a head is fitted on real galaxies with labels, and there are none: name some in the dataset's `real_sky`")
    images, scalars, labels = (np.concatenate([part[k] for part in parts]) for k in range(3))
    objects = objects_of(pa.concat_tables([part[3] for part in parts]))
    keys = sky_cells(objects.ra, objects.dec, list(objects.names))
    return images, scalars, labels, objects, np.unique([str(key) for key in keys], return_inverse=True)[1]


def _folds(labels: NDArray, cells: NDArray, folds: int, paths: Sequence[str | Path]) -> NDArray:
    """Return the fold of each galaxy, whole cells of the sky in one, classes shared out evenly; the same for the same galaxies."""
    few, pieces = int(min(labels.sum(), (1 - labels).sum())), len(np.unique(cells))
    if few < folds or pieces < folds:
        raise LearningError(
            f"{', '.join(map(str, paths))}: {int(labels.sum())} real lenses and {int((1 - labels).sum())} look-alikes in {pieces} pieces of sky, "
            f"expected at least {folds} of each for {folds} folds; name more real galaxies in the dataset's `real_sky`, or lower head.folds"
        )
    found = np.empty(len(labels), np.int64)
    for k, (_, out) in enumerate(StratifiedGroupKFold(folds).split(cells, labels, cells)):
        found[out] = k
    return found


def _strength(features: NDArray, labels: NDArray, cells: NDArray, given: _Given, paths: Sequence[str | Path]) -> float:
    """Return the strength of least log loss, classes weighing the same, over folds of these galaxies."""
    folds = _folds(labels, cells, INNER, paths)
    weights = np.where(labels == 1, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    losses = []
    for strength in STRENGTHS:
        margins = np.empty(len(labels))
        for k in range(INNER):
            weight, intercept = _regression(features[folds != k], labels[folds != k], given, strength)
            margins[folds == k] = features[folds == k] @ weight + intercept
        losses.append(log_loss(labels, expit(margins), sample_weight=weights, labels=[0, 1]))
    return STRENGTHS[int(np.argmin(losses))]


def _regression(features: NDArray, labels: NDArray, given: _Given, strength: float) -> tuple[NDArray, float]:
    """Return weights and intercept, those of real galaxies, of a logistic regression for features as they are.

    Within real galaxies and within training stamps the classes weigh the same, and each of the two samples is taken about its own mean:
    how they differ is no part of the fit. Features are scaled to unit variance times their ease; the real galaxies weigh what they do alone,
    so that `strength` has one meaning.
    """
    parts = [(features, labels, float(len(labels))), (given.features, given.labels, len(labels) * given.share / (1 - given.share))]
    parts = [part for part in parts if len(part[1])]
    weights = [total / 2 / np.where(y == 1, max(y.sum(), 1), max((1 - y).sum(), 1)) for _, y, total in parts]
    means = [np.average(x, 0, weights=w) for (x, _, _), w in zip(parts, weights, strict=True)]
    centred = np.concatenate([x - mean for (x, _, _), mean in zip(parts, means, strict=True)])
    weight = np.concatenate(weights)
    scale = np.sqrt(np.average(centred**2, 0, weights=weight))
    scale = np.where(scale > 0, scale, 1.0) / given.ease
    fit = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-6, max_iter=100)
    fit.fit(centred / scale, np.concatenate([y for _, y, _ in parts]), weight)
    slopes = fit.coef_[0] / scale
    return slopes, float(fit.intercept_[0] - slopes @ means[0])


def _known(values: NDArray) -> tuple[float | None, ...]:
    return tuple(float(v) if np.isfinite(v) else None for v in values)
