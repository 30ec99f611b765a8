"""Rule build_injections: parent sample and source galaxies in; one row per stamp, and each shard's bricks, out."""

from darkhaloscope.config.lensfinder import LensFinderDataset
from darkhaloscope.jobs.stage import stage
from darkhaloscope.tasks.lensfinder.hosts import read_parent
from darkhaloscope.tasks.lensfinder.manifest import build_injections
from darkhaloscope.tasks.lensfinder.priors import read_galaxies

with stage(snakemake) as job:
    dataset = LensFinderDataset.model_validate(job.params.dataset)
    galaxies = read_galaxies(dataset, {"cosmos": job.input.cosmos, "bank": job.input.bank})
    build_injections(job.wildcards.dataset, dataset, read_parent(job.input.parent), galaxies, job.output.manifest, job.output.bricks)
