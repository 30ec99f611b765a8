"""The few things that need Snakemake's own objects: limits, the lock of the root, stale results.

Everything that touches Snakemake's internals is here, so that a new release is met in one place. Imported at every parse,
in every cluster job: pydantic and the standard library only.
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import functools
import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..config.named_files import brought, named_files
from ..config.run import Run
from ..config.wording import ConfigError
from ..config.yaml_files import parse_yaml
from . import digest, targets
from . import storage as object_storage
from .lock import RootError, lock, look_into
from .provenance import (
    ProvenanceError,
    Record,
    differences,
    inputs_of,
    made_of_another,
    outdate,
    plain,
    read_record,
    record_path,
    recorded,
    settle,
    stale,
)
from .stage import CONFIG, CONFIGFILES
from .terminal import last_error, quieten

#: Options with which the user decides what is made again.
DECIDED = {"--forcerun", "-R", "--forceall", "-F", "--touch", "-t", "--lint", "--unlock"}

SCRIPTS = Path(__file__).parents[2]

#: Keys that are paths when they are given on the command line as one word.
PATHS = ("root", "extends", "scores", "cutouts", "observed")

#: What the user brings in each section.
BROUGHT = {"scores": "table", "cutouts": "source of cutouts", "observed": "folder of lenses"}


def edits(workflow: Any) -> dict[str, Any]:
    """Return the keys given on the command line. Config files are read anew, since Snakemake's reader lets a repeated key win in silence.

    Raises
    ------
    ConfigError
        A value in braces or brackets is no YAML, or holds a key twice; a key is given twice, or `--config` itself.
    """
    if sum(word in ("--config", "-C") or word.startswith("--config=") for word in sys.argv) > 1:
        raise ConfigError("--config is there twice, and Snakemake keeps the last one alone; put all keys behind one --config")
    values = dict(workflow.config_settings.config)
    given = set()
    for entry in workflow.config_settings.config_args or ():
        key, _, text = str(entry).partition("=")
        if key in given:
            raise ConfigError(f"--config: `{key}` is given twice, expected once; leave one out")
        given.add(key)
        if text.lstrip().startswith(("{", "[")):
            values[key] = parse_yaml(text, f"--config {key}")
        elif isinstance(values[key], int | float) and ("_" in text or key in PATHS):
            values[key] = text  # to Python, as which Snakemake reads it, 2024_01 is a number, and the folder 007 is 7
    return values


def prepare(config: dict[str, Any], settings: Run) -> None:
    """Give scripts what they work with: this library, a way to draw, and what changes no result, so that an edit of it reruns nothing."""
    # Snakemake puts a script's folder at the end of the path: a library of the same name, installed or in PYTHONPATH, would come first.
    paths = [str(SCRIPTS), *(path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(SCRIPTS))]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    # A notebook sets its own backend for all that it starts; jobs draw into files.
    os.environ["MPLBACKEND"] = "Agg"
    # A matplotlibrc of the user's own may ask for LaTeX, or for other letters: none. One in the working folder counts.
    os.environ["MATPLOTLIBRC"] = os.devnull
    # Set in a shell to find a fault in other code: loops that are not compiled take hours, and have no place on disk.
    os.environ["NUMBA_DISABLE_JIT"] = "0"
    # Numba takes no more threads than this says, and fails to import where it says none; a job's threads are the rule's.
    os.environ.pop("NUMBA_NUM_THREADS", None)
    config["downloads"] = settings.downloads.plain()
    config["brick_cache_gb"] = settings.legacysurvey.cache_gb
    rendered = {name: dataset for name, dataset in settings.datasets.items() if hasattr(dataset, "rendering")}
    config["evidence_batch_size"] = settings.evidence.batch_size
    config["batch_sizes"] = {name: dataset.rendering.batch_size for name, dataset in rendered.items()}
    digest.remember(digest.DIGESTS)


def lost_files(settings: Run, makes: Callable[[str], bool]) -> str | None:
    """Say so where what the user brings is not there, and no rule of this run makes it."""
    return next((_lost(key, name) for key, name in brought(settings).items() if not os.path.exists(name) and not makes(name)), None)


def lost_names(settings: Run, makes: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Say which files that the experiments of `run` need are not there, and no rule of this run makes.

    Snakemake takes results whose inputs are missing as they are: a misspelt kernel would leave the stamps of the one before, and the
    report would call them the new one's.

    Returns
    -------
    list of str
        Those of which nothing was made.
    list of str
        Those that results below the root were made of, by their records: in a copy of results such files need not be there.
    """
    if settings.scores.table or settings.cutouts.path or settings.observed.path:
        return [], []
    lost = {key: name for key, name in named_files(settings).items() if not os.path.exists(name) and not makes(name)}
    used = inputs_of(recorded(settings.root)) if lost else frozenset()
    made = {key for key, name in lost.items() if str(Path(name)) in used}
    return [_lost(key, name) for key, name in lost.items() if key not in made], [lost[key] for key in lost if key in made]


def _lost(key: str, name: str) -> str:
    folder, beside = Path(name).parent, []
    with contextlib.suppress(OSError):  # the folder is not there, too, or may not be read
        beside = os.listdir(folder)
    close = difflib.get_close_matches(Path(name).name, beside, n=1)
    near = f" (nearest: `{folder / close[0]}`)" if close else ""
    return f"{name} does not exist{near}; expected a file or folder on this machine: correct `{key}` of the config"


def other_results(settings: Run) -> str | None:
    """Say so where the folder of the results of what the user brings (scores, cutouts, observed lenses) holds those of others of the same name."""
    scores, cutouts, observed = settings.scores, settings.cutouts, settings.observed
    if cutouts.path:
        return _other("cutouts", "path", cutouts.path, cutouts.folder, "stamps.parquet", settings)
    if observed.path:
        return _other("observed", "path", observed.path, observed.folder, "lenses.csv", settings)
    return _other("scores", "table", scores.table, scores.folder, "rates.csv", settings) if scores.table else None


def brought_files(settings: Run) -> list[tuple[str, str]]:
    """Return the files, not folders, that the user brings, each with the section of its results."""
    scores, cutouts, observed = settings.scores, settings.cutouts, settings.observed
    given = [("scores", scores.table), ("cutouts", cutouts.path), ("cutouts", cutouts.labels), ("observed", observed.table)]
    return [(section, name) for section, name in given if name and os.path.isfile(name)]


def _other(section: str, key: str, given: str, name: str, file: str, settings: Run) -> str | None:
    """Say so where `file` in the folder of a section's results was made of something else than what is given."""
    folder = Path(settings.root, section, name)
    try:
        _, _, params = read_record(record_path(folder / file), str(folder / file))
        held = params[section][key]
    except (ProvenanceError, KeyError, TypeError):
        return None  # nothing is there, or nothing that says what it is of
    if os.path.realpath(held) == os.path.realpath(given):
        # In another working folder the same name is another file, and Snakemake, without records there, would go by its time alone.
        if DECIDED & set(sys.argv) or _recorded(str(folder / file)) or not made_of_another(str(folder / file), held):
            return None
        held = f"another file called {held}, or of what it held before"
    return (
        f"{folder} holds the results of {held}, another {BROUGHT[section]} than {given}; give this one a "
        f"folder of its own, for example --config '{section}={{{key}: {given}, name: {name}-2}}', or delete the folder"
    )


def braces(project: str) -> str | None:
    """Say so where the project's own path cannot be used: Snakemake takes what is in braces in it for a wildcard."""
    if not set(project) & set("{}"):
        return None
    return f"the project lies in {project}, expected a path without braces, which stand for wildcards in Snakemake's paths; rename the folder, or move it"


def without_conda(deployment: Any) -> str | None:
    """Return what to do where rules are to have conda environments and there is no conda; None where nothing is wrong."""
    methods = {getattr(method, "name", str(method)) for method in deployment.deployment_method}
    if "CONDA" not in methods or deployment.conda_base_path or shutil.which("conda"):
        return None
    return (
        "rules are to run in conda environments (`--sdm conda`, or `software-deployment-method` of the profile), and there is no `conda` on the PATH: "
        "load it (often `module load conda` or `miniforge`), or add `--sdm env-modules`, which runs every rule in the environment that Snakemake "
        "itself runs in (docs/cluster.md)"
    )


def name_changed_params() -> None:
    """Have Snakemake say of a changed parameter which key changed, and its two values: it prints whole sections, of thousands of characters.

    What there was is in the result's own record. Where that is gone, Snakemake's words stay. A job that failed or was stopped lost its
    results, and Snakemake has written down the parameters that it failed with, or nothing: what was made of them before would be called up
    to date. It is run again.
    """
    from snakemake.persistence import ParamsChange, PersistenceBase

    if hasattr(PersistenceBase.params_changed, "named"):
        return
    ask, ask_metadata = PersistenceBase.params_changed, PersistenceBase.has_metadata

    class Named(ParamsChange):
        said = ""

        def __str__(self) -> str:
            return self.said

    def params_changed(self: Any, job: Any, file: Any = None) -> Any:
        change = ask(self, job, file)
        failed = not change and _failed(job)
        said = changed_params(job) if change or failed else ""
        said = said or ("none, but its last run failed and left no result" if failed else "")
        if not said:
            return change
        if failed:
            change = ParamsChange({"before"}, {"now"}, set(job.output))
        named = Named(change.only_old, change.only_new, change.files)
        named.said = said
        return named

    def has_metadata(self: Any, job: Any) -> bool:
        return ask_metadata(self, job) or _failed(job)

    params_changed.named = True
    PersistenceBase.params_changed, PersistenceBase.has_metadata = params_changed, has_metadata


def _failed(job: Any) -> bool:
    """Return whether a job's log ends with an error and none of its results is there; of those in object storage this machine does not know.

    Results can be gone because nothing needs them any more: these are not asked for again.
    """
    there = any(getattr(output, "is_storage", False) or os.path.lexists(output) for output in job.output)
    return not there and any(last_error(str(log)) for log in job.log)


def changed_params(job: Any) -> str:
    """Return which keys of a job's parameters are not what the record of its result says, with both values; empty where there is no record."""
    try:
        output = str(job.output[0])
        _, _, before = read_record(record_path(output), output)
        lines = differences(before, plain(dict(job.params.items())))
    except (ProvenanceError, IndexError, ValueError, TypeError):
        return ""
    lines = ["the code" if line.startswith("code: ") else line for line in lines]
    return ", ".join(lines[:6]) + (f", and {len(lines) - 6} more" if len(lines) > 6 else "")


def begin(workflow: Any, settings: Run) -> None:
    """Finish parsing: pass on config files and edits, cap downloads, see to object storage, and name stale results.

    Raises
    ------
    WorkflowError
        Results below the root have lost Snakemake's own records and are not what today's config and code
        would make, or have a provenance record that cannot be read: Snakemake alone would call them up to date.
        Options that decide about them let the run go on. Or what the user brings is not there; or the results of scores made elsewhere would replace those of another
        table. Or object storage cannot be used, conda is asked for and is not there, or the root is no folder that can be read.
    """
    from snakemake.exceptions import WorkflowError
    from snakemake.io import regex_from_filepattern, strip_wildcard_constraints

    os.environ[CONFIGFILES] = os.pathsep.join(str(c) for c in workflow.overwrite_configfiles)
    os.environ[CONFIG] = json.dumps(list(workflow.config_settings.config_args or ()))
    if "downloads" not in workflow.global_resources:
        workflow.register_resource("downloads", settings.downloads.max_parallel)
    object_storage.begin(workflow)
    if not workflow.is_main_process:
        return
    if other := braces(str(workflow.basedir)) or other_results(settings) or without_conda(workflow.deployment_settings):
        raise WorkflowError(other)
    try:
        look_into(settings.root)
    except RootError as error:
        raise WorkflowError(str(error)) from None
    digest.keep(digest.DIGESTS)
    for line in settings.idle():
        print(f"Warning: {line}", file=sys.stderr)
    quieten(workflow)
    name_changed_params()
    outputs = [object_storage.pattern(workflow, output) for rule in workflow.rules for output in rule.output]
    here = [output.removeprefix(object_storage.prefix(workflow)) for output in outputs]
    asked = [re.compile(regex_from_filepattern(output)) for output in here]
    problem = targets.unknown(
        _asked_for("targets", "until", "omit_from", "forcerun"),
        settings,
        [strip_wildcard_constraints(output) for output in here],
        [rule.name for rule in workflow.rules],
        lambda target: [found.groupdict() for pattern in asked if (found := pattern.fullmatch(target))],
    )
    patterned = {rule.name: strip_wildcard_constraints(str(rule.output[0])) for rule in workflow.rules if rule.has_wildcards()}
    if problem or (problem := targets.many(_asked_for("targets"), patterned)):
        raise WorkflowError(problem)
    stored = workflow.storage_registry.default_storage_provider is not None
    rules = {rule.name: dict(rule.params.items()) for rule in workflow.rules}
    elsewhere = object_storage.records(workflow, settings.root) if stored else ()
    patterns = [re.compile(regex_from_filepattern(output)) for output in outputs]
    makes = functools.partial(_made_here, patterns)
    if lost := lost_files(settings, makes):
        raise WorkflowError(lost)
    lost_now, gone = lost_names(settings, makes)
    # Results asked for by name may need none of them.
    if lost_now and not stored and not _asked_for("targets") and not DECIDED & set(sys.argv):
        raise WorkflowError("\n".join(lost_now))
    for line in [*lost_now, *(f"{name} does not exist any more; what was made of it stays as it is" for name in gone)]:
        print(f"Warning: {line}", file=sys.stderr)
    if not DECIDED & set(sys.argv):
        benchmarks = {rule.name: strip_wildcard_constraints(str(rule.benchmark)) for rule in workflow.rules if rule.benchmark}
        for section, name in brought_files(settings):
            outdate(recorded(os.path.join(settings.root, section)), name)
        settle(recorded(settings.root), lambda rule, wildcards: _filled(benchmarks.get(rule), wildcards))
    # Other runs' results may lie below this root: those that no rule of this run makes are theirs.
    names, messages = stale_results(
        settings.root, rules, lambda path: _recorded(path) or not any(pattern.fullmatch(path) for pattern in patterns), elsewhere
    )
    if not messages:
        return
    listed = "\n".join(
        [
            "Results without Snakemake's own records, not known to be what today's config and code would make:",
            *(f"  {message}" for message in messages),
        ]
    )
    if DECIDED & set(sys.argv):
        print(listed, file=sys.stderr)
        return
    how = "by deleting the records in the folders `provenance` beside them" if stored else "with --touch"
    remedy = f"\nMake them again with the same command and --forcerun {' '.join(names)}, or keep them as they are {how}. Those that this run does not need can be deleted."
    raise WorkflowError(listed + (remedy if names else ""))


def start(root: str) -> None:
    """Take the lock of the root before the first job runs.

    Raises
    ------
    WorkflowError
        Another run holds it, or nothing can be written there.
    """
    from snakemake.exceptions import WorkflowError

    try:
        warning = lock(root)
    except RootError as error:
        raise WorkflowError(str(error)) from None
    if warning:
        print(f"Warning: {warning}.", file=sys.stderr)


def stale_results(
    root: str, rules: Mapping[str, Mapping[str, Any]], known: Callable[[str], bool], elsewhere: Iterable[tuple[str, Record]] = ()
) -> tuple[list[str], list[str]]:
    """Compare recorded provenance with today's parameters where Snakemake's own records are gone.

    Parameters
    ----------
    root : str
        Folder of the results.
    rules : mapping
        Params of every rule by name, functions of wildcards included.
    known : callable
        Whether something else decides about an output file: Snakemake, by its own record, or another run, whose result it is.
    elsewhere : iterable
        Addresses and records of results in object storage, beside those below the root.

    Returns
    -------
    rules, messages
        Rules with stale outputs; a line in words for each folder, and for each record that cannot be read.
    """

    def expected(rule: str, wildcards: dict[str, str]) -> dict[str, Any] | None:
        if rule not in rules:
            return None
        try:
            params = {k: v(SimpleNamespace(**wildcards)) if callable(v) else v for k, v in rules[rule].items()}
        except (KeyError, AttributeError):
            return None  # the config does not name this dataset, detector or experiment any more
        # The page of a dataset links to the run's experiments that show it. Where there is none, the page is another run's.
        return None if params.get("experiments") == [] else params

    # One line for all shards of a folder: there may be thousands.
    groups: dict[tuple[str | None, str, str], list[str]] = {}
    for found in stale(itertools.chain(recorded(root), elsewhere), expected, known):
        groups.setdefault((found.rule, found.reason, os.path.dirname(found.output)), []).append(found.output)
    messages = [
        f"{outputs[0]}{f' and {len(outputs) - 1} more' if len(outputs) > 1 else ''}: {reason}" if rule else reason
        for (rule, reason, _), outputs in groups.items()
    ]
    return list(dict.fromkeys(rule for rule, _, _ in groups if rule)), messages


def _made_here(patterns: Iterable[re.Pattern], path: str) -> bool:
    """Return whether a rule of this run makes a path."""
    return any(pattern.fullmatch(path) for pattern in patterns)


def _filled(pattern: str | None, wildcards: Mapping[str, str]) -> str | None:
    try:
        return None if pattern is None else pattern.format(**wildcards)
    except KeyError:
        return None  # made by a rule of the same name that had other wildcards


def _asked_for(*options: str) -> list[str]:
    """Return the targets on the command line, and what options that name rules or files are given: Snakemake gives them to the workflow only once it is parsed."""
    from snakemake.cli import get_argument_parser

    if not {"snakemake", ".snakemake-wrapped"} & {Path(sys.argv[0]).name, Path(sys.argv[0]).parent.name}:
        return []  # started by another program
    chosen, _ = get_argument_parser().parse_known_args(sys.argv[1:])
    return [str(target) for option in options for target in getattr(chosen, option) or ()]


def _recorded(path: str) -> bool:
    """Return whether Snakemake has its own record of an output.

    It names a record after the path (the address, in object storage), in URL-safe base64, cut into folders where a name would be too long.
    """
    encoded = base64.urlsafe_b64encode(path.encode()).decode()
    step = os.pathconf(".", "PC_NAME_MAX") - 1
    parts = [encoded[i : i + step] for i in range(0, len(encoded), step)]
    return Path(".snakemake/metadata", *(f"@{p}" for p in parts[:-1]), parts[-1]).exists()
