"""Where a job's files really are: below the working folder, or in object storage with a local copy."""

from __future__ import annotations

import json
import os

#: Environment variable through which the Snakefile tells its scripts where results go: folder of local copies, prefix of addresses.
VARIABLE = "DARK_HALO_SCOPE_STORAGE"


def address(path: str | os.PathLike) -> str:
    """Return the address of a file in object storage by its local copy; any other path as it is."""
    found = _storage()
    copies, prefix = found or ("", "")
    inside = os.path.relpath(path, copies) if found else ".."
    return str(path) if inside.startswith("..") else f"{prefix.partition('://')[0]}://{inside}"


def plain_name(path: str | os.PathLike) -> str:
    """Return the name of a result as it is asked for on the command line, wherever results go."""
    found = _storage()
    return address(path).removeprefix(found[1]) if found else str(path)


def storage_options() -> str:
    """Return the options that send a run's results where this one's go."""
    found = _storage()
    if not found:
        return ""
    kind = found[1].partition("://")[0]
    return f" --default-storage-provider {kind} --default-storage-prefix {found[1].rstrip('/')}"


def _storage() -> tuple[str, str] | None:
    value = os.environ.get(VARIABLE)
    return tuple(json.loads(value)) if value else None
