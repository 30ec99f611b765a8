"""Inputs that several rules share: what a wildcard's galaxy, dataset or experiment needs."""


def here(files):
    """Mark what an input function gives as files of this machine, wherever results go: what the user names, and mock archives."""
    return lambda wildcards: [local(path) for path in files(wildcards)]


def galaxies(sample):
    """Galaxies of a sample; waits for the ranking where the sample takes its top."""
    return flow.candidates(sample, lambda: fetched(checkpoints.rank_disks.get(sample=sample).output.ranking))


def accepted_tensors(suffix):
    """Source tensors of the galaxies that the lensability score lets through."""

    def files(wildcards):
        scores = fetched(checkpoints.score_lensability.get(sample=wildcards.sample).output.table)
        return [paths.tensor(suffix).format(sample=wildcards.sample, plateifu=name) for name in flow.accepted(wildcards.sample, scores)]

    return files


def experiment_tables(name):
    """One table of the evaluation of every detector of an experiment."""
    return lambda wildcards: [
        paths.evaluation(name).format(experiment=wildcards.experiment, detector=detector)
        for detector in flow.run.experiments[wildcards.experiment].detectors
    ]


def known_lens_bricks(wildcards):
    """Bricks that hold known lenses of a dataset's survey."""
    survey = flow.survey_of(wildcards)
    names = fetched(checkpoints.list_known_lens_bricks.get(survey=survey).output.names)
    return [paths.brick.format(survey=survey, brickname=name) for name in open(names, encoding="utf-8").read().split()]


def shard_bricks(wildcards):
    """Bricks that the stamps of one shard come from."""
    bricks = fetched(checkpoints.build_injections.get(dataset=wildcards.dataset).output.bricks)
    survey = flow.survey_of(wildcards)
    return [paths.brick.format(survey=survey, brickname=name) for name in flow.bricks_of(bricks, wildcards.split, int(wildcards.shard))]
