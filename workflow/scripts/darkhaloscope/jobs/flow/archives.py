"""What the stages from archive to stamps ask: samples, surveys, sources and bricks."""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Callable
from typing import Any

from ...config.legacysurvey import MOCK_LABELS, MOCK_LENSES, MOCK_SOURCES, MOCK_SWEEPS, Labels
from .base import Base


class Archives(Base):
    """MaNGA samples, Legacy Surveys, and what datasets take from them."""

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
        """Return the galaxies of a sample: the top of the ranking less those set aside, then the listed ones.

        `ranking` gives the path of the ranking; it is called only where the sample needs one.
        """
        galaxies = self.run.manga.samples[sample].galaxies
        names: list[str] = []
        if galaxies.n_top:
            with open(ranking(), encoding="utf-8", newline="") as file:
                ranked = (row["plateifu"] for row in csv.DictReader(file) if row["plateifu"] not in galaxies.set_aside)
                names = list(itertools.islice(ranked, galaxies.n_top))
        return list(dict.fromkeys([*names, *galaxies.listed]))

    def accepted(self, sample: str, lensability: str) -> list[str]:
        """Return the galaxies whose tensors are built: those not rejected, and rejected ones asked for by name."""
        wanted = set(self.run.manga.samples[sample].galaxies.use_rejected)
        with open(lensability, encoding="utf-8", newline="") as file:
            return [row["plateifu"] for row in csv.DictReader(file) if row["tier"] != "reject" or row["plateifu"] in wanted]

    def survey_base(self, wildcards: Any) -> str:
        """Return the base address of a survey's archive; a mock one lies below the results root."""
        survey = self.run.legacysurvey.surveys[wildcards.survey]
        return f"file://{self.paths.mock_survey.format(survey=wildcards.survey)}/" if survey.mock else survey.base

    def survey_inputs(self, wildcards: Any) -> list[str]:
        """Return what must exist before a survey's archive can be read: the mock's marker, or nothing."""
        survey = self.run.legacysurvey.surveys[wildcards.survey]
        return [self.paths.mock_survey_marker.format(survey=wildcards.survey)] if survey.mock else []

    def sweeps(self, wildcards: Any) -> list[str]:
        """Return the sweep files of a survey, in the order of its config."""
        survey = self.run.legacysurvey.surveys[wildcards.survey]
        names = MOCK_SWEEPS if survey.mock else survey.sweep_names
        return [self.paths.sweep_file.format(survey=wildcards.survey, sweep_name=name) for name in names]

    def lens_catalogues(self, wildcards: Any) -> dict[str, Any]:
        """Return a survey's catalogues of known lenses by name; a mock survey brings its own."""
        survey = self.run.legacysurvey.surveys[wildcards.survey]
        own = {"mock": {"path": f"{self._mock_folder(wildcards)}/{MOCK_LENSES}", "layout": "lenscat"}} if survey.mock else {}
        return own | {name: catalogue.plain() for name, catalogue in survey.known_lenses.items()}

    def labels(self, wildcards: Any) -> dict[str, Any] | None:
        """Return a survey's table of labelled objects; a mock survey brings its own."""
        survey = self.run.legacysurvey.surveys[wildcards.survey]
        if survey.labels is None and survey.mock:
            return Labels(path=f"{self._mock_folder(wildcards)}/{MOCK_LABELS}").plain()
        return survey.labels.plain() if survey.labels else None

    def lens_and_label_files(self, wildcards: Any) -> list[str]:
        """Return the tables of known lenses and labels that a survey's config names; a mock survey's follow its marker."""
        survey = self.run.legacysurvey.surveys[wildcards.survey]
        return [*(c.path for c in survey.known_lenses.values()), *([survey.labels.path] if survey.labels else [])]

    def parent_cuts(self, wildcards: Any) -> dict[str, Any]:
        """Return the keys of a survey that decide its parent sample."""
        survey = self.run.legacysurvey.surveys[wildcards.survey].plain()
        return {k: survey[k] for k in ("lrg", "conditions", "nside", "match_radius_arcsec")}

    def _mock_folder(self, wildcards: Any) -> str:
        return self.paths.mock_survey.format(survey=wildcards.survey)

    def survey_of(self, wildcards: Any) -> str:
        """Return the survey of a dataset."""
        return self.run.datasets[wildcards.dataset].survey

    def cutout_limits(self, survey: str) -> dict[str, Any]:
        """Return the keys of a survey that say which pixels and cutouts are good."""
        section = self.run.legacysurvey.surveys[survey].plain()
        return {k: section[k] for k in ("maskbits", "max_bad_fraction")}

    def cosmos_catalog(self, wildcards: Any) -> str | None:
        """Return the catalogue of a dataset's COSMOS sources; a mock survey brings its own."""
        dataset = self.run.datasets[wildcards.dataset]
        if not dataset.sources.uses("cosmos"):
            return None
        return dataset.sources.cosmos.catalog or f"{self.paths.mock_survey.format(survey=dataset.survey)}/{MOCK_SOURCES}"

    def cosmos_inputs(self, wildcards: Any) -> list[str]:
        """Return what must exist before the COSMOS catalogue can be read: the file itself, or the mock's marker."""
        dataset = self.run.datasets[wildcards.dataset]
        return [dataset.sources.cosmos.catalog or self.paths.mock_survey_marker.format(survey=dataset.survey)]

    def listed_cosmos(self, wildcards: Any) -> list[str]:
        """Return the list of COSMOS galaxies of a dataset, if its sources need one."""
        uses = self.run.datasets[wildcards.dataset].sources.mix.get("cosmos", 0) > 0
        return [self.paths.cosmos_sources.format(dataset=wildcards.dataset)] if uses else []

    def parent(self, wildcards: Any) -> list[str]:
        """Return the parent sample that a dataset takes its hosts from, if it does."""
        survey = getattr(self.run.datasets[wildcards.dataset], "survey", None)
        return [self.paths.parent.format(survey=survey)] if survey else []

    def bricks_of(self, path: str, split: str, shard: int) -> list[str]:
        """Return the bricks that a shard needs, from the list that list_shard_bricks wrote; read once per version of the file."""
        key = (path, os.stat(path).st_mtime_ns)
        if key not in self._bricks:
            self._bricks[key] = {}
            with open(path, encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    self._bricks[key].setdefault((row["split"], int(row["shard"])), []).append(row["brickname"])
        return self._bricks[key].get((split, shard), [])

    def bank(self, wildcards: Any) -> list[str]:
        """Return the source bank of a dataset, if its sources need one."""
        return self.bank_of(wildcards.dataset)

    def bank_of(self, dataset: str) -> list[str]:
        """Return the source bank of a named dataset, if its sources need one."""
        sources = getattr(self.run.datasets[dataset], "sources", None)
        if sources is not None and any(sources.mix.get(kind, 0) > 0 for kind in ("manga", "hybrid")):
            return [self.paths.bank.format(sample=sources.sample)]
        return []

    def kernel(self, wildcards: Any) -> list[str]:
        """Return the file of a dataset's PSF kernel, if it has one."""
        return self.kernel_of(wildcards.dataset)

    def kernel_of(self, dataset: str) -> list[str]:
        """Return the file of a named dataset's PSF kernel, if it has one; the lens finder's cutouts bring their PSF."""
        instrument = getattr(self.run.datasets[dataset], "instrument", None)
        return [instrument.psf.kernel] if instrument is not None and instrument.psf.kind == "kernel" else []

    def of_kind(self, *kinds: str) -> str:
        """Return a pattern of the names of the datasets of some kinds."""
        return "|".join(re.escape(name) for name, dataset in self.run.datasets.items() if dataset.kind in kinds) or "(?!)"
