"""Rule observe_marginal: test stamps of analytic disks in; ideal and marginal observers' d′ out."""

from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.stage import stage
from darkhaloscope.stamps.marginal import observe_shards

with stage(snakemake) as job:
    frame = observe_shards(list(job.input.shards), SubhaloDataset.model_validate(job.params.dataset), job.params.stamps)
    job.write_csv(job.output.table, frame)
