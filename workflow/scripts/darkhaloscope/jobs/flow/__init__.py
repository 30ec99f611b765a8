"""What the Snakefile and the rule files ask of the config: parameters, digests, targets, staleness.

Imported at every parse, in every cluster job: pydantic and the standard library only.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ...config.wording import ConfigError
from ..provenance import Record, recorded, stale
from .archives import Archives
from .base import DIGESTS
from .judging import Judging

__all__ = ["DIGESTS", "Flow", "tell"]


class Flow(Archives, Judging):
    """A validated run and everything that rules derive from it."""

    def targets(self) -> list[str]:
        """Return what a plain `snakemake` makes: the reports, their index, tables of completeness and of sweeps; of scores made elsewhere theirs alone."""
        if self.run.scores.table:
            made = [*map(self.paths.table_evaluation, ("rates", "strata")), self.paths.table_completeness["cells"]]
            return [path.format(scores=self.run.scores.name) for path in made]
        reports = [self.paths.report.format(experiment=name) for name in self.reported]
        surfaces = [path for name in self.reported for path in self.surfaces(name)]
        sweeps = [self.paths.sweep.format(sweep=name) for name in self.run.run if name in self.run.sweeps]
        return [*reports, *surfaces, *sweeps, *([self.paths.index] if reports else [])]

    @property
    def opened_here(self) -> set[str]:
        """The targets that are opened from disk and so stay on this machine, wherever results go."""
        return {self.paths.index, *(self.paths.report.format(experiment=name) for name in self.reported)}

    @property
    def reported(self) -> list[str]:
        """Names of the run's experiments."""
        return [name for name in self.run.run if name in self.run.experiments]

    def lock(self) -> None:
        """Keep a second run from writing below the same root; the kernel frees the lock when this process ends.

        Snakemake's own lock outlives a killed run and would refuse the same command afterwards.
        """
        root = Path(self.run.root)
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(handle, 200).decode(errors="replace").strip()
            os.close(handle)
            raise ConfigError(
                f"another run is writing below {root}/ ({holder or 'unknown holder'}); wait for it, stop it, or set another `root`"
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())

    def stale_results(
        self, rules: Mapping[str, Mapping[str, Any]], known: Callable[[str], bool], elsewhere: Iterable[tuple[str, Record]] = ()
    ) -> tuple[list[str], list[str]]:
        """Compare recorded provenance with today's parameters where Snakemake's own records are gone.

        Parameters
        ----------
        rules : mapping
            Params of every rule by name, functions of wildcards included.
        known : callable
            Whether Snakemake still has its own record of an output file; it then decides by itself.
        elsewhere : iterable
            Addresses and records of results in object storage, beside those below the root.

        Returns
        -------
        rules, messages
            Rules with stale outputs; a line in words for each folder, and for each record that cannot be read.
        """

        class Wildcards:
            def __init__(self, values: dict[str, str]) -> None:
                self.__dict__.update(values)

        def expected(rule: str, wildcards: dict[str, str]) -> dict[str, Any] | None:
            if rule not in rules:
                return None
            try:
                return {k: v(Wildcards(wildcards)) if callable(v) else v for k, v in rules[rule].items()}
            except (KeyError, AttributeError):
                return None  # the config does not name this dataset, detector or experiment any more

        # One line for all shards of a folder: there may be thousands.
        groups: dict[tuple[str | None, str, str], list[str]] = {}
        for found in stale(itertools.chain(recorded(self.run.root), elsewhere), expected, known):
            groups.setdefault((found.rule, found.reason, os.path.dirname(found.output)), []).append(found.output)
        messages = [
            f"{outputs[0]}{f' and {len(outputs) - 1} more' if len(outputs) > 1 else ''}: {reason}" if rule else reason
            for (rule, reason, _), outputs in groups.items()
        ]
        return list(dict.fromkeys(rule for rule, _, _ in groups if rule)), messages


def tell(lines: list[str]) -> None:
    """Print lines to the terminal, apart from Snakemake's own."""
    for line in lines:
        print(line, file=sys.stderr)
