rule build_manifest:
    """Draw every parameter of every stamp: one row each, balanced, split by galaxy."""
    input:
        bank=flow.bank,
        # Its path is in the params; as an input, another file at that path makes the stamps again.
        kernel=here(flow.kernel),
    output:
        manifest=paths.manifest,
    log:
        paths.log("build_manifest/{dataset}"),
    benchmark:
        paths.benchmark("build_manifest/{dataset}")
    wildcard_constraints:
        dataset=flow.of_kind("subhalo"),
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=4000,
        runtime="30m",
    params:
        dataset=flow.dataset_without("description", "rendering", "shard_size"),
        cosmology=needs("cosmology"),
        code=digest("build_manifest"),
    message:
        "Drawing the stamps of dataset {wildcards.dataset}"
    script:
        "../scripts/build_manifest.py"


rule render_stamps:
    """Render one shard of stamps."""
    input:
        manifest=paths.manifest,
        bank=flow.bank,
        kernel=here(flow.kernel),
    output:
        shard=paths.shard,
    log:
        paths.log("render_stamps/{dataset}/{split}/{shard}"),
    benchmark:
        paths.benchmark("render_stamps/{dataset}/{split}/{shard}")
    wildcard_constraints:
        dataset=flow.of_kind("subhalo"),
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime="1h",
    params:
        dataset=flow.dataset_without("description", "size", "splits", "rendering.batch_size"),
        cosmology=needs("cosmology"),
        code=digest("render_stamps"),
    message:
        "Rendering {wildcards.dataset}, {wildcards.split} shard {wildcards.shard}"
    script:
        "../scripts/render_stamps.py"


rule check_stamps:
    """Check a dataset: balance, splits, finite pixels, duplicates, leaks; a failed gate stops the run."""
    input:
        train=lambda wildcards: flow.shards(wildcards.dataset, "train"),
        validation=lambda wildcards: flow.shards(wildcards.dataset, "validation"),
        test=lambda wildcards: flow.shards(wildcards.dataset, "test"),
    output:
        checks=paths.checks,
    log:
        paths.log("check_stamps/{dataset}"),
    benchmark:
        paths.benchmark("check_stamps/{dataset}")
    wildcard_constraints:
        dataset=flow.of_kind("subhalo"),
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        dataset=flow.dataset_without("description", "rendering", "shard_size"),
        code=digest("check_stamps"),
    message:
        "Checking dataset {wildcards.dataset}"
    script:
        "../scripts/check_stamps.py"
