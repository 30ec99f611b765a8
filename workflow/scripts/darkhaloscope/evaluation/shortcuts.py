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
from ..core.intervals import delong_interval, tpr_at_fpr_interval, wilson
from ..core.random import stable_hash, stream
from ..core.rates import Ranked, auc, cuts_at_fpr, share_above
from .likeness import frechet_excess, linear_probe

SHORTCUTS = (
    "test_dataset", "gate", "measure", "value", "low", "high", "limit", "verdict", "n_positives", "n_negatives", "note",
)  # fmt: skip
#: Fewest stamps of a class for a gate, and fewest real lenses; FPR of the threshold that altered stamps are held against.
LEAST, LEAST_LENSES, FPR = 100, 40, 0.05
#: Fewest real lenses and real look-alikes, the FPR at which real lenses are counted, and false positives expected for that.
LEAST_REAL, REAL_FPR, LEAST_EXPECTED = 20, 0.01, 10
#: What a network is told that was asked nothing real.
NEVER_MET = "never met a real lens"
#: Most that a band is scaled by.
MOST_RECOLOURED = 4.0
PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"

#: Margins of images (n, bands, size, size) whose rows are the stamps at `rows`.
Score = Callable[[NDArray, NDArray], NDArray]


def check_shortcuts(
    score: Score, own: NDArray, images: NDArray, label: NDArray, gates: ShortcutGates, pixel_arcsec: float, confidence: float
) -> pd.DataFrame:
    """Judge a network by what it makes of stamps that were altered, and of stamps of equal brightness.

    Parameters
    ----------
    score : callable
        Gives margins of (altered) images of the stamps at some rows.
    own : (n,) margins of the stamps as they are
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
        return pd.DataFrame([_unjudged(name, n, note) for name in ("core", "brightness", "ring", "core colour", "noise")])
    radius = np.hypot(*np.meshgrid(*(np.arange(s) - (s - 1) / 2 for s in images.shape[2:]), indexing="ij")) * pixel_arcsec
    core = score(np.where(radius <= gates.core_radius_arcsec, images, 0).astype(images.dtype), rows)
    controls = np.flatnonzero(~label)

    def passing(name: str, what: str, changed: NDArray, limit: float) -> dict:
        """Return the share of controls that pass once they are changed, where `FPR` of them do as they are, as a row of the table."""
        [cut] = cuts_at_fpr(np.sort(own[controls]), [FPR])
        passed = int(np.sum(score(changed, controls) > cut))
        low, high = (float(v) for v in wilson(passed, n[1], confidence))
        return _row(name, f"share of controls {what}", passed / n[1], low, high, limit, n)

    return pd.DataFrame(
        [
            _of_core(core, label, gates, confidence),
            _of_brightness(own, label, images.sum((1, 2, 3)), gates, confidence),
            passing(
                "ring",
                f"with a ring of their own colour that pass at FPR {FPR:g}",
                ringed(images[controls], radius, gates),
                gates.max_ring_share,
            ),
            passing(
                "core colour",
                f"that pass at FPR {FPR:g} once their cores have the colours of the positives' cores",
                recoloured(images[controls], images[label], radius, gates.core_radius_arcsec),
                gates.max_colour_share,
            ),
            passing(
                "noise",
                f"that pass at FPR {FPR:g} once their noise is {gates.noise_factor:g} times as large",
                noisier(images[controls], radius, gates.noise_factor),
                gates.max_noise_share,
            ),
        ]
    )


def check_hosts(removed: NDArray | None, bare: NDArray | None, controls: NDArray, gates: ShortcutGates, confidence: float) -> pd.DataFrame:
    """Judge a network by what it makes of positives whose arcs were taken away again: their hosts should be controls to it.

    Two gates, of two things. `arcs removed`: the noiseless arc is subtracted and its Poisson noise stays, so that the network
    sees the host and that noise; the whole ranking is judged, by the AUC. `null injection`: an arc of no flux, which leaves the
    bare cutout; the network's decision is judged, by the share that passes where 5% of the controls do. Hosts that
    differ from controls fail both; noise that gives arcs away fails the first alone. Controls that are the positives' own
    cutouts pass the second by construction.

    Parameters
    ----------
    removed, bare : (m,) margins of positives less their arcs, and less the arcs' noise as well, one of each host; None where stamps
        made elsewhere do not say how their arcs were made
    controls : (n,) margins
    gates : ShortcutGates
    confidence : float

    Returns
    -------
    DataFrame
        Columns `SHORTCUTS` but the first, one row per gate.
    """
    n = 0 if bare is None else len(bare), len(controls)
    if removed is None or bare is None or min(n) < LEAST:
        note = (
            "arcs of stamps made elsewhere cannot be taken away"
            if bare is None
            else f"{n[0]} hosts and {n[1]} controls; {LEAST} of each needed"
        )
        return pd.DataFrame([_unjudged(name, n, note) for name in ("arcs removed", "null injection")])
    ranked = Ranked(np.sort(bare), np.sort(controls))
    [share] = share_above(ranked.positives, cuts_at_fpr(ranked.negatives, [FPR]))
    rng = stream(0, stable_hash("null injection"), "bootstrap of both classes")
    (low,), (high,) = tpr_at_fpr_interval(ranked, [FPR], rng, confidence=confidence)
    measure = f"share of bare hosts that pass where {FPR:g} of the controls do"
    return pd.DataFrame(
        [
            _of_removed(removed, controls, gates, confidence),
            _row("null injection", measure, float(share), float(low), float(high), gates.max_null_share, n),
        ]
    )


def check_likeness(real: NDArray, injected: NDArray, gates: ShortcutGates, confidence: float) -> pd.DataFrame:
    """Judge injected lenses by whether a network's last layer sees them where it sees real ones.

    A network that tells the two apart may have learnt something of injections that real lenses lack, and its completeness
    on injections need not be that on real lenses. Known lenses are also brighter and larger than injected ones where
    those were drawn otherwise: the gates find that as well, and do not say which it is.

    Parameters
    ----------
    real : (m, f) features of known lenses; m may be 0
    injected : (n, f) features of injected ones, one of each host
    gates : ShortcutGates
    confidence : float

    Returns
    -------
    DataFrame
        Columns `SHORTCUTS` but the first, one row per gate.
    """
    n = len(real), len(injected)
    if n[0] < LEAST_LENSES or n[1] < LEAST:
        note = f"{n[0]} real lenses and {n[1]} injected ones; {LEAST_LENSES} and {LEAST} needed"
        return pd.DataFrame([_unjudged(name, n, note) for name in ("linear probe", "Fréchet distance")])
    value, low, high, null = frechet_excess(real, injected, stream(0, stable_hash("likeness"), "random parts"), confidence)
    measure = "squared Fréchet distance of real from injected lenses over the variance of these, less that of two random parts of them"
    note = f"two random parts of the injected ones, as large as the samples compared, are {null:.3f} apart, which is subtracted"
    return pd.DataFrame(
        [
            _row(
                "linear probe",
                "cross-validated AUC of real against injected lenses",
                *linear_probe(real, injected, confidence),
                gates.max_probe_auc,
                n,
            ),
            _row("Fréchet distance", measure, value, low, high, gates.max_frechet, n, note),
        ]
    )


def check_real(lenses: NDArray, lookalikes: NDArray, controls: NDArray, gates: ShortcutGates, confidence: float) -> pd.DataFrame:
    """Judge a network by real lenses, and by real galaxies that people took for lenses.

    Both gates are shares of failure, so that less is better. The threshold of the second comes from the test stamps' own controls.

    Parameters
    ----------
    lenses, lookalikes : (m,), (k,) margins of real cutouts that the network was not trained on; m or k may be 0
    controls : (n,) margins of test controls
    gates : ShortcutGates
    confidence : float

    Returns
    -------
    DataFrame
        Columns `SHORTCUTS` but the first: `real look-alikes`, `real lenses missed`.
    """
    n = len(lenses), len(lookalikes)
    if n[0] < LEAST_REAL:
        note = NEVER_MET if not n[0] else f"{n[0]} real lenses; {LEAST_REAL} needed"
        return pd.DataFrame([_unjudged(name, n, note) for name in ("real look-alikes", "real lenses missed")])
    rows = []
    if n[1] < LEAST_REAL:
        rows.append(_unjudged("real look-alikes", n, f"{n[1]} real look-alikes; {LEAST_REAL} needed"))
    else:
        ranked = Ranked(np.sort(lenses), np.sort(lookalikes))
        low, high = delong_interval(ranked, confidence)
        measure = "1 − AUC of real lenses against real look-alikes"
        rows.append(_row("real look-alikes", measure, 1 - auc(ranked), 1 - high, 1 - low, gates.max_real_loss, n))
    ranked = Ranked(np.sort(lenses), np.sort(controls))
    if len(controls) * REAL_FPR < LEAST_EXPECTED:
        note = f"{len(controls)} test controls; {math.ceil(LEAST_EXPECTED / REAL_FPR)} needed for FPR {REAL_FPR:g}"
        return pd.DataFrame([*rows, _unjudged("real lenses missed", (n[0], len(controls)), note)])
    [found] = share_above(ranked.positives, cuts_at_fpr(ranked.negatives, [REAL_FPR]))
    rng = stream(0, stable_hash("real lenses"), "bootstrap of both classes")
    (low,), (high,) = tpr_at_fpr_interval(ranked, [REAL_FPR], rng, confidence=confidence)
    measure = f"share of real lenses missed where {REAL_FPR:g} of the test controls pass"
    counts = n[0], len(controls)
    rows.append(_row("real lenses missed", measure, 1 - float(found), 1 - float(high), 1 - float(low), gates.max_real_missed, counts))
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame, network: str) -> dict[str, object]:
    """Return the gates as a dataset's quality report has them: name, passed (None where undecided), found, asked.

    `real` is the AUC of real lenses against real look-alikes with its interval and their numbers; None where there are none.
    """
    passed = {PASSED: True, FAILED: False, UNDECIDED: None}
    rows = table[(table["gate"] == "real look-alikes") & table["value"].notna()].to_dict("records")
    real = [
        {
            "auc": 1 - r["value"],
            "low": 1 - r["high"],
            "high": 1 - r["low"],
            "lenses": int(r["n_positives"]),
            "lookalikes": int(r["n_negatives"]),
        }
        for r in rows
    ]
    return {
        "real": real[0] if real else None,
        "gates": [
            {
                "name": f"Shortcuts of {network} on {row['test_dataset']}: {row['gate']}",
                "group": f"Shortcuts of {network} on {row['test_dataset']}",
                "passed": passed[row["verdict"]],
                "found": row["note"] if math.isnan(row["value"]) else f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
                "asked": f"{row['measure']} at most {row['limit']:g}" if row["measure"] else "enough stamps",
            }
            for row in table.to_dict("records")
        ],
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


def ringed(images: NDArray, radius: NDArray, gates: ShortcutGates) -> NDArray:
    """Return images with a ring as red as the galaxy pasted on each: no lensed source looks like that, and few should pass for lenses."""
    profile = np.exp(-0.5 * ((radius - gates.ring_radius_arcsec) / gates.ring_width_arcsec) ** 2)
    light = np.maximum(images.sum((2, 3)), 0) * gates.ring_flux
    return images + (light[:, :, None, None] * (profile / profile.sum())).astype(images.dtype)


def noisier(images: NDArray, radius: NDArray, factor: float) -> NDArray:
    """Return images whose noise is `factor` times as large: they show no more arcs than before, and few should pass for lenses."""
    more = math.sqrt(factor**2 - 1) * sky_noise(images, radius)
    noise = stream(0, stable_hash("noise gate"), "noise").standard_normal(images.shape, np.float32)
    return (images + noise * more[:, :, None, None]).astype(images.dtype)


def recoloured(images: NDArray, others: NDArray, radius: NDArray, core_arcsec: float) -> NDArray:
    """Return images whose cores have the colours of other images' cores, rank by rank: as if their bands had other zero points.

    The core's flux ratios g/r and z/r become those of the same rank among `others`; g and z are scaled as a whole, so that nothing
    but colour changes: controls with the colours of positives show no more arcs than before, and few should pass for lenses.

    Parameters
    ----------
    images, others : (n, 3, h, w), (m, 3, h, w) nanomaggies, in g, r, z
    radius : (h, w) distance from the middle [arcsec]
    core_arcsec : radius of the core
    """
    here, there = (np.maximum(i[:, :, radius <= core_arcsec].sum(2, dtype=np.float64), 1e-6) for i in (images, others))
    out = images.copy()
    for band in (0, 2):
        ratio, target = np.log(here[:, band] / here[:, 1]), np.log(there[:, band] / there[:, 1])
        rank = (np.argsort(np.argsort(ratio, kind="stable"), kind="stable") + 0.5) / len(ratio)
        step = np.clip(np.quantile(target, rank) - ratio, -np.log(MOST_RECOLOURED), np.log(MOST_RECOLOURED))
        out[:, band] *= np.exp(step)[:, None, None].astype(images.dtype)
    return out


def sky_noise(images: NDArray, radius: NDArray) -> NDArray:
    """Return the noise of a pixel in each band, (n, bands): from differences of neighbours far from the middle, where no slope enters."""
    far = radius[:, 1:] > 0.7 * radius[0, radius.shape[1] // 2]
    return 1.4826 * np.median(np.abs(np.diff(images, axis=3)[:, :, far]), axis=2) / math.sqrt(2)


def _of_removed(removed: NDArray, controls: NDArray, gates: ShortcutGates, confidence: float) -> dict:
    """Nothing of the lens is left but its noise. Hosts that score lower tell as much as hosts that score higher."""
    ranked = Ranked(np.sort(removed), np.sort(controls))
    value, (low, high), note = auc(ranked), delong_interval(ranked, confidence), ""
    if value < 0.5:
        value, low, high, note = 1 - value, 1 - high, 1 - low, "positives without their arcs score below controls"
    return _row(
        "arcs removed",
        "AUC in either direction once the arcs are taken away",
        value,
        low,
        high,
        gates.max_removed_auc,
        _counts(ranked),
        note,
    )


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


def _unjudged(gate: str, n: Sequence[int], note: str) -> dict:
    return _row(gate, "", math.nan, math.nan, math.nan, math.nan, n, note)


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
