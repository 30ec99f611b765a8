"""Rule score_lensability: quality metrics in, one CSV of scores, tiers and reasons out."""

from darkhaloscope.config.manga import Lensability
from darkhaloscope.ifu.lensability import lensability_table, read_metrics
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    metrics = [read_metrics(path) for path in job.input.metrics]
    job.write_csv(job.output.table, lensability_table(metrics, Lensability.model_validate(job.params.lensability)))
