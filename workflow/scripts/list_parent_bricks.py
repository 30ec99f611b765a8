"""Rule list_parent_bricks: a parent sample in, its bricks in pieces out."""

from darkhaloscope.jobs.stage import stage
from darkhaloscope.tasks.lensfinder.search import parent_pieces

with stage(snakemake) as job:
    job.write_csv(job.output.pieces, parent_pieces(job.input.parent))
