"""What made a result: rule, parameters, code, inputs, versions; and whether that is still today's.

Each job leaves `provenance/NAME.json` in the folder of its first output. Shards of one dataset come
from the same parameters and code and share one record.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from . import __version__
from .files import sha256, write_json

#: Inputs beyond this total are recorded by size: hashing them would take longer than many a job.
HASH_LIMIT_BYTES = 4 * 2**30
PACKAGES = (
    "snakemake",
    "numpy",
    "scipy",
    "astropy",
    "fitsio",
    "torch",
    "lightning",
    "lenstronomy",
    "pyarrow",
    "pandas",
    "pydantic",
    "scikit-learn",
)


def record_path(outputs: Iterable[str], rule: str, wildcards: Mapping[str, str]) -> Path:
    """Return where the record of a job goes."""
    first = Path(next(iter(outputs)))
    name = rule if "shard" in wildcards else first.name
    return first.parent / "provenance" / f"{name}.json"


def record(rule: str, wildcards: Mapping[str, str], params: Mapping[str, Any], inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Write the record of a finished job."""
    outputs = list(outputs)
    # Only what decides the result: a shard's number would make equal records differ.
    kept = {k: v for k, v in wildcards.items() if k != "shard"}
    write_json(
        record_path(outputs, rule, wildcards),
        {
            "rule": rule,
            "wildcards": kept,
            "params": plain(params),
            "inputs": _hashes(inputs),
            "outputs": [str(o) for o in outputs] if "shard" not in wildcards else [f"{Path(outputs[0]).parent}/*{Path(outputs[0]).suffix}"],
            "project_version": __version__,
            "git_commit": git_commit(),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "packages": versions(),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
    )


def plain(value: Any) -> Any:
    """Return a value as it reads back from JSON."""
    return json.loads(json.dumps(value, default=str, allow_nan=True))


def versions() -> dict[str, str]:
    """Return the versions of the packages that matter, those that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Return the commit of the project, with `+changes` when the tree differs from it; None outside git."""
    folder = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if status.stdout.strip() else "")


def _hashes(inputs: Iterable[str]) -> dict[str, str]:
    files = [Path(i) for i in dict.fromkeys(map(str, inputs)) if Path(i).is_file()]
    if sum(f.stat().st_size for f in files) > HASH_LIMIT_BYTES:
        return {str(f): f"size:{f.stat().st_size}" for f in files}
    return {str(f): f"sha256:{sha256(f)}" for f in files}


# --- results whose Snakemake records are gone ------------------------------------------------


def stale(
    root: str, expected: Callable[[str, dict[str, str]], dict[str, Any] | None]
) -> Iterator[tuple[str, dict[str, str], list[str], list[str]]]:
    """Give every recorded result that today's config or code would make otherwise.

    Parameters
    ----------
    root : str
        Results root; every `provenance` folder below it is read.
    expected : callable
        Takes rule and wildcards, returns today's params, or None where the rule does not exist any more.

    Yields
    ------
    rule, wildcards, outputs, reasons
        `reasons` names the params that differ.
    """
    for folder, folders, names in os.walk(root):
        folders.sort()
        if Path(folder).name != "provenance":
            continue
        for name in sorted(names):
            if not name.endswith(".json") or name.startswith("."):
                continue
            try:
                old = json.loads(Path(folder, name).read_text(encoding="utf-8"))
                rule, wildcards, params, outputs = old["rule"], old["wildcards"], old["params"], old["outputs"]
            except (ValueError, KeyError, TypeError):
                yield "unknown", {}, [str(Path(folder, name))], ["unreadable provenance record"]
                continue
            today = expected(rule, wildcards)
            if today is None:
                continue
            today = plain(today)
            reasons = sorted(k for k in {*today, *params} if today.get(k) != params.get(k))
            if reasons:
                yield rule, wildcards, outputs, reasons
