"""Rule fuse_scores: scores of several detectors in; those of all together, by a fit on validation stamps, and the fit out."""

from darkhaloscope.core.tables import write_table
from darkhaloscope.detectors.fusion import fit_fusion, fuse_scores
from darkhaloscope.detectors.schema import read_score_table, scores_schema
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    fitted, scored = (
        {name: [read_score_table(path) for path in paths] for name, paths in job.grouped(job.params.members, files).items()}
        for files in (job.input.fitted, job.input.scored)
    )
    fusion = fit_fusion(fitted)
    columns = fuse_scores(fusion, scored, dataset=job.wildcards.test, detector=job.wildcards.detector)
    schema = scores_schema(columns)
    write_table(job.output.scores, schema, schema.table(columns))
    job.write_json(job.output.fit, fusion.plain())
