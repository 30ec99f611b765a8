rule build_report:
    """Write the report of an experiment: one page that opens from disk."""
    input:
        rates=experiment_tables("rates"),
        strata=experiment_tables("strata"),
        roc=experiment_tables("roc"),
        information=experiment_tables("information"),
        comparison=lambda wildcards: (
            [paths.comparison.format(experiment=wildcards.experiment)] if flow.run.experiments[wildcards.experiment].comparisons else []
        ),
        robustness=lambda wildcards: flow.robustness(wildcards.experiment),
        explanations=lambda wildcards: flow.explanations(wildcards.experiment),
        observers=lambda wildcards: flow.observers(wildcards.experiment),
        histories=lambda wildcards: flow.histories(wildcards.experiment),
        scores=lambda wildcards: [
            path
            for detector in flow.run.experiments[wildcards.experiment].detectors
            for path in flow.scores(wildcards.experiment, detector)
        ],
        shards=lambda wildcards: flow.shards(flow.run.experiments[wildcards.experiment].test_datasets[0], "test"),
        checks=lambda wildcards: paths.checks.format(dataset=flow.run.experiments[wildcards.experiment].test_datasets[0]),
        bank=lambda wildcards: flow.bank_of(flow.run.experiments[wildcards.experiment].test_datasets[0]),
        kernel=here(lambda wildcards: flow.kernel_of(flow.run.experiments[wildcards.experiment].test_datasets[0])),
        rounds=lambda wildcards: list(flow.rounds(wildcards.experiment).values()),
        known_lenses=lambda wildcards: list(flow.known_recalls(wildcards.experiment).values()),
        shortcuts=lambda wildcards: flow.shortcuts(wildcards.experiment),
        pages=lambda wildcards: list(flow.pages(wildcards.experiment).values()),
    output:
        page=report(
            # The page is a folder that is opened from disk.
            local(paths.report),
            caption="../report/experiment.rst",
            category="Reports",
            labels={"experiment": "{experiment}"},
        ),
        summary=paths.summary,
    log:
        paths.log("build_report/{experiment}"),
    benchmark:
        paths.benchmark("build_report/{experiment}")
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime="30m",
    params:
        experiment=needs("experiments.{experiment}"),
        datasets=lambda wildcards: {name: flow.run.datasets[name].plain() for name in flow.scored_datasets(wildcards.experiment)},
        detectors=lambda wildcards: {
            name: flow.run.detectors[name].plain() for name in flow.run.experiments[wildcards.experiment].detectors
        },
        cosmology=needs("cosmology"),
        mock_datasets=lambda wildcards: flow.mock_datasets(wildcards.experiment),
        rounds=lambda wildcards: list(flow.rounds(wildcards.experiment)),
        known_lenses=lambda wildcards: list(flow.known_recalls(wildcards.experiment)),
        pages=lambda wildcards: list(flow.pages(wildcards.experiment)),
        code=digest("build_report"),
    message:
        "Writing the report of {wildcards.experiment}"
    script:
        "../scripts/build_report.py"


rule build_index:
    """Write the index over the reports of the run's experiments."""
    input:
        summaries=[paths.summary.format(experiment=name) for name in flow.reported],
    output:
        page=local(paths.index),
    log:
        paths.log("build_index"),
    benchmark:
        paths.benchmark("build_index")
    localrule: True
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=1000,
        runtime="5m",
    params:
        code=digest("build_index"),
    message:
        "Writing the index of reports"
    script:
        "../scripts/build_index.py"
