"""Rule import_stamps: a table of stamps made elsewhere in, one shard of this project's table and what is seen of it out."""

from darkhaloscope.config.lensfinder import ImportedDataset
from darkhaloscope.core.tables import write_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.stamps.seen import write_seen
from darkhaloscope.tasks.imported.shard import import_shard
from darkhaloscope.tasks.lensfinder.schema import stamp_schema
from darkhaloscope.tasks.lensfinder.seen import SEEN

with stage(snakemake) as job:
    dataset = ImportedDataset.model_validate({**job.params.dataset, "gates": {"core_pixels": job.params.core_pixels}})
    stamps = import_shard(job.input.table, dataset, job.wildcards.dataset, job.wildcards.split, int(job.wildcards.shard))
    write_table(job.output.shard, stamp_schema(dataset.stamp_size), stamps)
    write_seen(job.output.seen, job.output.shard, stamps, SEEN, dataset)
