"""The files of this machine that a run's config names, each by its key."""

from __future__ import annotations

from typing import Any

from .network import HUB
from .rounds import body_of
from .run import Run


def brought(run: Run) -> dict[str, str]:
    """Return what takes the place of `run`: scores, cutouts and observed lenses that the user brings."""
    given = {
        "scores.table": run.scores.table,
        "cutouts.path": run.cutouts.path,
        "cutouts.labels": run.cutouts.labels,
        "observed.table": run.observed.table,
    }
    return {key: path for key, path in given.items() if path}


def named_files(run: Run) -> dict[str, str]:
    """Return the files that the experiments of `run` need: kernels, catalogues, cutouts, weights, tables. Others of the config need not be there."""
    experiments = [run.experiments[getattr(run.sweeps.get(name), "experiment", name)] for name in run.run]
    detectors = {name for experiment in experiments for name in experiment.detectors}
    for name in tuple(detectors):
        detectors |= {*getattr(run.detectors[name], "of", ()), body_of(run.detectors[name]) or name}
    datasets = {name for experiment in experiments for name in (experiment.dataset, *experiment.test_datasets)}
    given: dict[str, Any] = {}
    for name in sorted(detectors):
        detector = run.detectors[name]
        if detector.kind == "table":
            given |= {f"detectors.{name}.scores.{test}": path for test, path in detector.scores.items() if test in datasets}
        elif detector.kind == "network" and not body_of(detector):  # a head has those of its body
            hub = (detector.pretrained or "").startswith(HUB)
            given |= {f"detectors.{name}.weights": detector.weights, f"detectors.{name}.pretrained": None if hub else detector.pretrained}
            datasets |= set(detector.mining.extra if detector.rounds > 1 else ())
    for name in sorted(datasets):
        given |= {f"datasets.{name}.{key}": path for key, path in _of_dataset(run.datasets[name]).items()}
    for name in sorted({survey for d in datasets if (survey := getattr(run.datasets[d], "sky_survey", None))}):
        survey, key = run.legacysurvey.surveys[name], f"legacysurvey.surveys.{name}"
        given |= {f"{key}.known_lenses.{catalogue}.path": section.path for catalogue, section in survey.known_lenses.items()}
        given[f"{key}.labels.path"] = survey.labels and survey.labels.path
    return {key: path for key, path in given.items() if path}


def _of_dataset(dataset: Any) -> dict[str, str | None]:
    if dataset.kind == "imported":
        return {"table": dataset.table}
    if dataset.kind == "subhalo":
        psf = dataset.instrument.psf
        return {"instrument.psf.kernel": psf.kernel if psf.kind == "kernel" else None}
    if dataset.kind != "lensfinder":
        return {}
    given = {"sources.cosmos.catalog": dataset.sources.cosmos.catalog if dataset.sources.uses("cosmos") else None}
    for key, cutouts in (("hosts.cutouts", dataset.hosts.cutouts), ("real_sky", dataset.real_sky)):
        if cutouts:
            given |= {f"{key}.path": cutouts.path, f"{key}.labels": cutouts.labels}
    return given
