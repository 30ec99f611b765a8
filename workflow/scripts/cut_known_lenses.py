"""Rule cut_known_lenses: known lenses and the bricks around them in, their stamps out."""

from pathlib import Path

from darkhaloscope.config.lensfinder import SkySplits
from darkhaloscope.core.tables import read_table, write_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.surveys.legacysurvey.schema import KNOWN_LENSES
from darkhaloscope.tasks.lensfinder.hosts import read_parent, split_regions
from darkhaloscope.tasks.lensfinder.known_lenses import cut_known_lenses, known_stamp_schema, splits_by_region

with stage(snakemake) as job:
    cells = read_parent(job.input.parent)["healpix"]
    folders = {Path(folder).name: folder for folder in job.input.bricks}
    stamps = cut_known_lenses(
        read_table(job.input.lenses, KNOWN_LENSES),
        folders.__getitem__,
        splits_by_region(cells, split_regions(cells, SkySplits.model_validate(job.params.splits))),
        dataset=job.wildcards.dataset,
        size=job.params.size,
        **job.params.survey,
    )
    write_table(job.output.stamps, known_stamp_schema(job.params.size), stamps)
