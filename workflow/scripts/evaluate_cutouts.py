"""Rule evaluate_cutouts: scored cutouts in, rates of those whose labels are known out."""

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.core.tables import read_columns
from darkhaloscope.evaluation.cutouts import evaluate_cutouts
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    rates = evaluate_cutouts(
        read_columns(job.input.scores).to_pandas(),
        job.params.detectors,
        Evaluation.model_validate(job.params.evaluation),
        job.wildcards.cutouts,
    )
    job.write_csv(job.output.rates, rates)
