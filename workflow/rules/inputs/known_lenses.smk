"""What the rules of known lenses take as inputs and parameters."""


def known_lens_bricks(wildcards):
    """Bricks that hold known lenses of a dataset's survey."""
    survey = survey_of(wildcards)
    with open(fetched(checkpoints.list_known_lens_bricks.get(survey=survey).output.names), encoding="utf-8") as file:
        return [f"<results>/legacysurvey/{survey}/bricks/{name}" for name in file.read().split()]


def real_sky_files(wildcards):
    """The real galaxies of a dataset, and the table of their labels."""
    section = settings.datasets[wildcards.dataset].real_sky
    return [path for path in (section.path, section.labels) if path]
