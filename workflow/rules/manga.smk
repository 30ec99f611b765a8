include: "inputs/manga.smk"


rule retrieve_catalogs:
    """Fetch dapall and drpall of a sample's archive, checked."""
    input:
        stays_here(archive),
    output:
        dapall="<results>/manga/{sample}/catalogs/dapall.fits",
        drpall="<results>/manga/{sample}/catalogs/drpall.fits",
    log:
        "<logs>/retrieve_catalogs/{sample}.log",
    benchmark:
        "<benchmarks>/retrieve_catalogs/{sample}.tsv"
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
        sample=sample,
    message:
        "Fetching the catalogues of sample {wildcards.sample}"
    script:
        "../scripts/retrieve_catalogs.py"


checkpoint rank_disks:
    """Rank rotating disks from the catalogues alone; one row per galaxy with its MAPS address."""
    input:
        dapall="<results>/manga/{sample}/catalogs/dapall.fits",
        drpall="<results>/manga/{sample}/catalogs/drpall.fits",
    output:
        ranking="<results>/manga/{sample}/ranking.csv",
    log:
        "<logs>/rank_disks/{sample}.log",
    benchmark:
        "<benchmarks>/rank_disks/{sample}.tsv"
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        sample=sample,
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
        stays_here(maps_given),
    output:
        maps="<results>/manga/{sample}/maps/{galaxy_id}.fits.gz",
    log:
        "<logs>/retrieve_maps/{sample}/{galaxy_id}.log",
    benchmark:
        "<benchmarks>/retrieve_maps/{sample}/{galaxy_id}.tsv"
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
        sample=sample,
    message:
        "Fetching the maps of {wildcards.galaxy_id}"
    script:
        "../scripts/retrieve_maps.py"


rule inspect_maps:
    """Measure how well one galaxy's maps trace its rotation."""
    input:
        maps="<results>/manga/{sample}/maps/{galaxy_id}.fits.gz",
    output:
        metrics="<results>/manga/{sample}/quality/{galaxy_id}.json",
    log:
        "<logs>/inspect_maps/{sample}/{galaxy_id}.log",
    benchmark:
        "<benchmarks>/inspect_maps/{sample}/{galaxy_id}.tsv"
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
        "Inspecting the maps of {wildcards.galaxy_id}"
    script:
        "../scripts/inspect_maps.py"


rule draw_inspection:
    """Show all that one galaxy's file of maps holds, on a page: for people, nothing here reads it."""
    input:
        maps="<results>/manga/{sample}/maps/{galaxy_id}.fits.gz",
        metrics="<results>/manga/{sample}/quality/{galaxy_id}.json",
    output:
        page="<results>/manga/{sample}/quality/{galaxy_id}.html",
    log:
        "<logs>/draw_inspection/{sample}/{galaxy_id}.log",
    benchmark:
        "<benchmarks>/draw_inspection/{sample}/{galaxy_id}.tsv"
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=1500,
        runtime="5m",
    params:
        ifu=needs("manga.samples.{sample}.ifu"),
        quality=needs("manga.quality"),
        code=digest("draw_inspection"),
    message:
        "Drawing the inspection page of {wildcards.galaxy_id}"
    script:
        "../scripts/draw_inspection.py"


checkpoint score_lensability:
    """Score every galaxy of a sample as a lensing source: cuts, points, tier and reasons."""
    input:
        metrics=lambda wildcards: [f"<results>/manga/{wildcards.sample}/quality/{name}.json" for name in galaxies(wildcards.sample)],
    output:
        table="<results>/manga/{sample}/lensability.csv",
    log:
        "<logs>/score_lensability/{sample}.log",
    benchmark:
        "<benchmarks>/score_lensability/{sample}.tsv"
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
    """Put one galaxy's maps on square pixels, in physical units: what the bank is made of."""
    input:
        maps="<results>/manga/{sample}/maps/{galaxy_id}.fits.gz",
        metrics="<results>/manga/{sample}/quality/{galaxy_id}.json",
    output:
        maps="<results>/manga/{sample}/tensors/source_tensor_{galaxy_id}.npz",
        facts="<results>/manga/{sample}/tensors/facts_{galaxy_id}.json",
    log:
        "<logs>/build_source_tensor/{sample}/{galaxy_id}.log",
    benchmark:
        "<benchmarks>/build_source_tensor/{sample}/{galaxy_id}.tsv"
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=1500,
        runtime="5m",
    params:
        ifu=needs("manga.samples.{sample}.ifu"),
        quality=needs("manga.quality"),
        size=needs("manga.tensor.size"),
        cosmology=needs("cosmology"),
        code=digest("build_source_tensor"),
    message:
        "Building the source tensor of {wildcards.galaxy_id}"
    script:
        "../scripts/build_source_tensor.py"


rule normalise_source_tensor:
    """Normalise and clip one galaxy's source tensor and draw it: for people and other programs, nothing here reads it."""
    input:
        maps="<results>/manga/{sample}/maps/{galaxy_id}.fits.gz",
        physical="<results>/manga/{sample}/tensors/source_tensor_{galaxy_id}.npz",
        facts="<results>/manga/{sample}/tensors/facts_{galaxy_id}.json",
    output:
        tensor="<results>/manga/{sample}/tensors/source_tensor_{galaxy_id}.npy",
        sidecar="<results>/manga/{sample}/tensors/source_tensor_{galaxy_id}.json",
        preview=report(
            "<results>/manga/{sample}/tensors/source_tensor_{galaxy_id}.png",
            caption="../report/source_tensor.rst",
            category="Sources",
            labels={"galaxy": "{galaxy_id}"},
        ),
    log:
        "<logs>/normalise_source_tensor/{sample}/{galaxy_id}.log",
    benchmark:
        "<benchmarks>/normalise_source_tensor/{sample}/{galaxy_id}.tsv"
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
        code=digest("normalise_source_tensor"),
    message:
        "Normalising the source tensor of {wildcards.galaxy_id}"
    script:
        "../scripts/normalise_source_tensor.py"


rule build_source_bank:
    """Gather the source tensors of a sample in one table."""
    input:
        maps=accepted_tensors("source_tensor_{}.npz"),
        facts=accepted_tensors("facts_{}.json"),
        lensability="<results>/manga/{sample}/lensability.csv",
    output:
        bank="<results>/manga/{sample}/bank.parquet",
    log:
        "<logs>/build_source_bank/{sample}.log",
    benchmark:
        "<benchmarks>/build_source_bank/{sample}.tsv"
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
