"""Rule retrieve_sweep: one sweep file out of the archive, checked."""

from darkhaloscope.config.manga import Downloads
from darkhaloscope.jobs.stage import stage
from darkhaloscope.surveys.legacysurvey.retrieve import retrieve_sweep

with stage(snakemake) as job:
    retrieve_sweep(job.params.base, job.wildcards.sweep_name, job.output.sweep, Downloads.model_validate(snakemake.config["downloads"]))
