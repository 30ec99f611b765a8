include: "inputs/evidence.smk"


rule detect_subhalos:
    """Look for a subhalo in one shard of stamps with the priors of a dataset: lens fitted, every place and profile tried."""
    input:
        stamps="<results>/datasets/{test}/stamps/{split}/{shard}.parquet",
        kernel=stays_here(kernel),
    output:
        findings="<results>/findings/{dataset}/{test}/{split}/{shard}.parquet",
    log:
        "<logs>/detect_subhalos/{dataset}/{test}/{split}/{shard}.log",
    benchmark:
        "<benchmarks>/detect_subhalos/{dataset}/{test}/{split}/{shard}.tsv"
    wildcard_constraints:
        dataset=of_kind("subhalo"),
        test=of_kind("subhalo"),
    conda:
        "../envs/lensing.yaml"
    # One core each: shards are looked through side by side.
    threads: 1
    resources:
        mem_mb=3000,
        runtime="12h",
    params:
        dataset=dataset_without("description", "size", "splits", "rendering", "shard_size", "seed"),
        evidence=evidence_settings("sensitivity"),
        cosmology=needs("cosmology"),
        code=digest("detect_subhalos"),
    message:
        "Looking for subhalos in {wildcards.test}, {wildcards.split} shard {wildcards.shard}, with the priors of {wildcards.dataset}"
    script:
        "../scripts/detect_subhalos.py"


rule join_maps:
    """Lay the detector's maps of one shard's stamps beside what is known of them: stamps for networks that see the evidence."""
    input:
        stamps="<results>/datasets/{test}/stamps/{split}/{shard}.parquet",
        findings="<results>/findings/{dataset}/{test}/{split}/{shard}.parquet",
    output:
        stamps="<results>/evidence_stamps/{dataset}/{test}/{split}/{shard}.parquet",
    log:
        "<logs>/join_maps/{dataset}/{test}/{split}/{shard}.log",
    benchmark:
        "<benchmarks>/join_maps/{dataset}/{test}/{split}/{shard}.tsv"
    wildcard_constraints:
        dataset=of_kind("subhalo"),
        test=of_kind("subhalo"),
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime="30m",
    params:
        code=digest("join_maps"),
    message:
        "Joining maps of {wildcards.test}, {wildcards.split} shard {wildcards.shard}"
    script:
        "../scripts/join_maps.py"


rule score_findings:
    """Make the findings of one channel a table of scores, and gather all findings beside it."""
    input:
        validation=lambda wildcards: shards(wildcards.test, "validation"),
        test=lambda wildcards: shards(wildcards.test, "test"),
        found_validation=lambda wildcards: findings(wildcards.dataset, wildcards.test, "validation"),
        found_test=lambda wildcards: findings(wildcards.dataset, wildcards.test, "test"),
        checks="<results>/datasets/{test}/quality/checks.json",
    output:
        scores="<results>/detectors/{dataset}/{detector}/seed-{seed}/scores/{test}.parquet",
    log:
        "<logs>/score_findings/{dataset}/{detector}/seed-{seed}/{test}.log",
    benchmark:
        "<benchmarks>/score_findings/{dataset}/{detector}/seed-{seed}/{test}.tsv"
    wildcard_constraints:
        detector=detectors_of_kind("evidence"),
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime="30m",
    params:
        channels=needs("detectors.{detector}.channels"),
        code=digest("score_findings"),
    message:
        "Scores of {wildcards.test} by {wildcards.detector}"
    script:
        "../scripts/score_findings.py"


rule show_evidence:
    """Map, for the stamp that a report shows first, where the model-based detector suspects a subhalo and what it would have seen."""
    input:
        stamps=lambda wildcards: shards(first_test(wildcards), "test")[:1],
        kernel=stays_here(lambda wildcards: kernel_of(settings.experiments[wildcards.experiment].dataset)),
    output:
        table="<results>/experiments/{experiment}/evidence.parquet",
    log:
        "<logs>/show_evidence/{experiment}.log",
    benchmark:
        "<benchmarks>/show_evidence/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_with_evidence(),
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime="30m",
    params:
        dataset=lambda wildcards: settings.datasets[settings.experiments[wildcards.experiment].dataset].without(
            "description", "size", "splits", "rendering", "shard_size", "seed"
        ),
        evidence=evidence_settings(),
        cosmology=needs("cosmology"),
        code=digest("show_evidence"),
    message:
        "Mapping what the model-based detector sees in the first stamp of {wildcards.experiment}"
    script:
        "../scripts/show_evidence.py"


rule map_sensitivity:
    """Map the least mass that would be detected at each place of some test stamps, and count expected detections."""
    input:
        stamps=lambda wildcards: shards(wildcards.test, "test")[0],
        kernel=stays_here(kernel),
    output:
        maps="<results>/findings/{dataset}/{test}/sensitivity.parquet",
    log:
        "<logs>/map_sensitivity/{dataset}/{test}.log",
    benchmark:
        "<benchmarks>/map_sensitivity/{dataset}/{test}.tsv"
    wildcard_constraints:
        dataset=of_kind("subhalo"),
        test=of_kind("subhalo"),
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime="2h",
    params:
        dataset=dataset_without("description", "size", "splits", "rendering", "shard_size", "seed"),
        evidence=evidence_settings("maps", "strength"),
        cosmology=needs("cosmology"),
        code=digest("map_sensitivity"),
    message:
        "Mapping the sensitivity of stamps of {wildcards.test}"
    script:
        "../scripts/map_sensitivity.py"
