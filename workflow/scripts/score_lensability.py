"""Rule score_lensability: quality metrics in, one CSV of scores, tiers and reasons out."""

import json
from pathlib import Path

from darkhaloscope.config.manga import Lensability
from darkhaloscope.ifu.lensability import lensability_table
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    metrics = [json.loads(Path(path).read_text(encoding="utf-8")) for path in job.input.metrics]
    job.write_csv(job.output.table, lensability_table(metrics, Lensability.model_validate(job.params.lensability)))
