"""Rule check_stamps: what was seen of all shards of a dataset in; its gates, tables and pictures out; a failed gate stops the run."""

from darkhaloscope.config.kinds import DATASET_KINDS
from darkhaloscope.jobs.stage import stage
from darkhaloscope.stamps.checks import measure_stamps
from darkhaloscope.stamps.gates import require
from darkhaloscope.stamps.pictures import write_pictures
from darkhaloscope.tasks import part

with stage(snakemake) as job:
    kind = job.params.dataset["kind"]
    seen = {split: list(job.input[split]) for split in ("train", "validation", "test")}
    dataset = DATASET_KINDS[kind].model_validate(job.params.dataset)
    quality = measure_stamps(seen, list(job.input.shown), dataset, part(kind, "checks").CHECKS)
    require(quality.gates)
    job.write_csv(job.output.table, quality.distributions)
    write_pictures(job.output.pictures, quality.pictures)
    job.write_json(job.output.checks, quality.plain())
