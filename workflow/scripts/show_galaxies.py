"""Rule show_galaxies: the scores of a sample and where its galaxies' pages and pictures are in, the sample's page out."""

import os
from pathlib import Path

import pandas as pd

from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.galaxies import galaxies_page

with stage(snakemake) as job:
    folder = Path(job.output.page).parent
    scored = pd.read_csv(job.input.scores, dtype={"galaxy_id": str})
    inspections, pictures = (
        {name: os.path.relpath(path, folder) for name, path in zip(names, paths, strict=True)}
        for names, paths in ((job.params.galaxies, job.input.inspections), (job.params.accepted, job.input.pictures))
    )
    pages = {"All experiments": "../../index.html"}  # from manga/{sample}
    job.write_text(job.output.page, galaxies_page(job.wildcards.sample, scored, inspections, pictures, mock=job.params.mock, pages=pages))
