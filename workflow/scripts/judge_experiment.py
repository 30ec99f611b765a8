"""Rule judge_experiment: the tables of an experiment in; its main detector, answer in numbers, criterion and gates of rates, as JSON, out."""

from types import SimpleNamespace

import pandas as pd

from darkhaloscope.config.experiment import Experiment
from darkhaloscope.config.kinds import DATASET_KINDS
from darkhaloscope.core.csv_tables import read_csv
from darkhaloscope.detectors.schema import read_score_table
from darkhaloscope.evaluation.answer import TABLES, judge_experiment
from darkhaloscope.evaluation.observers import with_strata
from darkhaloscope.evaluation.tidy import read_frame
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    experiment = Experiment.model_validate(job.params.experiment)
    frames = {name: {table: read_frame(job.input[table][i]) for table in TABLES} for i, name in enumerate(experiment.detectors)}
    observers = pd.DataFrame()
    if job.input.observers:
        stamps = read_score_table(job.input.scores[0], ("stamp_id", "mass_bin", "subhalo_profile")).to_pandas()
        observers = with_strata(read_csv(job.input.observers[0]), stamps)
    found = judge_experiment(
        experiment,
        DATASET_KINDS[job.params.dataset["kind"]].model_validate(job.params.dataset),
        {name: SimpleNamespace(**values) for name, values in job.params.detectors.items()},
        frames,
        read_frame(job.input.comparison[0]) if job.input.comparison else pd.DataFrame(),
        observers,
    )
    job.write_json(job.output.answer, found)
