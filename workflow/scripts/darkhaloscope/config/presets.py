"""The datasets, detectors and experiments that a run has before its config says anything: the files of config/presets."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from .wording import ConfigError
from .yaml_files import read_yaml

FOLDER = Path(__file__).parents[4] / "config" / "presets"


def preset(section: str) -> dict[str, Any]:
    """Return a section of the presets, by name; nothing where the library is installed without the workflow.

    Raises
    ------
    ConfigError
        A file is no config, or two have the same name in the section: a copy of a file would win over it, or lose, in silence.
    """
    found: dict[str, Any] = {}
    places: dict[str, Path] = {}
    for path, values in _files(FOLDER).items():
        for name, value in values.get(section, {}).items():
            if name in found:
                raise ConfigError(
                    f"{path}: `{section}.{name}` is in {places[name].name}, too, expected once; rename it, or take one file out of {FOLDER}"
                )
            found[name], places[name] = value, path
    return found


@functools.cache
def _files(folder: Path) -> dict[Path, dict[str, Any]]:
    # Hidden files are other programs' own: locks of editors, and what file systems leave beside a file.
    return {path: read_yaml(path) for path in sorted(folder.glob("*.yaml")) if not path.name.startswith(".")}
