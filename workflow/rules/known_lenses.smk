checkpoint list_known_lens_bricks:
    """Name the bricks that hold known lenses."""
    input:
        lenses=paths.known_lenses,
    output:
        names=paths.known_lens_bricks,
    log:
        paths.log("list_known_lens_bricks/{survey}"),
    benchmark:
        paths.benchmark("list_known_lens_bricks/{survey}")
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
        lenses=lambda wildcards: paths.known_lenses.format(survey=flow.survey_of(wildcards)),
        parent=lambda wildcards: paths.parent.format(survey=flow.survey_of(wildcards)),
        bricks=known_lens_bricks,
    output:
        stamps=paths.known_stamps,
    log:
        paths.log("cut_known_lenses/{dataset}"),
    benchmark:
        paths.benchmark("cut_known_lenses/{dataset}")
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        size=lambda wildcards: flow.run.datasets[wildcards.dataset].camera.stamp_size,
        splits=lambda wildcards: flow.run.datasets[wildcards.dataset].splits.plain(),
        survey=lambda wildcards: flow.cutout_limits(flow.survey_of(wildcards)),
        code=digest("cut_known_lenses"),
    message:
        "Cutting the known lenses of dataset {wildcards.dataset}"
    script:
        "../scripts/cut_known_lenses.py"


rule score_known_lenses:
    """Score known lenses and give their recall at the thresholds that validation stamps set."""
    input:
        stamps=lambda wildcards: paths.known_stamps.format(dataset=flow.run.experiments[wildcards.experiment].dataset),
        weights=lambda wildcards: flow.members(wildcards, paths.weights),
        networks=lambda wildcards: flow.members(wildcards, paths.network),
        scores=lambda wildcards: flow.scores(wildcards.experiment, wildcards.detector),
    output:
        recall=report(
            paths.known_recall,
            caption="../report/known_lenses.rst",
            category="Known lenses",
            labels={"experiment": "{experiment}", "detector": "{detector}"},
        ),
        scores=paths.known_scores,
    log:
        paths.log("score_known_lenses/{experiment}/{detector}"),
    benchmark:
        paths.benchmark("score_known_lenses/{experiment}/{detector}")
    conda:
        "../envs/learning.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        evaluation=needs("experiments.{experiment}.evaluation"),
        dataset=needs("experiments.{experiment}.dataset"),
        joined=lambda wildcards: flow.run.detectors[wildcards.detector].training.known_lens_weight > 0,
        code=digest("score_known_lenses"),
    message:
        "Scoring known lenses with {wildcards.detector} in {wildcards.experiment}"
    script:
        "../scripts/score_known_lenses.py"


rule rank_candidates:
    """Rank the test stamps of a dataset by their score, with pictures of the first ones."""
    input:
        scores=lambda wildcards: flow.seed_scores(wildcards.experiment, wildcards.detector, wildcards.test),
        shards=lambda wildcards: flow.shards(wildcards.test, "test"),
    output:
        page=report(
            paths.candidates,
            caption="../report/candidates.rst",
            category="Candidates",
            labels={"experiment": "{experiment}", "test": "{test}", "detector": "{detector}"},
        ),
        table=paths.candidate_table,
    log:
        paths.log("rank_candidates/{experiment}/{test}/{detector}"),
    benchmark:
        paths.benchmark("rank_candidates/{experiment}/{test}/{detector}")
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
