"""Rule look_at_lens: the images of one observed lens in, its fit and maps, and its controls and injections out."""

from pathlib import Path

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.evidence import MassFunction
from darkhaloscope.config.observed import Observed
from darkhaloscope.core.tables import write_table
from darkhaloscope.detectors.observed.findings import look_at_lens
from darkhaloscope.detectors.observed.schema import TRIALS, lens_schema
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    observed = Observed.model_validate(job.params.observed)
    lens, trials = look_at_lens(
        Path(observed.path) / job.wildcards.lens,
        observed,
        MassFunction.model_validate(job.params.mass_function),
        Cosmology.model_validate(job.params.cosmology),
    )
    write_table(job.output.lens, lens_schema(observed.shown), lens)
    write_table(job.output.trials, TRIALS, trials)
