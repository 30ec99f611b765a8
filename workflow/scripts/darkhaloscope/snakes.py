"""The few things that need Snakemake's own objects: limits, the lock of the root, stale results.

Everything that touches Snakemake's internals is here, so that a new release is met in one place.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from .flow import Flow, tell
from .stage import CONFIGFILES


def begin(workflow: Any, flow: Flow) -> None:
    """Finish parsing: pass on config files, cap downloads, and make stale results run again."""
    os.environ[CONFIGFILES] = os.pathsep.join(str(c) for c in workflow.overwrite_configfiles)
    if "downloads" not in workflow.global_resources:
        workflow.register_resource("downloads", flow.run.downloads.max_parallel)
    if not workflow.is_main_process or not os.path.isdir(flow.run.root):
        return
    rules = {rule.name: dict(rule.params.items()) for rule in workflow.rules}
    files, messages = flow.stale_results(rules, _recorded)
    if files:
        tell(["Results without Snakemake's own records, which today's config or code would make otherwise (they are made again):"])
        tell([f"  {message}" for message in messages])
        workflow.dag_settings.forcerun = frozenset({*workflow.dag_settings.forcerun, *files})


def _recorded(path: str) -> bool:
    """Return whether Snakemake has its own record of an output.

    It names a record after the path, in URL-safe base64, cut into folders where a name would be too long.
    """
    encoded = base64.urlsafe_b64encode(path.encode()).decode()
    step = os.pathconf(".", "PC_NAME_MAX") - 1
    parts = [encoded[i : i + step] for i in range(0, len(encoded), step)]
    return Path(".snakemake/metadata", *(f"@{p}" for p in parts[:-1]), parts[-1]).exists()
