"""Rule make_mock_archive: a whole mock MaNGA archive below the results root."""

from pathlib import Path

from darkhaloscope.archive.addresses import local_path
from darkhaloscope.archive.mock_manga import make_mock_manga
from darkhaloscope.config.manga import Sample
from darkhaloscope.stage import stage

with stage(snakemake) as job:
    sample = Sample.model_validate(job.params.sample)
    folder = local_path(sample.base)
    make_mock_manga(folder, sample, sample.mock_galaxies)
    files = sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*.fits*"))
    job.write_json(job.output.marker, {"mock": True, "galaxies": sample.mock_galaxies, "files": files})
