"""Rule list_cosmos_sources: a COSMOS sample's catalogue in, the galaxies that pass the cuts out."""

from darkhaloscope.config.lensfinder import CosmosSources
from darkhaloscope.sources.cosmos import COSMOS_SOURCES, list_sources
from darkhaloscope.stage import log, stage
from darkhaloscope.tables import write_table

with stage(snakemake) as job:
    sources, said = list_sources(CosmosSources.model_validate(job.params.settings), job.params.catalog)
    log.info("%s", ", ".join(said))
    write_table(job.output.sources, COSMOS_SOURCES, sources)
