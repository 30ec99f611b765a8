"""Rule detect_subhalos: one shard of stamps and a dataset's priors in, one row of findings per stamp out."""

import hashlib
import json
from pathlib import Path

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.evidence import Evidence
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import write_table
from darkhaloscope.detectors.evidence.detect import Detector
from darkhaloscope.detectors.evidence.findings import find_in_shard
from darkhaloscope.detectors.evidence.schema import findings_schema
from darkhaloscope.jobs.stage import stage
from darkhaloscope.learning.device import find_device
from darkhaloscope.tasks.subhalo.render import report_progress

with stage(snakemake) as job:
    evidence = Evidence.model_validate({**job.params.evidence, "batch_size": snakemake.config["evidence_batch_size"]})
    dataset = SubhaloDataset.model_validate(job.params.dataset)
    detector = Detector.of(dataset, Cosmology.model_validate(job.params.cosmology), evidence, find_device())
    partial = Path(f"{job.output.findings}.partial")
    key = hashlib.sha256(json.dumps(vars(job.params), sort_keys=True).encode()).hexdigest()
    schema = findings_schema(dataset.instrument.stamp_size if evidence.maps else None)
    write_table(job.output.findings, schema, find_in_shard(detector, job.input.stamps, partial, key, report_progress()))
    partial.unlink()
