include: "inputs/cutouts.smk"


rule prepare_cutouts:
    """Bring cutouts of any survey to the bands, pixels, zero point and size that networks see."""
    input:
        cutouts=stays_here(cutouts_given),
        labels=stays_here(cutouts_labels),
        network=first_scoring_network,
    output:
        stamps="<results>/cutouts/{cutouts}/stamps.parquet",
    log:
        "<logs>/prepare_cutouts/{cutouts}.log",
    benchmark:
        "<benchmarks>/prepare_cutouts/{cutouts}.tsv"
    wildcard_constraints:
        cutouts=cutouts_name(),
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        cutouts=settings.cutouts.without("name", "experiment", "detectors"),
        listed=cutouts_listed(),
        code=digest("prepare_cutouts"),
    message:
        "Preparing the cutouts {wildcards.cutouts}"
    script:
        "../scripts/prepare_cutouts.py"


rule score_cutouts:
    """Score cutouts by trained networks: one row for each, a column for each network."""
    input:
        stamps="<results>/cutouts/{cutouts}/stamps.parquet",
        weights=scoring_networks("network.safetensors"),
        networks=scoring_networks("network.json"),
        real=lambda wildcards: scoring_learnt_tables(),
        judged=lambda wildcards: scoring_judged_tables(),
    output:
        scores="<results>/cutouts/{cutouts}/scores.parquet",
        table=report(
            "<results>/cutouts/{cutouts}/scores.csv",
            caption="../report/cutouts.rst",
            category="Cutouts",
            labels={"cutouts": "{cutouts}"},
        ),
    log:
        "<logs>/score_cutouts/{cutouts}.log",
    benchmark:
        "<benchmarks>/score_cutouts/{cutouts}.tsv"
    wildcard_constraints:
        cutouts=cutouts_name(),
    conda:
        "../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=6000,
        runtime="2h",
    params:
        seeds=scoring_seeds(),
        learnt=scoring_learnt(),
        judged=scoring_judged(),
        code=digest("score_cutouts"),
    message:
        "Scoring the cutouts {wildcards.cutouts}"
    script:
        "../scripts/score_cutouts.py"


rule evaluate_cutouts:
    """Rates of cutouts whose labels are known."""
    input:
        scores="<results>/cutouts/{cutouts}/scores.parquet",
    output:
        rates="<results>/cutouts/{cutouts}/rates.csv",
    log:
        "<logs>/evaluate_cutouts/{cutouts}.log",
    benchmark:
        "<benchmarks>/evaluate_cutouts/{cutouts}.tsv"
    wildcard_constraints:
        cutouts=cutouts_name(),
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=3000,
        runtime="1h",
    params:
        detectors=list(scoring_seeds()),
        evaluation=scoring_evaluation(),
        code=digest("evaluate_cutouts"),
    message:
        "Evaluating the cutouts {wildcards.cutouts}"
    script:
        "../scripts/evaluate_cutouts.py"


rule show_cutouts:
    """Rank cutouts by one network's score, with pictures of the first ones."""
    input:
        stamps="<results>/cutouts/{cutouts}/stamps.parquet",
        scores="<results>/cutouts/{cutouts}/scores.parquet",
        network=first_scoring_network,
        rates="<results>/cutouts/{cutouts}/rates.csv",
    output:
        page=report(
            # The page is opened from disk.
            local("<results>/cutouts/{cutouts}/{detector}.html"),
            caption="../report/cutouts.rst",
            category="Cutouts",
            labels={"cutouts": "{cutouts}", "detector": "{detector}"},
        ),
    log:
        "<logs>/show_cutouts/{cutouts}/{detector}.log",
    benchmark:
        "<benchmarks>/show_cutouts/{cutouts}/{detector}.tsv"
    wildcard_constraints:
        cutouts=cutouts_name(),
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        cutouts=settings.cutouts.without("name", "experiment", "detectors"),
        seeds=scoring_seeds(),
        code=digest("show_cutouts"),
    message:
        "Showing the cutouts {wildcards.cutouts} ranked by {wildcards.detector}"
    script:
        "../scripts/show_cutouts.py"
