"""Rule score_stamps: shards of each split and a trained network in, one row per stamp with its score out."""

from darkhaloscope.core.tables import write_table
from darkhaloscope.detectors.schema import scores_schema
from darkhaloscope.jobs.stage import stage
from darkhaloscope.learning.score import score_stamps

with stage(snakemake) as job:
    parts = [
        score_stamps(
            list(shards),
            job.input.weights,
            job.input.network,
            dataset=job.wildcards.test,
            detector=job.wildcards.detector,
            trained_on=list(job.input.trained_on),
            threads=job.threads,
        )
        for shards in (job.input.validation, job.input.test)
        if shards
    ]
    schema = scores_schema(parts[0])
    write_table(job.output.scores, schema, [schema.table(columns) for columns in parts])
