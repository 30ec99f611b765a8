"""Rule evaluate_scores: score tables of one detector in; rates, strata, ROC and information out."""

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.detectors.schema import read_scores
from darkhaloscope.evaluation.evaluate import evaluate_network
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    frames = evaluate_network(
        read_scores(job.input.scores),
        Evaluation.model_validate(job.params.evaluation),
        channels=job.params.channels,
        validation=job.params.dataset,
        tests=list(job.params.tests),
    )
    for name, frame in frames.items():
        job.write_csv(job.output[name], frame)
