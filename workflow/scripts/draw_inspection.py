"""Rule draw_inspection: a file of maps and its quality metrics in, one inspection page out."""

from darkhaloscope.config.manga import Quality
from darkhaloscope.ifu.inspection import inspection_page
from darkhaloscope.ifu.lensability import read_metrics
from darkhaloscope.ifu.members import read_galaxy
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    maps = read_galaxy(job.params.ifu, job.input.maps, Quality.model_validate(job.params.quality))
    job.write_text(job.output.page, inspection_page(job.input.maps, maps, read_metrics(job.input.metrics)))
