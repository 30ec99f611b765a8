"""Inputs that several rules share: what a wildcard's galaxy, dataset or experiment needs."""


def galaxies(sample):
    """Galaxies of a sample; waits for the ranking where the sample takes its top."""
    return flow.candidates(sample, lambda: checkpoints.rank_disks.get(sample=sample).output.ranking)


def accepted_tensors(suffix):
    """Source tensors of the galaxies that the lensability score lets through."""

    def files(wildcards):
        scores = checkpoints.score_lensability.get(sample=wildcards.sample).output.table
        return [paths.tensor(suffix).format(sample=wildcards.sample, plateifu=name) for name in flow.accepted(wildcards.sample, scores)]

    return files


def experiment_tables(name):
    """One table of the evaluation of every network of an experiment."""
    return lambda wildcards: [
        paths.evaluation(name).format(experiment=wildcards.experiment, network=network)
        for network in flow.run.experiments[wildcards.experiment].networks
    ]


def of_experiment(pattern):
    """Files of every network and seed of an experiment, in the order of its config."""

    def files(wildcards):
        settings = flow.run.experiments[wildcards.experiment]
        return [
            pattern.format(dataset=settings.dataset, network=network, seed=seed) for network in settings.networks for seed in settings.seeds
        ]

    return files
