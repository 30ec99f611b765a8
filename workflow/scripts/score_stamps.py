"""Rule score_stamps: shards and a trained network in, one row per stamp with its score out."""

from darkhaloscope.evaluation.schema import SCORES
from darkhaloscope.learning.score import score_stamps
from darkhaloscope.stage import stage
from darkhaloscope.tables import write_table

with stage(snakemake) as job:
    names = job.wildcards
    columns = score_stamps(
        list(job.input.shards),
        job.input.weights,
        job.input.network,
        dataset=names.test,
        network=names.network,
        seed=int(names.seed),
        threads=job.threads,
    )
    write_table(job.output.scores, SCORES, SCORES.table(columns))
