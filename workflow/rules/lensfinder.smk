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


checkpoint list_shard_bricks:
    """List the bricks that each shard of a dataset needs."""
    input:
        manifest=paths.manifest,
    output:
        bricks=paths.shard_bricks,
    log:
        paths.log("list_shard_bricks/{dataset}"),
    benchmark:
        paths.benchmark("list_shard_bricks/{dataset}")
    wildcard_constraints:
        dataset=flow.of_kind("lensfinder"),
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=2000,
        runtime="15m",
    params:
        dataset=flow.dataset_without("description", "gates", "rendering"),
        code=digest("list_shard_bricks"),
    message:
        "Listing the bricks of dataset {wildcards.dataset}"
    script:
        "../scripts/list_shard_bricks.py"


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
