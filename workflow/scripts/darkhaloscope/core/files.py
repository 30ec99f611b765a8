"""Writing files whole: under a temporary name first, then renamed into place."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Names the machine in temporary files: a process number means nothing elsewhere.
HOST = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname()) or "host"


class OutputError(OSError):
    """A file could not be written; nothing half-written is left."""


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path in the same folder that becomes `path` when the block ends well.

    The temporary file keeps the suffixes of `path` (some writers choose the format by them). On any
    error it is deleted and `path` stays as it was; what a killed process left is deleted by the next one
    that writes `path` on the same machine.

    Raises
    ------
    OutputError
        The disk is full or the folder cannot be written: says which, and what to do.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_orphans(path)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".partial-{HOST}-{os.getpid()}-", suffix="-" + path.name)
            temporary = Path(name)
            os.close(handle)
            yield temporary
            _flush(temporary)
            follow_umask(temporary, 0o666)
            os.replace(temporary, path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def follow_umask(path: str | os.PathLike, mode: int) -> None:
    """Give a file or folder the permissions that the user's umask leaves of `mode`: temporary ones are made for their owner alone.

    Where a file system keeps no permissions of its own (vfat, some network mounts), they stay as they are.
    """
    mask = os.umask(0)
    os.umask(mask)
    with _unless(errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
        os.chmod(path, mode & ~mask)


def _flush(path: Path) -> None:
    """Wait until a file is on disk, where its file system can say so."""
    with open(path, "rb") as written, _unless(errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
        os.fsync(written.fileno())


@contextlib.contextmanager
def _unless(*numbers: int) -> Iterator[None]:
    """Pass over the errors by which a file system says that it does not know an operation."""
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise


@contextlib.contextmanager
def disk_errors(path: str | os.PathLike) -> Iterator[None]:
    """Say in words that a disk is full or a folder cannot be written, while `path` is made.

    Raises
    ------
    OutputError
        In place of the OSError.
    """
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                error.errno, f"no space left while writing {path}; free space or point `root` elsewhere, then run again"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise OutputError(
                error.errno, f"{path} cannot be written ({error.strerror}); check the folder's permissions or point `root` elsewhere"
            ) from error
        raise


def _remove_orphans(path: Path) -> None:
    """Delete temporary files of `path` whose process is gone."""
    pattern = re.compile(rf"\.partial-{HOST}-(\d+)-.*-{re.escape(path.name)}")
    for name in os.listdir(path.parent):
        match = pattern.fullmatch(name)
        if match and not _alive(int(match[1])):
            (path.parent / name).unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _ended(process)


def _ended(process: int) -> bool:
    """Whether a process has ended and only waits to be reaped: what is first in many containers reaps late or never.

    Linux alone says so, in /proc/PID/stat (proc(5)): the state follows the name, which is in brackets and may hold any letter.
    """
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[:1] in (["Z"], ["X"])


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file whole, UTF-8."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write JSON whole; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, sort_keys=False) + "\n")


def sha256(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
