"""Rule inspect_maps: a file of maps in, one JSON of quality metrics out."""

from darkhaloscope.config.manga import Quality
from darkhaloscope.ifu.members import read_galaxy
from darkhaloscope.ifu.quality import measure_quality
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    quality = Quality.model_validate(job.params.quality)
    job.write_json(job.output.metrics, measure_quality(read_galaxy(job.params.ifu, job.input.maps, quality), quality))
