"""Rule retrieve_survey_tables: the bounds and the observing conditions of bricks out of the archive, checked."""

from darkhaloscope.config.manga import Downloads
from darkhaloscope.jobs.stage import stage
from darkhaloscope.surveys.legacysurvey.retrieve import retrieve_brick_table

with stage(snakemake) as job:
    downloads = Downloads.model_validate(snakemake.config["downloads"])
    retrieve_brick_table(job.params.base, "all", job.output.bounds, downloads)
    retrieve_brick_table(job.params.base, "south", job.output.conditions, downloads)
