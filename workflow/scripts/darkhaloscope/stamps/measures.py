"""Measures of a stamp that every task takes alike."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def arc_signal_to_noise(signal: NDArray, invvar: NDArray, good: NDArray | None = None) -> dict[str, float]:
    """Return the three S/N of an arc, on good pixels: greatest pixel, summed, matched filter.

    `arc_snr` = max(signal·√invvar), `arc_snr_sum` = Σ signal/√Σ(1/invvar), `arc_snr_matched` = √Σ(signal²·invvar).

    Parameters
    ----------
    signal : (h, w) noiseless flux
    invvar : (h, w) inverse variance without the arc's own noise: that of the image that the arc lies on
    good : (h, w) bool, optional
        Pixels to use; those without weight tell nothing and are left out.
    """
    used = invvar > 0 if good is None else good & (invvar > 0)
    s, w = signal[used].astype(np.float64), invvar[used].astype(np.float64)
    if not len(s) or not s.any():
        return {"arc_snr": 0.0, "arc_snr_sum": 0.0, "arc_snr_matched": 0.0}
    return {
        "arc_snr": float((s * np.sqrt(w)).max()),
        "arc_snr_sum": float(s.sum() / math.sqrt((1 / w).sum())),
        "arc_snr_matched": float(math.sqrt((s * s * w).sum())),
    }
