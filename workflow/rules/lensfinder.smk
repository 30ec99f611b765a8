rule list_cosmos_sources:
    """List the galaxies of a COSMOS sample that pass a dataset's cuts."""
    input:
        catalog=here(flow.cosmos_inputs),
    output:
        sources=paths.cosmos_sources,
    log:
        paths.log("list_cosmos_sources/{dataset}"),
    benchmark:
        paths.benchmark("list_cosmos_sources/{dataset}")
    wildcard_constraints:
        dataset=flow.of_kind("lensfinder"),
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        settings=needs("datasets.{dataset}.sources.cosmos"),
        catalog=flow.cosmos_catalog,
        code=digest("list_cosmos_sources"),
    message:
        "Listing the COSMOS galaxies of dataset {wildcards.dataset}"
    script:
        "../scripts/list_cosmos_sources.py"


checkpoint build_injections:
    """Choose hosts and controls and draw every injection: one row per stamp, in the order of bricks."""
    input:
        parent=lambda wildcards: paths.parent.format(survey=flow.survey_of(wildcards)),
        cosmos=flow.listed_cosmos,
        bank=flow.bank,
    output:
        manifest=paths.manifest,
        bricks=paths.shard_bricks,
    log:
        paths.log("build_injections/{dataset}"),
    benchmark:
        paths.benchmark("build_injections/{dataset}")
    wildcard_constraints:
        dataset=flow.of_kind("lensfinder"),
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        dataset=flow.dataset_without("description", "gates", "rendering"),
        code=digest("build_injections"),
    message:
        "Drawing the injections of dataset {wildcards.dataset}"
    script:
        "../scripts/build_injections.py"


rule inject_stamps:
    """Cut one shard's galaxies out of their bricks and add the lensed sources."""
    input:
        manifest=paths.manifest,
        bricks=shard_bricks,
        cosmos=flow.listed_cosmos,
        bank=flow.bank,
    output:
        shard=paths.shard,
    log:
        paths.log("inject_stamps/{dataset}/{split}/{shard}"),
    benchmark:
        paths.benchmark("inject_stamps/{dataset}/{split}/{shard}")
    wildcard_constraints:
        dataset=flow.of_kind("lensfinder"),
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime="2h",
    params:
        dataset=flow.dataset_without("description", "splits", "hosts", "rendering.batch_size"),
        survey=lambda wildcards: flow.cutout_limits(flow.survey_of(wildcards)),
        catalog=flow.cosmos_catalog,
        code=digest("inject_stamps"),
    message:
        "Injecting {wildcards.dataset}, {wildcards.split} shard {wildcards.shard}"
    script:
        "../scripts/inject_stamps.py"


rule remove_arcs:
    """Take the arcs of some test positives away again, for the gates that look at their hosts."""
    input:
        shards=lambda wildcards: flow.shards(wildcards.dataset, "test"),
        cosmos=flow.listed_cosmos,
        bank=flow.bank,
    output:
        removed=paths.arcs_removed,
        bare=paths.bare_hosts,
    log:
        paths.log("remove_arcs/{dataset}"),
    benchmark:
        paths.benchmark("remove_arcs/{dataset}")
    wildcard_constraints:
        dataset=flow.of_kind("lensfinder"),
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime="1h",
    params:
        dataset=flow.dataset_without("description", "size", "shard_size", "splits", "hosts", "gates", "rendering.batch_size"),
        catalog=flow.cosmos_catalog,
        code=digest("remove_arcs"),
    message:
        "Taking arcs of {wildcards.dataset} away"
    script:
        "../scripts/remove_arcs.py"


rule import_stamps:
    """Bring one shard of stamps made elsewhere into this project's table."""
    input:
        table=lambda wildcards: local(flow.run.datasets[wildcards.dataset].table),
    output:
        shard=paths.shard,
    log:
        paths.log("import_stamps/{dataset}/{split}/{shard}"),
    benchmark:
        paths.benchmark("import_stamps/{dataset}/{split}/{shard}")
    wildcard_constraints:
        dataset=flow.of_kind("imported"),
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        dataset=flow.dataset_without("description", "gates"),
        code=digest("import_stamps"),
    message:
        "Importing {wildcards.dataset}, {wildcards.split} shard {wildcards.shard}"
    script:
        "../scripts/import_stamps.py"


rule check_injections:
    """Check a lens-finder dataset, describe it in a table and pick stamps to look at; a failed gate stops the run."""
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
        paths.log("check_injections/{dataset}"),
    benchmark:
        paths.benchmark("check_injections/{dataset}")
    wildcard_constraints:
        dataset=flow.of_kind("lensfinder", "imported"),
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=6000,
        runtime="2h",
    params:
        dataset=flow.dataset_without("description", "rendering", "shard_size"),
        code=digest("check_injections"),
    message:
        "Checking dataset {wildcards.dataset}"
    script:
        "../scripts/check_injections.py"


rule build_dataset_page:
    """Write the quality report of a lens-finder dataset: a page of its own, so that its looks make no training stale."""
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
    wildcard_constraints:
        dataset=flow.of_kind("lensfinder", "imported"),
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
