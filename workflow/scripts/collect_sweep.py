"""Rule collect_sweep: the rates of every point of a sweep in, one tidy table out."""

import pandas as pd

from darkhaloscope.evaluation.sweep import sweep_table
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    frames = [pd.read_csv(path, keep_default_na=True) for path in job.input.rates]
    job.write_csv(job.output.table, sweep_table(job.params.points, frames))
