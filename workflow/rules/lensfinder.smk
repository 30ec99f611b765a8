include: "inputs/lensfinder.smk"


rule list_cosmos_sources:
    """List the galaxies of a COSMOS sample that pass a dataset's cuts."""
    input:
        catalog=stays_here(cosmos_inputs),
    output:
        sources="<results>/datasets/{dataset}/cosmos_sources.parquet",
    log:
        "<logs>/list_cosmos_sources/{dataset}.log",
    benchmark:
        "<benchmarks>/list_cosmos_sources/{dataset}.tsv"
    wildcard_constraints:
        dataset=of_kind("lensfinder"),
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        settings=needs("datasets.{dataset}.sources.cosmos"),
        catalog=cosmos_catalog,
        code=digest("list_cosmos_sources"),
    message:
        "Listing the COSMOS galaxies of dataset {wildcards.dataset}"
    script:
        "../scripts/list_cosmos_sources.py"


checkpoint list_shard_bricks:
    """List the bricks that each shard of a dataset needs."""
    input:
        manifest="<results>/datasets/{dataset}/manifest.parquet",
    output:
        bricks="<results>/datasets/{dataset}/bricks.csv",
    log:
        "<logs>/list_shard_bricks/{dataset}.log",
    benchmark:
        "<benchmarks>/list_shard_bricks/{dataset}.tsv"
    wildcard_constraints:
        dataset=of_kind("lensfinder"),
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=2000,
        runtime="15m",
    params:
        dataset=dataset_without("description", "gates", "rendering", "real_sky"),
        code=digest("list_shard_bricks"),
    message:
        "Listing the bricks of dataset {wildcards.dataset}"
    script:
        "../scripts/list_shard_bricks.py"


rule prepare_host_cutouts:
    """Make galaxies and stamps of the real cutouts that are a dataset's hosts."""
    input:
        cutouts=stays_here(host_files),
    output:
        galaxies="<results>/datasets/{dataset}/host_galaxies.parquet",
        cutouts="<results>/datasets/{dataset}/host_cutouts.parquet",
    log:
        "<logs>/prepare_host_cutouts/{dataset}.log",
    benchmark:
        "<benchmarks>/prepare_host_cutouts/{dataset}.tsv"
    wildcard_constraints:
        dataset=with_host_cutouts(),
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        hosts=needs("datasets.{dataset}.hosts.cutouts"),
        camera=needs("datasets.{dataset}.camera"),
        listed=host_listing,
        code=digest("prepare_host_cutouts"),
    message:
        "Preparing the cutouts that are hosts of dataset {wildcards.dataset}"
    script:
        "../scripts/prepare_host_cutouts.py"


rule inject_stamps:
    """Cut one shard's galaxies out of their bricks and add the lensed sources."""
    input:
        manifest="<results>/datasets/{dataset}/manifest.parquet",
        bricks=shard_bricks,
        cosmos=listed_cosmos,
        bank=bank,
    output:
        shard="<results>/datasets/{dataset}/stamps/{split}/{shard}.parquet",
        seen="<results>/datasets/{dataset}/seen/{split}/{shard}.parquet",
    log:
        "<logs>/inject_stamps/{dataset}/{split}/{shard}.log",
    benchmark:
        "<benchmarks>/inject_stamps/{dataset}/{split}/{shard}.tsv"
    wildcard_constraints:
        dataset=of_kind("lensfinder"),
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime="2h",
    params:
        dataset=dataset_without("description", "splits", "hosts", "gates", "rendering.batch_size", "real_sky"),
        # The other limits judge stamps that are made.
        flux_closure=needs("datasets.{dataset}.gates.flux_closure"),
        core_pixels=needs("datasets.{dataset}.gates.core_pixels"),
        survey=cutout_limits,
        catalog=cosmos_catalog,
        code=digest("inject_stamps"),
    message:
        "Injecting {wildcards.dataset}, {wildcards.split} shard {wildcards.shard}"
    script:
        "../scripts/inject_stamps.py"


rule remove_arcs:
    """Take the arcs of some test positives away again, for the gates that look at their hosts."""
    input:
        shards=lambda wildcards: shards(wildcards.dataset, "test"),
        cosmos=listed_cosmos,
        bank=bank,
    output:
        removed="<results>/datasets/{dataset}/hosts/arcs_removed.parquet",
        bare="<results>/datasets/{dataset}/hosts/bare.parquet",
    log:
        "<logs>/remove_arcs/{dataset}.log",
    benchmark:
        "<benchmarks>/remove_arcs/{dataset}.tsv"
    wildcard_constraints:
        dataset=of_kind("lensfinder"),
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime="1h",
    params:
        dataset=dataset_without("description", "size", "shard_size", "splits", "hosts", "gates", "rendering.batch_size", "real_sky"),
        catalog=cosmos_catalog,
        code=digest("remove_arcs"),
    message:
        "Taking arcs of {wildcards.dataset} away"
    script:
        "../scripts/remove_arcs.py"


rule import_stamps:
    """Bring one shard of stamps made elsewhere into this project's table."""
    input:
        table=lambda wildcards: local(settings.datasets[wildcards.dataset].table),
    output:
        shard="<results>/datasets/{dataset}/stamps/{split}/{shard}.parquet",
        seen="<results>/datasets/{dataset}/seen/{split}/{shard}.parquet",
    log:
        "<logs>/import_stamps/{dataset}/{split}/{shard}.log",
    benchmark:
        "<benchmarks>/import_stamps/{dataset}/{split}/{shard}.tsv"
    wildcard_constraints:
        dataset=of_kind("imported"),
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        dataset=dataset_without("description", "gates"),
        core_pixels=needs("datasets.{dataset}.gates.core_pixels"),
        code=digest("import_stamps"),
    message:
        "Importing {wildcards.dataset}, {wildcards.split} shard {wildcards.shard}"
    script:
        "../scripts/import_stamps.py"
