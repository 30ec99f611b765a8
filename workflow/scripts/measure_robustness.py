"""Rule measure_robustness: score tables of an experiment's detectors on several datasets in; rates and their differences out."""

from darkhaloscope.config.experiment import Evaluation
from darkhaloscope.detectors.schema import read_detectors
from darkhaloscope.evaluation.robustness import measure_robustness, used_columns
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    evaluation = Evaluation.model_validate(job.params.evaluation)
    tables = read_detectors(job.input.scores, used_columns(evaluation))
    found = measure_robustness(
        {name: tables[name] for name in job.params.detectors},
        evaluation,
        home=job.params.home,
        variants=job.params.variants,
        tests=list(job.params.tests),
        gains=[tuple(pair) for pair in job.params.gains],
    )
    job.write_csv(job.output.robustness, found)
