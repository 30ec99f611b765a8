"""Rule map_sensitivity: a shard of stamps and a dataset's priors in, maps of the least detectable mass out."""

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.evidence import Evidence
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import write_table
from darkhaloscope.detectors.evidence.detect import Detector
from darkhaloscope.detectors.evidence.findings import read_observed
from darkhaloscope.detectors.evidence.schema import sensitivity_schema
from darkhaloscope.detectors.evidence.sensitivity import map_sensitivity
from darkhaloscope.jobs.stage import stage
from darkhaloscope.learning.device import find_device

with stage(snakemake) as job:
    evidence, cosmology = Evidence.model_validate(job.params.evidence), Cosmology.model_validate(job.params.cosmology)
    dataset = SubhaloDataset.model_validate(job.params.dataset)
    detector = Detector.of(dataset, cosmology, evidence, find_device())
    stamps = read_observed(job.input.stamps, dataset.instrument.stamp_size)[: evidence.sensitivity.stamps]
    write_table(
        job.output.maps,
        sensitivity_schema(dataset.instrument.stamp_size),
        map_sensitivity(detector, stamps, evidence.sensitivity, cosmology),
    )
