"""Rule rank_parents: the scores of a parent sample and its known lenses in, a ranked list and a page to look through out."""

from pathlib import Path

from pyarrow import csv

from darkhaloscope.core.tables import read_columns
from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.candidates import rank_parents, search_page

with stage(snakemake) as job:
    detector, experiment = job.wildcards.detector, job.wildcards.experiment
    known = read_columns(job.input.lenses, ["object_id", "name"])
    ranked = rank_parents(map(read_columns, job.input.scores), known, detector)
    with job.whole(job.output.table) as temporary:
        csv.write_csv(ranked, temporary)
    page = search_page(
        ranked,
        list(job.input.best),
        shown=job.params.shown,
        survey=job.params.survey,
        mock=job.params.mock,
        bands=job.params.bands,
        network=detector,
        seeds=job.params.seeds,
        table=Path(job.output.table).name,
        pages={
            "All experiments": "../../../index.html",
            f"Report of {experiment}": "../report/index.html",
        },  # from experiments/{experiment}/search
    )
    job.write_text(job.output.page, page)
