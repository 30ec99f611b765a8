"""The whole config: its sections, the rules between them, and how overlays become one."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Discriminator, Field, Tag, ValidationError, model_validator

from .base import DISTRIBUTION_KINDS, Name, Section
from .columns import COLUMNS, NUMBER
from .cosmology import Cosmology
from .experiment import LENSFINDER_STRATA, LENSFINDER_SURFACES, Evaluation, Experiment, ScoresTable, Sweep
from .legacysurvey import LegacySurvey
from .lensfinder import BANDS, LENS_KINDS, ImportedDataset, LensFinderDataset, default_lensfinder_datasets
from .manga import Downloads, Manga
from .network import Network, Training
from .rounds import with_rounds
from .subhalo import SubhaloDataset

#: Datasets by the value of their `kind`.
DATASET_KINDS: dict[str, type[Section]] = {"subhalo": SubhaloDataset, "lensfinder": LensFinderDataset, "imported": ImportedDataset}


def _dataset_kind(value: Any) -> str:
    return value.get("kind", "subhalo") if isinstance(value, Mapping) else getattr(value, "kind", "subhalo")


Dataset = Annotated[
    Annotated[SubhaloDataset, Tag("subhalo")]
    | Annotated[LensFinderDataset, Tag("lensfinder")]
    | Annotated[ImportedDataset, Tag("imported")],
    Discriminator(
        _dataset_kind,
        custom_error_type="unknown_kind",
        custom_error_message=f"kind must be one of {', '.join(DATASET_KINDS)}",
    ),
]


class ConfigError(Exception):
    """The config cannot be used; the message says where, what was found and what to do."""


class Run(Section):
    """Everything one run of the workflow is told."""

    root: str = Field("results", min_length=1, description="Folder that all results go below")
    run: tuple[Name, ...] = Field(("subhalo",), description="Experiments and sweeps that a plain `snakemake` makes", min_length=1)
    downloads: Downloads = Field(Downloads(), description="How files are fetched")
    cosmology: Cosmology = Field(Cosmology(), description="Cosmology")
    manga: Manga = Field(Manga(), description="MaNGA: archive, ranking, quality, tensors")
    legacysurvey: LegacySurvey = Field(LegacySurvey(), description="Legacy Surveys: parent samples, bricks, known lenses")
    datasets: dict[Name, Dataset] = Field(
        default_factory=lambda: {**default_datasets(), **default_lensfinder_datasets()}, description="What stamps are made of, by name"
    )
    networks: dict[Name, Network] = Field(default_factory=lambda: default_networks(), description="Classifiers, by name")
    experiments: dict[Name, Experiment] = Field(default_factory=lambda: default_experiments(), description="Questions, by name")
    sweeps: dict[Name, Sweep] = Field(default_factory=dict, description="Grids over an experiment, by name")

    scores: ScoresTable = Field(ScoresTable(), description="Scores made elsewhere: `snakemake --config scores=mine.parquet` evaluates them")

    @model_validator(mode="before")
    @classmethod
    def _strata(cls, values: Any) -> Any:
        """Give experiments on lens-finder stamps strata of columns that these have, where the config names none."""
        if not isinstance(values, Mapping) or not isinstance(values.get("experiments"), Mapping):
            return values
        datasets, experiments = values.get("datasets", {}), dict(values["experiments"])
        for name, experiment in experiments.items():
            if isinstance(experiment, Mapping) and _dataset_kind(datasets.get(experiment.get("dataset"), {})) in LENS_KINDS:
                evaluation = experiment.get("evaluation", {})
                if isinstance(evaluation, Mapping):
                    own = {"strata": LENSFINDER_STRATA, "surfaces": LENSFINDER_SURFACES}
                    experiments[name] = {**experiment, "evaluation": {**own, **evaluation}}
        return {**values, "experiments": experiments}

    @model_validator(mode="after")
    def _check(self) -> Run:
        problems = []
        for name, dataset in self.datasets.items():
            sample = None if isinstance(dataset, ImportedDataset) else dataset.sources.sample
            if sample is not None and sample not in self.manga.samples:
                problems.append(f"datasets.{name}.sources.sample names {_unknown(sample, self.manga.samples)} under manga.samples")
            if isinstance(dataset, LensFinderDataset):
                problems += self._problems_of_survey(name, dataset)
        for name, experiment in self.experiments.items():
            for dataset in (experiment.dataset, *experiment.test_datasets):
                if dataset not in self.datasets:
                    problems.append(f"experiments.{name} names {_unknown(dataset, self.datasets)} under datasets")
            for network in experiment.networks:
                if network not in self.networks:
                    problems.append(f"experiments.{name} names {_unknown(network, self.networks)} under networks")
            if experiment.dataset in self.datasets:
                empty = [split for split in ("train", "validation") if not self.datasets[experiment.dataset].shards(split)]
                if empty:
                    problems.append(f"experiments.{name} trains on {experiment.dataset}, which has no {' and no '.join(empty)} stamps")
            for dataset in dict.fromkeys((experiment.dataset, *experiment.test_datasets)):
                problems += [f"experiments.{name} {p}" for p in self._problems_of_channels(dataset, experiment.networks)]
            for dataset in experiment.test_datasets:
                if dataset in self.datasets:
                    problems += [f"experiments.{name} {p}" for p in _test_problems(experiment.evaluation, dataset, self.datasets[dataset])]
        for name, sweep in self.sweeps.items():
            if sweep.experiment not in self.experiments:
                problems.append(f"sweeps.{name} names {_unknown(sweep.experiment, self.experiments)} under experiments")
        both = sorted(set(self.experiments) & set(self.sweeps))
        if both:
            problems.append(f"{', '.join(both)} names both an experiment and a sweep")
        for name in self.run:
            if name not in self.experiments and name not in self.sweeps:
                problems.append(f"run names {_unknown(name, {**self.experiments, **self.sweeps})} under experiments or sweeps")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _problems_of_channels(self, dataset: str, networks: tuple[str, ...]) -> list[str]:
        """What networks cannot see in the stamps of a dataset."""
        if dataset not in self.datasets:
            return []
        kinematic = isinstance(self.datasets[dataset], SubhaloDataset)
        return [
            f"shows {network}, whose channels are `{self.networks[network].channels}`, the stamps of {dataset}, "
            f"which hold {'flux and velocity' if kinematic else 'bands'}"
            for network in networks
            if network in self.networks and (self.networks[network].channels == "bands") == kinematic
        ]

    def _problems_of_survey(self, name: str, dataset: LensFinderDataset) -> list[str]:
        """What keeps a lens-finder dataset from being made of its survey."""
        if dataset.survey not in self.legacysurvey.surveys:
            return [f"datasets.{name}.survey names {_unknown(dataset.survey, self.legacysurvey.surveys)} under legacysurvey.surveys"]
        survey, problems = self.legacysurvey.surveys[dataset.survey], []
        missing = [band for band in BANDS if band not in survey.bands]
        if missing:
            problems.append(
                f"datasets.{name} needs bands {', '.join(BANDS)}; legacysurvey.surveys.{dataset.survey}.bands lacks {', '.join(missing)}"
            )
        used = any(name in (e.dataset, *e.test_datasets) for e in self.experiments.values())
        if used and dataset.sources.uses("cosmos") and dataset.sources.cosmos.catalog is None and not survey.mock:
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
        if column not in columns:
            problems.append(f"makes strata of {_unknown(column, columns)} in the stamps of {name}")
        elif columns[column] != NUMBER and (stratum.edges is not None or stratum.quantiles is not None):
            problems.append(
                f"cuts `{column}` by edges or quantiles, but it holds {columns[column]}: leave both out to take its values as strata"
            )
    for column in dict.fromkeys(name for surface in evaluation.surfaces for name in surface):
        if column not in columns:
            problems.append(f"maps completeness over {_unknown(column, columns)} in the stamps of {name}")
        elif columns[column] != NUMBER:
            problems.append(f"maps completeness over `{column}`, which holds {columns[column]}; a surface takes numbers")
    return problems


def default_datasets() -> dict[str, SubhaloDataset]:
    """Return the informative regime, and the three regimes of the earlier subhalo runs.

    The earlier ones (science notes, section 4) used pixels of the unit square [−1, 1] and θ_E = 0.5;
    at 64 pixels one pixel is 1/32, and one unit is one arcsec here.
    """

    def earlier(description: str, factor: float, psf_pixels: float, flux_noise: float, velocity_noise: float) -> SubhaloDataset:
        return SubhaloDataset.model_validate(
            {
                "description": description,
                "size": {"train": 10000, "validation": 2000, "test": 2000},
                "sources": {
                    "mix": {"manga": 1.0},
                    "offset_arcsec": {"uniform": [0.0, 0.1]},
                },
                "lens": {
                    "profile": "sis",
                    "theta_e_arcsec": 0.5,
                    "ellipticity": 0.0,
                    "slope": 2.0,
                    "shear": 0.0,
                    "multipole_m3": 0.0,
                    "multipole_m4": 0.0,
                    "centre_offset_arcsec": 0.0,
                },
                "subhalo": {"profiles": {"sis": 1.0}, "theta_e_factor": factor, "placement": "annulus"},
                "instrument": {
                    "stamp_size": 64,
                    "pixel_scale_arcsec": 2 / 64,
                    "psf": {"kind": "gaussian", "fwhm_arcsec": round(psf_pixels * 2.354820045 * 2 / 64, 6)}
                    if psf_pixels
                    else {"kind": "none"},
                    "noise": {
                        "peak_snr": 1 / flux_noise if flux_noise else 100.0,
                        "flux": flux_noise > 0,
                        "background_share": 1.0,
                        "velocity": velocity_noise > 0,
                        # Earlier runs gave velocity noise as a share of the velocity scale (about 200 km/s).
                        "velocity_floor_kms": 200 * velocity_noise,
                        # … the same in every pixel, not falling with the line's S/N, above a flux of 0.1.
                        "line_fwhm_kms": 0.001,
                        "velocity_min_snr": 0.1 / flux_noise if flux_noise else 10.0,
                    },
                    "smooth_peak": 1.0,
                    "mask": "observed",
                },
            }
        )

    return {
        "subhalo": SubhaloDataset(
            description="The informative regime: SIS of 3% of θ_E and NFW of 10⁹ to 10¹⁰ M☉ at peak S/N 10 to 30, PSF 0.12 arcsec"
        ),
        "subhalo-hard": earlier("Earlier regime: factor 0.1, PSF σ 1 pixel, flux noise 0.08, velocity noise 0.03", 0.1, 1.0, 0.08, 0.03),
        "subhalo-easy": earlier("Earlier regime: factor 0.3, no PSF, no noise", 0.3, 0.0, 0.0, 0.0),
        "subhalo-moderate": earlier(
            "Earlier regime: factor 0.3, PSF σ 0.5 pixel, flux noise 0.03, velocity noise 0.01", 0.3, 0.5, 0.03, 0.01
        ),
    }


def default_networks() -> dict[str, Network]:
    """Return the networks that experiments name by default."""
    small = Training(epochs=20, optimizer="adam", learning_rate=1e-3, weight_decay=0.0, schedule="constant")
    return {
        "flux": Network(description="Flux alone", channels="flux"),
        "velocity": Network(description="Velocity alone, with its label-blind mask and σ_v", channels="velocity"),
        "velocity-own": Network(
            description="Velocity alone, with the mask and σ_v of the stamp's own flux", channels="velocity", label_blind=False
        ),
        "both": Network(description="Flux and velocity, as channels of one image", channels="both"),
        "both-two-streams": Network(description="Flux and velocity, two branches", architecture="deep_dual_stream", channels="both"),
        "mask": Network(description="Mask alone: must know nothing", channels="mask"),
        "shuffled": Network(description="Flux and another stamp's velocity", channels="both", shuffle_velocity=True),
        "toy": Network(description="Two convolutions", architecture="toy", channels="both", training=small),
        "flux-baseline": Network(description="Three convolutions on flux", architecture="flux_baseline", channels="flux", training=small),
        "dual-stream": Network(description="Two baselines joined", architecture="dual_stream", channels="both", training=small),
    }


def default_experiments() -> dict[str, Experiment]:
    """Return the experiment that the project exists for."""
    return {
        "subhalo": Experiment(
            question="Does a flux and velocity network detect dark subhalos better than a flux-only one?",
            dataset="subhalo",
            networks=("flux", "velocity", "both", "mask", "shuffled"),
            seeds=(1, 2, 3),
            comparisons=(("flux", "both"), ("velocity", "both"), ("flux", "shuffled")),
        )
    }


# --- from files to a validated run -----------------------------------------------------------


def load(overlay: Mapping[str, Any], folder: Path) -> Run:
    """Return the validated config: defaults, then `extends` files, then `overlay`.

    Parameters
    ----------
    overlay : mapping
        What Snakemake merged from `--configfile` and `--config`.
    folder : Path
        The project's root; `extends` paths start here.

    Raises
    ------
    ConfigError
        Naming every wrong key, its value, and the nearest known key.
    """
    merged: dict[str, Any] = _read_yaml(folder / "config" / "config.yaml")
    for layer in _layers(dict(overlay), folder, ()):
        merged = merge(merged, layer)
    merged.pop("extends", None)
    return validate(merged)


def validate(values: Mapping[str, Any]) -> Run:
    """Return the config as models, sweeps not yet expanded; raise `ConfigError` in words."""
    try:
        return Run.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(explain(error)) from None


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `overlay` laid over it; lists and distributions are replaced whole."""
    out = dict(base)
    for key, value in overlay.items():
        old = out.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not _is_whole(key, value):
            out[key] = merge(old, value)
        else:
            out[key] = value
    return out


#: Mappings of shares or cuts, where a merged mixture of old and new keys is never meant.
_WHOLE = {"mix", "profiles", "fractions", "assigned", "strata", "grid"}


def _is_whole(key: str, value: Mapping) -> bool:
    return key.split(".")[-1] in _WHOLE or (bool(value) and set(value) <= set(DISTRIBUTION_KINDS))


def _layers(overlay: dict[str, Any], folder: Path, seen: tuple[str, ...]) -> list[dict[str, Any]]:
    parent = overlay.pop("extends", None)
    if parent is None:
        return [overlay]
    if not isinstance(parent, str):
        raise ConfigError(f"`extends` must be the path of one config file, seen from the project's root; found {parent!r}")
    if parent in seen:
        raise ConfigError(f"config files extend each other in a circle: {' → '.join((*seen, parent))}")
    return [*_layers(_read_yaml(folder / parent), folder, (*seen, parent)), overlay]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"config file {path} does not exist; give the path of a YAML file, seen from the project's root") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"config file {path} is not valid YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"config file {path} must hold keys and values, found a {type(values).__name__}")
    return values


# --- sweeps ----------------------------------------------------------------------------------


class Point(BaseModel):
    """One point of a sweep: the values of its keys, and the experiment that they make."""

    sweep: str
    experiment: str
    values: dict[str, Any]


def expand(run: Run) -> tuple[Run, dict[str, list[Point]]]:
    """Return the run with the datasets, networks and experiments of its sweeps, and the points.

    A dataset or network that a point leaves unchanged keeps its name, so nothing of it is computed
    again; a changed one is named after what changed.
    """
    datasets, networks, experiments = dict(run.datasets), dict(run.networks), dict(run.experiments)
    points: dict[str, list[Point]] = {}
    keys = dict.fromkeys(key for sweep in run.sweeps.values() for key in sweep.grid)  # names must differ over all sweeps
    for name, sweep in run.sweeps.items():
        points[name] = []
        base = run.experiments[sweep.experiment]
        for combination in itertools.product(*sweep.grid.values()):
            values = dict(zip(sweep.grid, combination, strict=True))
            where = f"sweeps.{name} at {values}"
            changes = {
                noun: {k.split(".", 1)[1]: v for k, v in values.items() if k.startswith(noun + ".")} for noun in ("dataset", "network")
            }
            dataset = _derive(datasets, base.dataset, changes["dataset"], type(datasets[base.dataset]), keys, where)
            renamed = {n: _derive(networks, n, changes["network"], Network, keys, where) for n in base.networks}
            # A test dataset that is the training dataset follows it; other ones stay as they are.
            tests = tuple(dict.fromkeys(dataset if t == base.dataset else t for t in base.tests))
            label = "".join(f"+{_short(k, keys)}={_plain(v)}" for k, v in values.items())
            experiment = f"{sweep.experiment}{label}"
            repeated = Experiment.model_validate(
                {
                    **base.plain(),
                    "dataset": dataset,
                    "networks": tuple(renamed.values()),
                    "tests": tests,
                    "comparisons": [[renamed[a], renamed[b]] for a, b in base.comparisons],
                }
            )
            # A point where nothing changes, or that another sweep has, is the experiment that is there.
            experiment = next((known for known, settings in experiments.items() if settings == repeated), experiment)
            experiments[experiment] = repeated
            points[name].append(Point(sweep=name, experiment=experiment, values=values))
    return run.model_copy(update={"datasets": datasets, "networks": with_rounds(networks), "experiments": experiments}), points


def _derive(pool: dict[str, Any], name: str, changes: dict[str, Any], model: type[Section], keys: Mapping[str, None], where: str) -> str:
    old = pool[name]
    values = old.plain()
    effective = {}
    for key, value in changes.items():
        before = _get(values, key, where)
        if before != value and before != {"fixed": value}:
            _set(values, key, value)
            effective[key] = value
    if not effective:
        return name
    derived = name + "".join(f"+{_short(k, keys)}={_plain(v)}" for k, v in effective.items())
    try:
        pool[derived] = model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}:\n{explain(error, model)}") from None
    return derived


def _get(values: Mapping[str, Any], key: str, where: str) -> Any:
    node: Any = values
    parts = key.split(".")
    for i, part in enumerate(parts):
        if not isinstance(node, Mapping) or (part not in node and i < len(parts) - 1):
            raise ConfigError(f"{where}: there is no key `{key}`{_nearest(part, node if isinstance(node, Mapping) else ())}")
        node = node.get(part)
    return node


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        values = values[part]
    values[last] = value


def _short(key: str, among: Mapping[str, Any]) -> str:
    """Return the shortest ending of a dotted key that no other key shares."""
    parts = key.split(".")
    for n in range(1, len(parts) + 1):
        ending = parts[-n:]
        if sum(k.split(".")[-n:] == ending for k in among) == 1:
            return ".".join(ending)
    return key


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- errors in words -------------------------------------------------------------------------


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    return f"`{name}`, which does not exist{_nearest(name, known)}"


def _nearest(name: str, known) -> str:
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    if close:
        return f" (nearest: `{close[0]}`)"
    return f" (known: {', '.join(map(str, known))})" if known else ""


def explain(error: ValidationError, model: type[BaseModel] = Run) -> str:
    lines = ["the config cannot be used:"]
    for item in error.errors():
        where = ".".join(map(str, _keys(item["loc"])))
        if item["type"] == "extra_forbidden":
            known = _known_keys(model, item["loc"][:-1])
            lines.append(f"  unknown key `{where}`{_nearest(str(item['loc'][-1]), known)}")
        elif item["type"] == "value_error":
            for line in str(item["ctx"]["error"]).splitlines():
                lines.append(f"  {where + ': ' if where else ''}{line}")
        else:
            found = item.get("input")
            shown = "" if isinstance(found, dict | list) or item["type"] == "missing" else f", found {found!r}"
            lines.append(f"  {where}: {item['msg'][0].lower()}{item['msg'][1:]}{shown}")
    return "\n".join(lines)


def _keys(location: tuple) -> tuple:
    """Return the config keys of an error's location: pydantic adds a dataset's kind after its name."""
    tagged = len(location) > 2 and location[0] == "datasets" and location[2] in DATASET_KINDS
    return (*location[:2], *location[3:]) if tagged else location


def _known_keys(annotation: Any, path: tuple) -> list[str]:
    """Return the keys that are known at `path` (an error's location) below a model or annotation."""
    if annotation == Dataset:
        return _known_keys(DATASET_KINDS[path[0]], path[1:]) if path else []
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not path:
            return list(annotation.model_fields)
        field = annotation.model_fields.get(str(path[0]))
        return _known_keys(field.annotation, path[1:]) if field else []
    if get_origin(annotation) in (dict, tuple, list) and path:
        return _known_keys(get_args(annotation)[-1 if get_origin(annotation) is dict else 0], path[1:])
    return []


def _bare(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _bare(next(a for a in get_args(annotation) if a is not type(None)))
    return annotation
