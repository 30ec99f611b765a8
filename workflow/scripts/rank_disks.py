"""Rule rank_disks: the catalogues in, ranked galaxies out."""

from darkhaloscope.config.manga import Archive, Ranking
from darkhaloscope.ifu.manga.catalogs import rank_disks, read_catalogs
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    archive = Archive.model_validate(job.params.sample)
    catalog = read_catalogs(job.input.dapall, job.input.drpall, archive)
    job.write_csv(job.output.ranking, rank_disks(catalog, Ranking.model_validate(job.params.ranking), job.params.line, archive))
