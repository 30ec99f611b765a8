"""Rule build_manifest: what a dataset is drawn from in, one row per stamp out."""

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.kinds import DATASET_KINDS
from darkhaloscope.jobs.stage import stage
from darkhaloscope.stamps.manifest import write_manifest
from darkhaloscope.tasks import part

with stage(snakemake) as job:
    kind = job.params.dataset["kind"]
    task, dataset = part(kind, "manifest"), DATASET_KINDS[kind].model_validate(job.params.dataset)
    files = {name: list(paths) for name, paths in job.input.items()}
    rows = task.draw(job.wildcards.dataset, dataset, files, Cosmology.model_validate(job.params.cosmology))
    write_manifest(job.output.manifest, task.MANIFEST, rows)
