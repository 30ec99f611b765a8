"""Rule retrieve_maps: the file of maps of one galaxy out of the archive, checked."""

from darkhaloscope.config.manga import Archive, Downloads
from darkhaloscope.ifu.retrieve import retrieve_galaxy
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    archive, downloads = Archive.model_validate(job.params.sample), Downloads.model_validate(snakemake.config["downloads"])
    retrieve_galaxy(archive, job.wildcards.galaxy_id, job.output.maps, downloads)
