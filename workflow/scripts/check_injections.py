"""Rule check_injections: all shards of a lens-finder dataset in; its quality report out; a failed gate stops the run."""

from darkhaloscope.config.lensfinder import LENS_KINDS
from darkhaloscope.report.dataset_page import dataset_page
from darkhaloscope.stage import stage
from darkhaloscope.stamps.injection_quality import measure_injections, require_gates

with stage(snakemake) as job:
    shards = {split: list(job.input[split]) for split in ("train", "validation", "test")}
    dataset = LENS_KINDS[job.params.dataset["kind"]].model_validate(job.params.dataset)
    quality = measure_injections(shards, dataset)
    require_gates(quality)
    job.write_csv(job.output.table, quality.distributions)
    job.write_text(job.output.page, dataset_page(job.wildcards.dataset, quality))
    job.write_json(job.output.checks, quality.plain())
