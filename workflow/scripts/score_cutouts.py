"""Rule score_cutouts: prepared cutouts and trained networks in, one row for each cutout with its scores out."""

import pyarrow as pa
import pyarrow.parquet as pq

from darkhaloscope.jobs.provenance import made_of
from darkhaloscope.jobs.stage import stage
from darkhaloscope.learning.cutouts import score_cutouts
from darkhaloscope.learning.weights import load_network

with stage(snakemake) as job:
    weights, described = (job.grouped(job.params.seeds, files) for files in (job.input.weights, job.input.networks))
    networks = {name: [load_network(*pair) for pair in zip(weights[name], described[name], strict=True)] for name in weights}
    learnt = job.grouped(job.params.learnt, job.input.real)
    judged = job.grouped(job.params.judged, job.input.judged)
    # Scores of a training before this one say nothing of today's network.
    judged = {name: tables for name, tables in judged.items() if all(map(made_of, tables, weights[name]))}
    scored = score_cutouts(job.input.stamps, networks, job.threads, trained_on=learnt, judged_on=judged)
    job.write_csv(job.output.table, scored)
    with job.whole(job.output.scores) as temporary:
        pq.write_table(pa.Table.from_pandas(scored, preserve_index=False), temporary)
