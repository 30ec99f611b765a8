"""Rule map_completeness: scores of one network in; completeness by cells, a picture and selection functions out."""

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.detectors.schema import column_units, read_scores
from darkhaloscope.evaluation import selection
from darkhaloscope.evaluation.completeness import map_completeness
from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.completeness import draw_completeness

with stage(snakemake) as job:
    cells, selections = map_completeness(
        read_scores(job.input.scores),
        Evaluation.model_validate(job.params.evaluation),
        column_units(),
        validation=job.params.dataset,
        tests=list(job.params.tests),
        network=job.wildcards.detector,
    )
    job.write_csv(job.output.cells, cells)
    selection.write(job.output.selection, selections)
    with job.whole(job.output.picture) as temporary:
        draw_completeness(cells, selections).savefig(temporary, dpi=150)
