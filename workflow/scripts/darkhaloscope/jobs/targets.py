"""What is asked for on the command line and no rule makes: the nearest name, in words."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence

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


def unknown(targets: Iterable[str], settings: Run, outputs: Sequence[str], rules: Sequence[str]) -> str | None:
    """Return why a target cannot be made, in words, or None where each can be or is for Snakemake to judge.

    Parameters
    ----------
    targets : iterable of str
        Files and rules, as on the command line.
    settings : Run
        The validated run.
    outputs, rules : sequence of str
        Patterns of the files that rules make, with wildcards by their bare names, and the rules' names.
    """
    for target in map(str, targets):
        if target in rules or os.path.exists(target) or "://" in target:
            continue
        inside = os.path.relpath(target, settings.root)
        if inside.startswith(".."):
            if "/" not in target and not os.path.splitext(target)[1]:
                return f"there is no rule and no file `{target}`{nearest(target, rules)}"
            return (
                f"{target} is no file of this run, whose results go below {settings.root}/ (config key `root`): ask for {settings.root}/…, "
                "or give the --configfile of the run that you mean"
            )
        target = os.path.join(settings.root, inside)
        parts = inside.split("/")
        if len(parts) > 1 and parts[0] in NAMED:
            what, known = NAMED[parts[0]]
            if parts[1] not in known(settings):
                return f"{target}: there is no {what} `{parts[1]}` in this config{nearest(parts[1], known(settings))}; results go below {settings.root}/"
        if not any(_regex(output).fullmatch(target) for output in outputs):
            return f"{target}: no rule makes such a file{_nearest_file(target, outputs)}; results go below {settings.root}/"
    return None


def _regex(pattern: str) -> re.Pattern[str]:
    """Return what matches a pattern's files, whatever its wildcards stand for."""
    return re.compile("".join("[^/]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", pattern)))


def _nearest_file(target: str, outputs: Sequence[str]) -> str:
    """Return the file that was probably meant: the pattern most like a target, with what the target has for its wildcards."""
    filled = []
    for output in dict.fromkeys(outputs):
        wanted, given = output.split("/"), target.split("/")
        if len(wanted) == len(given):
            filled.append("/".join(g if "{" in w and "." not in w else w for w, g in zip(wanted, given, strict=True)))
    close = difflib.get_close_matches(target, filled, n=1, cutoff=0.6)
    return f" (nearest: `{close[0]}`)" if close else ""
