"""From overlay to run: defaults, files, sweeps and variants."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .run import Run, load
from .sweeps import Point, expand
from .variants import with_variants


def read(overlay: Mapping[str, Any], folder: Path) -> tuple[Run, dict[str, list[Point]]]:
    """Return the validated run that an overlay makes, sweeps and variants expanded, and the points of its sweeps.

    Raises
    ------
    ConfigError
        Naming every wrong key, its value, and the nearest known key.
    """
    run, points = expand(load(overlay, folder))
    return with_variants(run), points
