"""The whole config: its sections, the rules between them, and how files, edits, sweeps and variants become one run."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from .base import Folder, Name, Section
from .columns import COLUMNS, NUMBER, SKY_CELLS, STRATA
from .cosmology import Cosmology
from .cutouts import Cutouts
from .detectors import AnyDetector, Fusion, ScoredElsewhere
from .evidence import Evidence, EvidenceDetector, unfit
from .experiment import (
    LENSFINDER_CLUSTERS,
    LENSFINDER_STRATA,
    LENSFINDER_SURFACES,
    SUBHALO_STRATA,
    Evaluation,
    Experiment,
    ScoresTable,
    Sweep,
)
from .kinds import Dataset, dataset_kind
from .legacysurvey import LegacySurvey
from .lensfinder import LENS_KINDS, ImportedDataset, LensFinderDataset
from .manga import Downloads, Manga
from .observed import Observed
from .presets import preset
from .rounds import body_of, with_bodies
from .subhalo import SubhaloDataset
from .sweeps import Point, expand
from .variants import with_variants
from .wording import ConfigError, explain, unknown
from .yaml_files import layers, merge, nested
from .yaml_files import read_yaml as _read_yaml


class Run(Section):
    """Everything one run of the workflow is told."""

    root: Folder = Field("results", description="Folder that all results go below; ~ and $VARIABLES are replaced")
    run: tuple[Name, ...] = Field(("subhalo",), description="Experiments and sweeps that a plain `snakemake` makes", min_length=1)
    downloads: Downloads = Field(Downloads(), description="How files are fetched")
    cosmology: Cosmology = Field(Cosmology(), description="Cosmology")
    manga: Manga = Field(Manga(), description="MaNGA: archive, ranking, quality, tensors")
    legacysurvey: LegacySurvey = Field(LegacySurvey(), description="Legacy Surveys: parent samples, bricks, known lenses")
    datasets: dict[Name, Dataset] = Field(
        default_factory=functools.partial(preset, "datasets"), description="What stamps are made of, by name"
    )
    detectors: dict[Name, AnyDetector] = Field(
        default_factory=functools.partial(preset, "detectors"), description="What gives stamps a score, by name"
    )
    evidence: Evidence = Field(Evidence(), description="The model-based detector of subhalos")
    experiments: dict[Name, Experiment] = Field(default_factory=functools.partial(preset, "experiments"), description="Questions, by name")
    sweeps: dict[Name, Sweep] = Field(default_factory=dict, description="Grids over an experiment, by name")

    scores: ScoresTable = Field(ScoresTable(), description="Scores made elsewhere: `snakemake --config scores=mine.parquet` evaluates them")
    cutouts: Cutouts = Field(
        Cutouts(), description="Cutouts that you bring: `snakemake --config cutouts=folder` scores them by trained networks"
    )
    observed: Observed = Field(
        Observed(),
        description="Observed lenses that you bring: `snakemake --config observed=folder` looks through them with the model-based detector",
    )

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "networks" in values:
            raise ValueError("networks is now detectors: rename the section")
        return values

    @model_validator(mode="before")
    @classmethod
    def _strata(cls, values: Any) -> Any:
        """Lay an experiment's strata over the default list by name; give those on lens-finder stamps surfaces and clusters of theirs."""
        if not isinstance(values, Mapping) or not isinstance(values.get("experiments"), Mapping):
            return values
        datasets, experiments = values.get("datasets", {}), dict(values["experiments"])
        for name, experiment in experiments.items():
            evaluation = experiment.get("evaluation", {}) if isinstance(experiment, Mapping) else None
            if not isinstance(evaluation, Mapping) or not isinstance(evaluation.get("strata", {}), Mapping):
                continue
            lens = dataset_kind(datasets.get(experiment.get("dataset"), {})) in LENS_KINDS
            own = {"surfaces": LENSFINDER_SURFACES, "clusters": LENSFINDER_CLUSTERS} if lens else {}
            own = {key: value for key, value in own.items() if key not in evaluation}
            default = LENSFINDER_STRATA if lens else SUBHALO_STRATA
            below, over = evaluation.get("default_strata", True), evaluation.get("strata", {})
            if isinstance(below, bool):
                strata = {**(default if below else {}), **over}
                chosen = {column: how for column, how in strata.items() if how is not None}
                # Read again, a list that leaves something out stays as it is.
                own |= {"strata": chosen, "default_strata": set(default) <= set(chosen)}
            experiments[name] = {**experiment, "evaluation": {**evaluation, **own}}
        return {**values, "experiments": experiments}

    @model_validator(mode="after")
    def _check(self) -> Run:
        problems = []
        for name, dataset in self.datasets.items():
            sample = None if isinstance(dataset, ImportedDataset) else dataset.sources.sample
            if sample is not None and sample not in self.manga.samples:
                problems.append(f"datasets.{name}.sources.sample names {unknown(sample, self.manga.samples)} under manga.samples")
            if isinstance(dataset, LensFinderDataset):
                problems += self._problems_of_survey(name, dataset)
        problems += self.problems_of_bodies()
        for name, experiment in self.experiments.items():
            for dataset in (experiment.dataset, *experiment.test_datasets):
                if dataset not in self.datasets:
                    problems.append(f"experiments.{name} names {unknown(dataset, self.datasets)} under datasets")
            for detector in experiment.detectors:
                if detector not in self.detectors:
                    problems.append(f"experiments.{name} names {unknown(detector, self.detectors)} under detectors")
            problems += [f"experiments.{name} {p}" for p in self._problems_of_detectors(experiment)]
            if experiment.dataset in self.datasets:
                detectors = [self.detectors[name] for name in experiment.detectors if name in self.detectors]
                members = [self.detectors[name] for detector in detectors for name in getattr(detector, "of", ()) if name in self.detectors]
                trained = any(detector.seeded for detector in (*detectors, *members))
                needed = ("train", "validation") if trained else ("validation",)
                empty = [split for split in needed if not self.datasets[experiment.dataset].shards(split)]
                if empty:
                    what = "trains on" if trained else "fixes its thresholds on"
                    problems.append(f"experiments.{name} {what} {experiment.dataset}, which has no {' and no '.join(empty)} stamps")
            if experiment.search.make and not isinstance(self.datasets.get(experiment.dataset), LensFinderDataset):
                problems.append(
                    f"experiments.{name}.search ranks the galaxies of a survey, and dataset {experiment.dataset} is of none: its kind must be lensfinder"
                )
            problems += [f"experiments.{name} {p}" for p in self._problems_of_host_cutouts(experiment)]
            problems += [f"experiments.{name} {p}" for p in self._problems_of_heads(experiment)]
            problems += [f"experiments.{name} {p}" for p in self._problems_of_pairs(experiment)]
            problems += [f"experiments.{name} {p}" for p in self._problems_of_evidence(experiment)]
            for dataset in dict.fromkeys((experiment.dataset, *experiment.test_datasets)):
                problems += [f"experiments.{name} {p}" for p in self._problems_of_channels(dataset, experiment.detectors)]
            for dataset in experiment.test_datasets:
                if dataset in self.datasets:
                    problems += [f"experiments.{name} {p}" for p in _test_problems(experiment.evaluation, dataset, self.datasets[dataset])]
        for name, sweep in self.sweeps.items():
            if sweep.experiment not in self.experiments:
                problems.append(f"sweeps.{name} names {unknown(sweep.experiment, self.experiments)} under experiments")
        both = sorted(set(self.experiments) & set(self.sweeps))
        if both:
            problems.append(f"{', '.join(both)} names both an experiment and a sweep")
        for name in self.run:
            if name not in self.experiments and name not in self.sweeps:
                problems.append(f"run names {unknown(name, {**self.experiments, **self.sweeps})} under experiments or sweeps")
        if self.cutouts.path:
            if self.scores.table:
                problems.append("scores and cutouts are given both; evaluate the one and score the other in runs of their own")
            problems += self._problems_of_cutouts()
        if self.observed.path and (self.scores.table or self.cutouts.path):
            problems.append("observed is given beside scores or cutouts; look at each in a run of its own")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def scoring(self) -> tuple[str, tuple[str, ...]]:
        """The experiment and its networks that score the cutouts that the user brings; none where there are none."""
        wanted = [self.cutouts.experiment] if self.cutouts.experiment else [*self.run, *self.experiments]
        for name in wanted:
            if name in self.experiments:
                seen = tuple(n for n in self.experiments[name].detectors if n in self.detectors and self._sees_bands(n))
                if seen:
                    return name, self.cutouts.detectors or seen
        return "", ()

    def idle(self) -> list[str]:
        """Return what the config adds that nothing of it uses and that is called almost as something else, in words: names that were misspelt, it may be."""
        experiments = self.experiments.values()
        used = {
            "datasets": {name for e in experiments for name in (e.dataset, *e.test_datasets)},
            "detectors": {name for e in experiments for name in e.detectors}
            | {name for d in self.detectors.values() for name in (*getattr(d, "of", ()), body_of(d)) if name},
            "experiments": {*self.run, *(sweep.experiment for sweep in self.sweeps.values())},
        }
        return [
            f"`{section}.{name}` is used by nothing that this run makes; is it `{section}.{close[0]}` that is meant?"
            for section, names in used.items()
            for name in getattr(self, section)
            if name not in names | preset(section).keys()
            and (close := difflib.get_close_matches(name, sorted(names | preset(section).keys()), n=1, cutoff=0.8))
        ]

    def _sees_bands(self, name: str) -> bool:
        return self.detectors[name].kind == "network" and self.detectors[name].channels == "bands"

    def _problems_of_cutouts(self) -> list[str]:
        """What keeps the user's cutouts from being scored."""
        asked = self.cutouts.experiment
        if asked and asked not in self.experiments:
            return [f"cutouts.experiment names {unknown(asked, self.experiments)} under experiments"]
        name, detectors = self.scoring
        if not name:
            where = f"experiment {asked} has" if asked else "the experiments have"
            return [
                f"cutouts are scored by networks whose channels are `bands`, and {where} none; give the --configfile of a run that has such "
                "networks, as config/demo.yaml has"
            ]
        own = self.experiments[name].detectors
        return [
            f"cutouts.detectors names {d}, which is no network of bands of experiment {name} (it has: {', '.join(n for n in own if self._sees_bands(n))})"
            for d in detectors
            if d not in own or d not in self.detectors or not self._sees_bands(d)
        ]

    def _problems_of_detectors(self, experiment: Experiment) -> list[str]:
        """What keeps fusions and tables of scores from having what they need in an experiment."""
        problems = []
        for name in experiment.detectors:
            detector = self.detectors.get(name)
            if isinstance(detector, Fusion):
                problems += [
                    f"joins {member} in {name}, but does not have it among its detectors; add it there"
                    for member in detector.of
                    if member not in experiment.detectors
                ]
                problems += [
                    f"joins {m} in {name}, which is a fusion itself" for m in detector.of if isinstance(self.detectors.get(m), Fusion)
                ]
                untrained = [str(seed) for seed in detector.seeds if seed not in experiment.seeds]
                if untrained:
                    problems.append(
                        f"joins seeds {', '.join(untrained)} in {name}, but trains {', '.join(map(str, experiment.seeds))}: set the fusion's seeds"
                    )
            if isinstance(detector, ScoredElsewhere):
                wanted = dict.fromkeys((experiment.dataset, *experiment.test_datasets, *experiment.variants.values()))
                problems += [
                    f"needs scores of {d} by {name}: name their table in detectors.{name}.scores.{d}"
                    for d in wanted
                    if d not in detector.scores
                ]
        return problems

    def _problems_of_pairs(self, experiment: Experiment) -> list[str]:
        """What keeps networks from training on the noiseless pairs of an experiment's dataset."""
        dataset = self.datasets.get(experiment.dataset)
        on_pairs = [n for n in experiment.detectors if n in self.detectors and getattr(self.detectors[n], "trains_on_pairs", False)]
        if not on_pairs or dataset is None or getattr(dataset, "pairs", False):
            return []
        if not isinstance(dataset, SubhaloDataset):
            return [
                f"trains {', '.join(on_pairs)} on pairs, which a dataset of kind {dataset.kind} does not have: leave out training.pairs"
            ]
        return [
            f"trains {', '.join(on_pairs)} on noiseless pairs, but {experiment.dataset} keeps none: set datasets.{experiment.dataset}.pairs"
        ]

    def _problems_of_evidence(self, experiment: Experiment) -> list[str]:
        """What keeps the model-based detector from looking at stamps, and networks from seeing what it made of them."""
        chosen = {name: self.detectors[name] for name in experiment.detectors if name in self.detectors}
        seeing = [name for name, detector in chosen.items() if getattr(detector, "sees_evidence", False)]
        problems = []
        if seeing and not self.evidence.maps:
            problems.append(f"trains {', '.join(seeing)} on maps of the evidence detector, which are not kept: set evidence.maps to true")
        looking = [name for name, detector in chosen.items() if name in seeing or isinstance(detector, EvidenceDetector)]
        if not looking:
            return problems
        for name in dict.fromkeys((experiment.dataset, *experiment.test_datasets)):
            dataset = self.datasets.get(name)
            # What has no velocity has been said by its channels.
            found = unfit(dataset, prior=name == experiment.dataset) if isinstance(dataset, SubhaloDataset) else []
            problems += [f"shows {', '.join(looking)} the stamps of {name}, {what}" for what in found]
        return problems

    def _problems_of_heads(self, experiment: Experiment) -> list[str]:
        """What keeps heads from being fitted on real galaxies."""
        dataset = self.datasets.get(experiment.dataset)
        names = [n for n in experiment.detectors if n in self.detectors and getattr(self.detectors[n], "head", None)]
        if not names or dataset is None or getattr(dataset, "real_sky", None):
            return []
        return [
            f"fits a head of {', '.join(names)} on real galaxies, but {experiment.dataset} names none: give them in "
            f"datasets.{experiment.dataset}.real_sky, or leave out head"
        ]

    def problems_of_bodies(self) -> list[str]:
        """What keeps heads from being put on networks that are trained for themselves."""
        problems = []
        for name, network in self.detectors.items():
            body = body_of(network)
            if body is None:
                continue
            found, says = self.detectors.get(body), f"detectors.{name}.head.of names"
            if found is None:
                problems.append(f"{says} {unknown(body, self.detectors)} under detectors")
            elif not self._sees_bands(body):
                problems.append(f"{says} {body}, which is no network of channels `bands`")
            elif found.head or found.weights or found.training.real_share > 0:
                problems.append(
                    f"{says} {body}, which has a head or weights from elsewhere, or learns from real galaxies itself (training.real_share): "
                    "name a network that is trained here on simulated lenses"
                )
            elif unlike := network.unlike(found):
                problems.append(f"detectors.{name} takes all else from {body}: leave out {', '.join(unlike)}, or head.of")
        return problems

    def _problems_of_host_cutouts(self, experiment: Experiment) -> list[str]:
        """What asks for a survey of a dataset whose hosts are cutouts."""
        dataset = self.datasets.get(experiment.dataset)
        if not isinstance(dataset, LensFinderDataset) or dataset.sky_survey is not None:
            return []
        asked = ["search.make, which ranks the galaxies of a survey"] if experiment.search.make else []
        # A head learnt what the network did that it was put on.
        known = with_bodies({name: d for name, d in self.detectors.items() if (body_of(d) or name) in self.detectors})
        networks = [known[name] for name in experiment.detectors if name in known and known[name].kind == "network"]
        if any(network.training.known_lens_weight > 0 for network in networks):
            asked.append(
                "training.known_lens_weight, which takes lenses of a survey (real lenses of cutouts join by real_sky and training.real_share)"
            )
        return [f"has {what}, and the hosts of {experiment.dataset} are cutouts: take it out" for what in asked]

    @property
    def reported(self) -> list[str]:
        """Names of the run's experiments."""
        return [name for name in self.run if name in self.experiments]

    def _problems_of_channels(self, dataset: str, detectors: tuple[str, ...]) -> list[str]:
        """What detectors cannot see in the stamps of a dataset."""
        if dataset not in self.datasets:
            return []
        kinematic = isinstance(self.datasets[dataset], SubhaloDataset)
        return [
            f"shows {name}, whose channels are `{self.detectors[name].channels}`, the stamps of {dataset}, "
            f"which hold {'flux and velocity' if kinematic else 'bands'}"
            for name in detectors
            if name in self.detectors and (self.detectors[name].channels == "bands") == kinematic
        ]

    def _problems_of_survey(self, name: str, dataset: LensFinderDataset) -> list[str]:
        """What keeps a lens-finder dataset from being made of its survey, or of cutouts."""
        used = any(name in (e.dataset, *e.test_datasets) for e in self.experiments.values())
        sampled = used and dataset.sources.uses("cosmos") and dataset.sources.cosmos.catalog is None
        if dataset.sky_survey is None:
            if not sampled:
                return []
            return [
                f"datasets.{name} takes cosmos sources into cutouts: give the path of GalSim's real_galaxy_catalog file in "
                f"datasets.{name}.sources.cosmos.catalog, or set sources.mix to sersic (only a mock survey brings a sample of its own)"
            ]
        if dataset.survey not in self.legacysurvey.surveys:
            return [f"datasets.{name}.survey names {unknown(dataset.survey, self.legacysurvey.surveys)} under legacysurvey.surveys"]
        survey, problems = self.legacysurvey.surveys[dataset.survey], []
        missing = [band for band in survey.sources if band not in survey.bands]
        if missing:
            problems.append(
                f"datasets.{name} needs bands {', '.join(survey.sources)}; legacysurvey.surveys.{dataset.survey}.bands lacks {', '.join(missing)}"
            )
        if sampled and not survey.mock:
            problems.append(
                f"datasets.{name} takes cosmos sources: give the path of GalSim's real_galaxy_catalog file in datasets.{name}.sources.cosmos.catalog "
                "(only a mock survey brings a sample of its own)"
            )
        return problems


def _test_problems(evaluation: Evaluation, name: str, dataset: SubhaloDataset | LensFinderDataset | ImportedDataset) -> list[str]:
    """Return why a dataset cannot be evaluated as asked."""
    problems = []
    if not dataset.shards("test"):
        problems.append(f"tests on {name}, which has no test stamps")
    if evaluation.marginal_stamps and not isinstance(dataset, SubhaloDataset):
        problems.append(
            f"asks for the marginal observer on {name}, which looks for a subhalo, but a dataset of kind {dataset.kind} has none: set marginal_stamps to 0"
        )
    elif evaluation.marginal_stamps and dataset.contrast == "lensed":
        problems.append(
            f"asks for the marginal observer on {name}, which looks for a subhalo, but its contrast `lensed` has none: set marginal_stamps to 0"
        )
    columns = COLUMNS[dataset.kind]
    for column, stratum in evaluation.strata.items():
        if column in STRATA and dataset.kind in STRATA[column]:
            continue
        if column not in columns:
            problems.append(f"makes strata of {unknown(column, columns)} in the stamps of {name}")
        elif columns[column] != NUMBER and (stratum.edges is not None or stratum.quantiles is not None):
            problems.append(
                f"cuts `{column}` by edges or quantiles, but it holds {columns[column]}: leave both out to take its values as strata"
            )
    for column in evaluation.clusters:
        if column not in columns and not (SKY_CELLS.fullmatch(column) and {"ra", "dec"} <= set(columns)):
            problems.append(f"makes clusters of {unknown(column, columns)} in the stamps of {name}")
    for column in dict.fromkeys(name for surface in evaluation.surfaces for name in surface):
        if column not in columns:
            problems.append(f"maps completeness over {unknown(column, columns)} in the stamps of {name}")
        elif columns[column] != NUMBER:
            problems.append(f"maps completeness over `{column}`, which holds {columns[column]}; a surface takes numbers")
    return problems


# --- from files to a validated run -----------------------------------------------------------


def read(overlay: Mapping[str, Any], folder: Path, files: Iterable[Path] = ()) -> tuple[Run, dict[str, list[Point]]]:
    """Return the validated run that config files and edits make (as `load`), sweeps and variants expanded, and the points of its sweeps."""
    run, points = expand(load(overlay, folder, files))
    return with_variants(run), points


def load(overlay: Mapping[str, Any], folder: Path, files: Iterable[Path] = ()) -> Run:
    """Return the validated config: defaults, then config.yaml, then config files and what they extend, then `overlay`.

    Parameters
    ----------
    overlay : mapping
        Edits of single keys, dotted ones among them; may name a file in `extends`.
    folder : Path
        The project's root; `extends` paths start here.
    files : iterable of Path
        Config files of the run, a later one laid over the earlier ones.

    Raises
    ------
    ConfigError
        Naming every wrong key, its value, and the nearest known key.
    """
    files = list(files)
    # Experiments as the presets write them: once read they have the default strata, which `default_strata: false` could not take away.
    defaults = merge({**validate({}).plain(), "experiments": preset("experiments")}, _read_yaml(folder / "config" / "config.yaml"))
    over = [layer for file in files for layer in layers(_read_yaml(file), folder, (str(file),))]
    over += layers(dict(overlay), folder, ())
    try:
        return validate(functools.reduce(merge, map(nested, over), defaults))
    except ConfigError as error:
        given = [str(file) for file in (*files, overlay.get("extends")) if file]
        if not given:
            raise
        extended = (
            "what it extends, or in what was given beside it" if len(given) == 1 else "what they extend, or in what was given beside them"
        )
        raise ConfigError(f"{error}\ncorrect this in {', '.join(given)}, in {extended}") from None


def validate(values: Mapping[str, Any]) -> Run:
    """Return the config as models, sweeps not yet expanded; raise `ConfigError` in words."""
    try:
        return Run.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(explain(error, Run)) from None
