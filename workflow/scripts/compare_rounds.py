"""Rule compare_rounds: score tables of all rounds of a network in, false-positive rates at fixed completeness out."""

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.detectors.schema import read_scores
from darkhaloscope.evaluation.rounds import compare_rounds
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    rounds = [(name, read_scores(job.input.scores, detector=name)) for name in job.params.rounds]
    job.write_csv(job.output.rounds, compare_rounds(rounds, Evaluation.model_validate(job.params.evaluation), list(job.params.tests)))
