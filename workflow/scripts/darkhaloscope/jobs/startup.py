"""The few things that need Snakemake's own objects: limits, the lock of the root, stale results.

Everything that touches Snakemake's internals is here, so that a new release is met in one place. Imported at every parse,
in every cluster job: pydantic and the standard library only.
"""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..config.run import Run
from ..config.wording import ConfigError
from . import digest
from . import storage as object_storage
from .provenance import Record, recorded, stale
from .stage import CONFIG, CONFIGFILES

#: Options with which the user decides what is made again.
DECIDED = {"--forcerun", "-R", "--forceall", "-F", "--touch", "-t", "--lint", "--unlock"}

#: What the main process found out about the sources, for the next parse.
DIGESTS = Path(".snakemake/darkhaloscope-digests.json")


def prepare(config: dict[str, Any], settings: Run) -> None:
    """Give scripts, through Snakemake's own config, how they work where it changes no result: an edit of it reruns nothing."""
    config["downloads"] = settings.downloads.plain()
    config["brick_cache_gb"] = settings.legacysurvey.cache_gb
    rendered = {name: dataset for name, dataset in settings.datasets.items() if hasattr(dataset, "rendering")}
    config["evidence_batch_size"] = settings.evidence.batch_size
    config["batch_sizes"] = {name: dataset.rendering.batch_size for name, dataset in rendered.items()}
    digest.remember(DIGESTS)


def begin(workflow: Any, settings: Run) -> None:
    """Finish parsing: pass on config files and edits, cap downloads, see to object storage, and name stale results.

    Raises
    ------
    WorkflowError
        Results below the root have lost Snakemake's own records and are not what today's config and code
        would make, or have a provenance record that cannot be read: Snakemake alone would call them up to date.
        Options that decide about them let the run go on. Or object storage cannot be used.
    """
    from snakemake.exceptions import WorkflowError

    os.environ[CONFIGFILES] = os.pathsep.join(str(c) for c in workflow.overwrite_configfiles)
    os.environ[CONFIG] = json.dumps(list(workflow.config_settings.config_args or ()))
    if "downloads" not in workflow.global_resources:
        workflow.register_resource("downloads", settings.downloads.max_parallel)
    object_storage.begin(workflow)
    if not workflow.is_main_process:
        return
    digest.keep(DIGESTS)
    stored = workflow.storage_registry.default_storage_provider is not None
    rules = {rule.name: dict(rule.params.items()) for rule in workflow.rules}
    elsewhere = object_storage.records(workflow, settings.root) if stored else ()
    names, messages = stale_results(settings.root, rules, _recorded, elsewhere)
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
    remedy = f"\nMake them again with the same command and --forcerun {' '.join(names)}, or keep them as they are {how}."
    raise WorkflowError(listed + (remedy if names else ""))


def lock(root: str) -> None:
    """Keep a second run from writing below the same root; the kernel frees the lock when this process ends.

    Snakemake's own lock outlives a killed run and would refuse the same command afterwards.
    """
    folder = Path(root)
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(handle, 200).decode(errors="replace").strip()
        os.close(handle)
        raise ConfigError(
            f"another run is writing below {folder}/ ({holder or 'unknown holder'}); wait for it, stop it, or set another `root`"
        ) from None
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())


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
        Whether Snakemake still has its own record of an output file; it then decides by itself.
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
            return {k: v(SimpleNamespace(**wildcards)) if callable(v) else v for k, v in rules[rule].items()}
        except (KeyError, AttributeError):
            return None  # the config does not name this dataset, detector or experiment any more

    # One line for all shards of a folder: there may be thousands.
    groups: dict[tuple[str | None, str, str], list[str]] = {}
    for found in stale(itertools.chain(recorded(root), elsewhere), expected, known):
        groups.setdefault((found.rule, found.reason, os.path.dirname(found.output)), []).append(found.output)
    messages = [
        f"{outputs[0]}{f' and {len(outputs) - 1} more' if len(outputs) > 1 else ''}: {reason}" if rule else reason
        for (rule, reason, _), outputs in groups.items()
    ]
    return list(dict.fromkeys(rule for rule, _, _ in groups if rule)), messages


def _recorded(path: str) -> bool:
    """Return whether Snakemake has its own record of an output.

    It names a record after the path (the address, in object storage), in URL-safe base64, cut into folders where a name would be too long.
    """
    encoded = base64.urlsafe_b64encode(path.encode()).decode()
    step = os.pathconf(".", "PC_NAME_MAX") - 1
    parts = [encoded[i : i + step] for i in range(0, len(encoded), step)]
    return Path(".snakemake/metadata", *(f"@{p}" for p in parts[:-1]), parts[-1]).exists()
