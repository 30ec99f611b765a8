include: "inputs/known_lenses.smk"


checkpoint list_known_lens_bricks:
    """Name the bricks that hold known lenses."""
    input:
        lenses="<results>/legacysurvey/{survey}/known_lenses.parquet",
    output:
        names="<results>/legacysurvey/{survey}/known_lens_bricks.txt",
    log:
        "<logs>/list_known_lens_bricks/{survey}.log",
    benchmark:
        "<benchmarks>/list_known_lens_bricks/{survey}.tsv"
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=1000,
        runtime="10m",
    params:
        code=digest("list_known_lens_bricks"),
    message:
        "Naming the bricks of survey {wildcards.survey} that hold known lenses"
    script:
        "../scripts/list_known_lens_bricks.py"


rule cut_known_lenses:
    """Cut the stamps of known lenses from the bricks, each with the split of its sky."""
    input:
        lenses=lambda wildcards: f"<results>/legacysurvey/{survey_of(wildcards)}/known_lenses.parquet",
        parent=lambda wildcards: f"<results>/legacysurvey/{survey_of(wildcards)}/parent.parquet",
        bricks=known_lens_bricks,
    output:
        stamps="<results>/datasets/{dataset}/known_lenses.parquet",
    log:
        "<logs>/cut_known_lenses/{dataset}.log",
    benchmark:
        "<benchmarks>/cut_known_lenses/{dataset}.tsv"
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        size=lambda wildcards: settings.datasets[wildcards.dataset].camera.stamp_size,
        splits=lambda wildcards: settings.datasets[wildcards.dataset].splits.plain(),
        survey=cutout_limits,
        code=digest("cut_known_lenses"),
    message:
        "Cutting the known lenses of dataset {wildcards.dataset}"
    script:
        "../scripts/cut_known_lenses.py"


rule score_known_lenses:
    """Score known lenses and give their recall at the thresholds that validation stamps set."""
    input:
        stamps=lambda wildcards: f"<results>/datasets/{settings.experiments[wildcards.experiment].dataset}/known_lenses.parquet",
        weights=members("network.safetensors"),
        networks=members("network.json"),
        scores=lambda wildcards: scores(wildcards.experiment, wildcards.detector),
    output:
        recall=report(
            "<results>/experiments/{experiment}/known_lenses/{detector}/recall.csv",
            caption="../report/known_lenses.rst",
            category="Known lenses",
            labels={"experiment": "{experiment}", "detector": "{detector}"},
        ),
        scores="<results>/experiments/{experiment}/known_lenses/{detector}/scores.csv",
    log:
        "<logs>/score_known_lenses/{experiment}/{detector}.log",
    benchmark:
        "<benchmarks>/score_known_lenses/{experiment}/{detector}.tsv"
    conda:
        "../envs/learning.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        evaluation=needs("experiments.{experiment}.evaluation"),
        dataset=needs("experiments.{experiment}.dataset"),
        joined=joined_training,
        code=digest("score_known_lenses"),
    message:
        "Scoring known lenses with {wildcards.detector} in {wildcards.experiment}"
    script:
        "../scripts/score_known_lenses.py"


rule rank_candidates:
    """Rank the test stamps of a dataset by their score, with pictures of the first ones."""
    input:
        scores=lambda wildcards: scores(wildcards.experiment, wildcards.detector, [wildcards.test]),
        shards=lambda wildcards: shards(wildcards.test, "test"),
    output:
        page=report(
            "<results>/experiments/{experiment}/candidates/{test}/{detector}.html",
            caption="../report/candidates.rst",
            category="Candidates",
            labels={"experiment": "{experiment}", "test": "{test}", "detector": "{detector}"},
        ),
        table="<results>/experiments/{experiment}/candidates/{test}/{detector}.csv",
    log:
        "<logs>/rank_candidates/{experiment}/{test}/{detector}.log",
    benchmark:
        "<benchmarks>/rank_candidates/{experiment}/{test}/{detector}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        code=digest("rank_candidates"),
    message:
        "Ranking {wildcards.test} by {wildcards.detector}"
    script:
        "../scripts/rank_candidates.py"


rule prepare_real_sky:
    """Bring real galaxies with labels to what networks see, each with the part of the sky that it is in."""
    input:
        cutouts=stays_here(real_sky_files),
    output:
        stamps="<results>/datasets/{dataset}/real_sky.parquet",
    log:
        "<logs>/prepare_real_sky/{dataset}.log",
    benchmark:
        "<benchmarks>/prepare_real_sky/{dataset}.tsv"
    wildcard_constraints:
        dataset=of_kind("lensfinder"),
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        real_sky=needs("datasets.{dataset}.real_sky"),
        size=needs("datasets.{dataset}.camera.stamp_size"),
        code=digest("prepare_real_sky"),
    message:
        "Preparing the real galaxies of dataset {wildcards.dataset}"
    script:
        "../scripts/prepare_real_sky.py"
