"""Rule retrieve_brick: the coadds of one brick out of the archive, checked."""

from darkhaloscope.config.manga import Downloads
from darkhaloscope.jobs.stage import stage
from darkhaloscope.surveys.legacysurvey.retrieve import retrieve_brick

with stage(snakemake) as job:
    downloads = Downloads.model_validate(snakemake.config["downloads"])
    retrieve_brick(
        job.params.base, job.wildcards.brickname, job.params.bands, job.output.folder, downloads, snakemake.config["brick_cache_gb"]
    )
