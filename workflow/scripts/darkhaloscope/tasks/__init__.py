"""Tasks: what a stamp is. A task is a folder here, named as the `kind` of its datasets, with one file per part.

A part is imported by name alone, so that an edit of one task, or of another part, changes no digest of the rules that do
not use it. The parts, and what each of them offers:

`manifest`
    how rows are drawn: `MANIFEST`, the schema of a row, and `draw(name, dataset, files, cosmology)`, which yields the rows in
    pieces of the `MANIFEST` schema. `files` are the inputs of rule build_manifest by name, each a list of paths.
`schema`
    what a stamp holds: `stamp_schema(size)`, `scalar_columns()` and `size_of(dataset)`.
`seen`
    what is kept of a stamp for its checks while its shard is made: `SEEN`, a `stamps.seen.Seen`.
`checks`
    what is looked at before anything is trained: `CHECKS`, a `stamps.checks.Checks`, and the task's own gates.

What turns rows into stamps is a rule of the task's own, for its inputs are its own (bricks, a bank, a table made elsewhere); it
reads rows with `stamps.manifest`, writes shards with `core.tables` and what is seen of them with `stamps.seen`.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def part(kind: str, name: str) -> ModuleType:
    """Return one part of the task of a kind of dataset.

    Raises
    ------
    ValueError
        There is no such task, or it lacks that part.
    """
    module = f"{__name__}.{kind}.{name}"
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            raise ValueError(f"datasets of kind {kind!r} have no {name}: a task is a folder of tasks/ with a file {name}.py") from error
        raise
