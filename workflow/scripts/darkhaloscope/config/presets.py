"""The datasets, detectors and experiments that a run has before its config says anything: the files of config/presets."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from .yaml_files import read_yaml

FOLDER = Path(__file__).parents[4] / "config" / "presets"


def preset(section: str) -> dict[str, Any]:
    """Return a section of the presets, by name; nothing where the library is installed without the workflow."""
    return {name: value for values in _files() for name, value in values.get(section, {}).items()}


@functools.cache
def _files() -> list[dict[str, Any]]:
    return [read_yaml(path) for path in sorted(FOLDER.glob("*.yaml"))]
