"""Rule import_scores: a table of scores made elsewhere and the stamps' shards in; the table of scores that every detector has out."""

from darkhaloscope.core.tables import write_table
from darkhaloscope.detectors.elsewhere import import_scores
from darkhaloscope.detectors.schema import scores_schema
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    parts = [
        import_scores(job.input.table[0], list(shards), dataset=job.wildcards.test, detector=job.wildcards.detector)
        for shards in (job.input.validation, job.input.test)
        if shards
    ]
    schema = scores_schema(parts[0])
    write_table(job.output.scores, schema, [schema.table(columns) for columns in parts])
