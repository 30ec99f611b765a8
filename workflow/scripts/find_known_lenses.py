"""Rule find_known_lenses: catalogues of known lenses in, those on the survey's bricks out."""

from darkhaloscope.config.legacysurvey import LensCatalogue
from darkhaloscope.core.tables import read_table, write_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.surveys.known_lenses import GALAXY_COLUMNS, find_known_lenses, merge_known_lenses, read_known_lenses
from darkhaloscope.surveys.legacysurvey.schema import KNOWN_LENSES, PARENT
from darkhaloscope.surveys.legacysurvey.sweeps import BrickTable

with stage(snakemake) as job:
    catalogues = {name: LensCatalogue.model_validate(c) for name, c in job.params.lenses.items()}
    lenses = {name: read_known_lenses(c.path, c.layout, c.columns) for name, c in catalogues.items()}
    radius = job.params.cuts["match_radius_arcsec"]
    found = find_known_lenses(
        merge_known_lenses(lenses, radius),
        read_table(job.input.parent, PARENT, GALAXY_COLUMNS),
        BrickTable(job.input.bounds, job.input.conditions),
        job.params.cuts["nside"],
        radius,
    )
    write_table(job.output.lenses, KNOWN_LENSES, found)
