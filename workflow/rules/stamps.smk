include: "inputs/stamps.smk"


rule build_manifest:
    """Draw every parameter of every stamp: one row each, balanced, split by galaxy and by sky."""
    input:
        bank=bank,
        parent=parent,
        cosmos=listed_cosmos,
        # Its path is in the params; as an input, another file at that path makes the stamps again.
        kernel=stays_here(kernel),
    output:
        manifest="<results>/datasets/{dataset}/manifest.parquet",
    log:
        "<logs>/build_manifest/{dataset}.log",
    benchmark:
        "<benchmarks>/build_manifest/{dataset}.tsv"
    wildcard_constraints:
        dataset=of_kind("subhalo", "lensfinder"),
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=4000,
        runtime="30m",
    params:
        dataset=dataset_without("description", "rendering", "shard_size", "gates", "real_sky"),
        cosmology=needs("cosmology"),
        code=task_digest("build_manifest", "manifest"),
    message:
        "Drawing the stamps of dataset {wildcards.dataset}"
    script:
        "../scripts/build_manifest.py"


rule render_stamps:
    """Render one shard of stamps."""
    input:
        manifest="<results>/datasets/{dataset}/manifest.parquet",
        bank=bank,
        kernel=stays_here(kernel),
    output:
        shard="<results>/datasets/{dataset}/stamps/{split}/{shard}.parquet",
        seen="<results>/datasets/{dataset}/seen/{split}/{shard}.parquet",
    log:
        "<logs>/render_stamps/{dataset}/{split}/{shard}.log",
    benchmark:
        "<benchmarks>/render_stamps/{dataset}/{split}/{shard}.tsv"
    wildcard_constraints:
        dataset=of_kind("subhalo"),
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime="1h",
    params:
        dataset=dataset_without("description", "size", "splits", "rendering.batch_size"),
        cosmology=needs("cosmology"),
        code=digest("render_stamps"),
    message:
        "Rendering {wildcards.dataset}, {wildcards.split} shard {wildcards.shard}"
    script:
        "../scripts/render_stamps.py"


rule render_pairs:
    """Render one shard of noiseless pairs: what training stamps show with and without their subhalo, before any noise."""
    input:
        manifest="<results>/datasets/{dataset}/manifest.parquet",
        bank=bank,
        kernel=stays_here(kernel),
    output:
        pairs="<results>/datasets/{dataset}/pairs/{shard}.parquet",
    log:
        "<logs>/render_pairs/{dataset}/{shard}.log",
    benchmark:
        "<benchmarks>/render_pairs/{dataset}/{shard}.tsv"
    wildcard_constraints:
        dataset=with_pairs(),
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime="1h",
    params:
        dataset=dataset_without("description", "size", "splits", "rendering.batch_size"),
        cosmology=needs("cosmology"),
        code=digest("render_pairs"),
    message:
        "Rendering pairs of {wildcards.dataset}, shard {wildcards.shard}"
    script:
        "../scripts/render_pairs.py"


rule check_stamps:
    """Check a dataset, describe it in a table and pick stamps to look at; a failed gate stops the run."""
    input:
        train=lambda wildcards: seen_shards(wildcards.dataset, "train"),
        validation=lambda wildcards: seen_shards(wildcards.dataset, "validation"),
        test=lambda wildcards: seen_shards(wildcards.dataset, "test"),
        # A few stamps of the last split that has some are shown: of the others no pixel is read again.
        shown=shown_shards,
    output:
        checks="<results>/datasets/{dataset}/quality/checks.json",
        table=report(
            "<results>/datasets/{dataset}/quality/distributions.csv",
            caption="../report/quality.rst",
            category="Datasets",
            labels={"dataset": "{dataset}"},
        ),
        pictures="<results>/datasets/{dataset}/quality/pictures.npz",
    log:
        "<logs>/check_stamps/{dataset}.log",
    benchmark:
        "<benchmarks>/check_stamps/{dataset}.tsv"
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        dataset=dataset_without("description", "rendering", "shard_size", "real_sky"),
        code=task_digest("check_stamps", "checks"),
    message:
        "Checking dataset {wildcards.dataset}"
    script:
        "../scripts/check_stamps.py"
