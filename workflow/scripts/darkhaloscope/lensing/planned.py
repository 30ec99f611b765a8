"""A plan of rays: how many each pixel gets, and which level of the source they look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Plan:
    """Rays along the two sides of every pixel and the source level they look at, (n, size, size) int16 each.

    No rays on empty sky; level `sampling.TRACED` means rays traced one by one, at the finest level.
    """

    columns: np.ndarray
    rows: np.ndarray
    level: np.ndarray

    @property
    def rays(self) -> np.ndarray:
        """Rays of each stamp (n,)."""
        return (self.columns.astype(np.int64) * self.rows).sum((1, 2))

    @classmethod
    def finest(cls, plans: Sequence[Plan]) -> Plan:
        """The plan that has, in every pixel, at least the rays of each of some plans, at the finest of their levels."""
        columns, rows = (np.maximum.reduce([getattr(p, k) for p in plans]) for k in ("columns", "rows"))
        # Where a plan has no rays its level means nothing.
        levels = np.minimum.reduce([np.where(p.columns > 0, p.level, np.int16(np.iinfo(np.int16).max)) for p in plans])
        return cls(columns, rows, np.where(columns > 0, levels, np.int16(0)))
