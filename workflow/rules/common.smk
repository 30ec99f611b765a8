"""Inputs and parameters that several rules share; what one stage alone needs stands at the head of its rule file.

`settings` is the validated config, `<results>` the folder of its key `root`.
"""


def needs(key):
    """The part of the config at a dotted key, for `params`; wildcards in the key (`datasets.{dataset}.lens`) make it a function of the job's."""
    parts = key.split(".")
    if "{" not in key:
        return settings.part(parts)
    return lambda wildcards: settings.part([getattr(wildcards, part[1:-1]) if part.startswith("{") else part for part in parts])


def digest(script):
    """The digest of a script and the library modules that it imports: a change of code is a change of `params`."""
    return code_digest(SCRIPTS / f"{script}.py")


def dataset_without(*keys, of="dataset"):
    """The section of the dataset that wildcard `of` names, less the dotted keys that a rule does not use, and less `pairs`, which change no stamp."""

    @functools.cache  # thousands of shards ask for the same section
    def section(name):
        return settings.datasets[name].without("pairs", *keys)

    return lambda wildcards: section(getattr(wildcards, of))


def of_kind(*kinds):
    """A pattern of the names of the datasets of some kinds, for `wildcard_constraints`."""
    return any_of(name for name, dataset in settings.datasets.items() if dataset.kind in kinds)


def any_of(names):
    """A pattern that some names match and nothing else."""
    return "|".join(map(re.escape, names)) or "(?!)"


def stays_here(files):
    """Mark what an input function gives as files of this machine, wherever results go: what the user names, and mock archives."""
    return lambda wildcards: [local(path) for path in files(wildcards)]


def survey_of(wildcards):
    """The survey of a dataset."""
    return settings.datasets[wildcards.dataset].survey


def sky_survey(dataset):
    """The survey that a dataset's galaxies come from; none where they are cutouts, and for other kinds of datasets."""
    return getattr(settings.datasets[dataset], "sky_survey", None)


def hosts_are_cutouts(dataset):
    """Whether a dataset takes real cutouts as hosts."""
    return settings.datasets[dataset].kind == "lensfinder" and sky_survey(dataset) is None


def shards(dataset, split):
    """The shards of one split of a dataset."""
    return of_shards("stamps", dataset, split)


def seen_shards(dataset, split):
    """What was seen of the shards of one split of a dataset, while they were made."""
    return of_shards("seen", dataset, split)


def of_shards(folder, dataset, split):
    """The files in one of a dataset's folders, one for each shard of a split."""
    n = settings.datasets[dataset].shards(split)
    return [f"<results>/datasets/{dataset}/{folder}/{split}/{shard:05d}.parquet" for shard in range(n)]


def seen_by(detector, dataset, test, split):
    """The shards that a network of a dataset reads: stamps, or stamps as the model-based detector's maps, with that dataset's priors."""
    paths = shards(test, split)
    if settings.detectors[detector].sees_evidence:
        return [path.replace(f"<results>/datasets/{test}/stamps/", f"<results>/evidence_stamps/{dataset}/{test}/") for path in paths]
    return paths


def pair_shards(dataset):
    """The shards of a dataset's noiseless pairs, one for each shard of training stamps."""
    return [f"<results>/datasets/{dataset}/pairs/{shard:05d}.parquet" for shard in range(settings.datasets[dataset].shards("train"))]


def bank_of(dataset):
    """The source bank of a dataset, if its sources need one."""
    sources = getattr(settings.datasets[dataset], "sources", None)
    return [f"<results>/manga/{sources.sample}/bank.parquet"] if sources is not None and sources.galaxy_kinds else []


def bank(wildcards):
    """The source bank of the wildcard's dataset."""
    return bank_of(wildcards.dataset)


def kernel_of(dataset):
    """The file of a dataset's PSF kernel, if it has one; the lens finder's cutouts bring their PSF."""
    instrument = getattr(settings.datasets[dataset], "instrument", None)
    return [instrument.psf.kernel] if instrument is not None and instrument.psf.kind == "kernel" else []


def kernel(wildcards):
    """The PSF kernel of the wildcard's dataset."""
    return kernel_of(wildcards.dataset)


def first_test(wildcards):
    """The test dataset that an experiment's report shows."""
    return settings.experiments[wildcards.experiment].test_datasets[0]


def scored_datasets(experiment):
    """The datasets that are scored: the tests, and the training one, whose validation split sets thresholds."""
    section = settings.experiments[experiment]
    return list(dict.fromkeys([section.dataset, *section.test_datasets]))


def scores(experiment, detector, tests=None):
    """The score tables of one detector in an experiment."""
    section = settings.experiments[experiment]
    return [
        f"<results>/detectors/{section.dataset}/{detector}/seed-{seed}/scores/{test}.parquet"
        for test in tests or scored_datasets(experiment)
        for seed in settings.detectors[detector].seeds_of(section.seeds)
    ]


def networks_of(experiment):
    """The detectors of an experiment that are networks."""
    return [name for name in settings.experiments[experiment].detectors if settings.detectors[name].kind == "network"]


def detectors_of_kind(kind):
    """A pattern of the names of the detectors of one kind, for `wildcard_constraints`."""
    return any_of(name for name, detector in settings.detectors.items() if detector.kind == kind)


def members(file):
    """One file of the wildcard's network, trained with every seed of an experiment."""

    def files(wildcards):
        section = settings.experiments[wildcards.experiment]
        return [f"<results>/detectors/{section.dataset}/{wildcards.detector}/seed-{seed}/{file}" for seed in section.seeds]

    return files


def scoring_folders():
    """The folders of the networks that score the user's cutouts, one for each training seed, by detector."""
    experiment, detectors = settings.scoring if settings.cutouts.path else ("", ())
    return {
        name: [
            f"<results>/detectors/{settings.experiments[experiment].dataset}/{name}/seed-{seed}"
            for seed in settings.experiments[experiment].seeds
        ]
        for name in detectors
    }


def kept_networks():
    """The trained networks that score the user's cutouts as they are: no rule makes them, so that nothing is trained again."""

    def there(folder):
        return all(os.path.exists(f"{folder.replace('<results>', settings.root)}/network.{end}") for end in ("safetensors", "json"))

    return [name for name, folders in scoring_folders().items() if all(map(there, folders))]


def known_recalls(experiment):
    """The recall tables of an experiment's networks by name, where its survey's config or mock sky has known lenses."""
    section = settings.experiments[experiment]
    survey = settings.legacysurvey.surveys.get(sky_survey(section.dataset))
    if survey is None or not (survey.known_lenses or survey.mock):
        return {}
    return {name: f"<results>/experiments/{experiment}/known_lenses/{name}/recall.csv" for name in networks_of(experiment)}


def real_sky(dataset):
    """The stamps of a dataset's real galaxies with labels, if its config names some."""
    named = getattr(settings.datasets[dataset], "real_sky", None)
    return [f"<results>/datasets/{dataset}/real_sky.parquet"] if named else []


def listed_files(folder):
    """How many files a folder of cutouts has, and what is known of them without reading: cutouts of one survey have one size, so that times count."""
    if not folder or not Path(folder).is_dir():
        return []
    listed = sorted((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in os.scandir(folder) if entry.is_file())
    return [len(listed), hashlib.sha256(repr(listed).encode()).hexdigest()]


def learnt_skies(detector, dataset):
    """The datasets of the real sky whose training stamps a network learnt from, those that its rounds mine among them."""
    rounds = [settings.detectors[name] for name in all_rounds(detector, settings.detectors)]
    extra = [name for network in rounds if network.rounds > 1 for name in network.mining.extra]
    surveys = settings.legacysurvey.surveys
    return [
        name
        for name in dict.fromkeys([dataset, *extra])
        if hosts_are_cutouts(name) or (sky_survey(name) and not surveys[sky_survey(name)].mock)
    ]


def joined_training(wildcards):
    """Whether known lenses joined the training of the wildcard's network."""
    return settings.detectors[wildcards.detector].training.known_lens_weight > 0


def lost_files(experiment):
    """Stamps and weights that are gone though what was made of them is there: Snakemake alone would call the run finished."""

    def there(path):
        return os.path.exists(path.replace("<results>", settings.root))

    def gone(files, made):
        return [path for path in files if not there(path)] if there(made) else []

    section, found = settings.experiments[experiment], []
    for dataset in scored_datasets(experiment):
        stamps = [path for split in ("train", "validation", "test") for path in shards(dataset, split)]
        found += gone(stamps, f"<results>/datasets/{dataset}/quality/checks.json")
    for detector in section.detectors:
        if settings.detectors[detector].seeded:
            for seed in section.seeds:
                folder = f"<results>/detectors/{section.dataset}/{detector}/seed-{seed}"
                weights = [f"{folder}/network.{suffix}" for suffix in ("safetensors", "json")]
                found += gone(weights, f"{folder}/scores/{section.test_datasets[0]}.parquet")
    return found


def targets(wildcards):
    """What a plain `snakemake` makes: reports, their index, tables of completeness and of sweeps; of cutouts, scores or observed lenses that the user brings theirs alone."""
    if settings.cutouts.path:
        folder = f"<results>/cutouts/{settings.cutouts.folder}"
        return [f"{folder}/scores.csv", f"{folder}/rates.csv", *(local(f"{folder}/{name}.html") for name in settings.scoring[1])]
    if settings.observed.path:
        folder = f"<results>/observed/{settings.observed.folder}"
        return [f"{folder}/lenses.csv", local(f"{folder}/index.html")]
    if settings.scores.table:
        folder = f"<results>/scores/{settings.scores.folder}"
        return [*(f"{folder}/{name}.csv" for name in ("rates", "strata", "completeness")), local(f"{folder}/index.html")]
    # Pages are opened from disk, and so stay on this machine wherever results go.
    reports = [local(f"<results>/experiments/{name}/report/index.html") for name in settings.reported]
    sweeps = [f"<results>/sweeps/{name}/results.csv" for name in settings.run if name in settings.sweeps]
    index = [local("<results>/index.html")] if reports else []
    lost = [] if workflow.storage_registry.default_storage_provider else [path for name in settings.reported for path in lost_files(name)]
    return [*reports, *(path for name in settings.reported for path in surfaces(name)), *sweeps, *index, *lost]
