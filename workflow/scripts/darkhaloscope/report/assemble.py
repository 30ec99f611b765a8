"""From the files of an experiment to what its report is made of."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from ..config.cosmology import Cosmology
from ..config.detector import Detector
from ..config.experiment import Experiment
from ..config.subhalo import SubhaloDataset
from ..core.csv_tables import read_csv
from ..core.reading import read_json
from ..detectors.schema import read_score_table
from ..evaluation.example_table import EVIDENCE, PAIR, SOURCE, read_examples
from ..evaluation.observers import with_strata
from ..evaluation.tidy import read_frame
from ..jobs.provenance import git_commit, versions
from .answer import quality_gates
from .context import Dataset, EvidenceShown, Examples, LensContext, Pairs, ReportContext, ReportError, ReportSettings, Sources
from .examples import collect_browser, collect_colour_browser
from .explanations import read_explanations
from .lens_story import read_table
from .robustness import read_robustness

Paths = Sequence[str | os.PathLike]
TABLES = ("rates", "strata", "roc", "information")


@dataclass(frozen=True)
class ReportFiles:
    """Paths of everything that a report reads.

    `tables` maps rates, strata, roc and information to one path per network, in the experiment's order;
    `histories` has one path per network and seed, `networks` one per network; `observers` one per test dataset, or none; `scores` and
    `shards` are those of the first test dataset; `answer` is what the evaluation decided, `examples` the rendered ones, `evidence` what the
    model-based detector makes of the first of them. `resolved`,
    `contaminants`, `rounds` and `known_lenses` map networks to a path, where there is one; `shortcuts`
    are the gates that find shortcuts, as JSON.
    """

    tables: Mapping[str, Paths]
    histories: Paths
    scores: Paths
    shards: Paths
    checks: str
    answer: str
    networks: Paths = ()
    comparison: Paths = ()
    robustness: Paths = ()
    explanations: Paths = ()
    observers: Paths = ()
    examples: Paths = ()
    evidence: Paths = ()
    shortcuts: Paths = ()
    resolved: Mapping[str, str] = field(default_factory=dict)
    contaminants: Mapping[str, str] = field(default_factory=dict)
    rounds: Mapping[str, str] = field(default_factory=dict)
    known_lenses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportConfig:
    """The parts of the config that a report is about, and addresses of the pages that its links go to."""

    name: str
    experiment: Experiment
    datasets: Mapping[str, Dataset]
    detectors: Mapping[str, Detector]
    cosmology: Cosmology
    mock_datasets: tuple[str, ...] = ()
    settings: ReportSettings = field(default_factory=ReportSettings)
    pages: Mapping[str, str] = field(default_factory=dict)


def assemble(config: ReportConfig, files: ReportFiles) -> ReportContext:
    """Read the files of an experiment and return its report's context, of the chain that its training dataset belongs to."""
    tables = _read_scores(files.scores)
    chain = _subhalo_context if isinstance(config.datasets[config.experiment.dataset], SubhaloDataset) else _lens_context
    return chain(config, files, tables, _shared(config, files))


def _shared(config: ReportConfig, files: ReportFiles) -> dict[str, Any]:
    """Return what the contexts of both chains hold."""
    experiment = config.experiment
    runs = [(name, seed) for name in experiment.detectors if config.detectors[name].kind == "network" for seed in experiment.seeds]
    return {
        "experiment_name": config.name,
        "experiment": experiment,
        "dataset": config.datasets[experiment.dataset],
        "detectors": config.detectors,
        "frames": {network: {name: read_frame(files.tables[name][i]) for name in TABLES} for i, network in enumerate(experiment.detectors)},
        "comparison": read_frame(files.comparison[0]) if files.comparison else pd.DataFrame(),
        "robustness": read_robustness(files.robustness[0]) if files.robustness else pd.DataFrame(),
        "explanations": read_explanations(files.explanations) if files.explanations else None,
        "histories": {run: read_csv(path, text=()) for run, path in zip(runs, files.histories, strict=True)},
        "sizes": _sizes(config, files.networks),
        "quality": _read_json(files.checks),
        "gates": tuple(gate for path in files.shortcuts for gate in quality_gates(_read_json(path))),
        "decided": _read_json(files.answer),
        "provenance": {"git_commit": git_commit() or "not in a git checkout", "packages": versions(), "config": _resolved(config)},
        "settings": config.settings,
        "pages": config.pages,
        "test_datasets": {name: config.datasets[name] for name in experiment.test_datasets},
    }


def _sizes(config: ReportConfig, paths: Paths) -> dict[str, dict[str, Any]]:
    """Return what the network of each detector that is one was written down as."""
    names = [name for name in config.experiment.detectors if config.detectors[name].kind == "network"]
    return {name: _read_json(path) for name, path in zip(names, paths, strict=False)}


def _read_json(path: str | os.PathLike) -> dict[str, Any]:
    return read_json(path, "a result of this run as JSON", "delete it and run again", ReportError)


def _read_scores(paths: Paths) -> dict[tuple[str, str, int], pa.Table]:
    """Return score tables by dataset, network and seed."""
    out = {}
    for path in paths:
        table = read_score_table(path)
        head = table.slice(0, 1).to_pylist()[0]
        out[head["dataset"], head["detector"], int(head["seed"])] = table
    return out


def _of_dataset(tables: Mapping[tuple[str, str, int], pa.Table], dataset: str) -> dict[tuple[str, int], pa.Table]:
    return {(network, seed): table for (name, network, seed), table in tables.items() if name == dataset}


# --- the subhalo chain -----------------------------------------------------------------------


def _subhalo_context(
    config: ReportConfig, files: ReportFiles, tables: Mapping[tuple[str, str, int], pa.Table], shared: Mapping[str, Any]
) -> ReportContext:
    experiment = config.experiment
    rows = {dataset: table.select(["stamp_id", "mass_bin", "subhalo_profile"]) for (dataset, _, _), table in reversed(tables.items())}
    return ReportContext(
        **shared,
        examples=_examples(files.examples[0], files.evidence) if files.examples else Examples(),
        browser=collect_browser(
            _of_dataset(tables, experiment.test_datasets[0]), files.shards, shared["decided"]["main_detector"], config.settings
        ),
        observers={
            test: with_strata(read_csv(path), rows[test].to_pandas())
            for test, path in zip(experiment.test_datasets, files.observers, strict=False)
        },
        notes=_mock_note(
            config,
            "The MaNGA galaxies are those of a mock archive: figures on them say what the method does on such galaxies.",
            "galaxies of a mock archive",
        ),
    )


def _mock_note(config: ReportConfig, tested: str, mock: str) -> tuple[str, ...]:
    """Return what cannot be said because of a mock: of the first test dataset, else of the one that detectors learnt from or have their thresholds of."""
    if config.experiment.test_datasets[0] in config.mock_datasets:
        return (tested,)
    if config.experiment.dataset not in config.mock_datasets:
        return ()
    if any(detector.learnt for detector in config.detectors.values()):
        return (f"The detectors learnt from {mock}: figures do not say what training on real data gives.",)
    return (f"Thresholds are those of stamps of {mock}: at which FPR they hold on real data is what the rates here say, no more.",)


def _examples(path: str | os.PathLike, evidence: Paths) -> Examples:
    """Return the examples that rule choose_examples rendered."""
    captions, pictures = read_examples(path, PAIR)
    place = pictures.pop("place", None)
    places = None if place is None else place[:, 0]
    galaxies, shown = read_examples(path, SOURCE)
    return Examples(
        sources=Sources(galaxies, **{**shown, "valid": shown["valid"] > 0}) if galaxies else None,
        pairs=Pairs(captions, **pictures, places=places) if captions else None,
        evidence=_evidence(evidence[0]) if evidence else None,
    )


def _evidence(path: str | os.PathLike) -> EvidenceShown | None:
    """Return what rule show_evidence found; None where no stamp could be fitted."""
    captions, pictures = read_examples(path, EVIDENCE)
    return EvidenceShown(captions[0], **{name: shown[0] for name, shown in pictures.items()}) if captions else None


# --- the lens finder -------------------------------------------------------------------------


def _lens_context(
    config: ReportConfig, files: ReportFiles, tables: Mapping[tuple[str, str, int], pa.Table], shared: Mapping[str, Any]
) -> LensContext:
    experiment = config.experiment
    context = LensContext(
        **shared,
        examples=Examples(),
        browser=None,
        resolved=_of_test(files.resolved, experiment.test_datasets[0]),
        contaminants=_of_test(files.contaminants, experiment.test_datasets[0]),
        rounds={name: read_table(path) for name, path in files.rounds.items()},
        known_lenses={name: read_table(path) for name, path in files.known_lenses.items()},
        real=_real(files.shortcuts, experiment.test_datasets[0]),
        notes=_mock_note(
            config,
            "The sky is a mock survey, its known lenses planted: figures say what the method does on such a sky.",
            "a mock sky",
        ),
    )
    shown = _of_dataset(tables, experiment.test_datasets[0])
    return replace(context, browser=collect_colour_browser(shown, files.shards, context.main_detector, config.settings))


def _real(paths: Paths, test: str) -> dict[str, dict[str, float]]:
    """Return what the gates on a test dataset found of real lenses, by detector: files are named after both."""
    found = {Path(path).stem: _read_json(path).get("real") for path in paths if Path(path).parent.name == test}
    return {name: real for name, real in found.items() if real}


def _of_test(paths: Mapping[str, str], test: str) -> dict[str, pd.DataFrame]:
    """Return tables by network, the rows of one test dataset."""
    found = {name: read_csv(path) for name, path in paths.items()}
    return {name: table[table["test_dataset"] == test].reset_index(drop=True) for name, table in found.items()}


def _resolved(config: ReportConfig) -> dict[str, Any]:
    return {
        "experiments": {config.name: config.experiment.plain()},
        "datasets": {name: value.plain() for name, value in config.datasets.items()},
        "detectors": {name: value.plain() for name, value in config.detectors.items()},
        "cosmology": config.cosmology.plain(),
    }
