"""Rule check_shortcuts: test stamps, hosts without arcs, known lenses, real galaxies, networks in; gates that find shortcuts, as a table and as JSON, out."""

from functools import partial

import numpy as np
import pandas as pd

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.config.lensfinder import PIXEL_SCALE_ARCSEC
from darkhaloscope.evaluation.shortcuts import SHORTCUTS, check_hosts, check_likeness, check_real, check_shortcuts, summary
from darkhaloscope.jobs.stage import stage
from darkhaloscope.learning.altered import all_bands, committee_features, committee_margins, labelled_bands, one_of_each_host, sample_bands
from darkhaloscope.learning.weights import load_network

with stage(snakemake) as job:
    evaluation = Evaluation.model_validate(job.params.evaluation)
    gates, confidence, shards = evaluation.shortcuts, evaluation.confidence, list(job.input.shards)
    networks = [load_network(*pair) for pair in zip(job.input.weights, job.input.networks, strict=True)]
    margins, features = (partial(f, networks, threads=job.threads) for f in (committee_margins, committee_features))
    stamps, images = sample_bands(shards, gates.stamps)
    positive, own = stamps.labels == 1, margins(images, stamps.scalars)
    removed, bare = (margins(*all_bands(files[0])) if files else None for files in (job.input.removed, job.input.bare))
    # A network that learnt from known lenses is shown those of the test sky alone.
    lenses = [all_bands(path, "test" if job.params.joined else None) for path in job.input.lenses]
    # Real galaxies with labels come first: what a mock survey calls known lenses was drawn like the injected ones.
    real_lenses, lookalikes = labelled_bands(list(job.input.real), "test" if job.params.real_joined else None, list(job.input.learnt))
    lenses = [real_lenses] if job.input.real else lenses
    injected = positive & one_of_each_host(shards, stamps.numbers)
    found = features(images[injected], stamps.scalars[injected])
    real = features(*lenses[0][:2]) if lenses else np.empty((0, found.shape[1]))
    table = pd.concat(
        [
            check_shortcuts(
                lambda altered, rows: margins(altered, stamps.scalars[rows]), own, images, positive, gates, PIXEL_SCALE_ARCSEC, confidence
            ),
            check_hosts(removed, bare, own[~positive], gates, confidence),
            check_likeness(real, found, gates, confidence),
            check_real(margins(*real_lenses), margins(*lookalikes), own[~positive], gates, confidence),
        ]
    )
    table = pd.DataFrame(table.assign(test_dataset=job.wildcards.test), columns=list(SHORTCUTS))
    job.write_csv(job.output.table, table)
    job.write_json(job.output.gates, summary(table, job.wildcards.detector))
