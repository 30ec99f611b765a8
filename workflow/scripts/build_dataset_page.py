"""Rule build_dataset_page: what the checks of a dataset found and its test shards in, a page that opens from disk out."""

import json
from pathlib import Path

from darkhaloscope.config.lensfinder import LENS_KINDS
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.dataset_page import dataset_page
from darkhaloscope.stamps.pictures import read_pictures

KINDS = {"subhalo": SubhaloDataset, **LENS_KINDS}

with stage(snakemake) as job:
    values = job.params.dataset
    root = "../../.."  # from datasets/{dataset}/quality
    reports = {f"Report of {name}": f"{root}/experiments/{name}/report/index.html" for name in job.params.experiments}
    sample = job.params.sample
    galaxies = {f"Galaxies of sample {sample}": f"{root}/manga/{sample}/galaxies.html"} if sample else {}
    page = dataset_page(
        job.wildcards.dataset,
        KINDS[values["kind"]].model_validate(values),
        json.loads(Path(job.input.checks).read_text(encoding="utf-8")),
        list(job.input.shards),
        read_pictures(job.input.pictures),
        {"All experiments": f"{root}/index.html", **reports, **galaxies},
    )
    job.write_text(job.output.page, page)
