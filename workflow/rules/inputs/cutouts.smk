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
    """How many files a folder of cutouts has, and what is known of them without reading: cutouts of one survey have one size, so that times count."""
    folder = Path(settings.cutouts.path or "")
    if not settings.cutouts.path or not folder.is_dir():
        return []
    listed = sorted((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in os.scandir(folder) if entry.is_file())
    return [len(listed), hashlib.sha256(repr(listed).encode()).hexdigest()]


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
    """The networks that score the cutouts and learnt from real galaxies: these objects count in no rate."""
    return [name for name in scoring_folders() if settings.detectors[name].training.real_weight > 0 and scoring_sky()]


def scoring_sky():
    """The real galaxies of the dataset that the scoring networks were trained on."""
    return real_sky(settings.experiments[settings.scoring[0]].dataset) if settings.cutouts.path else []


def scoring_real_sky():
    """The real galaxies that networks which score the cutouts learnt from."""
    return scoring_sky() if scoring_learnt() else []


def scoring_evaluation():
    """How the rates of labelled cutouts are made: as the experiment's."""
    return settings.experiments[settings.scoring[0]].evaluation.plain() if settings.cutouts.path else {}
