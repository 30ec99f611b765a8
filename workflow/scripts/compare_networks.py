"""Rule compare_networks: score tables of several detectors in, paired differences out."""

import pandas as pd

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.detectors.schema import read_scores
from darkhaloscope.evaluation.comparison import compare_networks
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    evaluation, tests = Evaluation.model_validate(job.params.evaluation), list(job.params.tests)
    frames = [
        compare_networks(
            read_scores(job.input.scores, detector=baseline),
            read_scores(job.input.scores, detector=network),
            evaluation,
            channels=job.params.channels[network],
            tests=tests,
        )
        for baseline, network in job.params.comparisons
    ]
    job.write_csv(job.output.comparison, pd.concat(frames, ignore_index=True))
