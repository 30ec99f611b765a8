"""What the rules of stamps take as inputs and parameters."""


def parent(wildcards):
    """The parent sample that a dataset takes its hosts from, if it does."""
    if hosts_are_cutouts(wildcards.dataset):
        return [f"<results>/datasets/{wildcards.dataset}/host_galaxies.parquet"]
    survey = sky_survey(wildcards.dataset)
    return [f"<results>/legacysurvey/{survey}/parent.parquet"] if survey else []


def listed_cosmos(wildcards):
    """The list of COSMOS galaxies of a dataset, if its sources need one."""
    uses = settings.datasets[wildcards.dataset].sources.mix.get("cosmos", 0) > 0
    return [f"<results>/datasets/{wildcards.dataset}/cosmos_sources.parquet"] if uses else []


def task_digest(script, part):
    """The digest of a script with one part of the dataset's task, which the script imports by the dataset's kind."""
    return lambda wildcards: digest_with(SCRIPTS / f"{script}.py", f"tasks/{settings.datasets[wildcards.dataset].kind}/{part}.py")


def shown_shards(wildcards):
    """The shards of the split whose stamps are shown: test, or the last before it that has some."""
    return next(filter(None, (shards(wildcards.dataset, split) for split in ("test", "validation", "train"))))


def with_pairs():
    """A pattern of the names of the datasets that keep noiseless pairs."""
    return any_of(name for name, dataset in settings.datasets.items() if getattr(dataset, "pairs", False))
