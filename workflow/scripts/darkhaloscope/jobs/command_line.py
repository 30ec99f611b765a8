"""Snakemake's command line: dotted keys (`--config datasets.subhalo.seed=3`), which it would refuse, and errors of config files in words.

profiles/default imports this file while Snakemake reads the profile, which is before it looks at `--config`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

DOTTED = re.compile(r"(\w[\w-]*)\.([\w.=+-]+?)=(.*)", re.DOTALL)

#: What a section given as one word is: `cutouts=folder`.
BROUGHT = {"scores": "table", "cutouts": "path", "observed": "path"}


def prepare() -> None:
    """Do both, once."""
    accept_dotted_keys()
    name_config_files()


def nested(entries: list[str]) -> list[str]:
    """Return edits, those with dotted keys as one of their first part: `a.b.c=3 a.d=4` as `a={b: {c: 3}, d: 4}`; any other one as it is.

    Raises
    ------
    ValueError
        A key is given twice, or once whole and once in part.
    """
    found: dict[str, str | dict[str, Any]] = {}
    whole = []
    for entry in entries:
        first, _, text = entry.partition("=")
        dotted = DOTTED.fullmatch(entry)
        if not dotted and first in BROUGHT and not text.lstrip().startswith("{") and any(e.startswith(f"{first}.") for e in entries):
            dotted = DOTTED.fullmatch(f"{first}.{BROUGHT[first]}={text}")  # `cutouts=folder cutouts.files=…`
        if dotted:
            _put(found, [dotted[1], *dotted[2].split(".")], dotted[3])
        else:
            whole.append(entry)
    for first in found:
        if any(entry.partition("=")[0] == first for entry in whole):
            raise ValueError(f"--config: `{first}` is given whole and by a dotted key, expected either; put both into {first}={{…}}")
    return [*whole, *(f"{first}={_flow(value)}" for first, value in found.items())]


def _put(tree: dict[str, Any], parts: list[str], value: str) -> None:
    for part in parts[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            break
    if not isinstance(tree, dict) or parts[-1] in tree:
        raise ValueError(f"--config: `{'.'.join(parts)}`, or what it is part of, is given twice, expected once; leave one out")
    tree[parts[-1]] = value


def _flow(value: str | dict[str, Any]) -> str:
    if not isinstance(value, str):
        return f"{{{', '.join(f'{key}: {_flow(below)}' for key, below in value.items())}}}"
    # Within braces YAML takes these for something else: `*.fits` for the name of an anchor, `a,b` for two keys.
    return "'" + value.replace("'", "''") + "'" if re.match(r"[*&!%@`|>]|[^\[{\"'].*([,#\[\]{}]|: )", value) else value


def misplaced(entry: str) -> str:
    """Return what is wrong with an edit that is none, such as a target behind `--config`; empty where nothing is."""
    if "=" in entry:
        return ""
    return f"--config: found `{entry}`, expected key=value, such as datasets.subhalo.seed=3; a target stands ahead of --config"


def accept_dotted_keys() -> None:
    """Let Snakemake take dotted keys; jobs on other machines are given the nested ones."""
    from snakemake import cli
    from snakemake.exceptions import WorkflowError

    parse = cli.parse_config

    def parse_dotted(entries: list[str] | None) -> dict:
        if entries:
            if wrong := next(filter(None, map(misplaced, entries)), ""):
                raise WorkflowError(wrong)
            try:
                entries[:] = nested(entries)
            except ValueError as error:
                raise WorkflowError(str(error)) from None
        return parse(entries)

    if parse.__name__ != "parse_dotted":
        cli.parse_config = parse_dotted


def name_config_files() -> None:
    """Let errors of `--configfile` name file and line: Snakemake reads these files before the Snakefile does, and says neither."""
    from snakemake.exceptions import WorkflowError
    from snakemake.settings import types

    sys.path.insert(0, str(Path(__file__).absolute().parents[2]))
    from darkhaloscope.config.wording import ConfigError
    from darkhaloscope.config.yaml_files import read_yaml

    def load(path: Path) -> dict:
        try:
            return read_yaml(Path(path))
        except ConfigError as error:
            # --configfile takes all words up to the next option.
            said = "" if Path(path).suffix in (".yaml", ".yml", ".json") else "; a target stands ahead of --configfile"
            raise WorkflowError(f"{error}{said}") from None

    types.load_configfile = load
