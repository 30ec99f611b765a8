"""Rule normalise_source_tensor: one galaxy's maps on square pixels in; normalised tensor, sidecar and preview out."""

from darkhaloscope.config.manga import Quality, Tensor
from darkhaloscope.ifu.members import read_galaxy
from darkhaloscope.ifu.normalised import normalise, write_normalised, write_reason
from darkhaloscope.ifu.tensors import SourceTensor, TensorError, left_out, read_source_tensor
from darkhaloscope.jobs.stage import stage

with stage(snakemake) as job:
    physical = read_source_tensor(job.input.physical, job.input.facts)
    files = (job.output.tensor, job.output.sidecar, job.output.preview)
    if not isinstance(physical, SourceTensor):
        write_reason(physical, *files)
    else:
        maps = read_galaxy(job.params.ifu, job.input.maps, Quality.model_validate(job.params.quality))
        try:
            normalised = normalise(physical, maps, Tensor.model_validate(job.params.tensor))
        except TensorError as error:
            write_reason(left_out(maps, str(error)), *files)
        else:
            write_normalised(physical, normalised, *files)
