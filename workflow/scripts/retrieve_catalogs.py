"""Rule retrieve_catalogs: dapall and drpall out of the archive, checked."""

from darkhaloscope.archive.retrieve import retrieve_catalog
from darkhaloscope.config.manga import Downloads, Sample
from darkhaloscope.stage import stage

with stage(snakemake) as job:
    sample, downloads = Sample.model_validate(job.params.sample), Downloads.model_validate(job.params.downloads)
    for which in ("dapall", "drpall"):
        retrieve_catalog(sample, which, job.output[which], downloads)
