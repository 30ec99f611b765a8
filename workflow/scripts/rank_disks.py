"""Rule rank_disks: the catalogues in, ranked galaxies out."""

from darkhaloscope.config.manga import Ranking, Sample
from darkhaloscope.manga.catalogs import rank_disks, read_catalogs
from darkhaloscope.stage import stage

with stage(snakemake) as job:
    sample = Sample.model_validate(job.params.sample)
    catalog = read_catalogs(job.input.dapall, job.input.drpall, sample)
    job.write_csv(job.output.ranking, rank_disks(catalog, Ranking.model_validate(job.params.ranking), job.params.line, sample))
