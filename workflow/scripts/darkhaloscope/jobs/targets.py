"""What is asked for on the command line and no rule makes: the nearest name, in words."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..config.run import Run
from ..config.wording import nearest

#: Folders below the root whose next part is a name in the config: what it names, and where its names are.
NAMED = {
    "experiments": ("experiment", lambda run: run.experiments),
    "datasets": ("dataset", lambda run: run.datasets),
    "detectors": ("dataset", lambda run: run.datasets),
    "networks": ("dataset", lambda run: run.datasets),
    "sweeps": ("sweep", lambda run: run.sweeps),
    "manga": ("sample", lambda run: run.manga.samples),
    "legacysurvey": ("survey", lambda run: run.legacysurvey.surveys),
}
#: Wildcards that are names in the config, likewise.
WILDCARDS = {
    "experiment": NAMED["experiments"],
    "dataset": NAMED["datasets"],
    "test": NAMED["datasets"],
    "detector": ("detector", lambda run: run.detectors),
    "sample": NAMED["manga"],
}
SPLITS = ("train", "validation", "test")


def unknown(
    targets: Iterable[str], settings: Run, outputs: Sequence[str], rules: Sequence[str], makes: Callable[[str], Sequence[Mapping[str, str]]]
) -> str | None:
    """Return why a target cannot be made, in words, or None where each can be or is for Snakemake to judge.

    Parameters
    ----------
    targets : iterable of str
        Files and rules, as on the command line.
    settings : Run
        The validated run.
    outputs, rules : sequence of str
        Patterns of the files that rules make, with wildcards by their bare names, and the rules' names.
    makes : callable
        The wildcards of each rule that makes a file.
    """
    named = {**dict.fromkeys(settings.sweeps, "sweep"), **dict.fromkeys(settings.experiments, "experiment")}
    for target in map(str, targets):
        if target in rules or "://" in target or (os.path.exists(target) and makes(target)):
            continue
        if target in named:
            return f"`{target}` is no target but the name of the {named[target]}; give --config 'run=[{target}]' in its place"
        inside = os.path.relpath(target, settings.root)
        if inside.startswith(".."):
            if "/" not in target and not os.path.splitext(target)[1]:
                return f"there is no rule and no file `{target}`{nearest(target, [*rules, *named])}"
            return (
                f"{target} is no file of this run, whose results go below {settings.root}/ (config key `root`): ask for {settings.root}/…, "
                "or give the --configfile of the run that you mean"
            )
        if os.path.isabs(target) and not os.path.isabs(settings.root):
            return f"{target}: files are named from the working folder; ask for {os.path.join(settings.root, inside)}"
        target = os.path.normpath(os.path.join(settings.root, inside))
        parts = inside.split("/")
        if len(parts) > 1 and parts[0] in NAMED:
            what, known = NAMED[parts[0]]
            if parts[1] not in known(settings):
                return f"{target}: there is no {what} `{parts[1]}` in this config{nearest(parts[1], known(settings))}; results go below {settings.root}/"
        if not makes(target):
            what = "is a folder, expected a file or a rule" if os.path.isdir(target) else "no rule makes such a file"
            return f"{target}: {what}{_nearest_file(target, outputs, makes)}; results go below {settings.root}/"
        if all(strange := [_strangers(wildcards, settings) for wildcards in makes(target)]):
            return f"{target}: {strange[0]}"
    return None


def many(targets: Iterable[str], patterned: Mapping[str, str]) -> str:
    """Say so where a target is a rule that makes many files: which one is meant? `patterned` has the first output of each such rule."""
    for target in map(str, targets):
        if target in patterned and not os.path.exists(target):
            return f"rule `{target}` makes a file for each of several names: ask for one of them, {patterned[target]} with names in place of what is in braces"
    return ""


def _strangers(wildcards: Mapping[str, str], settings: Run) -> str:
    """Say which of a file's wildcards is no name in the config; empty where each is."""
    experiment = settings.experiments.get(wildcards.get("experiment", ""))
    for wildcard, (what, known) in WILDCARDS.items():
        name = wildcards.get(wildcard)
        if name is not None and name not in known(settings):
            return f"there is no {what} `{name}` in this config{nearest(name, known(settings))}"
        if wildcard == "detector" and experiment and name and name.split("+round=")[0] not in experiment.detectors:
            return f"experiment `{wildcards['experiment']}` has no detector `{name}` (it has: {', '.join(experiment.detectors)})"
    return ""


def _nearest_file(target: str, outputs: Sequence[str], makes: Callable[[str], Sequence[Mapping[str, str]]]) -> str:
    """Return the file that was probably meant: the pattern most like a target, with what the target has for its wildcards, that a rule makes."""
    filled = []
    for output in dict.fromkeys(outputs):
        wanted, given = output.split("/"), target.split("/")
        if len(wanted) == len(given):
            filled.append("/".join(_part(w, g) for w, g in zip(wanted, given, strict=True)))
    close = difflib.get_close_matches(target, [name for name in filled if name != target and makes(name)], n=1, cutoff=0.6)
    return f" (nearest: `{close[0]}`)" if close else ""


def _part(wanted: str, given: str) -> str:
    if wanted == "{split}":
        return difflib.get_close_matches(given, SPLITS, n=1, cutoff=0)[0]
    return given if "{" in wanted and ("." not in wanted or given.endswith(wanted.rpartition("}")[2])) else wanted
