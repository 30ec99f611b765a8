"""Rule list_shard_bricks: the manifest of a lens-finder dataset in, the bricks that each shard needs out."""

from darkhaloscope.config.lensfinder import LensFinderDataset
from darkhaloscope.jobs.stage import stage
from darkhaloscope.tasks.lensfinder.manifest import list_bricks

with stage(snakemake) as job:
    list_bricks(job.input.manifest, LensFinderDataset.model_validate(job.params.dataset), job.output.bricks)
