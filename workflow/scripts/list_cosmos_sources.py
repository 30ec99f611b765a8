"""Rule list_cosmos_sources: a COSMOS sample's catalogue in, the galaxies that pass the cuts out."""

from darkhaloscope.config.sources import CosmosSources
from darkhaloscope.core.tables import write_table
from darkhaloscope.jobs.stage import log, stage
from darkhaloscope.sources.cosmos import COSMOS_SOURCES, list_sources

with stage(snakemake) as job:
    sources, said = list_sources(CosmosSources.model_validate(job.params.settings), job.params.catalog)
    log.info("%s", ", ".join(said))
    write_table(job.output.sources, COSMOS_SOURCES, sources)
