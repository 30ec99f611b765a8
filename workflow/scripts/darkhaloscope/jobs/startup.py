"""The few things that need Snakemake's own objects: limits, the lock of the root, stale results.

Everything that touches Snakemake's internals is here, so that a new release is met in one place.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

from . import storage as object_storage
from .digest import keep
from .flow import DIGESTS, Flow, tell
from .stage import CONFIG, CONFIGFILES

#: Options with which the user decides what is made again.
DECIDED = {"--forcerun", "-R", "--forceall", "-F", "--touch", "-t", "--lint", "--unlock"}


def begin(workflow: Any, flow: Flow) -> None:
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
        workflow.register_resource("downloads", flow.run.downloads.max_parallel)
    object_storage.begin(workflow)
    if not workflow.is_main_process:
        return
    keep(DIGESTS)
    stored = workflow.storage_registry.default_storage_provider is not None
    rules = {rule.name: dict(rule.params.items()) for rule in workflow.rules}
    names, messages = flow.stale_results(rules, _recorded, object_storage.records(workflow, flow.run.root) if stored else ())
    if not messages:
        return
    listed = [
        "Results without Snakemake's own records, not known to be what today's config and code would make:",
        *(f"  {m}" for m in messages),
    ]
    if DECIDED & set(sys.argv):
        tell(listed)
    else:
        how = "by deleting the records in the folders `provenance` beside them" if stored else "with --touch"
        remedy = f"Make them again with the same command and --forcerun {' '.join(names)}, or keep them as they are {how}."
        raise WorkflowError("\n".join([*listed, *([remedy] if names else [])]))


def _recorded(path: str) -> bool:
    """Return whether Snakemake has its own record of an output.

    It names a record after the path (the address, in object storage), in URL-safe base64, cut into folders where a name would be too long.
    """
    encoded = base64.urlsafe_b64encode(path.encode()).decode()
    step = os.pathconf(".", "PC_NAME_MAX") - 1
    parts = [encoded[i : i + step] for i in range(0, len(encoded), step)]
    return Path(".snakemake/metadata", *(f"@{p}" for p in parts[:-1]), parts[-1]).exists()
