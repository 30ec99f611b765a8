"""Rule prepare_real_sky: real galaxies as they came in, stamps with labels and the part of the sky of each out."""

from darkhaloscope.config.cutouts import RealSky
from darkhaloscope.core.tables import write_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.surveys.prepared import PART
from darkhaloscope.surveys.real_sky import prepare_real_sky, real_sky_schema

with stage(snakemake) as job:
    tables = prepare_real_sky(RealSky.model_validate(job.params.real_sky), job.params.size)
    write_table(job.output.stamps, real_sky_schema(job.params.size), tables, row_group=PART)
