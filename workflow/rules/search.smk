include: "inputs/search.smk"


checkpoint list_parent_bricks:
    """Share the bricks of a parent sample out into pieces of some thousand galaxies."""
    input:
        parent="<results>/legacysurvey/{survey}/parent.parquet",
    output:
        pieces="<results>/legacysurvey/{survey}/parent_bricks.csv",
    log:
        "<logs>/list_parent_bricks/{survey}.log",
    benchmark:
        "<benchmarks>/list_parent_bricks/{survey}.tsv"
    localrule: True
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        code=digest("list_parent_bricks"),
    message:
        "Sharing out the bricks of survey {wildcards.survey}"
    script:
        "../scripts/list_parent_bricks.py"


rule cut_parents:
    """Cut the stamps of a piece of the parent sample as they are: they go once they are scored."""
    input:
        parent=lambda wildcards: f"<results>/legacysurvey/{survey_of(wildcards)}/parent.parquet",
        bricks=piece_bricks,
    output:
        stamps=temp("<results>/datasets/{dataset}/parents/{piece}.parquet"),
    log:
        "<logs>/cut_parents/{dataset}/{piece}.log",
    benchmark:
        "<benchmarks>/cut_parents/{dataset}/{piece}.tsv"
    wildcard_constraints:
        dataset=of_kind("lensfinder"),
        piece=r"\d+",
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime="2h",
    params:
        dataset=dataset_without("description", "size", "shard_size", "gates", "rendering"),
        survey=cutout_limits,
        code=digest("cut_parents"),
    message:
        "Cutting the galaxies of {wildcards.dataset}'s survey, piece {wildcards.piece}"
    script:
        "../scripts/cut_parents.py"


rule score_parents:
    """Score a piece of the parent sample by every network of bands of an experiment, and keep the pixels of the best."""
    input:
        stamps=lambda wildcards: f"<results>/datasets/{settings.experiments[wildcards.experiment].dataset}/parents/{wildcards.piece}.parquet",
        weights=searching_files("network.safetensors"),
        networks=searching_files("network.json"),
    output:
        scores="<results>/experiments/{experiment}/search/scores/{piece}.parquet",
        best="<results>/experiments/{experiment}/search/best/{piece}.parquet",
    log:
        "<logs>/score_parents/{experiment}/{piece}.log",
    benchmark:
        "<benchmarks>/score_parents/{experiment}/{piece}.tsv"
    wildcard_constraints:
        experiment=searching_experiments(),
        piece=r"\d+",
    conda:
        "../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        seeds=searching_seeds,
        shown=needs("experiments.{experiment}.search.shown"),
        code=digest("score_parents"),
    message:
        "Scoring the survey of {wildcards.experiment}, piece {wildcards.piece}"
    script:
        "../scripts/score_parents.py"


rule rank_parents:
    """Rank the parent sample by one network's score: a list with positions, and a page to look through."""
    input:
        scores=parents_scored("scores"),
        best=parents_scored("best"),
        lenses=lambda wildcards: f"<results>/legacysurvey/{searched_survey(wildcards.experiment)}/known_lenses.parquet",
    output:
        page=report(
            # The page is opened from disk.
            local("<results>/experiments/{experiment}/search/{detector}.html"),
            caption="../report/search.rst",
            category="Candidates",
            labels={"experiment": "{experiment}", "test": "the survey", "detector": "{detector}"},
        ),
        table="<results>/experiments/{experiment}/search/{detector}.csv",
    log:
        "<logs>/rank_parents/{experiment}/{detector}.log",
    benchmark:
        "<benchmarks>/rank_parents/{experiment}/{detector}.tsv"
    wildcard_constraints:
        experiment=searching_experiments(),
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        shown=needs("experiments.{experiment}.search.shown"),
        survey=lambda wildcards: searched_survey(wildcards.experiment),
        mock=lambda wildcards: settings.legacysurvey.surveys[searched_survey(wildcards.experiment)].mock,
        bands=lambda wildcards: list(settings.legacysurvey.surveys[searched_survey(wildcards.experiment)].sources),
        seeds=lambda wildcards: len(settings.experiments[wildcards.experiment].seeds),
        code=digest("rank_parents"),
    message:
        "Ranking the survey of {wildcards.experiment} by {wildcards.detector}"
    script:
        "../scripts/rank_parents.py"
