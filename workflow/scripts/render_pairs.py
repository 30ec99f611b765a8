"""Rule render_pairs: one shard's training rows of the manifest in, their noiseless pairs out."""

import json

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import write_table
from darkhaloscope.ifu.bank import read_bank
from darkhaloscope.jobs.stage import stage
from darkhaloscope.stamps.manifest import read_rows
from darkhaloscope.tasks.subhalo.render import render_pairs
from darkhaloscope.tasks.subhalo.schema import MANIFEST, pair_schema

with stage(snakemake) as job:
    rendering = {**job.params.dataset["rendering"], "batch_size": snakemake.config["batch_sizes"][job.wildcards.dataset]}
    dataset = SubhaloDataset.model_validate({**job.params.dataset, "rendering": rendering})
    bank = read_bank(job.input.bank[0]) if job.input.bank else None
    rows = read_rows(job.input.manifest, MANIFEST, "train", int(job.wildcards.shard), dataset.shard_size)
    pairs = render_pairs(rows, dataset, bank, Cosmology.model_validate(job.params.cosmology))
    # What the noise is drawn from goes with the pairs: the instrument, and the seed that the stamps have theirs from.
    observation = {"instrument": json.dumps(dataset.instrument.plain(), sort_keys=True), "seed": str(dataset.seed)}
    write_table(job.output.pairs, pair_schema(dataset.instrument.stamp_size), pairs, **observation)
