"""Emission lines and spectral indices of the DR17 MAPS files, with typical values for the mock archive.

Of a line: its flux over Hα (after a real star-forming galaxy), its change with R/Re in e-folds, sky noise over that at
Hα, and the instrument's dispersion there [km/s]. Of an index: its unit, and value and error after the medians of a real galaxy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .archive import rows_of

_LINES = rows_of("emission_lines.csv")
_INDICES = rows_of("spectral_indices.csv")

#: In the order of the channels: Hα is C24, Python index 23; [NII] 6585 is index 24.
LINE_NAMES = tuple(row["name"] for row in _LINES)
HA, NII = LINE_NAMES.index("Ha-6564"), LINE_NAMES.index("NII-6585")
#: The moment analysis sums the [OII] doublet in its first channel.
MOMENT_NAMES = ("OIId-3728", *LINE_NAMES[1:])
INDEX_NAMES, INDEX_UNITS = (tuple(row[key] for row in _INDICES) for key in ("name", "unit"))


def of_lines(column: str) -> NDArray:
    """Return a number of every line, (n, 1, 1): wavelength, ratio, gradient, noise or instrument_kms."""
    return np.array([float(row[column]) for row in _LINES])[:, None, None]


def of_indices(column: str) -> NDArray:
    """Return a number of every index, (n, 1, 1): value or error."""
    return np.array([float(row[column]) for row in _INDICES])[:, None, None]
