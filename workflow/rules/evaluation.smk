include: "inputs/evaluation.smk"


rule evaluate_scores:
    """Rates, strata, ROC and the share of information used, of one detector in an experiment."""
    input:
        scores=lambda wildcards: scores(wildcards.experiment, wildcards.detector),
    output:
        rates=report(
            "<results>/experiments/{experiment}/evaluation/{detector}/rates.csv",
            caption="../report/rates.rst",
            category="Rates",
            labels={"experiment": "{experiment}", "detector": "{detector}"},
        ),
        strata=report(
            "<results>/experiments/{experiment}/evaluation/{detector}/strata.csv",
            caption="../report/strata.rst",
            category="Strata",
            labels={"experiment": "{experiment}", "detector": "{detector}"},
        ),
        roc="<results>/experiments/{experiment}/evaluation/{detector}/roc.csv",
        information="<results>/experiments/{experiment}/evaluation/{detector}/information.csv",
        calibration="<results>/experiments/{experiment}/evaluation/{detector}/calibration.csv",
        purity="<results>/experiments/{experiment}/evaluation/{detector}/purity.csv",
        resolved="<results>/experiments/{experiment}/evaluation/{detector}/resolved.csv",
        contaminants="<results>/experiments/{experiment}/evaluation/{detector}/contaminants.csv",
    log:
        "<logs>/evaluate_scores/{experiment}/{detector}.log",
    benchmark:
        "<benchmarks>/evaluate_scores/{experiment}/{detector}.tsv"
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        evaluation=needs("experiments.{experiment}.evaluation"),
        dataset=needs("experiments.{experiment}.dataset"),
        tests=needs("experiments.{experiment}.test_datasets"),
        channels=needs("detectors.{detector}.channels"),
        code=digest("evaluate_scores"),
    message:
        "Evaluating {wildcards.detector} in {wildcards.experiment}"
    script:
        "../scripts/evaluate_scores.py"


rule map_completeness:
    """Completeness over two or three columns, cell by cell, and the smooth fits that can be applied to a catalogue."""
    input:
        scores=lambda wildcards: scores(wildcards.experiment, wildcards.detector),
    output:
        cells="<results>/experiments/{experiment}/evaluation/{detector}/completeness.csv",
        selection="<results>/experiments/{experiment}/evaluation/{detector}/selection.json",
        picture=report(
            "<results>/experiments/{experiment}/evaluation/{detector}/completeness.png",
            caption="../report/completeness.rst",
            category="Completeness",
            labels={"experiment": "{experiment}", "detector": "{detector}"},
        ),
    log:
        "<logs>/map_completeness/{experiment}/{detector}.log",
    benchmark:
        "<benchmarks>/map_completeness/{experiment}/{detector}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        evaluation=needs("experiments.{experiment}.evaluation"),
        dataset=needs("experiments.{experiment}.dataset"),
        tests=needs("experiments.{experiment}.test_datasets"),
        code=digest("map_completeness"),
    message:
        "Mapping the completeness of {wildcards.detector} in {wildcards.experiment}"
    script:
        "../scripts/map_completeness.py"


rule check_shortcuts:
    """Gates that find a network which tells lenses from controls by something other than arcs."""
    input:
        shards=lambda wildcards: shards(wildcards.test, "test"),
        removed=without_arcs("arcs_removed.parquet"),
        bare=without_arcs("bare.parquet"),
        lenses=real_lenses,
        real=lambda wildcards: real_sky(settings.experiments[wildcards.experiment].dataset),
        learnt=learnt_hosts,
        weights=members("network.safetensors"),
        networks=members("network.json"),
    output:
        table=report(
            "<results>/experiments/{experiment}/shortcuts/{test}/{detector}.csv",
            caption="../report/shortcuts.rst",
            category="Gates",
            labels={"experiment": "{experiment}", "detector": "{detector}", "test": "{test}"},
        ),
        gates="<results>/experiments/{experiment}/shortcuts/{test}/{detector}.json",
    log:
        "<logs>/check_shortcuts/{experiment}/{test}/{detector}.log",
    benchmark:
        "<benchmarks>/check_shortcuts/{experiment}/{test}/{detector}.tsv"
    conda:
        "../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        evaluation=needs("experiments.{experiment}.evaluation"),
        joined=joined_training,
        real_joined=lambda wildcards: settings.detectors[wildcards.detector].training.real_share > 0,
        code=digest("check_shortcuts"),
    message:
        "Looking for shortcuts of {wildcards.detector} on {wildcards.test}"
    script:
        "../scripts/check_shortcuts.py"


rule compare_networks:
    """Paired comparisons of detectors on the same stamps."""
    input:
        scores=compared_scores,
    output:
        comparison=report(
            "<results>/experiments/{experiment}/evaluation/comparison.csv",
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"experiment": "{experiment}"},
        ),
    log:
        "<logs>/compare_networks/{experiment}.log",
    benchmark:
        "<benchmarks>/compare_networks/{experiment}.tsv"
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        evaluation=needs("experiments.{experiment}.evaluation"),
        tests=needs("experiments.{experiment}.test_datasets"),
        comparisons=needs("experiments.{experiment}.comparisons"),
        channels=lambda wildcards: {
            detector: settings.detectors[detector].channels for _, detector in settings.experiments[wildcards.experiment].comparisons
        },
        code=digest("compare_networks"),
    message:
        "Comparing the detectors of {wildcards.experiment}"
    script:
        "../scripts/compare_networks.py"


rule judge_experiment:
    """Decide what an experiment's tables say: its main detector, its answer in numbers, the criterion, the gates of its rates."""
    input:
        rates=experiment_tables("rates"),
        strata=experiment_tables("strata"),
        information=experiment_tables("information"),
        resolved=experiment_tables("resolved"),
        comparison=comparison,
        observers=lambda wildcards: observers(wildcards.experiment)[:1],
        scores=lambda wildcards: scores(
            wildcards.experiment, settings.experiments[wildcards.experiment].detectors[0], [first_test(wildcards)]
        ),
    output:
        answer="<results>/experiments/{experiment}/evaluation/answer.json",
    log:
        "<logs>/judge_experiment/{experiment}.log",
    benchmark:
        "<benchmarks>/judge_experiment/{experiment}.tsv"
    localrule: True
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        experiment=lambda wildcards: settings.experiments[wildcards.experiment].without("explanations", "robustness", "search"),
        dataset=lambda wildcards: settings.datasets[settings.experiments[wildcards.experiment].dataset].without("description", "rendering"),
        detectors=what_detectors_see,
        code=digest("judge_experiment"),
    message:
        "Judging {wildcards.experiment}"
    script:
        "../scripts/judge_experiment.py"


rule choose_examples:
    """Render what the report shows of the test stamps: galaxies before lensing, lenses with and without their subhalo."""
    input:
        shard=lambda wildcards: shards(first_test(wildcards), "test")[:1],
        bank=lambda wildcards: bank_of(first_test(wildcards)),
        kernel=stays_here(lambda wildcards: kernel_of(first_test(wildcards))),
    output:
        table="<results>/experiments/{experiment}/examples.parquet",
    log:
        "<logs>/choose_examples/{experiment}.log",
    benchmark:
        "<benchmarks>/choose_examples/{experiment}.tsv"
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime="30m",
    params:
        dataset=lambda wildcards: settings.datasets[first_test(wildcards)].without(
            "description", "size", "shard_size", "splits", "rendering.batch_size"
        ),
        cosmology=needs("cosmology"),
        code=digest("choose_examples"),
    message:
        "Rendering the examples of {wildcards.experiment}"
    script:
        "../scripts/choose_examples.py"


rule compare_rounds:
    """False-positive rate at fixed completeness of every round of training, on the same test stamps."""
    input:
        scores=lambda wildcards: [path for name in rounds_of(wildcards.detector) for path in scores(wildcards.experiment, name)],
    output:
        rounds=report(
            "<results>/experiments/{experiment}/evaluation/{detector}/rounds.csv",
            caption="../report/rounds.rst",
            category="Rounds",
            labels={"experiment": "{experiment}", "detector": "{detector}"},
        ),
    log:
        "<logs>/compare_rounds/{experiment}/{detector}.log",
    benchmark:
        "<benchmarks>/compare_rounds/{experiment}/{detector}.tsv"
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        evaluation=needs("experiments.{experiment}.evaluation"),
        tests=needs("experiments.{experiment}.test_datasets"),
        rounds=lambda wildcards: rounds_of(wildcards.detector),
        code=digest("compare_rounds"),
    message:
        "Comparing the rounds of {wildcards.detector} in {wildcards.experiment}"
    script:
        "../scripts/compare_rounds.py"


rule measure_robustness:
    """Every detector on every test dataset, and what it loses from its own to the others."""
    input:
        scores=robustness_scores,
    output:
        robustness=report(
            "<results>/experiments/{experiment}/evaluation/robustness.csv",
            caption="../report/robustness.rst",
            category="Robustness",
            labels={"experiment": "{experiment}"},
        ),
    log:
        "<logs>/measure_robustness/{experiment}.log",
    benchmark:
        "<benchmarks>/measure_robustness/{experiment}.tsv"
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        evaluation=needs("experiments.{experiment}.evaluation"),
        home=needs("experiments.{experiment}.home"),
        variants=needs("experiments.{experiment}.variants"),
        tests=needs("experiments.{experiment}.test_datasets"),
        detectors=needs("experiments.{experiment}.detectors"),
        gains=needs("experiments.{experiment}.comparisons"),
        code=digest("measure_robustness"),
    message:
        "Measuring the robustness of the detectors of {wildcards.experiment}"
    script:
        "../scripts/measure_robustness.py"


rule explain_scores:
    """Which pixels the scores of chosen test stamps rest on, network by network, and how much of it lies at the subhalo or the arc."""
    input:
        scores=choosing_scores,
        shards=lambda wildcards: shards(first_test(wildcards), "test"),
        weights=explained_files("network.safetensors"),
        networks=explained_files("network.json"),
    output:
        table="<results>/experiments/{experiment}/explanations/stamps.csv",
        summary=report(
            "<results>/experiments/{experiment}/explanations/summary.csv",
            caption="../report/explanations.rst",
            category="Explanations",
            labels={"experiment": "{experiment}"},
        ),
        maps="<results>/experiments/{experiment}/explanations/maps.parquet",
    log:
        "<logs>/explain_scores/{experiment}.log",
    benchmark:
        "<benchmarks>/explain_scores/{experiment}.tsv"
    conda:
        "../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        explanations=needs("experiments.{experiment}.explanations"),
        networks=lambda wildcards: explained(wildcards.experiment),
        mark=lambda wildcards: marked(wildcards)[0],
        pixel_arcsec=lambda wildcards: marked(wildcards)[1],
        confidence=needs("experiments.{experiment}.evaluation.confidence"),
        bootstrap=needs("experiments.{experiment}.evaluation.bootstrap"),
        code=digest("explain_scores"),
    message:
        "Explaining the scores of {wildcards.experiment}"
    script:
        "../scripts/explain_scores.py"


rule observe_marginal:
    """What observers could see who must also find out lens and source, and beside a model-based detector where the subhalo is."""
    input:
        shards=lambda wildcards: shards(wildcards.test, "test"),
        kernel=stays_here(lambda wildcards: kernel_of(wildcards.test)),
    output:
        table="<results>/experiments/{experiment}/observers/{test}.csv",
    log:
        "<logs>/observe_marginal/{experiment}/{test}.log",
    benchmark:
        "<benchmarks>/observe_marginal/{experiment}/{test}.tsv"
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        dataset=dataset_without(
            *("description", "size", "shard_size", "splits"),
            *("rendering.batch_size", "rendering.renderer", "rendering.accuracy"),
            of="test",
        ),
        cosmology=needs("cosmology"),
        stamps=needs("experiments.{experiment}.evaluation.marginal_stamps"),
        place_step=blind_step,
        code=digest("observe_marginal"),
    message:
        "Computing the marginal observer on {wildcards.test}"
    script:
        "../scripts/observe_marginal.py"


rule collect_sweep:
    """Gather the rates of every point of a sweep in one tidy table."""
    input:
        rates=lambda wildcards: [
            f"<results>/experiments/{point.experiment}/evaluation/{detector}/rates.csv"
            for point, detector in sweep_detectors(wildcards.sweep)
        ],
    output:
        table=report(
            "<results>/sweeps/{sweep}/results.csv",
            caption="../report/sweep.rst",
            category="Sweeps",
            labels={"sweep": "{sweep}"},
        ),
    log:
        "<logs>/collect_sweep/{sweep}.log",
    benchmark:
        "<benchmarks>/collect_sweep/{sweep}.tsv"
    localrule: True
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=1000,
        runtime="10m",
    params:
        points=lambda wildcards: [(point.experiment, detector, point.values) for point, detector in sweep_detectors(wildcards.sweep)],
        code=digest("collect_sweep"),
    message:
        "Gathering sweep {wildcards.sweep}"
    script:
        "../scripts/collect_sweep.py"


rule evaluate_table:
    """Rates, strata, ROC, calibration and purity of a table of scores made elsewhere."""
    input:
        table=stays_here(scores_table),
    output:
        rates=report(
            "<results>/scores/{scores}/rates.csv",
            caption="../report/table.rst",
            category="Rates",
            labels={"scores": "{scores}"},
        ),
        strata=report(
            "<results>/scores/{scores}/strata.csv",
            caption="../report/table.rst",
            category="Strata",
            labels={"scores": "{scores}"},
        ),
        roc="<results>/scores/{scores}/roc.csv",
        information="<results>/scores/{scores}/information.csv",
        calibration="<results>/scores/{scores}/calibration.csv",
        purity="<results>/scores/{scores}/purity.csv",
        resolved="<results>/scores/{scores}/resolved.csv",
        contaminants="<results>/scores/{scores}/contaminants.csv",
    log:
        "<logs>/evaluate_table/{scores}.log",
    benchmark:
        "<benchmarks>/evaluate_table/{scores}.tsv"
    wildcard_constraints:
        scores=scores_name(),
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=3000,
        runtime="1h",
    params:
        scores=needs("scores"),
        code=digest("evaluate_table"),
    message:
        "Evaluating the scores of {input.table}"
    script:
        "../scripts/evaluate_table.py"


rule map_table_completeness:
    """Completeness of scores made elsewhere over two or three columns, cell by cell, and the smooth fits."""
    input:
        table=stays_here(scores_table),
    output:
        cells="<results>/scores/{scores}/completeness.csv",
        selection="<results>/scores/{scores}/selection.json",
        picture=report(
            "<results>/scores/{scores}/completeness.png",
            caption="../report/table_completeness.rst",
            category="Completeness",
            labels={"scores": "{scores}"},
        ),
    log:
        "<logs>/map_table_completeness/{scores}.log",
    benchmark:
        "<benchmarks>/map_table_completeness/{scores}.tsv"
    wildcard_constraints:
        scores=scores_name(),
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=3000,
        runtime="1h",
    params:
        scores=needs("scores"),
        code=digest("map_table_completeness"),
    message:
        "Mapping the completeness of {input.table}"
    script:
        "../scripts/map_table_completeness.py"
