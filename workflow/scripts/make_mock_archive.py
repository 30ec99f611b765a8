"""Rule make_mock_archive: a whole mock MaNGA archive below the results root."""

from pathlib import Path

from darkhaloscope.archive.addresses import local_path
from darkhaloscope.config.manga import Archive
from darkhaloscope.jobs.stage import stage
from darkhaloscope.mock.manga import make_mock_manga

with stage(snakemake) as job:
    archive = Archive.model_validate(job.params.sample)
    folder = local_path(archive.base)
    make_mock_manga(folder, archive, archive.mock_galaxies)
    files = sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*.fits*"))
    job.write_json(job.output.marker, {"mock": True, "galaxies": archive.mock_galaxies, "files": files})
