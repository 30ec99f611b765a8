"""Rule score_parents: stamps of galaxies as they are and trained networks in, scores of all and pixels of the best out."""

import pyarrow as pa
import pyarrow.parquet as pq

from darkhaloscope.jobs.stage import stage
from darkhaloscope.learning.cutouts import best_stamps, score_cutouts
from darkhaloscope.learning.weights import load_network

with stage(snakemake) as job:
    weights, described = (job.grouped(job.params.seeds, files) for files in (job.input.weights, job.input.networks))
    networks = {name: [load_network(*pair) for pair in zip(weights[name], described[name], strict=True)] for name in weights}
    scored = score_cutouts(job.input.stamps, networks, job.threads)
    best = best_stamps(job.input.stamps, scored, list(networks), job.params.shown)
    for path, table in ((job.output.scores, pa.Table.from_pandas(scored, preserve_index=False)), (job.output.best, best)):
        with job.whole(path) as temporary:
            pq.write_table(table, temporary)
