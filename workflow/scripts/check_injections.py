"""Rule check_injections: all shards of a lens-finder dataset in; its gates, tables and pictures out; a failed gate stops the run."""

from darkhaloscope.config.lensfinder import LENS_KINDS
from darkhaloscope.jobs.stage import stage
from darkhaloscope.tasks.lensfinder.pictures import write_pictures
from darkhaloscope.tasks.lensfinder.quality import measure_injections, require_gates

with stage(snakemake) as job:
    shards = {split: list(job.input[split]) for split in ("train", "validation", "test")}
    dataset = LENS_KINDS[job.params.dataset["kind"]].model_validate(job.params.dataset)
    quality = measure_injections(shards, dataset)
    require_gates(quality)
    job.write_csv(job.output.table, quality.distributions)
    write_pictures(job.output.pictures, quality.pictures)
    job.write_json(job.output.checks, quality.plain())
