"""Rule inspect_maps: a file of maps in, one JSON of quality metrics and an inspection page out."""

from darkhaloscope.config.manga import Quality
from darkhaloscope.ifu.inspection import inspection_page
from darkhaloscope.ifu.members import read_galaxy
from darkhaloscope.ifu.quality import measure_quality
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    quality = Quality.model_validate(job.params.quality)
    maps = read_galaxy(job.params.ifu, job.input.maps, quality)
    metrics = measure_quality(maps, quality)
    job.write_text(job.output.page, inspection_page(job.input.maps, maps, metrics))
    job.write_json(job.output.metrics, metrics)
