"""Gates that find a network which tells lenses from controls by something other than arcs.

Each gate is a number with an interval and a limit: passed where the whole interval keeps the limit, failed where
none of it does, undecided where the limit lies within it or there are too few stamps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..config.experiment import ShortcutGates
from .intervals import delong_interval, wilson
from .rates import Ranked, auc, cuts_at_fpr

SHORTCUTS = (
    "test_dataset", "gate", "measure", "value", "low", "high", "limit", "verdict", "n_positives", "n_negatives", "note",
)  # fmt: skip
#: Fewest stamps of a class for a gate; FPR of the threshold that pasted rings are held against.
LEAST, RING_FPR = 100, 0.05
PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"

#: Margins of images (n, bands, size, size) whose rows are the stamps at `rows`.
Score = Callable[[NDArray, NDArray], NDArray]


def check_shortcuts(
    score: Score, images: NDArray, label: NDArray, gates: ShortcutGates, pixel_arcsec: float, confidence: float
) -> pd.DataFrame:
    """Judge a network by what it makes of stamps that were altered, and of stamps of equal brightness.

    Parameters
    ----------
    score : callable
        Gives margins of (altered) images of the stamps at some rows.
    images : (n, bands, size, size) float, nanomaggies, sky subtracted
    label : (n,) bool
    gates : ShortcutGates
    pixel_arcsec : float
    confidence : float

    Returns
    -------
    DataFrame
        Columns `SHORTCUTS` but the first, one row per gate.
    """
    label = np.asarray(label, bool)
    rows = np.arange(len(label))
    n = int(label.sum()), int((~label).sum())
    if min(n) < LEAST:
        note = f"{n[0]} positives and {n[1]} controls; {LEAST} of each needed"
        return pd.DataFrame([_row(name, "", math.nan, math.nan, math.nan, math.nan, n, note) for name in ("core", "brightness", "ring")])
    own = score(images, rows)
    radius = np.hypot(*np.meshgrid(*(np.arange(s) - (s - 1) / 2 for s in images.shape[2:]), indexing="ij")) * pixel_arcsec
    core = score(np.where(radius <= gates.core_radius_arcsec, images, 0).astype(images.dtype), rows)
    return pd.DataFrame(
        [
            _of_core(core, label, gates, confidence),
            _of_brightness(own, label, images.sum((1, 2, 3)), gates, confidence),
            _of_ring(score, own, images, label, radius, gates, confidence),
        ]
    )


def summary(table: pd.DataFrame, network: str) -> dict[str, object]:
    """Return the gates as a dataset's quality report has them: name, passed (None where undecided), found, asked."""
    passed = {PASSED: True, FAILED: False, UNDECIDED: None}
    return {
        "gates": [
            {
                "name": f"Shortcut of {network}: {row['gate']} ({row['test_dataset']})",
                "passed": passed[row["verdict"]],
                "found": row["note"] if math.isnan(row["value"]) else f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
                "asked": f"{row['measure']} at most {row['limit']:g}" if row["measure"] else "enough stamps",
            }
            for row in table.to_dict("records")
        ]
    }


def _of_core(core: NDArray, label: NDArray, gates: ShortcutGates, confidence: float) -> dict:
    """Only the galaxy's core is shown: arcs lie outside it, and the network should not tell the classes apart."""
    ranked = Ranked(np.sort(core[label]), np.sort(core[~label]))
    low, high = delong_interval(ranked, confidence)
    measure = f"AUC from the inner {gates.core_radius_arcsec:g} arcsec"
    return _row("core", measure, auc(ranked), low, high, gates.max_core_auc, _counts(ranked))


def _of_brightness(own: NDArray, label: NDArray, flux: NDArray, gates: ShortcutGates, confidence: float) -> dict:
    """How much AUC is lost when each positive meets the control that is nearest to it in brightness, each control once at most."""
    ranked = Ranked(np.sort(own[label]), np.sort(own[~label]))
    positives, controls = matched(np.arcsinh(flux)[:, None], label, gates.match_tolerance)
    measure = "AUC lost against controls of equal brightness"
    if len(positives) < LEAST:
        note = f"{len(positives)} pairs of equal brightness; {LEAST} needed"
        return _row("brightness", measure, math.nan, math.nan, math.nan, gates.max_matched_loss, (len(positives), len(controls)), note)
    # Both AUCs come from the same network; the whole sample is far larger, so that the matched pairs decide the interval.
    fair = Ranked(np.sort(own[positives]), np.sort(own[controls]))
    low, high = delong_interval(fair, confidence)
    whole = auc(ranked)
    return _row("brightness", measure, whole - auc(fair), whole - high, whole - low, gates.max_matched_loss, _counts(fair))


def _of_ring(score: Score, own: NDArray, images: NDArray, label: NDArray, radius: NDArray, gates: ShortcutGates, confidence: float) -> dict:
    """A ring as red as the galaxy is pasted on controls: no lensed source looks like that, and few should pass for lenses."""
    rows = np.flatnonzero(~label)
    profile = np.exp(-0.5 * ((radius - gates.ring_radius_arcsec) / gates.ring_width_arcsec) ** 2)
    light = np.maximum(images[rows].sum((2, 3)), 0) * gates.ring_flux
    pasted = images[rows] + (light[:, :, None, None] * (profile / profile.sum())).astype(images.dtype)
    [cut] = cuts_at_fpr(np.sort(own[rows]), [RING_FPR])
    passed = int(np.sum(score(pasted, rows) > cut))
    low, high = (float(v) for v in wilson(passed, len(rows), confidence))
    measure = f"share of controls with a ring of their own colour that pass at FPR {RING_FPR:g}"
    return _row("ring", measure, passed / len(rows), low, high, gates.max_ring_share, (int(label.sum()), len(rows)))


def matched(features: NDArray, label: NDArray, tolerance: float) -> tuple[NDArray, NDArray]:
    """Pair positives with controls whose features differ by at most `tolerance` of their deviation, each stamp once.

    Parameters
    ----------
    features : (n, k) float
    label : (n,) bool
    tolerance : float

    Returns
    -------
    positives, controls : (m,) int
        Row numbers, pair by pair.
    """
    scaled = features / np.maximum(features.std(0), 1e-12)
    positives, controls = np.flatnonzero(label), np.flatnonzero(~label)
    found: list[tuple[int, int]] = []
    taken = np.zeros(len(controls), bool)
    near = cKDTree(scaled[controls]).query_ball_point(scaled[positives], tolerance)
    # Positives with few choices choose first, so that more of them find one.
    for i in np.argsort([len(choice) for choice in near], kind="stable"):
        free = [j for j in near[i] if not taken[j]]
        if free:
            best = min(free, key=lambda j: float(np.sum((scaled[controls[j]] - scaled[positives[i]]) ** 2)))
            taken[best] = True
            found.append((positives[i], controls[best]))
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _counts(ranked: Ranked) -> tuple[int, int]:
    return len(ranked.positives), len(ranked.negatives)


def _row(gate: str, measure: str, value: float, low: float, high: float, limit: float, n: Sequence[int], note: str = "") -> dict:
    verdict = PASSED if high <= limit else FAILED if low > limit else UNDECIDED
    return {
        "gate": gate,
        "measure": measure,
        "value": value,
        "low": low,
        "high": high,
        "limit": limit,
        "verdict": verdict,
        "n_positives": n[0],
        "n_negatives": n[1],
        "note": note,
    }
