"""Rule compare_networks: score tables of several networks in, paired differences out."""

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.evaluation.evaluate import compare_pairs
from darkhaloscope.stage import stage

with stage(snakemake) as job:
    frame = compare_pairs(job.input.scores, job.params.comparisons, job.params.tests, Evaluation.model_validate(job.params.evaluation))
    job.write_csv(job.output.comparison, frame)
