"""Rule check_shortcuts: test stamps and trained networks in; gates that find shortcuts, as a table and as JSON, out."""

from functools import partial

import pandas as pd

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.config.lensfinder import PIXEL_SCALE_ARCSEC
from darkhaloscope.evaluation.shortcuts import SHORTCUTS, check_shortcuts, summary
from darkhaloscope.learning.altered import committee_margins, sample_bands
from darkhaloscope.learning.weights import load_network
from darkhaloscope.stage import stage

with stage(snakemake) as job:
    evaluation = Evaluation.model_validate(job.params.evaluation)
    networks = [load_network(*pair) for pair in zip(job.input.weights, job.input.networks, strict=True)]
    stamps, images = sample_bands(list(job.input.shards), evaluation.shortcuts.stamps)
    margins = partial(committee_margins, networks, threads=job.threads)
    table = check_shortcuts(
        lambda altered, rows: margins(altered, stamps.scalars[rows]),
        images,
        stamps.labels == 1,
        evaluation.shortcuts,
        PIXEL_SCALE_ARCSEC,
        evaluation.confidence,
    )
    table = pd.DataFrame(table.assign(test_dataset=job.wildcards.test), columns=list(SHORTCUTS))
    job.write_csv(job.output.table, table)
    job.write_json(job.output.gates, summary(table, job.wildcards.network))
