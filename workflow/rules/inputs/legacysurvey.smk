"""What the rules of surveys take as inputs and parameters."""


def survey_base(wildcards):
    """The base address of a survey's archive; a mock one lies below the results root."""
    survey = settings.legacysurvey.surveys[wildcards.survey]
    return f"file://{mock_survey(wildcards.survey)}/" if survey.mock else survey.base


def mock_survey(survey):
    """Folder of a survey's mock archive."""
    return f"{settings.root}/mock/legacysurvey/{survey}"


def survey_archive(wildcards):
    """What must exist before a survey's archive can be read: the mock's marker, or nothing."""
    mock = settings.legacysurvey.surveys[wildcards.survey].mock
    return [f"<results>/mock/legacysurvey/{wildcards.survey}/mock-survey.json"] if mock else []


def sweep_files(wildcards):
    """The sweep files of a survey, in the order of its config."""
    survey = settings.legacysurvey.surveys[wildcards.survey]
    names = MOCK_SWEEPS if survey.mock else survey.sweep_names
    return [f"<results>/legacysurvey/{wildcards.survey}/sweeps/{name}.fits" for name in names]


def lens_catalogues(wildcards):
    """A survey's catalogues of known lenses by name; a mock survey brings its own."""
    survey = settings.legacysurvey.surveys[wildcards.survey]
    own = {"mock": {"path": f"{mock_survey(wildcards.survey)}/{MOCK_LENSES}", "layout": "lenscat"}} if survey.mock else {}
    return own | {name: catalogue.plain() for name, catalogue in survey.known_lenses.items()}


def labels(wildcards):
    """A survey's table of labelled objects; a mock survey brings its own."""
    survey = settings.legacysurvey.surveys[wildcards.survey]
    if survey.labels is None and survey.mock:
        return Labels(path=f"{mock_survey(wildcards.survey)}/{MOCK_LABELS}").plain()
    return survey.labels.plain() if survey.labels else None


def lens_and_label_files(wildcards):
    """The tables of known lenses and labels that a survey's config names; a mock survey's follow its marker."""
    survey = settings.legacysurvey.surveys[wildcards.survey]
    return [*(catalogue.path for catalogue in survey.known_lenses.values()), *([survey.labels.path] if survey.labels else [])]


def parent_cuts(wildcards):
    """The keys of a survey that decide its parent sample."""
    return settings.legacysurvey.surveys[wildcards.survey].only("lrg", "conditions", "nside", "match_radius_arcsec", "stand_in")


def until_used(folder):
    """A folder that goes once the last job that needs it has run: Snakemake knows which that is."""
    return temp(directory(folder))


def cutout_limits(wildcards):
    """What of a dataset's survey says how stamps are cut: the bands that are looked at, which pixels and cutouts are good; of cutouts as hosts, those of their own."""
    if hosts_are_cutouts(wildcards.dataset):
        cutouts = settings.datasets[wildcards.dataset].hosts.cutouts
        return {"bands": list(cutouts.sources), "maskbits": [], "max_bad_fraction": cutouts.max_bad_fraction}
    survey = settings.legacysurvey.surveys[survey_of(wildcards)]
    return survey.only("maskbits", "max_bad_fraction") | {"bands": list(survey.sources)}
