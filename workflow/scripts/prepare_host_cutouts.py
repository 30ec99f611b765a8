"""Rule prepare_host_cutouts: real cutouts as they came in, galaxies as in a parent sample and their stamps out."""

from darkhaloscope.config.cutouts import HostCutouts
from darkhaloscope.config.lensfinder import Camera
from darkhaloscope.core.tables import write_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.surveys.legacysurvey.schema import PARENT
from darkhaloscope.surveys.prepared import PART
from darkhaloscope.tasks.lensfinder.host_cutouts import host_schema
from darkhaloscope.tasks.lensfinder.real_hosts import read_hosts

with stage(snakemake) as job:
    camera = Camera.model_validate(job.params.camera)
    hosts = read_hosts(HostCutouts.model_validate(job.params.hosts), camera)
    write_table(job.output.galaxies, PARENT, hosts.galaxies)
    write_table(job.output.cutouts, host_schema(camera.stamp_size), hosts.cutouts, row_group=PART)
