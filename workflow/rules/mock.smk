rule make_mock_archive:
    """Write a small, deterministic MaNGA archive in the real layout, for samples marked `mock`."""
    output:
        marker=local("<results>/mock/{sample}/mock-archive.json"),
    log:
        "<logs>/make_mock_archive/{sample}.log",
    benchmark:
        "<benchmarks>/make_mock_archive/{sample}.tsv"
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=2000,
        runtime="15m",
    params:
        sample=sample,
        code=digest("make_mock_archive"),
    message:
        "Making the mock archive of sample {wildcards.sample}"
    script:
        "../scripts/make_mock_archive.py"
