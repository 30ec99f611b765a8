"""Rule build_source_bank: the source tensors of a sample in, one table out."""

from darkhaloscope.config.manga import Galaxies
from darkhaloscope.core.csv_tables import read_csv
from darkhaloscope.ifu.bank import build_bank, write_bank
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    pairs = list(zip(job.input.maps, job.input.facts, strict=True))
    scores = read_csv(job.input.lensability, text=("galaxy_id", "physical_id", "tier", "reasons"), numbers=("score",))
    write_bank(job.output.bank, build_bank(pairs, scores, Galaxies.model_validate(job.params.galaxies)))
