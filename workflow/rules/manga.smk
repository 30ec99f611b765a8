rule retrieve_catalogs:
    """Fetch dapall and drpall of a sample's archive, checked."""
    input:
        here(flow.archive_inputs),
    output:
        dapall=paths.dapall,
        drpall=paths.drpall,
    log:
        paths.log("retrieve_catalogs/{sample}"),
    benchmark:
        paths.benchmark("retrieve_catalogs/{sample}")
    retries: 1
    localrule: True
    conda:
        "../envs/download.yaml"
    resources:
        mem_mb=1000,
        runtime="2h",
        downloads=1,
    params:
        # Nothing about how it is fetched: the files are the archive's, to the byte.
        sample=flow.sample,
    message:
        "Fetching the catalogues of sample {wildcards.sample}"
    script:
        "../scripts/retrieve_catalogs.py"


checkpoint rank_disks:
    """Rank rotating disks from the catalogues alone; one row per galaxy with its MAPS address."""
    input:
        dapall=paths.dapall,
        drpall=paths.drpall,
    output:
        ranking=paths.ranking,
    log:
        paths.log("rank_disks/{sample}"),
    benchmark:
        paths.benchmark("rank_disks/{sample}")
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        sample=flow.sample,
        ranking=needs("manga.ranking"),
        line=needs("manga.quality.line"),
        code=digest("rank_disks"),
    message:
        "Ranking the disks of sample {wildcards.sample}"
    script:
        "../scripts/rank_disks.py"


rule retrieve_maps:
    """Fetch the maps of one galaxy, checked."""
    input:
        here(flow.archive_inputs),
    output:
        maps=paths.maps,
    log:
        paths.log("retrieve_maps/{sample}/{plateifu}"),
    benchmark:
        paths.benchmark("retrieve_maps/{sample}/{plateifu}")
    retries: 1
    localrule: True
    conda:
        "../envs/download.yaml"
    resources:
        mem_mb=1000,
        runtime="1h",
        downloads=1,
    params:
        # Nothing about how it is fetched: the file is the archive's, to the byte.
        sample=flow.sample,
    message:
        "Fetching the maps of {wildcards.plateifu}"
    script:
        "../scripts/retrieve_maps.py"


rule inspect_maps:
    """Measure how well one galaxy's maps trace its rotation, and write its inspection page."""
    input:
        maps=paths.maps,
    output:
        metrics=paths.quality,
        page=paths.inspection,
    log:
        paths.log("inspect_maps/{sample}/{plateifu}"),
    benchmark:
        paths.benchmark("inspect_maps/{sample}/{plateifu}")
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=1500,
        runtime="5m",
    params:
        ifu=needs("manga.samples.{sample}.ifu"),
        quality=needs("manga.quality"),
        code=digest("inspect_maps"),
    message:
        "Inspecting the maps of {wildcards.plateifu}"
    script:
        "../scripts/inspect_maps.py"


checkpoint score_lensability:
    """Score every galaxy of a sample as a lensing source: cuts, points, tier and reasons."""
    input:
        metrics=lambda wildcards: [paths.quality.format(sample=wildcards.sample, plateifu=name) for name in galaxies(wildcards.sample)],
    output:
        table=paths.lensability,
    log:
        paths.log("score_lensability/{sample}"),
    benchmark:
        paths.benchmark("score_lensability/{sample}")
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=1000,
        runtime="10m",
    params:
        lensability=needs("manga.lensability"),
        code=digest("score_lensability"),
    message:
        "Scoring the galaxies of sample {wildcards.sample}"
    script:
        "../scripts/score_lensability.py"


rule build_source_tensor:
    """Turn one galaxy's maps into a source tensor, its physical maps, sidecar and preview."""
    input:
        maps=paths.maps,
        metrics=paths.quality,
    output:
        tensor=paths.tensor("npy"),
        maps=paths.tensor("npz"),
        sidecar=paths.tensor("json"),
        preview=report(
            paths.tensor("png"),
            caption="../report/source_tensor.rst",
            category="Sources",
            labels={"galaxy": "{plateifu}"},
        ),
    log:
        paths.log("build_source_tensor/{sample}/{plateifu}"),
    benchmark:
        paths.benchmark("build_source_tensor/{sample}/{plateifu}")
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=1500,
        runtime="5m",
    params:
        ifu=needs("manga.samples.{sample}.ifu"),
        quality=needs("manga.quality"),
        tensor=needs("manga.tensor"),
        cosmology=needs("cosmology"),
        code=digest("build_source_tensor"),
    message:
        "Building the source tensor of {wildcards.plateifu}"
    script:
        "../scripts/build_source_tensor.py"


rule build_source_bank:
    """Gather the source tensors of a sample in one table."""
    input:
        maps=accepted_tensors("npz"),
        sidecars=accepted_tensors("json"),
        lensability=paths.lensability,
    output:
        bank=paths.bank,
    log:
        paths.log("build_source_bank/{sample}"),
    benchmark:
        paths.benchmark("build_source_bank/{sample}")
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        galaxies=needs("manga.samples.{sample}.galaxies"),
        size=needs("manga.tensor.size"),
        code=digest("build_source_bank"),
    message:
        "Gathering the sources of sample {wildcards.sample}"
    script:
        "../scripts/build_source_bank.py"
