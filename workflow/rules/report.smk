include: "inputs/report.smk"


rule show_galaxies:
    """Write the page of a sample: its galaxies with their scores, pictures, and the way to each one's own page."""
    input:
        scores="<results>/manga/{sample}/lensability.csv",
        # The page leads to them; their own edits do not change it.
        inspections=lambda wildcards: [ancient(path) for path in inspections(wildcards.sample)],
        pictures=lambda wildcards: [ancient(path) for path in previews(wildcards.sample)],
    output:
        page=local("<results>/manga/{sample}/galaxies.html"),
    log:
        "<logs>/show_galaxies/{sample}.log",
    benchmark:
        "<benchmarks>/show_galaxies/{sample}.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=1000,
        runtime="10m",
    params:
        mock=needs("manga.samples.{sample}.mock"),
        code=digest("show_galaxies"),
    message:
        "Writing the page of sample {wildcards.sample}"
    script:
        "../scripts/show_galaxies.py"


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
        sample=lambda wildcards: (
            getattr(getattr(settings.datasets[wildcards.dataset], "sources", None), "sample", None) if bank(wildcards) else None
        ),
        code=digest("build_dataset_page"),
    message:
        "Writing the page of dataset {wildcards.dataset}"
    script:
        "../scripts/build_dataset_page.py"


rule show_scores:
    """Write the page of a table of scores made elsewhere."""
    input:
        rates="<results>/scores/{scores}/rates.csv",
        strata="<results>/scores/{scores}/strata.csv",
        roc="<results>/scores/{scores}/roc.csv",
        cells="<results>/scores/{scores}/completeness.csv",
        picture="<results>/scores/{scores}/completeness.png",
    output:
        page=report(
            local("<results>/scores/{scores}/index.html"),
            caption="../report/table.rst",
            category="Reports",
            labels={"experiment": "{scores}"},
        ),
    log:
        "<logs>/show_scores/{scores}.log",
    benchmark:
        "<benchmarks>/show_scores/{scores}.tsv"
    wildcard_constraints:
        scores=scores_name(),
    localrule: True
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        table=needs("scores.table"),
        least_expected=needs("scores.evaluation.min_expected_fp"),
        code=digest("show_scores"),
    message:
        "Writing the page of the scores {wildcards.scores}"
    script:
        "../scripts/show_scores.py"


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
        networks=described,
        scores=all_scores,
        shards=lambda wildcards: shards(first_test(wildcards), "test"),
        checks=lambda wildcards: f"<results>/datasets/{first_test(wildcards)}/quality/checks.json",
        answer="<results>/experiments/{experiment}/evaluation/answer.json",
        examples=lambda wildcards: examples(wildcards.experiment),
        evidence=lambda wildcards: evidence_shown(wildcards.experiment),
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
        samples=samples_of_run(),
        code=digest("build_index"),
    message:
        "Writing the index of reports"
    script:
        "../scripts/build_index.py"
