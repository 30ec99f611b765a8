"""Rule build_source_tensor: one galaxy's maps in; tensor, physical maps, sidecar and preview out."""

import json
from pathlib import Path

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.manga import Quality, Tensor
from darkhaloscope.core.files import sha256
from darkhaloscope.ifu.manga.maps import read_maps
from darkhaloscope.ifu.tensors import build_source_tensor, write_source_tensor
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    maps = read_maps(job.input.maps, Quality.model_validate(job.params.quality))
    metrics = json.loads(Path(job.input.metrics).read_text(encoding="utf-8"))
    result = build_source_tensor(
        maps, metrics, Tensor.model_validate(job.params.tensor), Cosmology.model_validate(job.params.cosmology), sha256(job.input.maps)
    )
    write_source_tensor(result, job.output.tensor, job.output.sidecar, job.output.maps, job.output.preview)
