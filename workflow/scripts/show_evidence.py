"""Rule show_evidence: test stamps and a dataset's priors in; what the model-based detector makes of the report's first stamp out."""

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.evidence import Evidence
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.detectors.evidence.detect import Detector
from darkhaloscope.evaluation.example_table import write_examples
from darkhaloscope.evaluation.shown_evidence import show_evidence
from darkhaloscope.jobs.stage import stage
from darkhaloscope.learning.device import find_device

with stage(snakemake) as job:
    cosmology = Cosmology.model_validate(job.params.cosmology)
    dataset, evidence = SubhaloDataset.model_validate(job.params.dataset), Evidence.model_validate(job.params.evidence)
    write_examples(
        job.output.table, show_evidence(job.input.stamps[0], Detector.of(dataset, cosmology, evidence, find_device()), cosmology)
    )
