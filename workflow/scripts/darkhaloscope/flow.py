"""What the Snakefile and the rule files ask of the config: parameters, digests, targets, staleness.

Imported at every parse, in every cluster job: pydantic and the standard library only.
"""

from __future__ import annotations

import csv
import fcntl
import itertools
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache, reduce
from pathlib import Path
from typing import Any

from .config.base import Section
from .config.legacysurvey import MOCK_LABELS, MOCK_LENSES, MOCK_SOURCES, MOCK_SWEEPS, Labels
from .config.lensfinder import PIXEL_SCALE_ARCSEC
from .config.network import HUB
from .config.rounds import all_rounds
from .config.run import Run, load
from .config.sweeps import Point, expand
from .config.variants import with_variants
from .config.wording import ConfigError
from .digest import code_digest, remember
from .paths import Paths
from .provenance import Record, recorded, stale

SCRIPTS = Path(__file__).parents[1]
#: What the main process found out about the sources, for the next parse.
DIGESTS = Path(".snakemake/darkhaloscope-digests.json")


class Flow:
    """A validated run and everything that rules derive from it."""

    def __init__(self, overlay: Mapping[str, Any], folder: Path) -> None:
        self.run: Run
        self.points: dict[str, list[Point]]
        self.run, self.points = expand(load(overlay, folder))
        self.run = with_variants(self.run)
        self.paths = Paths(self.run.root)
        self._bricks: dict[tuple[str, int], dict[tuple[str, int], list[str]]] = {}
        remember(DIGESTS)

    # --- parameters ---

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

    def network(self, wildcards: Any) -> dict[str, Any]:
        """Return a network's section less its description, which no weight depends on, and mining, which has a rule of its own."""
        return {k: v for k, v in self.run.networks[wildcards.network].plain().items() if k not in ("description", "mining")}

    # --- rounds of training ---

    def mined(self, wildcards: Any) -> list[str]:
        """Return the tables of hard controls that a network's round of training uses: its own and those of earlier rounds."""
        names = all_rounds(wildcards.network, self.run.networks)[1:]
        return [self.paths.mined.format(dataset=wildcards.dataset, network=name, seed=wildcards.seed) for name in names]

    def mining(self, wildcards: Any) -> dict[str, Any]:
        """Return how hard controls are mined and weighed, for rounds above 1."""
        network = self.run.networks[wildcards.network]
        return network.mining.plain() if network.rounds > 1 else {}

    def mined_shards(self, wildcards: Any) -> list[str]:
        """Return the training shards of the extra datasets that a network's rounds mine."""
        return [path for shards in self.extra_shards(wildcards.network).values() for path in shards]

    def extra_shards(self, network: str) -> dict[str, list[str]]:
        """Return the training shards of each extra dataset that a network's rounds mine."""
        section = self.run.networks[network]
        return {name: self.shards(name, "train") for name in section.mining.extra} if section.rounds > 1 else {}

    def round_before(self, wildcards: Any, pattern: str) -> str:
        """Return a file of the round before a network's own."""
        before = all_rounds(wildcards.network, self.run.networks)[-2]
        return pattern.format(dataset=wildcards.dataset, network=before, seed=wildcards.seed)

    def held_out(self, wildcards: Any) -> list[str]:
        """Return the validation and test shards of every dataset that a network is judged on: mining keeps away from them."""
        base = all_rounds(wildcards.network, self.run.networks)
        later = [n for n in self.run.networks if set(base) <= set(all_rounds(n, self.run.networks))]
        judged = [e for e in self.run.experiments.values() if e.dataset == wildcards.dataset and set(e.networks) & set(later)]
        names = dict.fromkeys([wildcards.dataset, *(t for e in judged for t in e.test_datasets)])
        return [path for name in names for split in ("validation", "test") for path in self.shards(name, split)]

    def rounds(self, experiment: str) -> dict[str, str]:
        """Return the tables that compare rounds of training, by network, of those that have several."""
        settings = self.run.experiments[experiment]
        names = [n for n in settings.networks if self.run.networks[n].rounds > 1]
        return {n: self.paths.rounds.format(experiment=experiment, network=n) for n in names}

    def round_names(self, network: str) -> list[str]:
        """Return the names of a network's rounds, the first one first."""
        return all_rounds(network, self.run.networks)

    def round_scores(self, experiment: str, network: str) -> list[str]:
        """Return the score tables of all rounds of a network."""
        return [path for name in all_rounds(network, self.run.networks) for path in self.scores(experiment, name)]

    def known_lens_tables(self, dataset: str) -> list[str]:
        """Return the table of known lenses of the survey that a dataset is made of, or nothing."""
        survey = getattr(self.run.datasets[dataset], "survey", None)
        return [self.paths.known_lenses.format(survey=survey)] if survey else []

    def known_training(self, wildcards: Any) -> list[str]:
        """Return the stamps of known lenses that join a network's training, if its config gives them a weight."""
        joins = self.run.networks[wildcards.network].training.known_lens_weight > 0
        return [self.paths.known_stamps.format(dataset=wildcards.dataset)] if joins else []

    def survey_of(self, wildcards: Any) -> str:
        """Return the survey of a dataset."""
        return self.run.datasets[wildcards.dataset].survey

    def cutout_limits(self, survey: str) -> dict[str, Any]:
        """Return the keys of a survey that say which pixels and cutouts are good."""
        section = self.run.legacysurvey.surveys[survey].plain()
        return {k: section[k] for k in ("maskbits", "max_bad_fraction")}

    def members(self, wildcards: Any, pattern: str) -> list[str]:
        """Return a file of a network of every seed of an experiment."""
        settings = self.run.experiments[wildcards.experiment]
        return [pattern.format(dataset=settings.dataset, network=wildcards.network, seed=seed) for seed in settings.seeds]

    def known_recalls(self, experiment: str) -> dict[str, str]:
        """Return the recall tables of an experiment's networks by name, where its survey's config or mock sky has known lenses."""
        settings = self.run.experiments[experiment]
        survey = getattr(self.run.datasets[settings.dataset], "survey", None)
        if survey is None or not (self.run.legacysurvey.surveys[survey].known_lenses or self.run.legacysurvey.surveys[survey].mock):
            return {}
        return {n: self.paths.known_recall.format(experiment=experiment, network=n) for n in settings.networks}

    def imported(self, elsewhere: bool) -> str:
        """Return a pattern of the names of networks whose weights come from elsewhere, or of all others."""
        names = [re.escape(n) for n, network in self.run.networks.items() if (network.weights is not None) == elsewhere]
        return "|".join(names) or "(?!)"

    def start_weights(self, wildcards: Any) -> list[str]:
        """Return the files of weights from elsewhere that a network's config names."""
        network = self.run.networks[wildcards.network]
        files = [network.weights, None if (network.pretrained or "").startswith(HUB) else network.pretrained]
        return [path for path in files if path]

    def _part(self, parts: list[str]) -> Any:
        node: Any = self.run
        for part in parts:
            node = node[part] if isinstance(node, Mapping) else getattr(node, part)
        return node.plain() if isinstance(node, Section) else node

    @staticmethod
    def digest(script: str) -> str:
        """Return the digest of a script and the library modules that it imports."""
        return code_digest(SCRIPTS / f"{script}.py")

    # --- scores made elsewhere ---

    def scores_table(self, wildcards: Any) -> list[str]:
        """Return the table of scores made elsewhere, if the config names one."""
        return [self.run.scores.table] if self.run.scores.table else []

    def scores_name(self) -> str:
        """Return a pattern of the name of the table of scores made elsewhere."""
        return re.escape(self.run.scores.name) if self.run.scores.table else "(?!)"

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

    # --- Legacy Surveys ---

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

    # --- datasets, networks, experiments ---

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
        uses = self.run.datasets[wildcards.dataset].sources.uses("cosmos")
        return [self.paths.cosmos_sources.format(dataset=wildcards.dataset)] if uses else []

    def bricks_of(self, path: str, split: str, shard: int) -> list[str]:
        """Return the bricks that a shard needs, from the list that build_injections wrote; read once per version of the file."""
        key = (path, os.stat(path).st_mtime_ns)
        if key not in self._bricks:
            self._bricks[key] = {}
            with open(path, encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    self._bricks[key].setdefault((row["split"], int(row["shard"])), []).append(row["brickname"])
        return self._bricks[key].get((split, shard), [])

    def shards(self, dataset: str, split: str) -> list[str]:
        """Return the shards of one split of a dataset."""
        n, pattern = self.run.datasets[dataset].shards(split), self.paths.shard
        return [pattern.format(dataset=dataset, split=split, shard=f"{i:05d}") for i in range(n)]

    def scored_datasets(self, experiment: str) -> list[str]:
        """Return the datasets that are scored: the tests, and the training one, whose validation split sets thresholds."""
        settings = self.run.experiments[experiment]
        return list(dict.fromkeys([settings.dataset, *settings.test_datasets]))

    def scores(self, experiment: str, network: str) -> list[str]:
        """Return the score tables of one network in an experiment."""
        settings = self.run.experiments[experiment]
        return [
            self.paths.scores.format(dataset=settings.dataset, network=network, seed=seed, test=test)
            for test in self.scored_datasets(experiment)
            for seed in settings.seeds
        ]

    def robustness(self, experiment: str) -> list[str]:
        """Return the table of an experiment's networks on several test datasets, where it has them."""
        settings = self.run.experiments[experiment]
        several = settings.robustness or len(settings.test_datasets) > 1
        return [self.paths.robustness.format(experiment=experiment)] if several else []

    def robustness_scores(self, experiment: str) -> list[str]:
        """Return the score tables of all networks of an experiment, those of its variants included."""
        settings = self.run.experiments[experiment]
        return [
            self.paths.scores.format(dataset=settings.dataset, network=network, seed=seed, test=test)
            for network in settings.networks
            for test in (*self.scored_datasets(experiment), *settings.variants.values())
            for seed in settings.seeds
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
        return [n for n in self.run.experiments[experiment].networks if not self.run.networks[n].shuffle_velocity]

    def explained_files(self, wildcards: Any, pattern: str) -> list[str]:
        """Return a file of each explained network, trained with the first seed."""
        settings = self.run.experiments[wildcards.experiment]
        return [pattern.format(dataset=settings.dataset, network=n, seed=settings.seeds[0]) for n in self.explained(wildcards.experiment)]

    def choosing_scores(self, wildcards: Any) -> str:
        """Return the scores that choose the stamps to be explained: the main network's on the first test dataset."""
        settings = self.run.experiments[wildcards.experiment]
        names = {
            "dataset": settings.dataset,
            "network": settings.main_network,
            "seed": settings.seeds[0],
            "test": settings.test_datasets[0],
        }
        return self.paths.scores.format(**names)

    def marked(self, experiment: str) -> tuple[str, float]:
        """Return what is marked in an experiment's stamps, the subhalo or the ring about θ_E, and their pixel size [arcsec]."""
        dataset = self.run.datasets[self.run.experiments[experiment].test_datasets[0]]
        if dataset.kind != "subhalo":
            return "ring", PIXEL_SCALE_ARCSEC
        return "ring" if dataset.contrast == "lensed" else "subhalo", dataset.instrument.pixel_scale_arcsec

    def is_mock(self, experiment: str) -> bool:
        """Return whether a dataset of the experiment takes galaxies from a mock archive."""
        datasets = [self.run.datasets[name] for name in self.scored_datasets(experiment)]
        samples = [d.sources.sample for d in datasets if hasattr(d, "sources")]
        surveys = [d.survey for d in datasets if hasattr(d, "survey")]
        return any(name is not None and self.run.manga.samples[name].mock for name in samples) or any(
            self.run.legacysurvey.surveys[name].mock for name in surveys
        )

    def observers(self, experiment: str) -> list[str]:
        """Return the tables of the marginal observer, where the experiment asks for it."""
        settings = self.run.experiments[experiment]
        if not settings.evaluation.marginal_stamps:
            return []
        return [self.paths.marginal.format(experiment=experiment, test=test) for test in settings.test_datasets]

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

    def pages(self, experiment: str) -> dict[str, str]:
        """Return the pages that the report of an experiment on the lens finder's stamps links to, by what they are called."""
        settings = self.run.experiments[experiment]
        first = settings.test_datasets[0]
        if self.run.datasets[first].kind == "subhalo":
            return {}
        lists = {
            f"Candidates ranked by {n}": self.paths.candidates.format(experiment=experiment, test=first, network=n)
            for n in settings.networks
        }
        return {f"Quality report of {first}": self.paths.quality_page.format(dataset=first), **lists}

    def surfaces(self, experiment: str) -> list[str]:
        """Return the completeness tables of an experiment's networks, where it asks for surfaces."""
        settings = self.run.experiments[experiment]
        return [self.paths.completeness.format(experiment=experiment, network=n) for n in settings.networks if settings.evaluation.surfaces]

    def shortcuts(self, experiment: str) -> list[str]:
        """Return the gates that find shortcuts, of each network that sees bands, on each test dataset, as JSON."""
        settings = self.run.experiments[experiment]
        networks = [n for n in settings.networks if self.run.networks[n].channels == "bands"]
        if not settings.evaluation.shortcuts.stamps:
            return []
        return [
            self.paths.shortcut_gates.format(experiment=experiment, test=test, network=n)
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
                return None  # the config does not name this dataset, network or experiment any more

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
