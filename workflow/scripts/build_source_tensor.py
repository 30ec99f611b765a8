"""Rule build_source_tensor: one galaxy's maps in, its maps on square pixels and their facts out."""

import logging

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.manga import Quality
from darkhaloscope.core.files import sha256
from darkhaloscope.ifu.lensability import read_metrics
from darkhaloscope.ifu.members import read_galaxy
from darkhaloscope.ifu.tensors import TensorError, build_source_tensor, write_left_out, write_source_tensor
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    maps = read_galaxy(job.params.ifu, job.input.maps, Quality.model_validate(job.params.quality))
    metrics, cosmology = read_metrics(job.input.metrics), Cosmology.model_validate(job.params.cosmology)
    files = (job.output.maps, job.output.facts)
    try:
        result = build_source_tensor(maps, metrics, job.params.size, cosmology, sha256(job.input.maps))
    except TensorError as error:
        # One galaxy that cannot be used does not stop its sample.
        logging.getLogger("darkhaloscope").warning("%s", error)
        write_left_out(maps, str(error), *files)
    else:
        write_source_tensor(result, *files)
