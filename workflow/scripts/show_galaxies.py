"""Rule show_galaxies: the scores of a sample and where its galaxies' pages and pictures are in, the sample's page out."""

import os
from pathlib import Path

from darkhaloscope.core.csv_tables import read_csv
from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.galaxies import galaxies_page

with stage(snakemake) as job:
    folder = Path(job.output.page).parent
    scored = read_csv(job.input.scores, text=("galaxy_id", "physical_id", "tier", "reasons"))
    # Whose they are, their names say: a parameter that waits for the ranking could not be compared where Snakemake's records are lost.
    inspections, pictures = (
        {Path(path).stem.removeprefix("source_tensor_"): os.path.relpath(path, folder) for path in paths}
        for paths in (job.input.inspections, job.input.pictures)
    )
    pages = {"All experiments": "../../index.html"}  # from manga/{sample}
    job.write_text(job.output.page, galaxies_page(job.wildcards.sample, scored, inspections, pictures, mock=job.params.mock, pages=pages))
