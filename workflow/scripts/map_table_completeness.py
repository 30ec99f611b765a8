"""Rule map_table_completeness: scores made elsewhere in; completeness by cells, a picture and selection functions out."""

from darkhaloscope.config.experiment import ScoresTable
from darkhaloscope.detectors.schema import column_units
from darkhaloscope.evaluation import selection
from darkhaloscope.evaluation.completeness import map_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.completeness import draw_completeness

with stage(snakemake) as job:
    cells, selections = map_table(ScoresTable.model_validate(job.params.scores), column_units())
    job.write_csv(job.output.cells, cells)
    selection.write(job.output.selection, selections)
    with job.whole(job.output.picture) as temporary:
        draw_completeness(cells, selections).savefig(temporary, dpi=150)
