"""Rule gather_lenses: the tables of all lenses of a sample in, one of each kind and the sample's figures out."""

from darkhaloscope.config.observed import Observed
from darkhaloscope.core.tables import write_table
from darkhaloscope.detectors.observed.sample import describe_sample, gather, listed
from darkhaloscope.detectors.observed.schema import TRIALS, lens_schema
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    observed = Observed.model_validate(job.params.observed)
    schema = lens_schema(observed.shown)
    lenses, trials = gather(job.input.lenses, schema), gather(job.input.trials, TRIALS)
    write_table(job.output.lenses, schema, lenses)
    write_table(job.output.trials, TRIALS, trials)
    job.write_csv(job.output.table, listed(lenses).drop(columns="halos"))
    job.write_json(job.output.sample, describe_sample(listed(lenses), trials.to_pandas(), observed.subhalos))
