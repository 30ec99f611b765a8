rule measure_rendering:
    """Stamps per second and core of the rendering engine beside lenstronomy's and caustics', where that is installed."""
    input:
        program=local("benchmarks/bench_rendering.py"),
    output:
        figures="<results>/measured/rendering.txt",
    log:
        "<logs>/measure_rendering.log",
    benchmark:
        "<benchmarks>/measure_rendering.tsv"
    conda:
        "../envs/lensing.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        code=digest("measure_rendering"),
    message:
        "Measuring the speed of the rendering engine"
    script:
        "../scripts/measure_rendering.py"
