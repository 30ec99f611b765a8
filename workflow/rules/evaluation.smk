rule evaluate_scores:
    """Rates, strata, ROC and the share of information used, of one detector in an experiment."""
    input:
        scores=lambda wildcards: flow.scores(wildcards.experiment, wildcards.detector),
    output:
        rates=report(
            paths.evaluation("rates"),
            caption="../report/rates.rst",
            category="Rates",
            labels={"experiment": "{experiment}", "detector": "{detector}"},
        ),
        strata=report(
            paths.evaluation("strata"),
            caption="../report/strata.rst",
            category="Strata",
            labels={"experiment": "{experiment}", "detector": "{detector}"},
        ),
        roc=paths.evaluation("roc"),
        information=paths.evaluation("information"),
        calibration=paths.evaluation("calibration"),
        purity=paths.evaluation("purity"),
    log:
        paths.log("evaluate_scores/{experiment}/{detector}"),
    benchmark:
        paths.benchmark("evaluate_scores/{experiment}/{detector}")
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
        scores=lambda wildcards: flow.scores(wildcards.experiment, wildcards.detector),
    output:
        cells=paths.completeness,
        selection=paths.selection,
        picture=report(
            paths.completeness_picture,
            caption="../report/completeness.rst",
            category="Completeness",
            labels={"experiment": "{experiment}", "detector": "{detector}"},
        ),
    log:
        paths.log("map_completeness/{experiment}/{detector}"),
    benchmark:
        paths.benchmark("map_completeness/{experiment}/{detector}")
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
        shards=lambda wildcards: flow.shards(wildcards.test, "test"),
        removed=lambda wildcards: flow.without_arcs(wildcards.test, paths.arcs_removed),
        bare=lambda wildcards: flow.without_arcs(wildcards.test, paths.bare_hosts),
        lenses=lambda wildcards: flow.real_lenses(wildcards.experiment, wildcards.test),
        weights=lambda wildcards: flow.members(wildcards, paths.weights),
        networks=lambda wildcards: flow.members(wildcards, paths.network),
    output:
        table=report(
            paths.shortcuts,
            caption="../report/shortcuts.rst",
            category="Gates",
            labels={"experiment": "{experiment}", "detector": "{detector}", "test": "{test}"},
        ),
        gates=paths.shortcut_gates,
    log:
        paths.log("check_shortcuts/{experiment}/{test}/{detector}"),
    benchmark:
        paths.benchmark("check_shortcuts/{experiment}/{test}/{detector}")
    conda:
        "../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        evaluation=needs("experiments.{experiment}.evaluation"),
        joined=lambda wildcards: flow.run.detectors[wildcards.detector].training.known_lens_weight > 0,
        code=digest("check_shortcuts"),
    message:
        "Looking for shortcuts of {wildcards.detector} on {wildcards.test}"
    script:
        "../scripts/check_shortcuts.py"


rule compare_networks:
    """Paired comparisons of detectors on the same stamps."""
    input:
        scores=lambda wildcards: [
            path
            for name in dict.fromkeys(n for pair in flow.run.experiments[wildcards.experiment].comparisons for n in pair)
            for path in flow.scores(wildcards.experiment, name)
        ],
    output:
        comparison=report(
            paths.comparison,
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"experiment": "{experiment}"},
        ),
    log:
        paths.log("compare_networks/{experiment}"),
    benchmark:
        paths.benchmark("compare_networks/{experiment}")
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
            detector: flow.run.detectors[detector].channels for _, detector in flow.run.experiments[wildcards.experiment].comparisons
        },
        code=digest("compare_networks"),
    message:
        "Comparing the detectors of {wildcards.experiment}"
    script:
        "../scripts/compare_networks.py"


rule compare_rounds:
    """False-positive rate at fixed completeness of every round of training, on the same test stamps."""
    input:
        scores=lambda wildcards: flow.round_scores(wildcards.experiment, wildcards.detector),
    output:
        rounds=report(
            paths.rounds,
            caption="../report/rounds.rst",
            category="Rounds",
            labels={"experiment": "{experiment}", "detector": "{detector}"},
        ),
    log:
        paths.log("compare_rounds/{experiment}/{detector}"),
    benchmark:
        paths.benchmark("compare_rounds/{experiment}/{detector}")
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        evaluation=needs("experiments.{experiment}.evaluation"),
        tests=needs("experiments.{experiment}.test_datasets"),
        rounds=lambda wildcards: flow.round_names(wildcards.detector),
        code=digest("compare_rounds"),
    message:
        "Comparing the rounds of {wildcards.detector} in {wildcards.experiment}"
    script:
        "../scripts/compare_rounds.py"


rule measure_robustness:
    """Every detector on every test dataset, and what it loses from its own to the others."""
    input:
        scores=lambda wildcards: flow.robustness_scores(wildcards.experiment),
    output:
        robustness=report(
            paths.robustness,
            caption="../report/robustness.rst",
            category="Robustness",
            labels={"experiment": "{experiment}"},
        ),
    log:
        paths.log("measure_robustness/{experiment}"),
    benchmark:
        paths.benchmark("measure_robustness/{experiment}")
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
        scores=flow.choosing_scores,
        shards=lambda wildcards: flow.shards(flow.run.experiments[wildcards.experiment].test_datasets[0], "test"),
        weights=lambda wildcards: flow.explained_files(wildcards, paths.weights),
        networks=lambda wildcards: flow.explained_files(wildcards, paths.network),
    output:
        table=paths.explanations("stamps.csv"),
        summary=report(
            paths.explanations("summary.csv"),
            caption="../report/explanations.rst",
            category="Explanations",
            labels={"experiment": "{experiment}"},
        ),
        maps=paths.explanations("maps.parquet"),
    log:
        paths.log("explain_scores/{experiment}"),
    benchmark:
        paths.benchmark("explain_scores/{experiment}")
    conda:
        "../envs/learning.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        explanations=needs("experiments.{experiment}.explanations"),
        networks=lambda wildcards: flow.explained(wildcards.experiment),
        mark=lambda wildcards: flow.marked(wildcards.experiment)[0],
        pixel_arcsec=lambda wildcards: flow.marked(wildcards.experiment)[1],
        confidence=needs("experiments.{experiment}.evaluation.confidence"),
        bootstrap=needs("experiments.{experiment}.evaluation.bootstrap"),
        code=digest("explain_scores"),
    message:
        "Explaining the scores of {wildcards.experiment}"
    script:
        "../scripts/explain_scores.py"


rule observe_marginal:
    """What an observer who must also find out lens and source could see, on test stamps of analytic disks."""
    input:
        shards=lambda wildcards: flow.shards(wildcards.test, "test"),
        kernel=here(lambda wildcards: flow.kernel_of(wildcards.test)),
    output:
        table=paths.marginal,
    log:
        paths.log("observe_marginal/{experiment}/{test}"),
    benchmark:
        paths.benchmark("observe_marginal/{experiment}/{test}")
    conda:
        "../envs/lensing.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        dataset=flow.dataset_without(
            *("description", "size", "shard_size", "splits"),
            *("rendering.batch_size", "rendering.renderer", "rendering.accuracy"),
            of="test",
        ),
        cosmology=needs("cosmology"),
        stamps=needs("experiments.{experiment}.evaluation.marginal_stamps"),
        code=digest("observe_marginal"),
    message:
        "Computing the marginal observer on {wildcards.test}"
    script:
        "../scripts/observe_marginal.py"


rule collect_sweep:
    """Gather the rates of every point of a sweep in one tidy table."""
    input:
        rates=lambda wildcards: [
            paths.evaluation("rates").format(experiment=point.experiment, detector=name)
            for point in flow.points[wildcards.sweep]
            for name in flow.run.experiments[point.experiment].detectors
        ],
    output:
        table=report(
            paths.sweep,
            caption="../report/sweep.rst",
            category="Sweeps",
            labels={"sweep": "{sweep}"},
        ),
    log:
        paths.log("collect_sweep/{sweep}"),
    benchmark:
        paths.benchmark("collect_sweep/{sweep}")
    localrule: True
    conda:
        "../envs/evaluation.yaml"
    resources:
        mem_mb=1000,
        runtime="10m",
    params:
        points=lambda wildcards: [
            (point.experiment, name, point.values)
            for point in flow.points[wildcards.sweep]
            for name in flow.run.experiments[point.experiment].detectors
        ],
        code=digest("collect_sweep"),
    message:
        "Gathering sweep {wildcards.sweep}"
    script:
        "../scripts/collect_sweep.py"


rule evaluate_table:
    """Rates, strata, ROC, calibration and purity of a table of scores made elsewhere."""
    input:
        table=here(flow.scores_table),
    output:
        rates=report(
            paths.table_evaluation("rates"),
            caption="../report/table.rst",
            category="Rates",
            labels={"scores": "{scores}"},
        ),
        strata=report(
            paths.table_evaluation("strata"),
            caption="../report/table.rst",
            category="Strata",
            labels={"scores": "{scores}"},
        ),
        roc=paths.table_evaluation("roc"),
        information=paths.table_evaluation("information"),
        calibration=paths.table_evaluation("calibration"),
        purity=paths.table_evaluation("purity"),
    log:
        paths.log("evaluate_table/{scores}"),
    benchmark:
        paths.benchmark("evaluate_table/{scores}")
    wildcard_constraints:
        scores=flow.scores_name(),
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
        table=here(flow.scores_table),
    output:
        cells=paths.table_completeness["cells"],
        selection=paths.table_completeness["selection"],
        picture=report(
            paths.table_completeness["picture"],
            caption="../report/table_completeness.rst",
            category="Completeness",
            labels={"scores": "{scores}"},
        ),
    log:
        paths.log("map_table_completeness/{scores}"),
    benchmark:
        paths.benchmark("map_table_completeness/{scores}")
    wildcard_constraints:
        scores=flow.scores_name(),
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
