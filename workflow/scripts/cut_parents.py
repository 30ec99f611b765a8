"""Rule cut_parents: a parent sample and some of its bricks in, stamps of their galaxies as they are out."""

from pathlib import Path

from darkhaloscope.config.lensfinder import LensFinderDataset
from darkhaloscope.core.tables import write_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.tasks.lensfinder.search import cut_parents, search_schema

with stage(snakemake) as job:
    dataset = LensFinderDataset.model_validate(job.params.dataset)
    folders = {Path(folder).name: folder for folder in job.input.bricks}
    stamps = cut_parents(job.input.parent, folders, dataset, **job.params.survey)
    write_table(job.output.stamps, search_schema(dataset.camera.stamp_size), stamps)
