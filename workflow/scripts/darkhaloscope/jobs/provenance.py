"""What made a result: rule, parameters, code, inputs, versions; and whether that is still today's.

Each job leaves `provenance/NAME.json` beside its first output NAME. Shards have one each: a run that was
killed among them leaves some that are of another code or config than the rest.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
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

#: Files, and folders, that are inputs of a job beyond this total are recorded by size: hashing them would take longer than many a job.
HASH_LIMIT_BYTES = 4 * 2**30
FOLDER = "provenance"
#: What the hash of a folder begins with in a record.
FOLDERS = "folder:"
#: File in a folder whose time Snakemake takes for the folder's.
MARK = ".snakemake_timestamp"
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


def made_of(output: str | os.PathLike, path: str | os.PathLike) -> bool:
    """Whether a result was made of a file as it is now, by the record beside the result; true where no record says.

    Of a job whose inputs were too large to be hashed the record says their sizes alone.
    """
    try:
        inputs = json.loads(record_path(output).read_text(encoding="utf-8"))["inputs"]
        said = {value for name, value in inputs.items() if Path(name).name == Path(path).name}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return True
    return not said or f"size:{Path(path).stat().st_size}" in said or f"sha256:{_hash(Path(path))}" in said


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
    paths = [Path(i) for i in dict.fromkeys(map(str, inputs))]
    found: dict[str, str] = {}
    # Apart: the bricks of a shard may be too large together, and the manifest beside them is not.
    for kind, some in (("", [p for p in paths if p.is_file()]), (FOLDERS, [p for p in paths if p.is_dir()])):
        sizes = {p: sum(file.stat().st_size for file in _files(p)) for p in some}
        hashed = sum(sizes.values()) <= HASH_LIMIT_BYTES
        found |= {address(p): kind + (f"sha256:{_hash(p)}" if hashed else f"size:{sizes[p]}") for p in some}
    return found


def _files(path: Path) -> list[Path]:
    """Return the files that are a result: it, or all below it where it is a folder."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file() and file.name != MARK)


def _hash(path: Path) -> str:
    """Return the hash of a file, or of the names and hashes of all files of a folder."""
    if path.is_file():
        return sha256(path)
    return hashlib.sha256("".join(f"{sha256(file)}  {file.relative_to(path)}\n" for file in _files(path)).encode()).hexdigest()


def versions_of(inputs: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return size and time of each input that is there, file or folder, to see whether it changes while a job reads it.

    A hash before and one after would read every input twice more; what changes a file's bytes while it is read changes its time, unless
    it puts that back on purpose. The hash of the record is taken after the job, of what was read.
    """
    return {str(i): found for i in inputs if (found := _version(Path(i)))}


def refuse_changed(before: Mapping[str, tuple[int, int]]) -> None:
    """Raise `ProvenanceError` where an input is not what it was: its hash would be recorded for a result that was not made of it."""
    changed = [path for path, version in before.items() if version != versions_of([path]).get(path)]
    if changed:
        raise ProvenanceError(f"{changed[0]} changed while this job read it; leave it alone, then give the same command again")


def _version(path: Path) -> tuple[int, int] | None:
    """Size of a file and when it was written; of a folder the size of all of its files, and when the last one was."""
    try:
        found = [os.stat(file) for file in _files(path)] if path.is_file() or path.is_dir() else []
    except OSError:
        return None
    return (sum(each.st_size for each in found), max(each.st_mtime_ns for each in found)) if found else None


# --- results whose file times are out of order ------------------------------------------------


def settle(
    records: Iterable[tuple[str, Record]], benchmark: Callable[[str, dict[str, str]], str | None] = lambda rule, wildcards: None
) -> int:
    """Put file times in order where content says that nothing changed, as after `cp -r` or a shard made again with the same bits.

    Snakemake makes a result again that is older than an input. Here a result whose inputs are all what its record says, by their
    hashes, is given a time just after them; results made of it follow. A hash is taken of inputs alone that are newer than the result.

    Parameters
    ----------
    records : iterable
        Outputs and their records, as `recorded` gives them.
    benchmark : callable
        Takes a rule's name and wildcards and returns its benchmark file, whose time Snakemake counts as that of a result.

    Returns
    -------
    int
        How many results were given another time.
    """
    waiting, hashes, settled = [], {}, 0
    for output, place in records:
        try:
            values = json.loads(place.read_text(encoding="utf-8"))
            first, inputs, outputs = str(values["outputs"][0]), dict(values["inputs"]), list(values["outputs"])
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            continue  # a broken record is named elsewhere
        # A folder of results that was copied elsewhere, with its root in the config: names in the record are those of before.
        old, new = _renamed(first, output)
        measured = benchmark(str(values.get("rule")), dict(values.get("wildcards") or {}))
        made = [_moved(o, old, new) for o in outputs] + ([measured] if measured and os.path.isfile(measured) else [])
        read = {_moved(i, old, new): value for i, value in inputs.items()}
        # Folders of bricks go once they are used; what is gone is newer than nothing.
        waiting.append((made, {i: value for i, value in read.items() if os.path.isdir(i) or not value.startswith(FOLDERS)}))
    changed = True
    while changed:
        changed = False
        for outputs, inputs in waiting:
            made, read = [_time(o) for o in outputs], {path: _time(path) for path in inputs}
            if not all(made) or not all(read.values()) or not read:
                continue
            latest, oldest = max(read.values()), min(made)
            newer = [path for path, time in read.items() if time > oldest]
            if newer and all(_is(path, inputs[path], read[path], hashes) for path in newer):
                for path in outputs:
                    os.utime(_mark(path), ns=(latest, latest))
                changed, settled = True, settled + 1
    return settled


#: Snakemake and some file systems keep no finer times.
SECOND_NS = 10**9


def outdate(records: Iterable[tuple[str, Path]], name: str) -> None:
    """Make results older than an input that is another file than they were made of, whatever its time says.

    Snakemake goes by times: one that was moved or copied into the place of a newer one, with its time, would change nothing.

    Parameters
    ----------
    records : outputs and their records, as `recorded` gives them
    name : a file that the user brings
    """
    for output, place in records:
        if made_of_another(output, name) and (time := _time(name)):
            outputs = json.loads(place.read_text(encoding="utf-8")).get("outputs", [])
            for path in {output, *outputs}:
                if (made := _time(path)) and made >= time:
                    os.utime(_mark(path), ns=(time - SECOND_NS, time - SECOND_NS))


def _mark(path: str | os.PathLike) -> str | os.PathLike:
    """Return the file whose time Snakemake takes for that of a path."""
    mark = os.path.join(path, MARK)
    return mark if os.path.isfile(mark) else path


def _time(path: str | os.PathLike) -> int | None:
    """Return the time that Snakemake takes for that of a file or folder [ns]; None where there is none."""
    try:
        return os.stat(_mark(path)).st_mtime_ns
    except OSError:
        return None


def _is(path: str, expected: str, time: int, hashes: dict[tuple[str, int], str]) -> bool:
    """Return whether a file or folder has the hash of a record; very large ones are recorded by their size, which says too little."""
    expected = expected.removeprefix(FOLDERS)
    if expected.startswith("size:"):
        return False
    key = (path, time)
    if key not in hashes:
        hashes[key] = _hash(Path(path))
    return expected == f"sha256:{hashes[key]}"


def _renamed(before: str, now: str) -> tuple[str, str]:
    """Return the folders by which two paths of one result differ."""
    a, b = Path(before).parts, Path(now).parts
    same = next((n for n, (x, y) in enumerate(zip(reversed(a), reversed(b), strict=False)) if x != y), min(len(a), len(b)))
    return os.path.join("", *a[: len(a) - same]), os.path.join("", *b[: len(b) - same])


def _moved(path: str, old: str, new: str) -> str:
    inside = old and (path == old or path.startswith(old.rstrip("/") + "/"))
    return os.path.join(new, os.path.relpath(path, old)) if inside and old != new else path


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


def inputs_of(records: Iterable[tuple[str, Path]]) -> frozenset[str]:
    """Return the names of all inputs that results were made of; records that cannot be read say nothing."""
    found: set[str] = set()
    for _, path in records:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found.update(json.loads(path.read_text(encoding="utf-8"))["inputs"])
    return frozenset(found)


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
            yield Stale(output, rule, f"made by rule {rule} with other {', '.join(what)}{_differences(params, today, differ)}")


def made_of_another(output: str, name: str) -> bool:
    """Return whether what a result was made of by its record is not what lies under that name; False where the record or the size leaves it open."""
    try:
        expected = str(json.loads(record_path(output).read_text(encoding="utf-8"))["inputs"][str(Path(name))])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    expected = expected.removeprefix(FOLDERS)
    return expected.startswith("sha256:") and os.path.exists(name) and expected != f"sha256:{_hash(Path(name))}"


def differences(before: Any, now: Any, key: str = "") -> list[str]:
    """Return what differs between two values, key by key: `dataset.size.test: 80 → 120`; at the leaves, not whole mappings."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        names = dict.fromkeys([*before, *now])
        inner = ((before.get(n, "not there"), now.get(n, "not there"), f"{key}.{n}" if key else str(n)) for n in names)
        return [line for b, n, k in inner if b != n for line in differences(b, n, k)]
    return [f"{key}: {_short(before)} → {_short(now)}"]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], keys: Iterable[str]) -> str:
    lines = [line for k in keys if k != "code" for line in differences(before.get(k, "not there"), now.get(k, "not there"), k)]
    more = f", and {len(lines) - 4} more" if len(lines) > 4 else ""
    return f" ({', '.join(lines[:4])}{more})" if lines else ""


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
