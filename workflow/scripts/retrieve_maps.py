"""Rule retrieve_maps: the MAPS file of one galaxy out of the archive, checked."""

from darkhaloscope.archive.retrieve import retrieve_maps
from darkhaloscope.config.manga import Downloads, Sample
from darkhaloscope.stage import stage

with stage(snakemake) as job:
    sample, downloads = Sample.model_validate(job.params.sample), Downloads.model_validate(job.params.downloads)
    retrieve_maps(sample, job.wildcards.plateifu, job.output.maps, downloads)
