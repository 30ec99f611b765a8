rule make_mock_archive:
    """Write a small, deterministic MaNGA archive in the real layout, for samples marked `mock`."""
    output:
        marker=local(paths.mock_marker),
    log:
        paths.log("make_mock_archive/{sample}"),
    benchmark:
        paths.benchmark("make_mock_archive/{sample}")
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=2000,
        runtime="15m",
    params:
        sample=flow.sample,
        code=digest("make_mock_archive"),
    message:
        "Making the mock archive of sample {wildcards.sample}"
    script:
        "../scripts/make_mock_archive.py"
