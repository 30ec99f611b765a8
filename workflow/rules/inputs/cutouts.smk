"""What the rules of cutouts that the user brings take as inputs and parameters."""


def cutouts_name():
    """A pattern of the name of the cutouts' results, if the config names cutouts."""
    return any_of([settings.cutouts.folder] if settings.cutouts.path else [])


def cutouts_given(wildcards):
    """The folder or file of the cutouts."""
    return [settings.cutouts.path] if settings.cutouts.path else []


def cutouts_labels(wildcards):
    """The table of their labels, if the config names one."""
    return [settings.cutouts.labels] if settings.cutouts.labels else []


def cutouts_listed():
    """How many files a folder of cutouts has, and what is known of them without reading."""
    return listed_files(settings.cutouts.path)


def scoring_networks(file):
    """One file of each network and seed that scores the cutouts, by detector; older weights than their inputs are used as they are."""

    def files(wildcards):
        return [ancient(f"{folder}/{file}") for folders in scoring_folders().values() for folder in folders]

    return files


def first_scoring_network(wildcards):
    """The description of a network that scores the cutouts: all of an experiment are trained on stamps of one size."""
    return ancient(f"{next(iter(scoring_folders().values()))[0]}/network.json")


def scoring_seeds():
    """The folders of networks by detector, as names by which a job knows its input files."""
    return {name: [str(k) for k in range(len(folders))] for name, folders in scoring_folders().items()}


def scoring_learnt():
    """Tables of the real galaxies that each network which scores the cutouts learnt from: these objects count in no rate."""
    found = {}
    for name in scoring_folders():
        joined = scoring_sky() if settings.detectors[name].training.real_share > 0 else []
        found[name] = joined + scoring_hosts(name)
    return {name: paths for name, paths in found.items() if paths}


def scoring_hosts(detector):
    """The manifests of the real skies whose galaxies a network was trained on as hosts and controls; those of surveys where they are still there."""
    own = settings.experiments[settings.scoring[0]].dataset
    return [
        f"<results>/datasets/{name}/manifest.parquet"
        for name in learnt_skies(detector, own)
        if hosts_are_cutouts(name) or os.path.exists(f"{settings.root}/datasets/{name}/manifest.parquet")
    ]


def scoring_sky():
    """The real galaxies of the dataset that the scoring networks were trained on."""
    return real_sky(settings.experiments[settings.scoring[0]].dataset) if settings.cutouts.path else []


def scoring_learnt_tables():
    """All tables of `scoring_learnt`, network by network: used as they are, however old."""
    return [ancient(path) for paths in scoring_learnt().values() for path in paths]


def scoring_judged():
    """Tables of the scores that each network which scores the cutouts gave its own dataset, where they are there: they say how many controls score as high."""
    own = settings.experiments[settings.scoring[0]].dataset if settings.cutouts.path else ""
    found = {name: [f"{folder}/scores/{own}.parquet" for folder in folders] for name, folders in scoring_folders().items()}
    return {name: paths for name, paths in found.items() if all(os.path.exists(p.replace("<results>", settings.root)) for p in paths)}


def scoring_judged_tables():
    """All tables of `scoring_judged`, network by network: used as they are, however old."""
    return [ancient(path) for paths in scoring_judged().values() for path in paths]


def scoring_evaluation():
    """How the rates of labelled cutouts are made: as the experiment's."""
    return settings.experiments[settings.scoring[0]].evaluation.plain() if settings.cutouts.path else {}
