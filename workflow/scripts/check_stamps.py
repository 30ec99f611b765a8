"""Rule check_stamps: all shards of a dataset in, its quality report out; a failed gate stops the run."""

from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.jobs.stage import stage
from darkhaloscope.tasks.subhalo.quality import check_stamps

with stage(snakemake) as job:
    shards = {split: list(job.input[split]) for split in ("train", "validation", "test")}
    job.write_json(job.output.checks, check_stamps(shards, SubhaloDataset.model_validate(job.params.dataset)))
