"""From the files of an experiment to what its report is made of."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..config.cosmology import Cosmology
from ..config.detector import Detector
from ..config.experiment import Experiment
from ..config.subhalo import SubhaloDataset
from ..core.csv_tables import read_csv
from ..core.tables import images
from ..detectors.schema import read_score_table
from ..evaluation.lens_rates import judge_resolved, rate_contaminants
from ..ifu.bank import read_bank
from ..jobs.provenance import git_commit, versions
from ..tasks.subhalo.render import noiseless_pairs
from .answer import quality_gates
from .context import Dataset, Examples, LensContext, Pairs, ReportContext, ReportSettings
from .examples import collect_browser, collect_colour_browser, collect_sources, with_strata
from .explanations import read_explanations
from .frames import read_frame
from .lens_story import read_table
from .robustness import read_robustness

Paths = Sequence[str | os.PathLike]
#: Columns that the captions of example stamps are made of.
CAPTION_COLUMNS = (
    *("source_kind", "theta_e_arcsec", "peak_snr", "d_prime_flux", "d_prime_velocity"),
    *("subhalo_profile", "subhalo_theta_e_arcsec", "log10_mass_msun"),
)
TABLES = ("rates", "strata", "roc", "information")


@dataclass(frozen=True)
class ReportFiles:
    """Paths of everything that a report reads.

    `tables` maps rates, strata, roc and information to one path per network, in the experiment's order;
    `histories` has one path per network and seed; `observers` one per test dataset, or none; `scores` and
    `shards` are those of the first test dataset. `rounds` and `known_lenses` map networks to a path, where there is one; `shortcuts`
    are the gates that find shortcuts, as JSON.
    """

    tables: Mapping[str, Paths]
    histories: Paths
    scores: Paths
    shards: Paths
    checks: str
    comparison: Paths = ()
    robustness: Paths = ()
    explanations: Paths = ()
    observers: Paths = ()
    bank: Paths = ()
    shortcuts: Paths = ()
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
        "histories": {run: pd.read_csv(path) for run, path in zip(runs, files.histories, strict=True)},
        "quality": _read_json(files.checks),
        "gates": tuple(gate for path in files.shortcuts for gate in quality_gates(_read_json(path))),
        "provenance": {"git_commit": git_commit() or "not in a git checkout", "packages": versions(), "config": _resolved(config)},
        "settings": config.settings,
        "pages": config.pages,
        "test_datasets": {name: config.datasets[name] for name in experiment.test_datasets},
    }


def _read_json(path: str | os.PathLike) -> dict[str, Any]:
    return json.loads(Path(path).read_text(encoding="utf-8"))


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
    main = "both" if "both" in experiment.detectors else experiment.detectors[-1]
    rows = {dataset: table.select(["stamp_id", "mass_bin", "subhalo_profile"]) for (dataset, _, _), table in reversed(tables.items())}
    bank = read_bank(files.bank[0]) if files.bank else None
    return ReportContext(
        **shared,
        examples=_examples(config, files.shards, bank),
        browser=collect_browser(_of_dataset(tables, experiment.test_datasets[0]), files.shards, main, config.settings),
        observers={
            test: with_strata(read_csv(path), rows[test]) for test, path in zip(experiment.test_datasets, files.observers, strict=False)
        },
        notes=_mock_note(
            config,
            "The MaNGA galaxies are those of a mock archive: figures on them say what the method does on such galaxies.",
            "The networks learnt from galaxies of a mock archive: figures do not say what training on real ones gives.",
        ),
    )


def _mock_note(config: ReportConfig, tested: str, trained: str) -> tuple[str, ...]:
    """Return what cannot be said because of a mock: of the first test dataset, else of the training one."""
    if config.experiment.test_datasets[0] in config.mock_datasets:
        return (tested,)
    return (trained,) if config.experiment.dataset in config.mock_datasets else ()


def _examples(config: ReportConfig, shards: Paths, bank: pa.Table | None) -> Examples:
    """Pairs of the stamps with the strongest signal of the first shard, one per kind of source first, and the galaxies behind some stamps."""
    dataset = config.datasets[config.experiment.test_datasets[0]]
    table = pa.concat_tables([_positives(path) for path in list(shards)[:1]]).combine_chunks()
    ranked = table.select(["source_kind", "d_prime_both"]).to_pandas().sort_values("d_prime_both", ascending=False)
    # The strongest of each kind, then the median ones: a gallery of the best alone would mislead.
    best = ranked.groupby("source_kind", sort=True).head(1).index.tolist()
    middle = ranked.index[len(ranked) // 2 : len(ranked) // 2 + config.settings.stamps].tolist()
    chosen = table.take(list(dict.fromkeys([*best, *middle]))[: config.settings.stamps])
    captions = tuple(_caption(row, dataset.contrast) for row in chosen.select(list(CAPTION_COLUMNS)).to_pylist())
    observed = {name: images(chosen, name) for name in ("flux", "velocity", "mask")}
    # Where the label is the lens itself, there is no subhalo to be marked.
    places = None if dataset.contrast == "lensed" else chosen.select(["subhalo_x_arcsec", "subhalo_y_arcsec"]).to_pandas().to_numpy(float)
    pairs = Pairs(captions, **noiseless_pairs(chosen, dataset, bank, config.cosmology), **observed, places=places)
    return Examples(sources=collect_sources(table, dataset, bank, config.cosmology, config.settings.sources), pairs=pairs)


def _caption(row: Mapping[str, Any], contrast: str) -> str:
    sought = f"lens of θ_E {row['theta_e_arcsec']:.2f}″" if contrast == "lensed" else _subhalo(row)
    said = f"{row['source_kind']} source, {sought}, peak S/N {row['peak_snr']:.0f}"
    return f"{said}; ideal d′ {row['d_prime_flux']:.1f} in flux, {row['d_prime_velocity']:.1f} in velocity"


def _subhalo(row: Mapping[str, Any]) -> str:
    if row["subhalo_profile"] == "sis":
        return f"SIS subhalo of θ_E {row['subhalo_theta_e_arcsec']:.3f}″"
    return f"{row['subhalo_profile'].upper()} subhalo of 10^{row['log10_mass_msun']:.1f} M☉"


def _positives(path: str | os.PathLike) -> pa.Table:
    table = pq.read_table(path)
    return table.filter(pc.equal(table["label"], 1))


# --- the lens finder -------------------------------------------------------------------------


def _lens_context(
    config: ReportConfig, files: ReportFiles, tables: Mapping[tuple[str, str, int], pa.Table], shared: Mapping[str, Any]
) -> LensContext:
    experiment = config.experiment
    context = LensContext(
        **shared,
        examples=Examples(),
        browser=None,
        rounds={name: read_table(path) for name, path in files.rounds.items()},
        known_lenses={name: read_table(path) for name, path in files.known_lenses.items()},
        notes=_mock_note(
            config,
            "The sky is a mock survey, its known lenses planted: figures say what the method does on such a sky.",
            "The networks learnt from a mock sky: figures do not say what training on a real one gives.",
        ),
    )
    splits = {"training": experiment.dataset, "test": experiment.test_datasets[0]}
    of_network = {
        name: {(dataset, seed): table for (dataset, network, seed), table in tables.items() if network == name}
        for name in experiment.detectors
    }
    shown = _of_dataset(tables, experiment.test_datasets[0])
    return replace(
        context,
        browser=collect_colour_browser(shown, files.shards, context.main_detector, config.settings),
        resolved={name: judge_resolved(scored, experiment.evaluation, **splits) for name, scored in of_network.items()},
        contaminants={name: rate_contaminants(scored, experiment.evaluation, **splits) for name, scored in of_network.items()},
    )


def _resolved(config: ReportConfig) -> dict[str, Any]:
    return {
        "experiments": {config.name: config.experiment.plain()},
        "datasets": {name: value.plain() for name, value in config.datasets.items()},
        "detectors": {name: value.plain() for name, value in config.detectors.items()},
        "cosmology": config.cosmology.plain(),
    }
