"""Rule observe_marginal: test stamps of analytic disks in; ideal and marginal observers' d′, and the blind ceiling, out."""

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.evaluation.blind import blind_ceiling
from darkhaloscope.jobs.stage import stage
from darkhaloscope.tasks.subhalo.marginal import marginal_d_prime, read_parametric

with stage(snakemake) as job:
    rows = read_parametric(list(job.input.shards), int(job.params.stamps))
    dataset, cosmology = SubhaloDataset.model_validate(job.params.dataset), Cosmology.model_validate(job.params.cosmology)
    blind = job.params.place_step is not None
    found = blind_ceiling(rows, dataset, cosmology, job.params.place_step) if blind else marginal_d_prime(rows, dataset, cosmology)
    job.write_csv(job.output.table, found)
