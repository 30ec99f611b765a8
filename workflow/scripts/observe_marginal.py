"""Rule observe_marginal: test stamps of analytic disks in; ideal and marginal observers' d′ out."""

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.jobs.stage import stage
from darkhaloscope.tasks.subhalo.marginal import marginal_d_prime, read_parametric

with stage(snakemake) as job:
    rows = read_parametric(list(job.input.shards), int(job.params.stamps))
    dataset, cosmology = SubhaloDataset.model_validate(job.params.dataset), Cosmology.model_validate(job.params.cosmology)
    job.write_csv(job.output.table, marginal_d_prime(rows, dataset, cosmology))
