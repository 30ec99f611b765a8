"""Rule join_maps: one shard of stamps and the detector's findings in them in; the stamps with its maps as images out."""

from darkhaloscope.core.tables import write_table
from darkhaloscope.detectors.evidence.findings import join_maps
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    schema, table = join_maps(job.input.stamps, job.input.findings)
    write_table(job.output.stamps, schema, table)
