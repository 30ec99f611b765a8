"""The run, its parameters, and the files that every stage asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, reduce
from pathlib import Path
from typing import Any

from ...config.base import Section
from ...config.run import Run, load
from ...config.sweeps import Point, expand
from ...config.variants import with_variants
from ..digest import code_digest, remember
from ..paths import Paths

SCRIPTS = Path(__file__).parents[3]
#: What the main process found out about the sources, for the next parse.
DIGESTS = Path(".snakemake/darkhaloscope-digests.json")


class Base:
    """A validated run, and what every stage derives from it."""

    def __init__(self, overlay: Mapping[str, Any], folder: Path) -> None:
        self.run: Run
        self.points: dict[str, list[Point]]
        self.run, self.points = expand(load(overlay, folder))
        self.run = with_variants(self.run)
        self.paths = Paths(self.run.root)
        self._bricks: dict[tuple[str, int], dict[tuple[str, int], list[str]]] = {}
        remember(DIGESTS)

    def needs(self, key: str) -> Any:
        """Return the part of the config at a dotted key, as plain values.

        Wildcards in the key (`datasets.{dataset}.lens`) make it a function of the job's wildcards.
        """
        if "{" not in key:
            return self._part(key.split("."))
        parts = key.split(".")
        return lambda wildcards: self._part([getattr(wildcards, p[1:-1]) if p.startswith("{") else p for p in parts])

    def dataset_without(self, *keys: str, of: str = "dataset") -> Callable[[Any], dict[str, Any]]:
        """Return the section of the dataset that wildcard `of` names, less the dotted keys that a rule does not use."""

        @cache
        def part(name: str) -> dict[str, Any]:
            values = self.run.datasets[name].plain()
            for key in keys:
                *path, last = key.split(".")
                reduce(lambda node, name: node[name], path, values).pop(last, None)
            return values

        # Thousands of shards ask for the same section.
        return lambda wildcards: part(getattr(wildcards, of))

    @property
    def manner(self) -> dict[str, Any]:
        """How jobs do their work where that changes no result: reaches scripts through Snakemake's config, and so reruns nothing."""
        batches = {name: dataset.rendering.batch_size for name, dataset in self.run.datasets.items() if hasattr(dataset, "rendering")}
        return {
            "downloads": self.run.downloads.plain(),
            "brick_cache_gb": self.run.legacysurvey.cache_gb,
            "batch_sizes": batches,
        }

    def _part(self, parts: list[str]) -> Any:
        node: Any = self.run
        for part in parts:
            node = node[part] if isinstance(node, Mapping) else getattr(node, part)
        return node.plain() if isinstance(node, Section) else node

    @staticmethod
    def digest(script: str) -> str:
        """Return the digest of a script and the library modules that it imports."""
        return code_digest(SCRIPTS / f"{script}.py")

    def shards(self, dataset: str, split: str) -> list[str]:
        """Return the shards of one split of a dataset."""
        n, pattern = self.run.datasets[dataset].shards(split), self.paths.shard
        return [pattern.format(dataset=dataset, split=split, shard=f"{i:05d}") for i in range(n)]

    def scored_datasets(self, experiment: str) -> list[str]:
        """Return the datasets that are scored: the tests, and the training one, whose validation split sets thresholds."""
        settings = self.run.experiments[experiment]
        return list(dict.fromkeys([settings.dataset, *settings.test_datasets]))

    def scores(self, experiment: str, detector: str) -> list[str]:
        """Return the score tables of one detector in an experiment."""
        return [path for test in self.scored_datasets(experiment) for path in self.seed_scores(experiment, detector, test)]

    def seed_scores(self, experiment: str, detector: str, test: str) -> list[str]:
        """Return the score tables of one detector on one dataset, seed by seed."""
        settings = self.run.experiments[experiment]
        seeds = self.run.detectors[detector].seeds_of(settings.seeds)
        return [self.paths.scores.format(dataset=settings.dataset, detector=detector, seed=seed, test=test) for seed in seeds]
