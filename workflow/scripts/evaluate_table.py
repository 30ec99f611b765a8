"""Rule evaluate_table: a table of scores made elsewhere in; rates, strata, ROC, calibration and purity out."""

from darkhaloscope.config.experiment import ScoresTable
from darkhaloscope.evaluation.any_table import evaluate_table
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    for name, frame in evaluate_table(ScoresTable.model_validate(job.params.scores)).items():
        job.write_csv(job.output[name], frame)
