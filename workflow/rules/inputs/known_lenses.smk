"""What the rules of known lenses take as inputs and parameters."""


def known_lens_bricks(wildcards):
    """Bricks that hold known lenses of a dataset's survey."""
    survey = survey_of(wildcards)
    with open(fetched(checkpoints.list_known_lens_bricks.get(survey=survey).output.names), encoding="utf-8") as file:
        return [f"<results>/legacysurvey/{survey}/bricks/{name}" for name in file.read().split()]
