"""Rule collect_sweep: the rates of every point of a sweep in, one tidy table out."""

from darkhaloscope.core.csv_tables import read_csv
from darkhaloscope.evaluation.sweep import sweep_table
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    frames = [read_csv(path) for path in job.input.rates]
    job.write_csv(job.output.table, sweep_table(job.params.points, frames))
