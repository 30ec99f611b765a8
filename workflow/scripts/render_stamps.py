"""Rule render_stamps: one shard's rows of the manifest in, their stamps and what is seen of them out."""

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import write_table
from darkhaloscope.ifu.bank import read_bank
from darkhaloscope.jobs.stage import stage
from darkhaloscope.stamps.manifest import read_rows
from darkhaloscope.stamps.seen import write_seen
from darkhaloscope.tasks.subhalo.render import render_rows
from darkhaloscope.tasks.subhalo.schema import MANIFEST, stamp_schema
from darkhaloscope.tasks.subhalo.seen import SEEN

with stage(snakemake) as job:
    rendering = {**job.params.dataset["rendering"], "batch_size": snakemake.config["batch_sizes"][job.wildcards.dataset]}
    dataset = SubhaloDataset.model_validate({**job.params.dataset, "rendering": rendering})
    bank = read_bank(job.input.bank[0]) if job.input.bank else None
    rows = read_rows(job.input.manifest, MANIFEST, job.wildcards.split, int(job.wildcards.shard), dataset.shard_size)
    stamps = render_rows(rows, dataset, bank, Cosmology.model_validate(job.params.cosmology))
    write_table(job.output.shard, stamp_schema(dataset.instrument.stamp_size), stamps)
    write_seen(job.output.seen, job.output.shard, stamps, SEEN, dataset)
