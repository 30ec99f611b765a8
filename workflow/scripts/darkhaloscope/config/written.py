"""A run written out, every key with its value, sweeps and variants left as they are given: `make config`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from .run import Run, load
from .wording import ConfigError


def written_out(run: Run) -> str:
    """Return a run as YAML, every key with its value."""
    return yaml.safe_dump(run.plain(), sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def main(arguments: list[str] | None = None) -> int:
    """Write every key of a run; `python -m darkhaloscope.config.written [FILE …] [--to PATH]` from the library's folder."""
    parser = argparse.ArgumentParser(description="Write every key of a run with its value.")
    parser.add_argument("files", nargs="*", type=Path, help="config files, a later one laid over the earlier ones; none: the defaults")
    parser.add_argument("--to", type=Path, help="file to write; none: the terminal")
    chosen = parser.parse_args(arguments)
    try:
        text = written_out(load({}, Path(__file__).parents[4], chosen.files))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    if chosen.to:
        try:
            chosen.to.write_text(text, encoding="utf-8")
        except OSError as error:
            print(f"{chosen.to} cannot be written: {error.strerror}; name a file in a folder that is there", file=sys.stderr)
            return 1
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
