"""What the rules of the lens finder's stamps take as inputs and parameters."""


def cosmos_catalog(wildcards):
    """The catalogue of a dataset's COSMOS sources; a mock survey brings its own."""
    dataset = settings.datasets[wildcards.dataset]
    if not dataset.sources.uses("cosmos"):
        return None
    return dataset.sources.cosmos.catalog or f"{mock_survey(dataset.survey)}/{MOCK_SOURCES}"


def cosmos_inputs(wildcards):
    """What must exist before the COSMOS catalogue can be read: the file itself, or the mock's marker."""
    dataset = settings.datasets[wildcards.dataset]
    return [dataset.sources.cosmos.catalog or f"<results>/mock/legacysurvey/{dataset.survey}/mock-survey.json"]


@functools.cache
def bricks_by_shard(path, version):
    """Names of the bricks of each (split, shard) in the list that list_shard_bricks wrote; read once per version of the file."""
    found = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault((row["split"], int(row["shard"])), []).append(row["brickname"])
    return found


def shard_bricks(wildcards):
    """Bricks that the stamps of one shard come from, or the table of cutouts that are its hosts."""
    if hosts_are_cutouts(wildcards.dataset):
        return [f"<results>/datasets/{wildcards.dataset}/host_cutouts.parquet"]
    path = fetched(checkpoints.list_shard_bricks.get(dataset=wildcards.dataset).output.bricks)
    names = bricks_by_shard(path, os.stat(path).st_mtime_ns).get((wildcards.split, int(wildcards.shard)), [])
    return [f"<results>/legacysurvey/{survey_of(wildcards)}/bricks/{name}" for name in names]


def with_host_cutouts():
    """A pattern of the names of the datasets whose hosts are cutouts."""
    return any_of(name for name in settings.datasets if hosts_are_cutouts(name))


def host_files(wildcards):
    """The cutouts that are a dataset's hosts, and the table of their labels."""
    section = settings.datasets[wildcards.dataset].hosts.cutouts
    return [path for path in (section.path, section.labels) if path]


def host_listing(wildcards):
    """What is known of the cutouts that are a dataset's hosts without reading them."""
    return listed_files(settings.datasets[wildcards.dataset].hosts.cutouts.path)
