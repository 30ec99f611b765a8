"""Rule make_mock_survey: a whole mock Legacy Survey archive below the results root."""

from darkhaloscope.archive.addresses import local_path
from darkhaloscope.config.legacysurvey import MockSky
from darkhaloscope.jobs.stage import stage
from darkhaloscope.mock.legacysurvey import make_mock_survey

with stage(snakemake) as job:
    folder, sky = local_path(job.params.base), MockSky.model_validate(job.params.sky)
    make_mock_survey(folder, sky, sky.seed, job.params.bands, workers=job.threads)
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.suffix != ".json")
    job.write_json(job.output.marker, {"mock": True, "sky": sky.plain(), "files": files})
