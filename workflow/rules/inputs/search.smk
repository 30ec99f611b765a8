"""What the rules of a survey's own candidates take as inputs and parameters."""


def searching_experiments():
    """A pattern of the names of the experiments whose survey can be searched."""
    return any_of(name for name, e in settings.experiments.items() if sky_survey(e.dataset))


def searches(experiment):
    """The pages of a survey's own candidates by network, where an experiment asks for them."""
    names = searching_networks(experiment) if settings.experiments[experiment].search.make else []
    return {name: f"<results>/experiments/{experiment}/search/{name}.html" for name in names}


def searched_survey(experiment):
    """The survey whose galaxies the networks of an experiment were trained on."""
    return settings.datasets[settings.experiments[experiment].dataset].survey


def searching_networks(experiment):
    """The networks of an experiment that see bands."""
    return [name for name in networks_of(experiment) if settings.detectors[name].channels == "bands"]


def bricks_by_piece(survey):
    """The bricks of each piece of a survey's parent sample, in the order of the pieces."""
    path = fetched(checkpoints.list_parent_bricks.get(survey=survey).output.pieces)
    found = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(int(row["piece"]), []).append(row["brickname"])
    return found


def piece_bricks(wildcards):
    """Bricks of one piece of the parent sample."""
    survey = survey_of(wildcards)
    return [f"<results>/legacysurvey/{survey}/bricks/{name}" for name in bricks_by_piece(survey).get(int(wildcards.piece), [])]


def parents_scored(file):
    """One file of every piece of the parent sample."""

    def files(wildcards):
        pieces = bricks_by_piece(searched_survey(wildcards.experiment))
        return [f"<results>/experiments/{wildcards.experiment}/search/{file}/{piece:05d}.parquet" for piece in pieces]

    return files


def searching_files(file):
    """One file of each network and seed that scores the parent sample, by detector."""

    def files(wildcards):
        section = settings.experiments[wildcards.experiment]
        names = searching_networks(wildcards.experiment)
        return [f"<results>/detectors/{section.dataset}/{name}/seed-{seed}/{file}" for name in names for seed in section.seeds]

    return files


def searching_seeds(wildcards):
    """Seeds by detector, as names by which a job knows its input files."""
    seeds = [str(seed) for seed in settings.experiments[wildcards.experiment].seeds]
    return {name: seeds for name in searching_networks(wildcards.experiment)}
