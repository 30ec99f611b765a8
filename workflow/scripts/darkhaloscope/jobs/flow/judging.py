"""What evaluation and report ask: observers, gates, variants, explanations, pages."""

from __future__ import annotations

import re
from typing import Any

from ...config.lensfinder import PIXEL_SCALE_ARCSEC
from .learning import Learning


class Judging(Learning):
    """Experiments and how they are judged."""

    def observers(self, experiment: str) -> list[str]:
        """Return the tables of the marginal observer, where the experiment asks for it."""
        settings = self.run.experiments[experiment]
        if not settings.evaluation.marginal_stamps:
            return []
        return [self.paths.marginal.format(experiment=experiment, test=test) for test in settings.test_datasets]

    def surfaces(self, experiment: str) -> list[str]:
        """Return the completeness tables of an experiment's detectors, where it asks for surfaces."""
        settings = self.run.experiments[experiment]
        return [
            self.paths.completeness.format(experiment=experiment, detector=n) for n in settings.detectors if settings.evaluation.surfaces
        ]

    def shortcuts(self, experiment: str) -> list[str]:
        """Return the gates that find shortcuts, of each network that sees bands, on each test dataset, as JSON."""
        settings = self.run.experiments[experiment]
        networks = [n for n in self.networks_of(experiment) if self.run.detectors[n].channels == "bands"]
        if not settings.evaluation.shortcuts.stamps:
            return []
        return [
            self.paths.shortcut_gates.format(experiment=experiment, test=test, detector=n)
            for n in networks
            for test in settings.test_datasets
        ]

    def without_arcs(self, test: str, pattern: str) -> list[str]:
        """Return a file of a test dataset's positives without their arcs; stamps made elsewhere do not say how theirs were made."""
        return [pattern.format(dataset=test)] if self.run.datasets[test].kind == "lensfinder" else []

    def real_lenses(self, experiment: str, test: str) -> list[str]:
        """Return the stamps of known lenses that a test dataset's injected ones are compared with: those of the same survey, if it has any."""
        own = self.run.experiments[experiment].dataset
        same = getattr(self.run.datasets[test], "survey", None) == getattr(self.run.datasets[own], "survey", None)
        return [self.paths.known_stamps.format(dataset=own)] if same and self.known_recalls(experiment) else []

    def robustness(self, experiment: str) -> list[str]:
        """Return the table of an experiment's detectors on several test datasets, where it has them."""
        settings = self.run.experiments[experiment]
        several = settings.robustness or len(settings.test_datasets) > 1
        return [self.paths.robustness.format(experiment=experiment)] if several else []

    def robustness_scores(self, experiment: str) -> list[str]:
        """Return the score tables of all detectors of an experiment, those of its variants included."""
        settings = self.run.experiments[experiment]
        return [
            path
            for detector in settings.detectors
            for test in (*self.scored_datasets(experiment), *settings.variants.values())
            for path in self.seed_scores(experiment, detector, test)
        ]

    def explanations(self, experiment: str) -> list[str]:
        """Return what says where an experiment's networks look, where it is asked for: stamps, their summary, maps."""
        wanted = self.run.experiments[experiment].explanations.stamps and self.explained(experiment)
        return (
            [self.paths.explanations(n).format(experiment=experiment) for n in ("stamps.csv", "summary.csv", "maps.parquet")]
            if wanted
            else []
        )

    def explained(self, experiment: str) -> list[str]:
        """Return the networks of an experiment that can be explained: those that see a stamp's own pixels."""
        return [n for n in self.networks_of(experiment) if not self.run.detectors[n].shuffle_velocity]

    def explained_files(self, wildcards: Any, pattern: str) -> list[str]:
        """Return a file of each explained network, trained with the first seed."""
        settings = self.run.experiments[wildcards.experiment]
        return [pattern.format(dataset=settings.dataset, detector=n, seed=settings.seeds[0]) for n in self.explained(wildcards.experiment)]

    def choosing_scores(self, wildcards: Any) -> str:
        """Return the scores that choose the stamps to be explained: the main detector's on the first test dataset."""
        settings = self.run.experiments[wildcards.experiment]
        return self.seed_scores(wildcards.experiment, settings.main_detector, settings.test_datasets[0])[0]

    def marked(self, experiment: str) -> tuple[str, float]:
        """Return what is marked in an experiment's stamps, the subhalo or the ring about θ_E, and their pixel size [arcsec]."""
        dataset = self.run.datasets[self.run.experiments[experiment].test_datasets[0]]
        if dataset.kind != "subhalo":
            return "ring", PIXEL_SCALE_ARCSEC
        return "ring" if dataset.contrast == "lensed" else "subhalo", dataset.instrument.pixel_scale_arcsec

    def pages(self, experiment: str) -> dict[str, str]:
        """Return the pages that the report of an experiment on the lens finder's stamps links to, by what they are called."""
        settings = self.run.experiments[experiment]
        first = settings.test_datasets[0]
        if self.run.datasets[first].kind == "subhalo":
            return {}
        lists = {
            f"Candidates ranked by {n}": self.paths.candidates.format(experiment=experiment, test=first, detector=n)
            for n in settings.detectors
        }
        return {f"Quality report of {first}": self.paths.quality_page.format(dataset=first), **lists}

    def mock_datasets(self, experiment: str) -> list[str]:
        """Return the datasets of an experiment that take galaxies from a mock archive or a mock sky."""
        return [name for name in self.scored_datasets(experiment) if self._from_a_mock(self.run.datasets[name])]

    def _from_a_mock(self, dataset: Any) -> bool:
        sample = dataset.sources.sample if hasattr(dataset, "sources") else None
        return bool(sample and self.run.manga.samples[sample].mock) or (
            hasattr(dataset, "survey") and self.run.legacysurvey.surveys[dataset.survey].mock
        )

    def scores_table(self, wildcards: Any) -> list[str]:
        """Return the table of scores made elsewhere, if the config names one."""
        return [self.run.scores.table] if self.run.scores.table else []

    def scores_name(self) -> str:
        """Return a pattern of the name of the table of scores made elsewhere."""
        return re.escape(self.run.scores.name) if self.run.scores.table else "(?!)"
