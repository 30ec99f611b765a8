"""How unlike two samples of features are: a linear probe, and the Fréchet distance.

The features are those that a network's last layer sees: of real lenses and of injected ones. Where a straight line
tells the two apart, rates measured on injections need not hold for real lenses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ..core.intervals import delong_interval
from ..core.rates import Ranked, auc

#: Folds of the probe, and the inverse strength of its penalty: features outnumber the stamps of a few seeds together.
FOLDS, PENALTY = 5, 0.1
#: Components in which the Fréchet distance is taken at most, and stamps of the smaller sample for each.
COMPONENTS, PER_COMPONENT = 10, 5
#: Random halves, and groups of the jackknife.
ROUNDS, GROUPS = 100, 20


def linear_probe(real: NDArray, injected: NDArray, confidence: float = 0.95) -> tuple[float, float, float]:
    """Return the AUC with which a logistic regression on features tells two samples apart, and its interval.

    Cross-validated: each stamp is judged by a regression that has not seen it. The interval is DeLong's; it leaves out that
    the regressions themselves would differ with other stamps.

    Parameters
    ----------
    real : (m, f), injected : (n, f)
        One stamp of each host, or the probe recognises hosts; m and n at least `FOLDS`.
    """
    features, label = np.concatenate([real, injected]), np.repeat([1, 0], [len(real), len(injected)])
    regression = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    with threadpool_limits(1):
        score = cross_val_predict(make_pipeline(StandardScaler(), regression), features, label, cv=folds, method="decision_function")
    ranked = Ranked(np.sort(score[label == 1]), np.sort(score[label == 0]))
    return (auc(ranked), *delong_interval(ranked, confidence))


def frechet_distance(mean_a: NDArray, cov_a: NDArray, mean_b: NDArray, cov_b: NDArray) -> NDArray:
    """Return the squared Fréchet distance of Gaussians, |μ_a − μ_b|² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½) (Dowson and Landau 1982).

    J. Multivar. Anal. 12, 450; of networks' features: Heusel et al. 2017, arXiv:1706.08500. The trace of the root is the sum
    of the roots of the eigenvalues of Σ_a Σ_b, which are real and not negative.

    Parameters
    ----------
    mean_a, mean_b : (…, k)
    cov_a, cov_b : (…, k, k)
    """
    roots = np.sqrt(np.maximum(np.linalg.eigvals(cov_a @ cov_b).real, 0)).sum(-1)
    spread = np.trace(cov_a, axis1=-2, axis2=-1) + np.trace(cov_b, axis1=-2, axis2=-1)
    return np.sum((mean_a - mean_b) ** 2, -1) + spread - 2 * roots


def frechet_excess(
    real: NDArray, injected: NDArray, rng: np.random.Generator, confidence: float = 0.95
) -> tuple[float, float, float, float]:
    """Return the squared Fréchet distance of two samples less that of two random parts of the second, and its interval.

    Features are scaled to unit deviation within the samples and reduced to the first principal components of both together
    (few stamps do not give many variances; axes that fit one sample better would part the two). The distance of finite
    samples is too large: of two random parts of one sample it is not 0. Parts of one size, s = min(m, n/2), are drawn 100
    times from both samples; real against injected less injected against injected has no bias where the samples are alike.
    In units of the variance of the injected ones (the trace).

    Parameters
    ----------
    real : (m, f), injected : (n, f)
    rng : generator of the random parts

    Returns
    -------
    value, low, high
        The excess; a normal interval from a jackknife over groups of stamps, and from the scatter among random parts.
    null
        Mean distance of two random parts of the injected ones: what was subtracted.
    """
    size = min(len(real), len(injected) // 2)
    within = np.concatenate([real - real.mean(0), injected - injected.mean(0)]).std(0)
    scaled = np.concatenate([real, injected]) / np.where(within > 0, within, 1)
    axes = max(1, min(COMPONENTS, size // PER_COMPONENT, injected.shape[1]))
    reduced = PCA(axes, svd_solver="randomized", random_state=0).fit_transform(scaled)
    a, b = reduced[: len(real)], reduced[len(real) :]
    unit = float(b.var(0, ddof=1).sum())
    apart, alike = np.empty(ROUNDS), np.empty(ROUNDS)
    for k in range(ROUNDS):
        some, order = rng.permutation(len(a))[:size], rng.permutation(len(b))
        alike[k] = _distance(b[order[size : 2 * size]], b[order[:size]])
        apart[k] = _distance(a[some], b[order[:size]])
    # Groups of both samples are left out together: g of them, (g − 1)/g times the sum of squares is the variance.
    group_a, group_b = (rng.permutation(np.arange(len(sample)) % GROUPS) for sample in (a, b))
    left = np.array([_distance(a[group_a != g], b[group_b != g]) for g in range(GROUPS)])
    error = np.hypot(np.sqrt((GROUPS - 1) * left.var()), alike.std(ddof=1))
    value, half = float(apart.mean() - alike.mean()), float(ndtri((1 + confidence) / 2) * error)
    return value / unit, (value - half) / unit, (value + half) / unit, float(alike.mean()) / unit


def _distance(a: NDArray, b: NDArray) -> float:
    return float(frechet_distance(a.mean(0), np.atleast_2d(np.cov(a.T)), b.mean(0), np.atleast_2d(np.cov(b.T))))
