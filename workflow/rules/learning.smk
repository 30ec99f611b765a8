rule train_network:
    """Train one network with one seed; resumes at an epoch's start after a kill."""
    input:
        train=lambda wildcards: flow.shards(wildcards.dataset, "train"),
        validation=lambda wildcards: flow.shards(wildcards.dataset, "validation"),
        checks=paths.checks,
        mined=flow.mined,
        extra=flow.mined_shards,
        known=flow.known_training,
        start=here(flow.start_weights),
    output:
        weights=paths.weights,
        network=paths.network,
        history=paths.history,
    log:
        paths.log("train_network/{dataset}/{detector}/seed-{seed}"),
    benchmark:
        paths.benchmark("train_network/{dataset}/{detector}/seed-{seed}")
    wildcard_constraints:
        detector=flow.imported(False),
    conda:
        "../envs/learning.yaml"
    # One core each: networks train side by side, and small ones gain little from a second core.
    threads: 1
    resources:
        mem_mb=8000,
        runtime="8h",
    params:
        network=flow.network,
        mining=flow.mining,
        extra=lambda wildcards: flow.extra_shards(wildcards.detector),
        code=digest("train_network"),
    message:
        "Training {wildcards.detector} on {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/train_network.py"


rule import_network:
    """Take over weights trained elsewhere: recognise their architecture, fit stretch and calibration."""
    input:
        start=here(flow.start_weights),
        train=lambda wildcards: flow.shards(wildcards.dataset, "train"),
        validation=lambda wildcards: flow.shards(wildcards.dataset, "validation"),
        checks=paths.checks,
    output:
        weights=paths.weights,
        network=paths.network,
        history=paths.history,
    log:
        paths.log("import_network/{dataset}/{detector}/seed-{seed}"),
    benchmark:
        paths.benchmark("import_network/{dataset}/{detector}/seed-{seed}")
    wildcard_constraints:
        detector=flow.imported(True),
    conda:
        "../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime="2h",
    params:
        network=flow.network,
        code=digest("import_network"),
    message:
        "Importing {wildcards.detector} for {wildcards.dataset}"
    script:
        "../scripts/import_network.py"


rule mine_hard_negatives:
    """Score the training controls with the round before and keep the hardest, away from known lenses and test stamps."""
    input:
        weights=lambda wildcards: flow.round_before(wildcards, paths.weights),
        network=lambda wildcards: flow.round_before(wildcards, paths.network),
        train=lambda wildcards: flow.shards(wildcards.dataset, "train"),
        extra=flow.mined_shards,
        held_out=flow.held_out,
        lenses=lambda wildcards: flow.known_lens_tables(wildcards.dataset),
    output:
        mined=paths.mined,
    log:
        paths.log("mine_hard_negatives/{dataset}/{detector}/seed-{seed}"),
    benchmark:
        paths.benchmark("mine_hard_negatives/{dataset}/{detector}/seed-{seed}")
    wildcard_constraints:
        detector=flow.detectors_of_kind("network"),
    conda:
        "../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=6000,
        runtime="4h",
    params:
        mining=flow.mining,
        extra=lambda wildcards: flow.extra_shards(wildcards.detector),
        code=digest("mine_hard_negatives"),
    message:
        "Mining hard controls of {wildcards.dataset} for {wildcards.detector}, seed {wildcards.seed}"
    script:
        "../scripts/mine_hard_negatives.py"


rule score_stamps:
    """Score the validation and test stamps of a dataset with one trained network."""
    input:
        weights=paths.weights,
        network=paths.network,
        validation=lambda wildcards: flow.shards(wildcards.test, "validation"),
        test=lambda wildcards: flow.shards(wildcards.test, "test"),
        checks=lambda wildcards: paths.checks.format(dataset=wildcards.test),
    output:
        scores=paths.scores,
    log:
        paths.log("score_stamps/{dataset}/{detector}/seed-{seed}/{test}"),
    benchmark:
        paths.benchmark("score_stamps/{dataset}/{detector}/seed-{seed}/{test}")
    wildcard_constraints:
        detector=flow.detectors_of_kind("network"),
    conda:
        "../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=6000,
        runtime="2h",
    params:
        code=digest("score_stamps"),
    message:
        "Scoring {wildcards.test} with {wildcards.detector}, seed {wildcards.seed}"
    script:
        "../scripts/score_stamps.py"
