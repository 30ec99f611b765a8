"""Rule choose_examples: test stamps and the bank of their sources in; the examples that the report shows, rendered, out."""

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.evaluation.example_table import write_examples
from darkhaloscope.evaluation.examples import choose_examples
from darkhaloscope.ifu.bank import read_bank
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    bank = read_bank(job.input.bank[0]) if job.input.bank else None
    dataset, cosmology = SubhaloDataset.model_validate(job.params.dataset), Cosmology.model_validate(job.params.cosmology)
    write_examples(job.output.table, choose_examples(job.input.shard[0], dataset, bank, cosmology))
