"""Rule build_manifest: the source bank in, one row per stamp out."""

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import write_table
from darkhaloscope.ifu.bank import read_bank
from darkhaloscope.jobs.stage import stage
from darkhaloscope.stamps.schema import MANIFEST
from darkhaloscope.tasks.subhalo.manifest import build_manifest

with stage(snakemake) as job:
    bank = read_bank(job.input.bank[0]) if job.input.bank else None
    manifest = build_manifest(
        job.wildcards.dataset, SubhaloDataset.model_validate(job.params.dataset), bank, Cosmology.model_validate(job.params.cosmology)
    )
    # Every shard reads the footer, which grows with the number of row groups.
    write_table(job.output.manifest, MANIFEST, manifest, row_group=16384)
