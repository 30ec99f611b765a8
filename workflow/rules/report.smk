def histories(wildcards):
    """How every network and seed of an experiment trained, in the order of its config."""
    section = settings.experiments[wildcards.experiment]
    folder = f"<results>/detectors/{section.dataset}"
    return [f"{folder}/{detector}/seed-{seed}/history.csv" for detector in networks_of(wildcards.experiment) for seed in section.seeds]


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
    return {**found, **lists}


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


rule build_dataset_page:
    """Write the page of a dataset: one of its own, so that its looks make no training stale."""
    input:
        checks="<results>/datasets/{dataset}/quality/checks.json",
        pictures="<results>/datasets/{dataset}/quality/pictures.npz",
        shards=lambda wildcards: shards(wildcards.dataset, "test"),
    output:
        page=report(
            "<results>/datasets/{dataset}/quality/index.html",
            caption="../report/quality.rst",
            category="Datasets",
            labels={"dataset": "{dataset}"},
        ),
    log:
        "<logs>/build_dataset_page/{dataset}.log",
    benchmark:
        "<benchmarks>/build_dataset_page/{dataset}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime="30m",
    params:
        dataset=dataset_without("rendering", "shard_size"),
        experiments=experiments_on,
        code=digest("build_dataset_page"),
    message:
        "Writing the page of dataset {wildcards.dataset}"
    script:
        "../scripts/build_dataset_page.py"


def mock_datasets(wildcards):
    """The datasets of an experiment that take galaxies from a mock archive or a mock sky."""

    def mock(dataset):
        sample, survey = getattr(getattr(dataset, "sources", None), "sample", None), getattr(dataset, "survey", None)
        return (sample and settings.manga.samples[sample].mock) or (survey and settings.legacysurvey.surveys[survey].mock)

    return [name for name in scored_datasets(wildcards.experiment) if mock(settings.datasets[name])]


rule build_report:
    """Write the report of an experiment: one page that opens from disk."""
    input:
        rates=experiment_tables("rates"),
        strata=experiment_tables("strata"),
        roc=experiment_tables("roc"),
        information=experiment_tables("information"),
        comparison=comparison,
        robustness=lambda wildcards: robustness(wildcards.experiment),
        explanations=lambda wildcards: explanations(wildcards.experiment),
        observers=lambda wildcards: observers(wildcards.experiment),
        histories=histories,
        scores=all_scores,
        shards=lambda wildcards: shards(first_test(wildcards), "test"),
        checks=lambda wildcards: f"<results>/datasets/{first_test(wildcards)}/quality/checks.json",
        answer="<results>/experiments/{experiment}/evaluation/answer.json",
        examples=lambda wildcards: examples(wildcards.experiment),
        resolved=lambda wildcards: lens_tables(wildcards, "resolved"),
        contaminants=lambda wildcards: lens_tables(wildcards, "contaminants"),
        maps=lambda wildcards: [str(Path(table).with_suffix(".png")) for table in surfaces(wildcards.experiment)],
        rounds=lambda wildcards: list(rounds(wildcards.experiment).values()),
        known_lenses=lambda wildcards: list(known_recalls(wildcards.experiment).values()),
        shortcuts=lambda wildcards: shortcuts(wildcards.experiment),
        pages=lambda wildcards: list(pages(wildcards.experiment).values()),
    output:
        page=report(
            # The page is a folder that is opened from disk.
            local("<results>/experiments/{experiment}/report/index.html"),
            caption="../report/experiment.rst",
            category="Reports",
            labels={"experiment": "{experiment}"},
        ),
        summary="<results>/experiments/{experiment}/summary.json",
    log:
        "<logs>/build_report/{experiment}.log",
    benchmark:
        "<benchmarks>/build_report/{experiment}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime="30m",
    params:
        experiment=needs("experiments.{experiment}"),
        datasets=lambda wildcards: {name: settings.datasets[name].plain() for name in scored_datasets(wildcards.experiment)},
        detectors=lambda wildcards: {
            name: settings.detectors[name].plain() for name in settings.experiments[wildcards.experiment].detectors
        },
        cosmology=needs("cosmology"),
        mock_datasets=mock_datasets,
        rounds=lambda wildcards: list(rounds(wildcards.experiment)),
        known_lenses=lambda wildcards: list(known_recalls(wildcards.experiment)),
        pages=lambda wildcards: list(pages(wildcards.experiment)),
        code=digest("build_report"),
    message:
        "Writing the report of {wildcards.experiment}"
    script:
        "../scripts/build_report.py"


rule build_index:
    """Write the index over the reports of the run's experiments, and how long its rules took."""
    input:
        summaries=[f"<results>/experiments/{name}/summary.json" for name in settings.reported],
    output:
        page=local("<results>/index.html"),
        run_times=local("<results>/run-times.html"),
    log:
        "<logs>/build_index.log",
    benchmark:
        "<benchmarks>/build_index.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=1000,
        runtime="5m",
    params:
        datasets=shown_datasets(),
        code=digest("build_index"),
    message:
        "Writing the index of reports"
    script:
        "../scripts/build_index.py"
