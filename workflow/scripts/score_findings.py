"""Rule score_findings: shards of stamps and of findings in, one row per stamp with its score out."""

from darkhaloscope.core.tables import write_table
from darkhaloscope.detectors.evidence.findings import calibrate, score_table
from darkhaloscope.detectors.schema import SCORES
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    parts = [
        score_table(stamps, found, job.params.channels, dataset=job.wildcards.test, detector=job.wildcards.detector)
        for stamps, found in ((job.input.validation, job.input.found_validation), (job.input.test, job.input.found_test))
        if stamps
    ]
    calibrate(parts)
    write_table(job.output.scores, SCORES, [SCORES.table(columns) for columns in parts])
