"""Rule retrieve_catalogs: dapall and drpall out of the archive, checked."""

from darkhaloscope.config.manga import Archive, Downloads
from darkhaloscope.ifu.manga.retrieve import retrieve_catalog
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    archive, downloads = Archive.model_validate(job.params.sample), Downloads.model_validate(snakemake.config["downloads"])
    for which in ("dapall", "drpall"):
        retrieve_catalog(archive, which, job.output[which], downloads)
