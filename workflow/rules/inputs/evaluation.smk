"""What the rules of evaluation take as inputs and parameters."""


def experiment_tables(name):
    """One table of the evaluation of every detector of an experiment."""

    def files(wildcards):
        detectors = settings.experiments[wildcards.experiment].detectors
        return [f"<results>/experiments/{wildcards.experiment}/evaluation/{detector}/{name}.csv" for detector in detectors]

    return files


def comparison(wildcards):
    """The paired comparisons of an experiment, where it asks for some."""
    wanted = settings.experiments[wildcards.experiment].comparisons
    return [f"<results>/experiments/{wildcards.experiment}/evaluation/comparison.csv"] if wanted else []


def observers(experiment):
    """The tables of the marginal observer, where the experiment asks for it."""
    section = settings.experiments[experiment]
    tests = section.test_datasets if section.evaluation.marginal_stamps else []
    return [f"<results>/experiments/{experiment}/observers/{test}.csv" for test in tests]


def surfaces(experiment):
    """The completeness tables of an experiment's detectors, where it asks for surfaces."""
    section = settings.experiments[experiment]
    detectors = section.detectors if section.evaluation.surfaces else []
    return [f"<results>/experiments/{experiment}/evaluation/{detector}/completeness.csv" for detector in detectors]


def shortcuts(experiment):
    """The gates that find shortcuts, of each network that sees bands, on each test dataset, as JSON."""
    section = settings.experiments[experiment]
    networks = [n for n in networks_of(experiment) if settings.detectors[n].channels == "bands" and section.evaluation.shortcuts.stamps]
    return [f"<results>/experiments/{experiment}/shortcuts/{test}/{n}.json" for n in networks for test in section.test_datasets]


def without_arcs(name):
    """A file of a test dataset's positives without their arcs; stamps made elsewhere do not say how theirs were made."""

    def files(wildcards):
        return [f"<results>/datasets/{wildcards.test}/hosts/{name}"] if settings.datasets[wildcards.test].kind == "lensfinder" else []

    return files


def real_lenses(wildcards):
    """The stamps of known lenses that a test dataset's injected ones are compared with: those of the same survey, if it has any."""
    own = settings.experiments[wildcards.experiment].dataset
    same = sky_survey(wildcards.test) == sky_survey(own)
    return [f"<results>/datasets/{own}/known_lenses.parquet"] if same and known_recalls(wildcards.experiment) else []


def compared_scores(wildcards):
    """The scores of the detectors that an experiment compares."""
    pairs = settings.experiments[wildcards.experiment].comparisons
    return [path for name in dict.fromkeys(n for pair in pairs for n in pair) for path in scores(wildcards.experiment, name)]


def rounds(experiment):
    """The tables that compare rounds of training, by network, of those that have several."""
    names = [n for n in settings.experiments[experiment].detectors if settings.detectors[n].rounds > 1]
    return {n: f"<results>/experiments/{experiment}/evaluation/{n}/rounds.csv" for n in names}


def robustness(experiment):
    """The table of an experiment's detectors on several test datasets, where it has them."""
    section = settings.experiments[experiment]
    several = section.robustness or len(section.test_datasets) > 1
    return [f"<results>/experiments/{experiment}/evaluation/robustness.csv"] if several else []


def robustness_scores(wildcards):
    """The score tables of all detectors of an experiment, those of its variants included."""
    section = settings.experiments[wildcards.experiment]
    tests = [*scored_datasets(wildcards.experiment), *section.variants.values()]
    return [path for detector in section.detectors for path in scores(wildcards.experiment, detector, tests)]


def explanations(experiment):
    """What says where an experiment's networks look, where it is asked for."""
    wanted = settings.experiments[experiment].explanations.stamps and explained(experiment)
    names = ("stamps.csv", "summary.csv", "maps.parquet") if wanted else ()
    return [f"<results>/experiments/{experiment}/explanations/{name}" for name in names]


def explained(experiment):
    """The networks of an experiment that can be explained: those that see a stamp's own pixels."""
    return [n for n in networks_of(experiment) if not (settings.detectors[n].shuffle_velocity or settings.detectors[n].sees_evidence)]


def explained_files(file):
    """A file of each explained network, trained with the first seed."""

    def files(wildcards):
        section = settings.experiments[wildcards.experiment]
        folder = f"<results>/detectors/{section.dataset}"
        return [f"{folder}/{detector}/seed-{section.seeds[0]}/{file}" for detector in explained(wildcards.experiment)]

    return files


def choosing_scores(wildcards):
    """The scores that choose the stamps to be explained: the main detector's on the first test dataset."""
    main = settings.experiments[wildcards.experiment].main_detector
    return scores(wildcards.experiment, main, [first_test(wildcards)])[0]


def examples(experiment):
    """The examples that an experiment's report shows, of stamps that are rendered here from flux and velocity."""
    section = settings.experiments[experiment]
    drawn = settings.datasets[section.test_datasets[0]].kind == "subhalo"
    return [f"<results>/experiments/{experiment}/examples.parquet"] if drawn else []


def what_detectors_see(wildcards):
    """What the detectors of an experiment see of a stamp."""
    names = settings.experiments[wildcards.experiment].detectors
    return {name: {k: getattr(settings.detectors[name], k) for k in ("channels", "label_blind", "shuffle_velocity")} for name in names}


def marked(wildcards):
    """What is marked in an experiment's stamps, the subhalo or the ring about θ_E, and their pixel size [arcsec]."""
    dataset = settings.datasets[first_test(wildcards)]
    if dataset.kind != "subhalo":
        return "ring", PIXEL_SCALE_ARCSEC
    return "ring" if dataset.contrast == "lensed" else "subhalo", dataset.instrument.pixel_scale_arcsec


def sweep_detectors(sweep):
    """Each point of a sweep with each detector of its experiment."""
    return [(point, detector) for point in sweep_points[sweep] for detector in settings.experiments[point.experiment].detectors]


def scores_table(wildcards):
    """The table of scores made elsewhere, if the config names one."""
    return [settings.scores.table] if settings.scores.table else []


def scores_name():
    """A pattern of the name of the table of scores made elsewhere."""
    return any_of([settings.scores.folder] if settings.scores.table else [])


def learnt_hosts(wildcards):
    """The training shards of a network whose hosts are galaxies of the real sky, where gates ask about real galaxies: none is asked about twice."""
    own = settings.experiments[wildcards.experiment].dataset
    return [path for name in learnt_skies(wildcards.detector, own) for path in shards(name, "train")] if real_sky(own) else []
