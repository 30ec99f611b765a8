"""Rule evaluate_scores: score tables of one network in; rates, strata, ROC and information out."""

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.evaluation.evaluate import evaluate_network, read_scores
from darkhaloscope.stage import stage

with stage(snakemake) as job:
    tables = read_scores(job.input.scores, job.params.dataset, job.params.tests)
    frames = evaluate_network(tables, Evaluation.model_validate(job.params.evaluation), job.params.channels)
    for name, frame in frames.items():
        job.write_csv(job.output[name], frame)
