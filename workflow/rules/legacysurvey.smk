include: "inputs/legacysurvey.smk"


rule make_mock_survey:
    """Write a small, deterministic Legacy Survey archive in the layout of DR10, for surveys marked `mock`."""
    output:
        marker=local("<results>/mock/legacysurvey/{survey}/mock-survey.json"),
    log:
        "<logs>/make_mock_survey/{survey}.log",
    benchmark:
        "<benchmarks>/make_mock_survey/{survey}.tsv"
    localrule: True
    conda:
        "../envs/astro.yaml"
    # Bricks are drawn side by side where they are many.
    threads: lambda wildcards: min(8, 1 + settings.legacysurvey.surveys[wildcards.survey].mock_sky.bricks // 20)
    resources:
        mem_mb=lambda wildcards, threads: 2000 * threads,
        runtime="2h",
    params:
        base=survey_base,
        sky=needs("legacysurvey.surveys.{survey}.mock_sky"),
        bands=lambda wildcards: list(settings.legacysurvey.surveys[wildcards.survey].sources),
        code=digest("make_mock_survey"),
    message:
        "Making the mock survey {wildcards.survey}"
    script:
        "../scripts/make_mock_survey.py"


rule retrieve_sweep:
    """Fetch one sweep file, checked."""
    input:
        stays_here(survey_archive),
    output:
        sweep="<results>/legacysurvey/{survey}/sweeps/{sweep_name}.fits",
    log:
        "<logs>/retrieve_sweep/{survey}/{sweep_name}.log",
    benchmark:
        "<benchmarks>/retrieve_sweep/{survey}/{sweep_name}.tsv"
    retries: 1
    localrule: True
    conda:
        "../envs/download.yaml"
    resources:
        mem_mb=1000,
        runtime="4h",
        downloads=1,
    params:
        # Nothing about how it is fetched: the file is the archive's, to the byte.
        base=survey_base,
    message:
        "Fetching {wildcards.sweep_name} of survey {wildcards.survey}"
    script:
        "../scripts/retrieve_sweep.py"


rule retrieve_survey_tables:
    """Fetch the bounds of all bricks and the observing conditions of the survey's, checked."""
    input:
        stays_here(survey_archive),
    output:
        bounds="<results>/legacysurvey/{survey}/tables/survey-bricks.fits.gz",
        conditions="<results>/legacysurvey/{survey}/tables/survey-bricks-dr10-south.fits.gz",
    log:
        "<logs>/retrieve_survey_tables/{survey}.log",
    benchmark:
        "<benchmarks>/retrieve_survey_tables/{survey}.tsv"
    retries: 1
    localrule: True
    conda:
        "../envs/download.yaml"
    resources:
        mem_mb=1000,
        runtime="2h",
        downloads=1,
    params:
        base=survey_base,
    message:
        "Fetching the brick tables of survey {wildcards.survey}"
    script:
        "../scripts/retrieve_survey_tables.py"


rule select_lrgs:
    """Cut the parent sample of luminous red galaxies out of the sweeps, and count every cut."""
    input:
        sweeps=sweep_files,
        bounds="<results>/legacysurvey/{survey}/tables/survey-bricks.fits.gz",
        conditions="<results>/legacysurvey/{survey}/tables/survey-bricks-dr10-south.fits.gz",
        tables=stays_here(lens_and_label_files),
    output:
        parent="<results>/legacysurvey/{survey}/parent.parquet",
        cut_flow="<results>/legacysurvey/{survey}/cut_flow.csv",
    log:
        "<logs>/select_lrgs/{survey}.log",
    benchmark:
        "<benchmarks>/select_lrgs/{survey}.tsv"
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=2000,
        runtime="4h",
    params:
        cuts=parent_cuts,
        lenses=lens_catalogues,
        labels=labels,
        code=digest("select_lrgs"),
    message:
        "Selecting the luminous red galaxies of survey {wildcards.survey}"
    script:
        "../scripts/select_lrgs.py"


rule find_known_lenses:
    """Find the known lenses that fall on the survey's bricks, with their galaxies and conditions."""
    input:
        parent="<results>/legacysurvey/{survey}/parent.parquet",
        bounds="<results>/legacysurvey/{survey}/tables/survey-bricks.fits.gz",
        conditions="<results>/legacysurvey/{survey}/tables/survey-bricks-dr10-south.fits.gz",
        tables=stays_here(lens_and_label_files),
    output:
        lenses="<results>/legacysurvey/{survey}/known_lenses.parquet",
    log:
        "<logs>/find_known_lenses/{survey}.log",
    benchmark:
        "<benchmarks>/find_known_lenses/{survey}.tsv"
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=4000,
        runtime="30m",
    params:
        cuts=parent_cuts,
        lenses=lens_catalogues,
        code=digest("find_known_lenses"),
    message:
        "Finding the known lenses of survey {wildcards.survey}"
    script:
        "../scripts/find_known_lenses.py"


rule retrieve_brick:
    """Fetch the coadds of one brick, checked, into a folder of its own."""
    input:
        stays_here(survey_archive),
    output:
        folder=(directory if settings.legacysurvey.keep_bricks else until_used)("<results>/legacysurvey/{survey}/bricks/{brickname}"),
    log:
        "<logs>/retrieve_brick/{survey}/{brickname}.log",
    benchmark:
        "<benchmarks>/retrieve_brick/{survey}/{brickname}.tsv"
    # Stamps whose bricks are there come before further bricks, so that few bricks wait on disk.
    priority: -1
    retries: 1
    localrule: True
    conda:
        "../envs/download.yaml"
    resources:
        mem_mb=1000,
        runtime="1h",
        downloads=1,
    params:
        # Nothing about how it is fetched: the files are the archive's, to the byte.
        base=survey_base,
        bands=needs("legacysurvey.surveys.{survey}.bands"),
    message:
        "Fetching brick {wildcards.brickname} of survey {wildcards.survey}"
    script:
        "../scripts/retrieve_brick.py"
