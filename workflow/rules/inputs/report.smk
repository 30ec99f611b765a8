"""What the rules of reports take as inputs and parameters."""


def histories(wildcards):
    """How every network and seed of an experiment trained, in the order of its config."""
    section = settings.experiments[wildcards.experiment]
    folder = f"<results>/detectors/{section.dataset}"
    return [f"{folder}/{detector}/seed-{seed}/history.csv" for detector in networks_of(wildcards.experiment) for seed in section.seeds]


def described(wildcards):
    """What each network of an experiment is, by the one that the first seed trained."""
    section = settings.experiments[wildcards.experiment]
    folder = f"<results>/detectors/{section.dataset}"
    return [f"{folder}/{detector}/seed-{section.seeds[0]}/network.json" for detector in networks_of(wildcards.experiment)]


def all_scores(wildcards):
    """The scores of every detector of an experiment."""
    detectors = settings.experiments[wildcards.experiment].detectors
    return [path for detector in detectors for path in scores(wildcards.experiment, detector)]


def lens_tables(wildcards, name):
    """One table of the evaluation of every detector of an experiment on the lens finder's stamps."""
    kind = settings.datasets[settings.experiments[wildcards.experiment].dataset].kind
    return [] if kind == "subhalo" else experiment_tables(name)(wildcards)


def pages(experiment):
    """The pages that the report of an experiment links to, by what they are called: its datasets, and of the lens finder's its candidates."""
    section = settings.experiments[experiment]
    first = section.test_datasets[0]
    found = {f"Dataset {name}": f"<results>/datasets/{name}/quality/index.html" for name in checked_datasets(experiment)}
    if settings.datasets[first].kind == "subhalo":
        return found
    lists = {f"Candidates ranked by {n}": f"<results>/experiments/{experiment}/candidates/{first}/{n}.html" for n in section.detectors}
    return {**found, **lists, **{f"Candidates of the survey by {n}": path for n, path in searches(experiment).items()}}


def checked_datasets(experiment):
    """The datasets of an experiment that have a page: those that it tests on first and trains on."""
    section = settings.experiments[experiment]
    return list(dict.fromkeys([section.test_datasets[0], section.dataset]))


def shown_datasets():
    """The datasets of the run's experiments that have a page."""
    return list(dict.fromkeys(name for experiment in settings.reported for name in checked_datasets(experiment)))


def experiments_on(wildcards):
    """The experiments of the run whose reports link to the wildcard's dataset."""
    return [name for name in settings.reported if wildcards.dataset in checked_datasets(name)]


def mock_datasets(wildcards):
    """The datasets of an experiment that take galaxies from a mock archive or a mock sky."""

    def mock(dataset):
        sample, survey = getattr(getattr(dataset, "sources", None), "sample", None), getattr(dataset, "sky_survey", None)
        return (sample and settings.manga.samples[sample].mock) or (survey and settings.legacysurvey.surveys[survey].mock)

    return [name for name in scored_datasets(wildcards.experiment) if mock(settings.datasets[name])]
