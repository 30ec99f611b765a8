rule build_manifest:
    """Draw every parameter of every stamp: one row each, balanced, split by galaxy and by sky."""
    input:
        bank=flow.bank,
        parent=flow.parent,
        cosmos=flow.listed_cosmos,
        # Its path is in the params; as an input, another file at that path makes the stamps again.
        kernel=here(flow.kernel),
    output:
        manifest=paths.manifest,
    log:
        paths.log("build_manifest/{dataset}"),
    benchmark:
        paths.benchmark("build_manifest/{dataset}")
    wildcard_constraints:
        dataset=flow.of_kind("subhalo", "lensfinder"),
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=4000,
        runtime="30m",
    params:
        dataset=flow.dataset_without("description", "rendering", "shard_size", "gates"),
        cosmology=needs("cosmology"),
        code=flow.task_digest("build_manifest", "manifest"),
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
    """Check a dataset, describe it in a table and pick stamps to look at; a failed gate stops the run."""
    input:
        train=lambda wildcards: flow.shards(wildcards.dataset, "train"),
        validation=lambda wildcards: flow.shards(wildcards.dataset, "validation"),
        test=lambda wildcards: flow.shards(wildcards.dataset, "test"),
    output:
        checks=paths.checks,
        table=report(
            paths.quality_table,
            caption="../report/quality.rst",
            category="Datasets",
            labels={"dataset": "{dataset}"},
        ),
        pictures=paths.quality_pictures,
    log:
        paths.log("check_stamps/{dataset}"),
    benchmark:
        paths.benchmark("check_stamps/{dataset}")
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=6000,
        runtime="2h",
    params:
        dataset=flow.dataset_without("description", "rendering", "shard_size"),
        code=flow.task_digest("check_stamps", "checks"),
    message:
        "Checking dataset {wildcards.dataset}"
    script:
        "../scripts/check_stamps.py"


rule build_dataset_page:
    """Write the quality report of a dataset: a page of its own, so that its looks make no training stale."""
    input:
        checks=paths.checks,
        pictures=paths.quality_pictures,
    output:
        page=report(
            paths.quality_page,
            caption="../report/quality.rst",
            category="Datasets",
            labels={"dataset": "{dataset}"},
        ),
    log:
        paths.log("build_dataset_page/{dataset}"),
    benchmark:
        paths.benchmark("build_dataset_page/{dataset}")
    localrule: True
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=1000,
        runtime="5m",
    params:
        code=digest("build_dataset_page"),
    message:
        "Writing the page of dataset {wildcards.dataset}"
    script:
        "../scripts/build_dataset_page.py"
