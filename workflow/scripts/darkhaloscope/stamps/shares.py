"""Shares of the splits: how many of a number of things each gets, and whether the realised shares are those asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..config.subhalo import SPLITS


def share_out(count: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Return how many of `count` things each split gets, by largest remainder.

    At least one for each split with a fraction above 0 where there are enough.
    """
    shares = [fractions.get(s, 0.0) * count for s in SPLITS]
    cuts = [math.floor(x + 1e-9) for x in shares]
    for index in sorted(range(len(SPLITS)), key=lambda i: cuts[i] - shares[i])[: count - sum(cuts)]:
        cuts[index] += 1
    for index, split in enumerate(SPLITS):
        donor = max(range(len(SPLITS)), key=lambda i: cuts[i])
        if fractions.get(split, 0.0) > 0 and cuts[index] == 0 and cuts[donor] > 1:
            cuts[index], cuts[donor] = 1, cuts[donor] - 1
    return dict(zip(SPLITS, cuts, strict=True))


def wrong_shares(found: Mapping[str, float], asked: Mapping[str, float], tolerance: float) -> list[str]:
    """Return the splits whose share of all that was counted differs from the asked one by more than the tolerance."""
    total = sum(found.values())
    return [s for s in SPLITS if total and abs(found.get(s, 0) / total - asked.get(s, 0.0)) > tolerance + 1e-9]
