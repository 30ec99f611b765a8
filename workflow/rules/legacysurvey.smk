rule make_mock_survey:
    """Write a small, deterministic Legacy Survey archive in the layout of DR10, for surveys marked `mock`."""
    output:
        marker=local(paths.mock_survey_marker),
    log:
        paths.log("make_mock_survey/{survey}"),
    benchmark:
        paths.benchmark("make_mock_survey/{survey}")
    localrule: True
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=2000,
        runtime="15m",
    params:
        base=flow.survey_base,
        sky=needs("legacysurvey.surveys.{survey}.mock_sky"),
        code=digest("make_mock_survey"),
    message:
        "Making the mock survey {wildcards.survey}"
    script:
        "../scripts/make_mock_survey.py"


rule retrieve_sweep:
    """Fetch one sweep file, checked."""
    input:
        here(flow.survey_inputs),
    output:
        sweep=paths.sweep_file,
    log:
        paths.log("retrieve_sweep/{survey}/{sweep_name}"),
    benchmark:
        paths.benchmark("retrieve_sweep/{survey}/{sweep_name}")
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
        base=flow.survey_base,
    message:
        "Fetching {wildcards.sweep_name} of survey {wildcards.survey}"
    script:
        "../scripts/retrieve_sweep.py"


rule retrieve_survey_tables:
    """Fetch the bounds of all bricks and the observing conditions of the survey's, checked."""
    input:
        here(flow.survey_inputs),
    output:
        bounds=paths.brick_bounds,
        conditions=paths.brick_conditions,
    log:
        paths.log("retrieve_survey_tables/{survey}"),
    benchmark:
        paths.benchmark("retrieve_survey_tables/{survey}")
    retries: 1
    localrule: True
    conda:
        "../envs/download.yaml"
    resources:
        mem_mb=1000,
        runtime="2h",
        downloads=1,
    params:
        base=flow.survey_base,
    message:
        "Fetching the brick tables of survey {wildcards.survey}"
    script:
        "../scripts/retrieve_survey_tables.py"


rule select_lrgs:
    """Cut the parent sample of luminous red galaxies out of the sweeps, and count every cut."""
    input:
        sweeps=flow.sweeps,
        bounds=paths.brick_bounds,
        conditions=paths.brick_conditions,
        tables=here(flow.lens_and_label_files),
    output:
        parent=paths.parent,
        cut_flow=paths.cut_flow,
    log:
        paths.log("select_lrgs/{survey}"),
    benchmark:
        paths.benchmark("select_lrgs/{survey}")
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=2000,
        runtime="4h",
    params:
        cuts=flow.parent_cuts,
        lenses=flow.lens_catalogues,
        labels=flow.labels,
        code=digest("select_lrgs"),
    message:
        "Selecting the luminous red galaxies of survey {wildcards.survey}"
    script:
        "../scripts/select_lrgs.py"


rule find_known_lenses:
    """Find the known lenses that fall on the survey's bricks, with their galaxies and conditions."""
    input:
        parent=paths.parent,
        bounds=paths.brick_bounds,
        conditions=paths.brick_conditions,
        tables=here(flow.lens_and_label_files),
    output:
        lenses=paths.known_lenses,
    log:
        paths.log("find_known_lenses/{survey}"),
    benchmark:
        paths.benchmark("find_known_lenses/{survey}")
    conda:
        "../envs/astro.yaml"
    resources:
        mem_mb=4000,
        runtime="30m",
    params:
        cuts=flow.parent_cuts,
        lenses=flow.lens_catalogues,
        code=digest("find_known_lenses"),
    message:
        "Finding the known lenses of survey {wildcards.survey}"
    script:
        "../scripts/find_known_lenses.py"


rule retrieve_brick:
    """Fetch the coadds of one brick, checked, into a folder of its own."""
    input:
        here(flow.survey_inputs),
    output:
        # A brick that is not kept goes once the last job that needs it has run: Snakemake knows which that is.
        folder=directory(paths.brick) if flow.run.legacysurvey.keep_bricks else temp(directory(paths.brick)),
    log:
        paths.log("retrieve_brick/{survey}/{brickname}"),
    benchmark:
        paths.benchmark("retrieve_brick/{survey}/{brickname}")
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
        base=flow.survey_base,
        bands=needs("legacysurvey.surveys.{survey}.bands"),
    message:
        "Fetching brick {wildcards.brickname} of survey {wildcards.survey}"
    script:
        "../scripts/retrieve_brick.py"
