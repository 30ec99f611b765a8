"""Rule build_index: one line per experiment in, the index of reports out."""

from pathlib import Path

from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.page import build_index, other_summaries, read_summary

with stage(snakemake) as job:
    own = [read_summary(path) for path in job.input.summaries]
    others = other_summaries(Path(job.output.page).parent, [line.name for line in own])
    job.write_text(job.output.page, build_index(own, others))
