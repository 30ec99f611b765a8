"""Rule mine_hard_negatives: the network of the round before and training controls in, the hardest of them out."""

import numpy as np
import pyarrow.parquet as pq

from darkhaloscope.config.network import Mining
from darkhaloscope.core.tables import write_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.learning.mining import MINED, mine_hard_negatives
from darkhaloscope.learning.weights import load_network

with stage(snakemake) as job:
    tables = [pq.read_table(path, columns=["ra", "dec"]) for path in job.input.lenses]
    lenses = tuple(np.concatenate([np.empty(0), *(t[name].to_numpy() for t in tables)]) for name in ("ra", "dec"))
    mined = mine_hard_negatives(
        load_network(job.input.weights, job.input.network),
        {job.wildcards.dataset: list(job.input.train), **job.grouped(job.params.extra, job.input.extra)},
        list(job.input.held_out),
        lenses,
        Mining.model_validate(job.params.mining),
        job.threads,
    )
    write_table(job.output.mined, MINED, MINED.table(mined))
