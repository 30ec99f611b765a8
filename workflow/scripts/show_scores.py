"""Rule show_scores: the rates of a table of scores made elsewhere in, a page that opens from disk out."""

from pathlib import Path

from darkhaloscope.core.csv_tables import read_csv
from darkhaloscope.evaluation.tidy import read_frame
from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.scores_page import scores_page

with stage(snakemake) as job:
    names = ("rates", "strata", "roc")
    page = scores_page(
        job.wildcards.scores,
        Path(job.params.table).name,
        {name: read_frame(job.input[name]) for name in names},
        job.params.least_expected,
        job.input.picture if len(read_csv(job.input.cells)) else None,
        {name: f"{name}.csv" for name in (*names, "calibration", "purity", "completeness")},
    )
    job.write_text(job.output.page, page)
