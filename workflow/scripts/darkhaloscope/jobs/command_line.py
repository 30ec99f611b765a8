"""Snakemake's command line: dotted keys (`--config datasets.subhalo.seed=3`), which it would refuse, and errors of config files in words.

profiles/default imports this file while Snakemake reads the profile, which is before it looks at `--config`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

DOTTED = re.compile(r"(\w[\w-]*)\.([\w.=+-]+?)=(.*)", re.DOTALL)


def prepare() -> None:
    """Do both, once."""
    accept_dotted_keys()
    name_config_files()


def nested(entry: str) -> str:
    """Return an edit with a dotted key as one of its first part: `a.b.c=3` as `a={b: {c: 3}}`; any other one as it is."""
    found = DOTTED.fullmatch(entry)
    if not found:
        return entry
    first, rest, value = found.groups()
    parts = rest.split(".")
    return f"{first}={''.join(f'{{{part}: ' for part in parts)}{value}{'}' * len(parts)}"


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
            entries[:] = map(nested, entries)
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
