"""Rule show_lenses: the table of observed lenses in, a page with pictures of each out."""

from darkhaloscope.config.observed import Observed
from darkhaloscope.core.reading import read_json
from darkhaloscope.core.tables import read_table
from darkhaloscope.detectors.observed.schema import lens_schema
from darkhaloscope.jobs.stage import stage
from darkhaloscope.report.observed_page import observed_page

with stage(snakemake) as job:
    observed = Observed.model_validate(job.params.observed)
    sample = read_json(job.input.sample, "figures of a sample as JSON", "delete it, so that rule gather_lenses makes it again", ValueError)
    page = observed_page(read_table(job.input.lenses, lens_schema(observed.shown)), sample, observed, name=job.wildcards.observed)
    job.write_text(job.output.page, page)
