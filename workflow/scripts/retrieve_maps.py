"""Rule retrieve_maps: the file of maps of one galaxy out of the archive, checked."""

from darkhaloscope.config.manga import Archive, Downloads
from darkhaloscope.ifu.members import member
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    archive, downloads = Archive.model_validate(job.params.sample), Downloads.model_validate(snakemake.config["downloads"])
    member(archive.ifu).retrieve(archive, job.wildcards.plateifu, job.output.maps, downloads)
