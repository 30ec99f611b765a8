rule train_network:
    """Train one network with one seed; resumes at an epoch's start after a kill."""
    input:
        train=lambda wildcards: flow.shards(wildcards.dataset, "train"),
        validation=lambda wildcards: flow.shards(wildcards.dataset, "validation"),
        checks=paths.checks,
    output:
        weights=paths.weights,
        network=paths.network,
        history=paths.history,
    log:
        paths.log("train_network/{dataset}/{network}/seed-{seed}"),
    benchmark:
        paths.benchmark("train_network/{dataset}/{network}/seed-{seed}")
    conda:
        "../envs/learning.yaml"
    # One core each: networks train side by side, and small ones gain little from a second core.
    threads: 1
    resources:
        mem_mb=8000,
        runtime="8h",
    params:
        network=flow.network,
        code=digest("train_network"),
    message:
        "Training {wildcards.network} on {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/train_network.py"


rule score_stamps:
    """Score the validation and test stamps of a dataset with one trained network."""
    input:
        weights=lambda wildcards: paths.weights.format(
            dataset=flow.run.experiments[wildcards.experiment].dataset,
            network=wildcards.network,
            seed=wildcards.seed,
        ),
        network=lambda wildcards: paths.network.format(
            dataset=flow.run.experiments[wildcards.experiment].dataset,
            network=wildcards.network,
            seed=wildcards.seed,
        ),
        validation=lambda wildcards: flow.shards(wildcards.test, "validation"),
        test=lambda wildcards: flow.shards(wildcards.test, "test"),
        checks=lambda wildcards: paths.checks.format(dataset=wildcards.test),
    output:
        scores=paths.scores,
    log:
        paths.log("score_stamps/{experiment}/{test}/{network}/seed-{seed}"),
    benchmark:
        paths.benchmark("score_stamps/{experiment}/{test}/{network}/seed-{seed}")
    conda:
        "../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=6000,
        runtime="2h",
    params:
        code=digest("score_stamps"),
    message:
        "Scoring {wildcards.test} with {wildcards.network}, seed {wildcards.seed}"
    script:
        "../scripts/score_stamps.py"
