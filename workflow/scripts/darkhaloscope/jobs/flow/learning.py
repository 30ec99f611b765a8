"""What training and scoring ask: networks, their rounds, known lenses."""

from __future__ import annotations

import re
from typing import Any

from ...config.network import HUB
from ...config.rounds import all_rounds
from .base import Base


class Learning(Base):
    """Detectors, and what networks learn from."""

    def networks_of(self, experiment: str) -> list[str]:
        """Return the detectors of an experiment that are networks."""
        return [n for n in self.run.experiments[experiment].detectors if self.run.detectors[n].kind == "network"]

    def detectors_of_kind(self, kind: str) -> str:
        """Return a pattern of the names of the detectors of one kind."""
        return "|".join(re.escape(n) for n, detector in self.run.detectors.items() if detector.kind == kind) or "(?!)"

    def histories(self, experiment: str) -> list[str]:
        """Return the histories of every network and seed of an experiment, in the order of its config."""
        settings = self.run.experiments[experiment]
        return [
            self.paths.history.format(dataset=settings.dataset, detector=n, seed=seed)
            for n in self.networks_of(experiment)
            for seed in settings.seeds
        ]

    def network(self, wildcards: Any) -> dict[str, Any]:
        """Return a network's section less its description, which no weight depends on, and mining, which has a rule of its own."""
        return {k: v for k, v in self.run.detectors[wildcards.detector].plain().items() if k not in ("kind", "description", "mining")}

    def mined(self, wildcards: Any) -> list[str]:
        """Return the tables of hard controls that a network's round of training uses: its own and those of earlier rounds."""
        names = all_rounds(wildcards.detector, self.run.detectors)[1:]
        return [self.paths.mined.format(dataset=wildcards.dataset, detector=name, seed=wildcards.seed) for name in names]

    def mining(self, wildcards: Any) -> dict[str, Any]:
        """Return how hard controls are mined and weighed, for rounds above 1."""
        network = self.run.detectors[wildcards.detector]
        return network.mining.plain() if network.rounds > 1 else {}

    def mined_shards(self, wildcards: Any) -> list[str]:
        """Return the training shards of the extra datasets that a network's rounds mine."""
        return [path for shards in self.extra_shards(wildcards.detector).values() for path in shards]

    def extra_shards(self, network: str) -> dict[str, list[str]]:
        """Return the training shards of each extra dataset that a network's rounds mine."""
        section = self.run.detectors[network]
        return {name: self.shards(name, "train") for name in section.mining.extra} if section.rounds > 1 else {}

    def round_before(self, wildcards: Any, pattern: str) -> str:
        """Return a file of the round before a network's own."""
        before = all_rounds(wildcards.detector, self.run.detectors)[-2]
        return pattern.format(dataset=wildcards.dataset, detector=before, seed=wildcards.seed)

    def held_out(self, wildcards: Any) -> list[str]:
        """Return the validation and test shards of every dataset that a network is judged on: mining keeps away from them."""
        base = all_rounds(wildcards.detector, self.run.detectors)
        later = [n for n in self.run.detectors if set(base) <= set(all_rounds(n, self.run.detectors))]
        judged = [e for e in self.run.experiments.values() if e.dataset == wildcards.dataset and set(e.detectors) & set(later)]
        names = dict.fromkeys([wildcards.dataset, *(t for e in judged for t in e.test_datasets)])
        return [path for name in names for split in ("validation", "test") for path in self.shards(name, split)]

    def rounds(self, experiment: str) -> dict[str, str]:
        """Return the tables that compare rounds of training, by network, of those that have several."""
        settings = self.run.experiments[experiment]
        names = [n for n in settings.detectors if self.run.detectors[n].rounds > 1]
        return {n: self.paths.rounds.format(experiment=experiment, detector=n) for n in names}

    def round_names(self, network: str) -> list[str]:
        """Return the names of a network's rounds, the first one first."""
        return all_rounds(network, self.run.detectors)

    def round_scores(self, experiment: str, network: str) -> list[str]:
        """Return the score tables of all rounds of a network."""
        return [path for name in all_rounds(network, self.run.detectors) for path in self.scores(experiment, name)]

    def known_lens_tables(self, dataset: str) -> list[str]:
        """Return the table of known lenses of the survey that a dataset is made of, or nothing."""
        survey = getattr(self.run.datasets[dataset], "survey", None)
        return [self.paths.known_lenses.format(survey=survey)] if survey else []

    def known_training(self, wildcards: Any) -> list[str]:
        """Return the stamps of known lenses that join a network's training, if its config gives them a weight."""
        joins = self.run.detectors[wildcards.detector].training.known_lens_weight > 0
        return [self.paths.known_stamps.format(dataset=wildcards.dataset)] if joins else []

    def members(self, wildcards: Any, pattern: str) -> list[str]:
        """Return a file of a network of every seed of an experiment."""
        settings = self.run.experiments[wildcards.experiment]
        return [pattern.format(dataset=settings.dataset, detector=wildcards.detector, seed=seed) for seed in settings.seeds]

    def known_recalls(self, experiment: str) -> dict[str, str]:
        """Return the recall tables of an experiment's networks by name, where its survey's config or mock sky has known lenses."""
        settings = self.run.experiments[experiment]
        survey = getattr(self.run.datasets[settings.dataset], "survey", None)
        if survey is None or not (self.run.legacysurvey.surveys[survey].known_lenses or self.run.legacysurvey.surveys[survey].mock):
            return {}
        return {n: self.paths.known_recall.format(experiment=experiment, detector=n) for n in self.networks_of(experiment)}

    def imported(self, elsewhere: bool) -> str:
        """Return a pattern of the names of networks whose weights come from elsewhere, or of all others."""
        names = [
            re.escape(n)
            for n, detector in self.run.detectors.items()
            if detector.kind == "network" and (detector.weights is not None) == elsewhere
        ]
        return "|".join(names) or "(?!)"

    def start_weights(self, wildcards: Any) -> list[str]:
        """Return the files of weights from elsewhere that a network's config names."""
        network = self.run.detectors[wildcards.detector]
        files = [network.weights, None if (network.pretrained or "").startswith(HUB) else network.pretrained]
        return [path for path in files if path]
