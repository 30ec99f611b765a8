"""Rule retrieve_maps: the MAPS file of one galaxy out of the archive, checked."""

from darkhaloscope.archive.retrieve import retrieve_maps
from darkhaloscope.config.manga import Archive, Downloads
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    archive, downloads = Archive.model_validate(job.params.sample), Downloads.model_validate(snakemake.config["downloads"])
    retrieve_maps(archive, job.wildcards.plateifu, job.output.maps, downloads)
