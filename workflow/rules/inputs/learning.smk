"""What the rules of training and scoring take as inputs and parameters."""


def made_by(rule):
    """A pattern of the names of the networks that one of the rules `train_network`, `import_network`, `fit_head` makes, less those that only score as they are."""
    kept = kept_networks()

    def maker(network):
        return "fit_head" if network.body else "import_network" if network.weights else "train_network"

    return any_of(
        name for name, detector in settings.detectors.items() if detector.kind == "network" and maker(detector) == rule and name not in kept
    )


def scored_anew():
    """A pattern of the names of networks, less those that only score the user's cutouts as they are: so do their tables of scores."""
    kept = kept_networks()
    return any_of(name for name, detector in settings.detectors.items() if detector.kind == "network" and name not in kept)


def network_section(wildcards):
    """A network's section less its description, which no weight depends on, and mining, which has a rule of its own."""
    return settings.detectors[wildcards.detector].without("kind", "description", "mining")


def ranks(count):
    """What a training asks of a cluster: one task for each device, on as many nodes; `None`, so nothing, where it has one device."""

    def asked(wildcards):
        training = settings.detectors[wildcards.detector].training
        together = training.devices * training.nodes > 1
        return count(training.devices, training.nodes) if together else None

    return asked


def training_shards(wildcards):
    """The shards that a network learns from: training stamps, or the noiseless pairs of the same rows."""
    if settings.detectors[wildcards.detector].trains_on_pairs:
        return pair_shards(wildcards.dataset)
    return seen_by(wildcards.detector, wildcards.dataset, wildcards.dataset, "train")


def rounds_of(network):
    """The names of a network's rounds of training, the first one first."""
    return all_rounds(network, settings.detectors)


def mined(wildcards):
    """The tables of hard controls that a network's round of training uses: its own and those of earlier rounds."""
    names = rounds_of(wildcards.detector)[1:]
    return [f"<results>/detectors/{wildcards.dataset}/{name}/seed-{wildcards.seed}/mined.parquet" for name in names]


def mining(wildcards):
    """How hard controls are mined and weighed, for rounds above 1."""
    network = settings.detectors[wildcards.detector]
    return network.mining.plain() if network.rounds > 1 else {}


def extra_shards(wildcards):
    """The training shards of each extra dataset that a network's rounds mine."""
    network = settings.detectors[wildcards.detector]
    return {name: shards(name, "train") for name in network.mining.extra} if network.rounds > 1 else {}


def mined_shards(wildcards):
    """The training shards of the extra datasets that a network's rounds mine."""
    return [path for files in extra_shards(wildcards).values() for path in files]


def of_body(file):
    """A file of the network that a head is put on."""
    return (
        lambda wildcards: f"<results>/detectors/{wildcards.dataset}/{settings.detectors[wildcards.detector].body}/seed-{wildcards.seed}/{file}"
    )


def round_before(file):
    """A file of the round before a network's own."""
    return lambda wildcards: (f"<results>/detectors/{wildcards.dataset}/{rounds_of(wildcards.detector)[-2]}/seed-{wildcards.seed}/{file}")


def held_out(wildcards):
    """The validation and test shards of a network's own dataset: mining keeps away from them, and no test set added later reruns it."""
    return [path for split in ("validation", "test") for path in shards(wildcards.dataset, split)]


def trained_on(wildcards):
    """What a network learnt from, where it is tested on another dataset's stamps of the sky: those of the same objects are left out."""
    datasets = [settings.datasets[name] for name in (wildcards.dataset, wildcards.test)]
    if wildcards.test == wildcards.dataset or any(dataset.kind == "subhalo" for dataset in datasets):
        return []
    # Rounds and seeds are compared on the same stamps: all that any round may have mined from counts, for each of them.
    rounds = [name for name in settings.detectors if rounds_of(wildcards.detector)[0] in rounds_of(name)]
    extra = [name for n in rounds if settings.detectors[n].rounds > 1 for name in settings.detectors[n].mining.extra]
    return (
        [path for name in dict.fromkeys([wildcards.dataset, *extra]) for path in shards(name, "train")]
        + known_training(wildcards)
        # A head judges those that it was fitted on by a fold without them.
        + ([] if settings.detectors[wildcards.detector].head else real_training(wildcards))
    )


def known_lens_tables(wildcards):
    """The table of known lenses of the survey that a dataset is made of, or nothing."""
    survey = sky_survey(wildcards.dataset)
    return [f"<results>/legacysurvey/{survey}/known_lenses.parquet"] if survey else []


def known_training(wildcards):
    """The stamps of known lenses that join a network's training, if its config gives them a weight."""
    joins = settings.detectors[wildcards.detector].training.known_lens_weight > 0
    return [f"<results>/datasets/{wildcards.dataset}/known_lenses.parquet"] if joins else []


def real_training(wildcards):
    """The real galaxies with labels that join a network's training, if its config gives them a weight, or that its head is fitted on."""
    network = settings.detectors[wildcards.detector]
    return real_sky(wildcards.dataset) if network.training.real_share > 0 or network.head else []


def start_weights(wildcards):
    """The files of weights from elsewhere that a network's config names."""
    network = settings.detectors[wildcards.detector]
    files = [network.weights, None if (network.pretrained or "").startswith(HUB) else network.pretrained]
    return [path for path in files if path]


def member_seeds(wildcards):
    """The training seeds of each member of a fusion; detectors without training have seed 0 alone."""
    fusion = settings.detectors[wildcards.detector]
    return {name: list(settings.detectors[name].seeds_of(fusion.seeds)) for name in fusion.of}


def member_scores(test):
    """The score tables of every member and seed of a fusion on the dataset that a wildcard names."""

    def files(wildcards):
        folder, name = f"<results>/detectors/{wildcards.dataset}", getattr(wildcards, test)
        return [
            f"{folder}/{member}/seed-{seed}/scores/{name}.parquet" for member, seeds in member_seeds(wildcards).items() for seed in seeds
        ]

    return files


def scores_from_elsewhere(wildcards):
    """The table of scores that another program gave the stamps of a dataset."""
    return [settings.detectors[wildcards.detector].scores[wildcards.test]]
