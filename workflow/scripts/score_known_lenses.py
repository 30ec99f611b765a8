"""Rule score_known_lenses: stamps of known lenses and trained networks in; scores, and recall at validation's thresholds, out."""

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.detectors.schema import read_scores
from darkhaloscope.evaluation.known_lenses import recall_known_lenses
from darkhaloscope.evaluation.scored import load_seeds
from darkhaloscope.jobs.stage import stage
from darkhaloscope.learning.score import score_known_lenses
from darkhaloscope.learning.weights import load_network

with stage(snakemake) as job:
    networks = [load_network(*pair) for pair in zip(job.input.weights, job.input.networks, strict=True)]
    lenses, scores = score_known_lenses(job.input.stamps, networks, unseen_sky=job.params.joined, threads=job.threads)
    validation = load_seeds(read_scores(job.input.scores), job.params.dataset, "validation")
    recall = recall_known_lenses(lenses, scores, validation, Evaluation.model_validate(job.params.evaluation))
    job.write_csv(job.output.recall, recall)
    job.write_csv(job.output.scores, lenses.assign(**{f"score_seed_{seed}": values for seed, values in scores.items()}))
