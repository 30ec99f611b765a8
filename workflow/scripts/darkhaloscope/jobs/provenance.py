"""What made a result: rule, parameters, code, inputs, versions; and whether that is still today's.

Each job leaves `provenance/NAME.json` beside its first output NAME. Shards have one each: a run that was
killed among them leaves some that are of another code or config than the rest.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from .. import __version__
from ..core.files import sha256, write_json
from .locations import address

#: Inputs beyond this total are recorded by size: hashing them would take longer than many a job.
HASH_LIMIT_BYTES = 4 * 2**30
FOLDER = "provenance"
#: What of a record is read again, and its type.
RECORDED = {"rule": str, "wildcards": dict, "params": dict}
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


class ProvenanceError(Exception):
    """A record cannot be read; the message names it, says what was expected, and what to do."""


@dataclass(frozen=True)
class Stale:
    """A result that today's config or code would make otherwise, or whose record cannot be read (`rule` is then None)."""

    output: str
    rule: str | None
    reason: str


class Record(Protocol):
    """What a record is read from: a path, or an object in storage."""

    def read_text(self, encoding: str) -> str: ...


def record_path(output: str | os.PathLike) -> Path:
    """Return where the record of a job goes, from the job's first output."""
    return Path(output).parent / FOLDER / f"{Path(output).name}.json"


def record(rule: str, wildcards: Mapping[str, str], params: Mapping[str, Any], inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Write the record of a finished job; files in object storage are named by their address, not by their local copy."""
    outputs = [str(o) for o in outputs]
    write_json(
        record_path(outputs[0]),
        {
            "rule": rule,
            "wildcards": dict(wildcards),
            "params": plain(params),
            "inputs": _hashes(inputs),
            "outputs": [address(o) for o in outputs],
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
        return {address(f): f"size:{f.stat().st_size}" for f in files}
    return {address(f): f"sha256:{sha256(f)}" for f in files}


# --- results whose Snakemake records are gone ------------------------------------------------


def recorded(root: str) -> Iterator[tuple[str, Path]]:
    """Give every output below a folder that has a record, and that record; every `provenance` folder is looked into."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        if os.path.basename(folder) != FOLDER:
            continue
        for name in sorted(names):
            # As Snakemake writes the path: the root as it is in the config, then the rest.
            output = os.path.join(os.path.dirname(folder), name.removesuffix(".json"))
            if name.endswith(".json") and not name.startswith(".") and os.path.exists(output):
                yield output, Path(folder, name)


def stale(
    records: Iterable[tuple[str, Record]],
    expected: Callable[[str, dict[str, str]], dict[str, Any] | None],
    known: Callable[[str], bool],
) -> Iterator[Stale]:
    """Give every recorded result that today's config or code would make otherwise.

    Parameters
    ----------
    records : iterable
        Outputs and their records, as `recorded` gives them.
    expected : callable
        Takes rule and wildcards, returns today's params, or None where the rule does not exist any more.
    known : callable
        Takes the path of an output; whether something else decides about it. Its record is then not opened.

    Yields
    ------
    Stale
        `reason` names the params that differ, or says what is wrong with the record.
    """
    for output, place in records:
        if known(output):
            continue
        try:
            rule, wildcards, params = read_record(place, output)
        except ProvenanceError as error:
            yield Stale(output, None, str(error))
            continue
        today = expected(rule, wildcards)
        if today is None:
            continue
        today = plain(today)
        differ = sorted(k for k in {*today, *params} if today.get(k) != params.get(k))
        if differ:
            what = ["code" if k == "code" else f"parameter `{k}`" for k in differ]
            yield Stale(output, rule, f"made by rule {rule} with other {', '.join(what)}")


def read_record(path: Record, output: str) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return rule, wildcards and params of a record.

    Raises
    ------
    ProvenanceError
        It cannot be read, is not JSON, or lacks one of the three.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        wrong = [k for k, kind in RECORDED.items() if not isinstance(values, dict) or not isinstance(values.get(k), kind)]
        found = f"JSON without a valid {' or '.join(f'`{k}`' for k in wrong)}" if wrong else None
    except OSError as error:
        found = f"a file that cannot be read ({error.strerror})"
    except ValueError as error:  # bad JSON, bad UTF-8
        found = f"no JSON ({error})"
    if found:
        raise ProvenanceError(
            f"{path}: expected a provenance record (JSON with {', '.join(f'`{k}`' for k in RECORDED)}), found {found}; "
            f"delete {output} to have it made again, or this record to keep the result as it is"
        )
    return values["rule"], values["wildcards"], values["params"]
