"""Dotted keys on Snakemake's command line: `--config datasets.subhalo.seed=3`, which it would refuse.

profiles/default imports this file while Snakemake reads the profile, which is before it looks at `--config`.
"""

from __future__ import annotations

import re

DOTTED = re.compile(r"(\w[\w-]*)\.([\w.=+-]+?)=(.*)", re.DOTALL)


def nested(entry: str) -> str:
    """Return an edit with a dotted key as one of its first part: `a.b.c=3` as `a={b: {c: 3}}`; any other one as it is."""
    found = DOTTED.fullmatch(entry)
    if not found:
        return entry
    first, rest, value = found.groups()
    parts = rest.split(".")
    return f"{first}={''.join(f'{{{part}: ' for part in parts)}{value}{'}' * len(parts)}"


def accept_dotted_keys() -> None:
    """Let Snakemake take dotted keys; jobs on other machines are given the nested ones."""
    from snakemake import cli

    parse = cli.parse_config

    def parse_dotted(entries: list[str] | None) -> dict:
        if entries:
            entries[:] = map(nested, entries)
        return parse(entries)

    if parse.__name__ != "parse_dotted":
        cli.parse_config = parse_dotted
