include: "inputs/learning.smk"


rule train_network:
    """Train one network with one seed; resumes at an epoch's start after a kill."""
    input:
        train=training_shards,
        validation=lambda wildcards: seen_by(wildcards.detector, wildcards.dataset, wildcards.dataset, "validation"),
        checks="<results>/datasets/{dataset}/quality/checks.json",
        mined=mined,
        extra=mined_shards,
        known=known_training,
        real=real_training,
        start=stays_here(start_weights),
    output:
        weights="<results>/detectors/{dataset}/{detector}/seed-{seed}/network.safetensors",
        network="<results>/detectors/{dataset}/{detector}/seed-{seed}/network.json",
        history="<results>/detectors/{dataset}/{detector}/seed-{seed}/history.csv",
    log:
        "<logs>/train_network/{dataset}/{detector}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/train_network/{dataset}/{detector}/seed-{seed}.tsv"
    wildcard_constraints:
        detector=made_by("train_network"),
    conda:
        "../envs/learning.yaml"
    # One core for each device: networks train side by side, and small ones gain little from a second core.
    threads: lambda wildcards: ranks(lambda devices, nodes: devices)(wildcards) or 1
    resources:
        mem_mb=8000,
        runtime="8h",
        # Counted by Snakemake, and asked for by the Slurm profile.
        gpu=lambda wildcards: ranks(lambda devices, nodes: devices * nodes)(wildcards) or 1,
        nodes=ranks(lambda devices, nodes: nodes),
        tasks=ranks(lambda devices, nodes: devices * nodes),
        # Slurm's executor runs the script beside the tasks, which it starts itself, and does not ask for as many tasks for each GPU.
        mpi=ranks(lambda devices, nodes: "srun"),
        tasks_per_gpu=ranks(lambda devices, nodes: 0),
        slurm_extra=ranks(lambda devices, nodes: f"'--ntasks-per-node={devices}'"),
    params:
        network=network_section,
        mining=mining,
        extra=extra_shards,
        code=digest("train_network"),
    message:
        "Training {wildcards.detector} on {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/train_network.py"


rule import_network:
    """Take over weights trained elsewhere: recognise their architecture, fit stretch and calibration."""
    input:
        start=stays_here(start_weights),
        train=lambda wildcards: shards(wildcards.dataset, "train"),
        validation=lambda wildcards: shards(wildcards.dataset, "validation"),
        checks="<results>/datasets/{dataset}/quality/checks.json",
    output:
        weights="<results>/detectors/{dataset}/{detector}/seed-{seed}/network.safetensors",
        network="<results>/detectors/{dataset}/{detector}/seed-{seed}/network.json",
        history="<results>/detectors/{dataset}/{detector}/seed-{seed}/history.csv",
    log:
        "<logs>/import_network/{dataset}/{detector}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/import_network/{dataset}/{detector}/seed-{seed}.tsv"
    wildcard_constraints:
        detector=made_by("import_network"),
    conda:
        "../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime="2h",
    params:
        network=network_section,
        code=digest("import_network"),
    message:
        "Importing {wildcards.detector} for {wildcards.dataset}"
    script:
        "../scripts/import_network.py"


rule fit_head:
    """Put a last layer fitted on real galaxies on a network that is trained already."""
    input:
        weights=of_body("network.safetensors"),
        network=of_body("network.json"),
        history=of_body("history.csv"),
        train=training_shards,
        validation=lambda wildcards: shards(wildcards.dataset, "validation"),
        real=real_training,
    output:
        weights="<results>/detectors/{dataset}/{detector}/seed-{seed}/network.safetensors",
        network="<results>/detectors/{dataset}/{detector}/seed-{seed}/network.json",
        history="<results>/detectors/{dataset}/{detector}/seed-{seed}/history.csv",
    log:
        "<logs>/fit_head/{dataset}/{detector}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/fit_head/{dataset}/{detector}/seed-{seed}.tsv"
    wildcard_constraints:
        detector=made_by("fit_head"),
    conda:
        "../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime="2h",
    params:
        head=lambda wildcards: settings.detectors[wildcards.detector].head.plain(),
        code=digest("fit_head"),
    message:
        "Fitting {wildcards.detector} on real galaxies of {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/fit_head.py"


rule mine_hard_negatives:
    """Score the training controls with the round before and keep the hardest, away from known lenses and the dataset's own test stamps."""
    input:
        weights=round_before("network.safetensors"),
        network=round_before("network.json"),
        train=lambda wildcards: shards(wildcards.dataset, "train"),
        extra=mined_shards,
        held_out=held_out,
        lenses=known_lens_tables,
    output:
        mined="<results>/detectors/{dataset}/{detector}/seed-{seed}/mined.parquet",
    log:
        "<logs>/mine_hard_negatives/{dataset}/{detector}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/mine_hard_negatives/{dataset}/{detector}/seed-{seed}.tsv"
    wildcard_constraints:
        detector=detectors_of_kind("network"),
    conda:
        "../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=6000,
        runtime="4h",
    params:
        mining=mining,
        extra=extra_shards,
        code=digest("mine_hard_negatives"),
    message:
        "Mining hard controls of {wildcards.dataset} for {wildcards.detector}, seed {wildcards.seed}"
    script:
        "../scripts/mine_hard_negatives.py"


rule score_stamps:
    """Score the validation and test stamps of a dataset with one trained network."""
    input:
        weights="<results>/detectors/{dataset}/{detector}/seed-{seed}/network.safetensors",
        network="<results>/detectors/{dataset}/{detector}/seed-{seed}/network.json",
        validation=lambda wildcards: seen_by(wildcards.detector, wildcards.dataset, wildcards.test, "validation"),
        test=lambda wildcards: seen_by(wildcards.detector, wildcards.dataset, wildcards.test, "test"),
        checks=lambda wildcards: f"<results>/datasets/{wildcards.test}/quality/checks.json",
        trained_on=trained_on,
    output:
        scores="<results>/detectors/{dataset}/{detector}/seed-{seed}/scores/{test}.parquet",
    log:
        "<logs>/score_stamps/{dataset}/{detector}/seed-{seed}/{test}.log",
    benchmark:
        "<benchmarks>/score_stamps/{dataset}/{detector}/seed-{seed}/{test}.tsv"
    wildcard_constraints:
        detector=scored_anew(),
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


rule fuse_scores:
    """Join the scores of several detectors to those of one, by a logistic regression fitted on validation stamps."""
    input:
        fitted=member_scores("dataset"),
        scored=member_scores("test"),
    output:
        scores="<results>/detectors/{dataset}/{detector}/seed-0/scores/{test}.parquet",
        fit="<results>/detectors/{dataset}/{detector}/seed-0/fusion/{test}.json",
    log:
        "<logs>/fuse_scores/{dataset}/{detector}/{test}.log",
    benchmark:
        "<benchmarks>/fuse_scores/{dataset}/{detector}/{test}.tsv"
    wildcard_constraints:
        detector=detectors_of_kind("fusion"),
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=2000,
        runtime="30m",
    params:
        members=member_seeds,
        code=digest("fuse_scores"),
    message:
        "Joining scores on {wildcards.test} to {wildcards.detector}"
    script:
        "../scripts/fuse_scores.py"


rule import_scores:
    """Check scores that another program gave the validation and test stamps, and bring them into a table of scores."""
    input:
        table=stays_here(scores_from_elsewhere),
        validation=lambda wildcards: shards(wildcards.test, "validation"),
        test=lambda wildcards: shards(wildcards.test, "test"),
        checks=lambda wildcards: f"<results>/datasets/{wildcards.test}/quality/checks.json",
    output:
        scores="<results>/detectors/{dataset}/{detector}/seed-0/scores/{test}.parquet",
    log:
        "<logs>/import_scores/{dataset}/{detector}/{test}.log",
    benchmark:
        "<benchmarks>/import_scores/{dataset}/{detector}/{test}.tsv"
    wildcard_constraints:
        detector=detectors_of_kind("table"),
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=2000,
        runtime="30m",
    params:
        code=digest("import_scores"),
    message:
        "Importing scores of {wildcards.test} by {wildcards.detector}"
    script:
        "../scripts/import_scores.py"
