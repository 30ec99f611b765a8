def imported(elsewhere):
    """A pattern of the names of networks whose weights come from elsewhere, or of all others."""
    return any_of(
        name for name, detector in settings.detectors.items() if detector.kind == "network" and (detector.weights is not None) == elsewhere
    )


def network_section(wildcards):
    """A network's section less its description, which no weight depends on, and mining, which has a rule of its own."""
    return settings.detectors[wildcards.detector].without("kind", "description", "mining")


def rounds_of(network):
    """The names of a network's rounds of training, the first one first."""
    return all_rounds(network, settings.detectors)


def mined(wildcards):
    """The tables of hard controls that a network's round of training uses: its own and those of earlier rounds."""
    names = rounds_of(wildcards.detector)[1:]
    return [f"<results>/detectors/{wildcards.dataset}/{name}/seed-{wildcards.seed}/mined.parquet" for name in names]


def mining(wildcards):
    """How hard controls are mined and weighed, for rounds above 1."""
    network = settings.detectors[wildcards.detector]
    return network.mining.plain() if network.rounds > 1 else {}


def extra_shards(wildcards):
    """The training shards of each extra dataset that a network's rounds mine."""
    network = settings.detectors[wildcards.detector]
    return {name: shards(name, "train") for name in network.mining.extra} if network.rounds > 1 else {}


def mined_shards(wildcards):
    """The training shards of the extra datasets that a network's rounds mine."""
    return [path for files in extra_shards(wildcards).values() for path in files]


def round_before(file):
    """A file of the round before a network's own."""
    return lambda wildcards: (f"<results>/detectors/{wildcards.dataset}/{rounds_of(wildcards.detector)[-2]}/seed-{wildcards.seed}/{file}")


def held_out(wildcards):
    """The validation and test shards of every dataset that a network is judged on: mining keeps away from them."""
    rounds = set(rounds_of(wildcards.detector))
    later = {name for name in settings.detectors if rounds <= set(rounds_of(name))}
    judged = [e for e in settings.experiments.values() if e.dataset == wildcards.dataset and later & set(e.detectors)]
    names = dict.fromkeys([wildcards.dataset, *(test for e in judged for test in e.test_datasets)])
    return [path for name in names for split in ("validation", "test") for path in shards(name, split)]


def known_lens_tables(wildcards):
    """The table of known lenses of the survey that a dataset is made of, or nothing."""
    survey = getattr(settings.datasets[wildcards.dataset], "survey", None)
    return [f"<results>/legacysurvey/{survey}/known_lenses.parquet"] if survey else []


def known_training(wildcards):
    """The stamps of known lenses that join a network's training, if its config gives them a weight."""
    joins = settings.detectors[wildcards.detector].training.known_lens_weight > 0
    return [f"<results>/datasets/{wildcards.dataset}/known_lenses.parquet"] if joins else []


def start_weights(wildcards):
    """The files of weights from elsewhere that a network's config names."""
    network = settings.detectors[wildcards.detector]
    files = [network.weights, None if (network.pretrained or "").startswith(HUB) else network.pretrained]
    return [path for path in files if path]


rule train_network:
    """Train one network with one seed; resumes at an epoch's start after a kill."""
    input:
        train=lambda wildcards: shards(wildcards.dataset, "train"),
        validation=lambda wildcards: shards(wildcards.dataset, "validation"),
        checks="<results>/datasets/{dataset}/quality/checks.json",
        mined=mined,
        extra=mined_shards,
        known=known_training,
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
        detector=imported(False),
    conda:
        "../envs/learning.yaml"
    # One core each: networks train side by side, and small ones gain little from a second core.
    threads: 1
    resources:
        mem_mb=8000,
        runtime="8h",
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
        detector=imported(True),
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


rule mine_hard_negatives:
    """Score the training controls with the round before and keep the hardest, away from known lenses and test stamps."""
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
        validation=lambda wildcards: shards(wildcards.test, "validation"),
        test=lambda wildcards: shards(wildcards.test, "test"),
        checks=lambda wildcards: f"<results>/datasets/{wildcards.test}/quality/checks.json",
    output:
        scores="<results>/detectors/{dataset}/{detector}/seed-{seed}/scores/{test}.parquet",
    log:
        "<logs>/score_stamps/{dataset}/{detector}/seed-{seed}/{test}.log",
    benchmark:
        "<benchmarks>/score_stamps/{dataset}/{detector}/seed-{seed}/{test}.tsv"
    wildcard_constraints:
        detector=detectors_of_kind("network"),
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


def member_seeds(wildcards):
    """The training seeds of each member of a fusion; detectors without training have seed 0 alone."""
    fusion = settings.detectors[wildcards.detector]
    return {name: list(settings.detectors[name].seeds_of(fusion.seeds)) for name in fusion.of}


def member_scores(test):
    """The score tables of every member and seed of a fusion on the dataset that a wildcard names."""

    def files(wildcards):
        folder, name = f"<results>/detectors/{wildcards.dataset}", getattr(wildcards, test)
        return [
            f"{folder}/{member}/seed-{seed}/scores/{name}.parquet" for member, seeds in member_seeds(wildcards).items() for seed in seeds
        ]

    return files


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


def scores_from_elsewhere(wildcards):
    """The table of scores that another program gave the stamps of a dataset."""
    return [settings.detectors[wildcards.detector].scores[wildcards.test]]


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
