"""What the rules of samples of IFU galaxies take as inputs and parameters."""


def sample(wildcards):
    """Where a sample's archive is; a mock one lies below the results root."""
    section = settings.manga.samples[wildcards.sample]
    base = {"base": f"file://{settings.root}/mock/{wildcards.sample}/"} if section.mock else {}
    return section.without("galaxies") | base


def archive(wildcards):
    """What must exist before a sample's archive can be read: the mock's marker, or nothing."""
    return [f"<results>/mock/{wildcards.sample}/mock-archive.json"] if settings.manga.samples[wildcards.sample].mock else []


def maps_given(wildcards):
    """What a galaxy's maps are fetched from: the mock's marker, or the user's own file in a folder of this machine, which may be another one tomorrow."""
    section = settings.manga.samples[wildcards.sample]
    return archive(wildcards) if section.ifu == "manga" else [str(path) for path in plain_files(section.base, wildcards.galaxy_id)]


def galaxies(sample):
    """Galaxies of a sample; waits for the ranking where the sample takes its top."""
    section = settings.manga.samples[sample].galaxies
    return chosen(section, lambda: fetched(checkpoints.rank_disks.get(sample=sample).output.ranking))


def chosen(section, ranking):
    """The top of a ranking less what is set aside, then the listed galaxies; `ranking` is called for its path only where it is needed."""
    top = []
    if section.n_top:
        with open(ranking(), encoding="utf-8", newline="") as file:
            ranked = (row["galaxy_id"] for row in csv.DictReader(file) if row["galaxy_id"] not in section.set_aside)
            top = list(itertools.islice(ranked, section.n_top))
    return list(dict.fromkeys([*top, *section.listed]))


def accepted(sample):
    """The galaxies that the lensability score lets through, and rejected ones asked for by name."""
    wanted = settings.manga.samples[sample].galaxies.use_rejected
    with open(fetched(checkpoints.score_lensability.get(sample=sample).output.table), encoding="utf-8", newline="") as file:
        return [row["galaxy_id"] for row in csv.DictReader(file) if row["tier"] != "reject" or row["galaxy_id"] in wanted]


def accepted_tensors(name):
    """One file of the source tensor of every accepted galaxy of the wildcard's sample."""
    return lambda wildcards: [f"<results>/manga/{wildcards.sample}/tensors/{name.format(galaxy)}" for galaxy in accepted(wildcards.sample)]


def samples_of_run():
    """The samples whose galaxies the run's stamps are made of."""
    experiments = [getattr(settings.sweeps.get(name), "experiment", name) for name in settings.run]
    datasets = {dataset for name in experiments for dataset in scored_datasets(name) if bank_of(dataset)}
    return sorted({settings.datasets[dataset].sources.sample for dataset in datasets})


def inspections(sample):
    """The inspection pages of a sample's galaxies."""
    return [f"<results>/manga/{sample}/quality/{name}.html" for name in galaxies(sample)]


def previews(sample):
    """The pictures of the galaxies that the score lets through; with them the normalised tensors are made, which no other result needs."""
    return [f"<results>/manga/{sample}/tensors/source_tensor_{name}.png" for name in accepted(sample)]


def galaxy_pages(wildcards):
    """The pages of the samples whose galaxies the run's stamps are made of, and with them each galaxy's own."""
    if settings.scores.table or settings.cutouts.path or settings.observed.path:  # what is asked for in place of `run`
        return []
    return [local(f"<results>/manga/{sample}/galaxies.html") for sample in samples_of_run()]
