"""Rule inject_stamps: one shard's rows of the manifest and their bricks in, stamps and what is seen of them out."""

from darkhaloscope.config.lensfinder import LensFinderDataset
from darkhaloscope.core.tables import write_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.stamps.manifest import read_rows
from darkhaloscope.stamps.seen import write_seen
from darkhaloscope.tasks.lensfinder.inject import inject_rows
from darkhaloscope.tasks.lensfinder.inputs import cut_rows, open_stills
from darkhaloscope.tasks.lensfinder.schema import MANIFEST, stamp_schema
from darkhaloscope.tasks.lensfinder.seen import SEEN

with stage(snakemake) as job:
    rendering = {**job.params.dataset["rendering"], "batch_size": snakemake.config["batch_sizes"][job.wildcards.dataset]}
    gates = {"flux_closure": job.params.flux_closure, "core_pixels": job.params.core_pixels}
    dataset = LensFinderDataset.model_validate({**job.params.dataset, "rendering": rendering, "gates": gates})
    rows = read_rows(job.input.manifest, MANIFEST, job.wildcards.split, int(job.wildcards.shard), dataset.shard_size)
    cutouts = cut_rows(rows, list(job.input.bricks), dataset.camera.stamp_size, **job.params.survey)
    stills = open_stills({"cosmos": job.input.cosmos, "catalog": [job.params.catalog], "bank": job.input.bank})
    stamps = inject_rows(rows, dataset, cutouts, stills, job.params.survey["bands"])
    write_table(job.output.shard, stamp_schema(dataset.camera.stamp_size), stamps)
    write_seen(job.output.seen, job.output.shard, stamps, SEEN, dataset)
