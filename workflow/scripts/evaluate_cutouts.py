"""Rule evaluate_cutouts: scored cutouts in, rates of those whose labels are known out."""

import pandas as pd

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.evaluation.cutouts import evaluate_cutouts
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    rates = evaluate_cutouts(
        pd.read_parquet(job.input.scores), job.params.detectors, Evaluation.model_validate(job.params.evaluation), job.wildcards.cutouts
    )
    job.write_csv(job.output.rates, rates)
