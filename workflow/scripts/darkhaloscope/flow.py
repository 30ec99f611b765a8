"""What the Snakefile and the rule files ask of the config: parameters, digests, targets, staleness.

Imported at every parse, in every cluster job: pydantic and the standard library only.
"""

from __future__ import annotations

import csv
import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .config.base import Section
from .config.run import ConfigError, Point, Run, expand, load
from .digest import code_digest
from .paths import Paths
from .provenance import stale

SCRIPTS = Path(__file__).parents[1]


class Flow:
    """A validated run and everything that rules derive from it."""

    def __init__(self, overlay: Mapping[str, Any], folder: Path) -> None:
        self.run: Run
        self.points: dict[str, list[Point]]
        self.run, self.points = expand(load(overlay, folder))
        self.paths = Paths(self.run.root)

    # --- parameters ---

    def needs(self, key: str) -> Any:
        """Return the part of the config at a dotted key, as plain values.

        Wildcards in the key (`datasets.{dataset}.lens`) make it a function of the job's wildcards.
        """
        if "{" not in key:
            return self._part(key.split("."))
        parts = key.split(".")
        return lambda wildcards: self._part([getattr(wildcards, p[1:-1]) if p.startswith("{") else p for p in parts])

    def dataset_without(self, *keys: str) -> Callable[[Any], dict[str, Any]]:
        """Return a dataset's section less the keys that a rule does not use."""

        def part(wildcards: Any) -> dict[str, Any]:
            return {k: v for k, v in self.run.datasets[wildcards.dataset].plain().items() if k not in keys}

        return part

    def network(self, wildcards: Any) -> dict[str, Any]:
        """Return a network's section less its description, which no weight depends on."""
        return {k: v for k, v in self.run.networks[wildcards.network].plain().items() if k != "description"}

    def _part(self, parts: list[str]) -> Any:
        node: Any = self.run
        for part in parts:
            node = node[part] if isinstance(node, Mapping) else getattr(node, part)
        return node.plain() if isinstance(node, Section) else node

    @staticmethod
    def digest(script: str) -> str:
        """Return the digest of a script and the library modules that it imports."""
        return code_digest(SCRIPTS / f"{script}.py")

    # --- MaNGA ---

    def sample(self, wildcards: Any) -> dict[str, Any]:
        """Return where a sample's archive is; a mock one lies below the results root."""
        sample = self.run.manga.samples[wildcards.sample]
        values = sample.plain()
        values.pop("galaxies")
        if sample.mock:
            values["base"] = f"file://{self.paths.mock_archive.format(sample=wildcards.sample)}/"
        return values

    def archive_inputs(self, wildcards: Any) -> list[str]:
        """Return what must exist before a sample's archive can be read: the mock's marker, or nothing."""
        sample = self.run.manga.samples[wildcards.sample]
        return [self.paths.mock_marker.format(sample=wildcards.sample)] if sample.mock else []

    def candidates(self, sample: str, ranking: Callable[[], str] | None) -> list[str]:
        """Return the galaxies of a sample: the top of the ranking, then the listed ones.

        `ranking` gives the path of the ranking; it is called only where the sample needs one.
        """
        galaxies = self.run.manga.samples[sample].galaxies
        names: list[str] = []
        if galaxies.n_top:
            with open(ranking(), encoding="utf-8", newline="") as file:
                names = [row["plateifu"] for _, row in zip(range(galaxies.n_top), csv.DictReader(file), strict=False)]
        return list(dict.fromkeys([*names, *galaxies.listed]))

    def accepted(self, sample: str, lensability: str) -> list[str]:
        """Return the galaxies whose tensors are built: those not rejected, and rejected ones asked for by name."""
        wanted = set(self.run.manga.samples[sample].galaxies.use_rejected)
        with open(lensability, encoding="utf-8", newline="") as file:
            return [row["plateifu"] for row in csv.DictReader(file) if row["tier"] != "reject" or row["plateifu"] in wanted]

    # --- datasets, networks, experiments ---

    def bank(self, wildcards: Any) -> list[str]:
        """Return the source bank of a dataset, if its sources need one."""
        return self.bank_of(wildcards.dataset)

    def bank_of(self, dataset: str) -> list[str]:
        """Return the source bank of a named dataset, if its sources need one."""
        sources = self.run.datasets[dataset].sources
        if any(sources.mix.get(kind, 0) > 0 for kind in ("manga", "hybrid")):
            return [self.paths.bank.format(sample=sources.sample)]
        return []

    def shards(self, dataset: str, split: str) -> list[str]:
        """Return the shards of one split of a dataset."""
        n = self.run.datasets[dataset].shards(split)
        return [self.paths.shard.format(dataset=dataset, split=split, shard=f"{i:05d}") for i in range(n)]

    def scored_datasets(self, experiment: str) -> list[str]:
        """Return the datasets that are scored: the tests, and the training one, whose validation split sets thresholds."""
        settings = self.run.experiments[experiment]
        return list(dict.fromkeys([settings.dataset, *settings.test_datasets]))

    def scores(self, experiment: str, network: str) -> list[str]:
        """Return the score tables of one network in an experiment."""
        settings = self.run.experiments[experiment]
        return [
            self.paths.scores.format(experiment=experiment, test=test, network=network, seed=seed)
            for test in self.scored_datasets(experiment)
            for seed in settings.seeds
        ]

    def is_mock(self, experiment: str) -> bool:
        """Return whether a dataset of the experiment takes galaxies from a mock archive."""
        samples = [self.run.datasets[name].sources.sample for name in self.scored_datasets(experiment)]
        return any(name is not None and self.run.manga.samples[name].mock for name in samples)

    def observers(self, experiment: str) -> list[str]:
        """Return the tables of the marginal observer, where the experiment asks for it."""
        settings = self.run.experiments[experiment]
        if not settings.evaluation.marginal_stamps:
            return []
        return [self.paths.marginal.format(experiment=experiment, test=test) for test in settings.test_datasets]

    def targets(self) -> list[str]:
        """Return what a plain `snakemake` makes."""
        reports = [self.paths.report.format(experiment=name) for name in self.run.run if name in self.run.experiments]
        sweeps = [self.paths.sweep.format(sweep=name) for name in self.run.run if name in self.run.sweeps]
        return [*reports, *sweeps, *([self.paths.index] if reports else [])]

    # --- one run at a time, and results without Snakemake's records ---

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

    def stale_results(self, rules: Mapping[str, Mapping[str, Any]], known: Callable[[str], bool]) -> tuple[list[str], list[str]]:
        """Compare recorded provenance with today's parameters where Snakemake's own records are gone.

        Parameters
        ----------
        rules : mapping
            Params of every rule by name, functions of wildcards included.
        known : callable
            Whether Snakemake still has its own record of an output file; it then decides by itself.

        Returns
        -------
        rules, messages
            Rules with stale outputs, and a line in words for each record.
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
                return None  # the config does not name this dataset, network or experiment any more

        names: dict[str, None] = {}
        messages = []
        for rule, _, outputs, reasons in stale(self.run.root, expected):
            paths = [p for o in outputs for p in (map(str, sorted(Path(o).parent.glob(Path(o).name))) if "*" in o else [o])]
            paths = [p for p in paths if Path(p).exists() and not known(p)]
            if paths:
                more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
                what = ["code" if r == "code" else f"parameter `{r}`" for r in reasons]
                messages.append(f"{paths[0]}{more}: made by rule {rule} with other {', '.join(what)}")
                names[rule] = None
        return list(names), messages


def tell(lines: list[str]) -> None:
    """Print lines to the terminal, apart from Snakemake's own."""
    for line in lines:
        print(line, file=sys.stderr)
