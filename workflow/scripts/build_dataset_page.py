"""Rule build_dataset_page: what the checks of a dataset found in, a page that opens from disk out."""

import json
from pathlib import Path

from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.dataset_page import dataset_page
from darkhaloscope.stamps.pictures import read_pictures

with stage(snakemake) as job:
    checks = json.loads(Path(job.input.checks).read_text(encoding="utf-8"))
    job.write_text(job.output.page, dataset_page(job.wildcards.dataset, checks, read_pictures(job.input.pictures)))
