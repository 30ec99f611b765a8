"""What the rules of observed lenses take as inputs and parameters."""

from darkhaloscope.surveys.observed_names import ObservedError, lens_names


@functools.cache
def observed_lenses():
    """The names of the lenses of the folder that the config names; those that the config chooses."""
    if not settings.observed.path:
        return ()
    try:
        found = lens_names(settings.observed.path)
    except ObservedError as error:
        raise WorkflowError(str(error))
    for key, named in (("lenses", settings.observed.lenses), ("subhalos.asked", settings.observed.subhalos.asked)):
        if strangers := sorted(set(named) - set(found)):
            raise WorkflowError(
                f"observed.{key} names {', '.join(strangers)}, which {settings.observed.path} does not hold ({len(found)} lenses: {', '.join(found[:5])}, …)"
            )
    return tuple(name for name in found if not settings.observed.lenses or name in settings.observed.lenses)


def observed_name():
    """A pattern of the name of the observed lenses' results, if the config names any."""
    return any_of([settings.observed.folder] if settings.observed.path else [])


def observed_files(wildcards):
    """The files of one lens, and the table of the sample where there is one."""
    folder = Path(settings.observed.path or "") / wildcards.lens
    table = [settings.observed.table] if settings.observed.table else []
    return [*(str(path) for path in sorted(folder.glob("*.fits"))), *table]


def observed_of(file):
    """One file of each lens."""
    return lambda wildcards: [f"<results>/observed/{wildcards.observed}/lenses/{lens}/{file}" for lens in observed_lenses()]


def observed_settings(wildcards):
    """What one lens is looked at with: places that are asked about are its own, so that another lens' do not make it anew."""
    values = settings.observed.without("name", "lenses")
    asked = settings.observed.subhalos.asked.get(wildcards.lens)
    values["subhalos"]["asked"] = {wildcards.lens: asked} if asked else {}
    return values
