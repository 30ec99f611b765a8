"""Rule build_report: everything that an experiment made in, its report and one line for the index out."""

import os
from dataclasses import asdict
from pathlib import Path

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.detectors import DETECTOR_KINDS
from darkhaloscope.config.experiment import Experiment
from darkhaloscope.config.lensfinder import LENS_KINDS
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.assemble import TABLES, ReportConfig, ReportFiles, assemble
from darkhaloscope.report.page import build_report, summarise

KINDS = {"subhalo": SubhaloDataset, **LENS_KINDS}

with stage(snakemake) as job:
    folder = Path(job.output.page).parent
    config = ReportConfig(
        name=job.wildcards.experiment,
        experiment=Experiment.model_validate(job.params.experiment),
        datasets={name: KINDS[values["kind"]].model_validate(values) for name, values in job.params.datasets.items()},
        detectors={name: DETECTOR_KINDS[values["kind"]].model_validate(values) for name, values in job.params.detectors.items()},
        cosmology=Cosmology.model_validate(job.params.cosmology),
        mock_datasets=tuple(job.params.mock_datasets),
        pages={
            "All experiments": "../../../index.html",  # from experiments/{experiment}/report
            **{text: os.path.relpath(path, folder) for text, path in zip(job.params.pages, job.input.pages, strict=True)},
        },
    )
    files = ReportFiles(
        tables={name: list(job.input[name]) for name in TABLES},
        histories=list(job.input.histories),
        networks=list(job.input.networks),
        scores=list(job.input.scores),
        shards=list(job.input.shards),
        checks=str(job.input.checks),
        comparison=list(job.input.comparison),
        robustness=list(job.input.robustness),
        explanations=list(job.input.explanations),
        observers=list(job.input.observers),
        answer=str(job.input.answer),
        examples=list(job.input.examples),
        evidence=list(job.input.evidence),
        resolved=dict(zip(config.experiment.detectors, job.input.resolved, strict=False)),
        contaminants=dict(zip(config.experiment.detectors, job.input.contaminants, strict=False)),
        shortcuts=list(job.input.shortcuts),
        rounds=dict(zip(job.params.rounds, job.input.rounds, strict=True)),
        known_lenses=dict(zip(job.params.known_lenses, job.input.known_lenses, strict=True)),
    )
    context = assemble(config, files)
    # They lie in the folders of their detectors.
    build_report(context, folder, {Path(path).parent.name: path for path in job.input.maps})
    job.write_json(job.output.summary, asdict(summarise(context, f"experiments/{config.name}/report/index.html")))
