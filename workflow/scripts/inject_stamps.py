"""Rule inject_stamps: one shard's rows of the manifest and their bricks in, stamps out."""

from darkhaloscope.config.lensfinder import LensFinderDataset
from darkhaloscope.stage import stage
from darkhaloscope.stamps.injection import inject_rows
from darkhaloscope.stamps.injection_inputs import cut_rows, open_stills
from darkhaloscope.stamps.injection_manifest import read_rows
from darkhaloscope.stamps.injection_schema import injection_schema
from darkhaloscope.tables import write_table

with stage(snakemake) as job:
    rendering = {**job.params.dataset["rendering"], "batch_size": snakemake.config["batch_sizes"][job.wildcards.dataset]}
    dataset = LensFinderDataset.model_validate({**job.params.dataset, "rendering": rendering})
    rows = read_rows(job.input.manifest, dataset, job.wildcards.split, int(job.wildcards.shard))
    cutouts = cut_rows(rows, list(job.input.bricks), dataset.camera.stamp_size, **job.params.survey)
    stills = open_stills(cosmos=job.input.cosmos, catalog=job.params.catalog, bank=job.input.bank)
    write_table(job.output.shard, injection_schema(dataset.camera.stamp_size), inject_rows(rows, dataset, cutouts, stills))
