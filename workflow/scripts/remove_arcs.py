"""Rule remove_arcs: test stamps of a lens-finder dataset in; some positives without their arcs, with and without the arcs' noise, out."""

from darkhaloscope.config.lensfinder import LensFinderDataset
from darkhaloscope.core.tables import write_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.tasks.lensfinder.inputs import open_stills
from darkhaloscope.tasks.lensfinder.schema import without_arc_schema
from darkhaloscope.tasks.lensfinder.without_arcs import choose_hosts, remove_arcs

with stage(snakemake) as job:
    rendering = {**job.params.dataset["rendering"], "batch_size": snakemake.config["batch_sizes"][job.wildcards.dataset]}
    dataset = LensFinderDataset.model_validate({**job.params.dataset, "rendering": rendering})
    stamps = choose_hosts(list(job.input.shards), dataset.camera.stamp_size)
    stills = open_stills({"cosmos": job.input.cosmos, "catalog": [job.params.catalog], "bank": job.input.bank})
    for path, table in zip((job.output.removed, job.output.bare), remove_arcs(stamps, dataset, stills), strict=True):
        write_table(path, without_arc_schema(dataset.camera.stamp_size), table)
