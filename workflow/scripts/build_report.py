"""Rule build_report: everything that an experiment made in, its report and one line for the index out."""

from dataclasses import asdict
from pathlib import Path

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.experiment import Experiment
from darkhaloscope.config.network import Network
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.report.assemble import TABLES, ReportConfig, ReportFiles, assemble
from darkhaloscope.report.page import build_report, summarise
from darkhaloscope.stage import stage

with stage(snakemake) as job:
    config = ReportConfig(
        name=job.wildcards.experiment,
        experiment=Experiment.model_validate(job.params.experiment),
        datasets={name: SubhaloDataset.model_validate(values) for name, values in job.params.datasets.items()},
        networks={name: Network.model_validate(values) for name, values in job.params.networks.items()},
        cosmology=Cosmology.model_validate(job.params.cosmology),
        mock=job.params.mock,
    )
    files = ReportFiles(
        tables={name: list(job.input[name]) for name in TABLES},
        histories=list(job.input.histories),
        scores=list(job.input.scores),
        shards=list(job.input.shards),
        checks=str(job.input.checks),
        comparison=list(job.input.comparison),
        observers=list(job.input.observers),
        bank=list(job.input.bank),
    )
    context = assemble(config, files)
    build_report(context, Path(job.output.page).parent)
    job.write_json(job.output.summary, asdict(summarise(context, f"experiments/{config.name}/report/index.html")))
