"""The lensability score: which galaxies can serve as lensing sources.

The hard cuts carry the science: they reject galaxies whose maps cannot carry a velocity field
through a lens. The points only order the galaxies that are left.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..config.manga import Lensability, Step
from ..core.reading import read_json

if TYPE_CHECKING:  # half a second, which jobs that read one galaxy's metrics need not wait
    import pandas as pd

#: Columns of the table that are copied from the metrics, after score and tier.
METRICS = (
    "z",
    "ba",
    "inclination_deg",
    "reff_arcsec",
    "vel_grad",
    "frac_valid_in_1p5re",
    "vel_std",
    "mask_fraction",
    "flux_max",
    "flux_vel_corr",
    "n_valid_spaxels",
    "usable",
)


class LensabilityError(ValueError):
    """Metrics are not what the score needs."""


def read_metrics(path: str | os.PathLike) -> dict:
    """Read the metrics of one galaxy as `inspect_maps` leaves them.

    Raises
    ------
    LensabilityError
        The file is missing, or holds no metrics.
    """
    return read_json(path, "quality metrics as JSON", "inspect this galaxy's maps again", LensabilityError)


def score_lensability(metrics: Mapping, cuts: Lensability) -> dict:
    """Score one galaxy.

    Parameters
    ----------
    metrics : of `measure_quality`; a metric of None fails its cut.
    cuts : hard cuts, ladders of points, tiers.

    Returns
    -------
    dict
        galaxy_id, physical_id, score (0 to 100; 0 when a hard cut rejects), tier (elite, good, borderline,
        reject), `points` (by metric; empty when a hard cut rejects), `reasons` (which cut rejected,
        or which rule gave which points).

    Raises
    ------
    LensabilityError
        A metric is missing.
    """
    _check(metrics)
    identity = {"galaxy_id": metrics["galaxy_id"], "physical_id": metrics["physical_id"]}
    rejections = _rejections(metrics, cuts)
    if rejections:
        return {**identity, "score": 0.0, "tier": "reject", "points": {}, "reasons": rejections}
    points, reasons = _points(metrics, cuts)
    score = float(min(max(sum(points.values()), 0.0), 100.0))
    return {**identity, "score": score, "tier": _tier(score, cuts), "points": points, "reasons": reasons}


def lensability_table(metrics: Iterable[Mapping], cuts: Lensability) -> pd.DataFrame:
    """Score galaxies and order them by score, best first (then by plate-ifu).

    Returns
    -------
    DataFrame
        galaxy_id, physical_id, score, tier, one column `points_…` per metric (empty where a hard cut
        rejected), the metrics themselves, and `reasons`, joined by "; ".
    """
    import pandas as pd

    rows = []
    for galaxy in metrics:
        result = score_lensability(galaxy, cuts)
        points = {f"points_{name}": result["points"].get(name) for name in _LADDERS}
        copied = {key: galaxy[key] for key in METRICS}
        rows.append(
            {
                **{key: result[key] for key in ("galaxy_id", "physical_id", "score", "tier")},
                **points,
                **copied,
                "reasons": "; ".join(result["reasons"]),
            }
        )
    columns = ["galaxy_id", "physical_id", "score", "tier", *(f"points_{n}" for n in _LADDERS), *METRICS, "reasons"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(["score", "galaxy_id"], ascending=[False, True], ignore_index=True)


#: Metric, and whether more of it is better.
_LADDERS = {
    "vel_grad": True,
    "frac_valid_in_1p5re": True,
    "vel_std": True,
    "mask_fraction": False,
    "flux_max": True,
    "abs_flux_vel_corr": False,
}


def _check(metrics: Mapping) -> None:
    needed = ("galaxy_id", "physical_id", *METRICS)
    missing = [key for key in needed if key not in metrics]
    if missing:
        raise LensabilityError(f"metrics of {metrics.get('galaxy_id', 'a galaxy')} lack {', '.join(missing)}; inspect its maps again")


def _rejections(metrics: Mapping, cuts: Lensability) -> list[str]:
    reasons = []
    if not metrics["usable"]:
        why = "; ".join(metrics.get("unusable_because") or ["flagged by the quality metrics"])
        reasons.append(f"rejected: not usable ({why})")
    comparable = metrics.get("flux_comparable", True)
    for name, bound, more in (
        ("frac_valid_in_1p5re", cuts.min_frac_valid_in_1p5re, True),
        ("vel_grad", cuts.min_vel_grad, True),
        ("mask_fraction", cuts.max_mask_fraction, False),
        *([("flux_max", cuts.min_flux_max, True)] if comparable else []),
        ("vel_std", cuts.min_vel_std, True),
    ):
        value = metrics[name]
        if value is None:
            reasons.append(f"rejected: {name} could not be measured")
        elif value < bound if more else value > bound:
            reasons.append(f"rejected: {name} {value:.4g} {'<' if more else '>'} {bound:g}")
    return reasons


def _points(metrics: Mapping, cuts: Lensability) -> tuple[dict[str, float], list[str]]:
    correlation = metrics["flux_vel_corr"]
    values = {name: metrics.get(name) for name in _LADDERS} | {"abs_flux_vel_corr": None if correlation is None else abs(correlation)}
    if not metrics.get("flux_comparable", True):
        values["flux_max"] = None
    points, reasons = {}, []
    for name, more in _LADDERS.items():
        value = values[name]
        step = None if value is None else _step(value, getattr(cuts, name), more)
        points[name] = step.points if step else 0.0
        shown = "could not be compared" if name == "flux_max" and metrics[name] is not None and value is None else "could not be measured"
        shown = shown if value is None else f"{value:.4g}"
        rule = f" ({'≥' if more else '≤'} {step.bound:g})" if step else ""
        reasons.append(f"{name} {shown}{rule}: {points[name]:+g}")
    return points, reasons


def _step(value: float, ladder: Sequence[Step], more: bool) -> Step | None:
    """Return the step that a value reaches: the highest at or below it, or the lowest at or above it."""
    for step in sorted(ladder, key=lambda s: s.bound, reverse=more):
        if value >= step.bound if more else value <= step.bound:
            return step
    return None


def _tier(score: float, cuts: Lensability) -> str:
    for tier in ("elite", "good", "borderline"):
        if score >= getattr(cuts, tier):
            return tier
    return "reject"
