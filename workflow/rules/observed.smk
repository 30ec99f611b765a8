include: "inputs/observed.smk"


rule look_at_lens:
    """Fit one observed lens without a person, try subhalos everywhere, and calibrate with controls and injections of its own."""
    input:
        files=stays_here(observed_files),
    output:
        lens="<results>/observed/{observed}/lenses/{lens}/lens.parquet",
        trials="<results>/observed/{observed}/lenses/{lens}/trials.parquet",
    log:
        "<logs>/look_at_lens/{observed}/{lens}.log",
    benchmark:
        "<benchmarks>/look_at_lens/{observed}/{lens}.tsv"
    wildcard_constraints:
        observed=observed_name(),
        lens=any_of(observed_lenses()),
    conda:
        "../envs/lensing.yaml"
    # One core each: lenses are looked at side by side.
    threads: 1
    resources:
        mem_mb=3000,
        runtime="1h",
    params:
        observed=observed_settings,
        mass_function=settings.evidence.sensitivity.only("slope", "fraction", "mass_bounds_msun"),
        cosmology=needs("cosmology"),
        code=digest("look_at_lens"),
    message:
        "Looking at lens {wildcards.lens}"
    script:
        "../scripts/look_at_lens.py"


rule gather_lenses:
    """Put the lenses of a sample into one table, and say what the sample shows: false alarms, completeness, expected and found."""
    input:
        lenses=observed_of("lens.parquet"),
        trials=observed_of("trials.parquet"),
    output:
        lenses="<results>/observed/{observed}/lenses.parquet",
        trials="<results>/observed/{observed}/trials.parquet",
        table=report(
            "<results>/observed/{observed}/lenses.csv",
            caption="../report/observed.rst",
            category="Observed lenses",
            labels={"sample": "{observed}"},
        ),
        sample="<results>/observed/{observed}/sample.json",
    log:
        "<logs>/gather_lenses/{observed}.log",
    benchmark:
        "<benchmarks>/gather_lenses/{observed}.tsv"
    wildcard_constraints:
        observed=observed_name(),
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=3000,
        runtime="15m",
    params:
        observed=settings.observed.without("name", "lenses"),
        code=digest("gather_lenses"),
    message:
        "Gathering the lenses of {wildcards.observed}"
    script:
        "../scripts/gather_lenses.py"


rule show_lenses:
    """Show each lens on a page: data, model, residual, source, z map, sensitivity map, and the sample's figures."""
    input:
        lenses="<results>/observed/{observed}/lenses.parquet",
        sample="<results>/observed/{observed}/sample.json",
    output:
        page=report(
            # The page is opened from disk.
            local("<results>/observed/{observed}/index.html"),
            caption="../report/observed.rst",
            category="Observed lenses",
            labels={"sample": "{observed}"},
        ),
    log:
        "<logs>/show_lenses/{observed}.log",
    benchmark:
        "<benchmarks>/show_lenses/{observed}.tsv"
    wildcard_constraints:
        observed=observed_name(),
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=3000,
        runtime="30m",
    params:
        observed=settings.observed.without("name", "lenses"),
        code=digest("show_lenses"),
    message:
        "Showing the lenses of {wildcards.observed}"
    script:
        "../scripts/show_lenses.py"
