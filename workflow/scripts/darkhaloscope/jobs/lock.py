"""The lock of a results root: one run at a time writes below it.

Snakemake's own lock outlives a killed run and would refuse the same command afterwards; the kernel frees this one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from pathlib import Path

#: What flock says where another process holds the lock, and where the file system knows no locks (Lustre mounted without
#: `flock`, NFS without lockd, some FUSE file systems).
HELD = errno.EWOULDBLOCK
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOTTY}


class RootError(Exception):
    """Results cannot go below the root, or another run is writing there."""


def look_into(root: str) -> None:
    """Look whether results can be below a root, where something is there already: Snakemake reads the folder before it takes the lock.

    Raises
    ------
    RootError
        There is a file in the place of the root or of a folder above it, or the folder cannot be read.
    """
    folder = Path(root)
    try:
        os.scandir(folder).close()
    except FileNotFoundError:
        return
    except NotADirectoryError:
        file = next(place for place in (folder, *folder.parents) if place.is_file())
        raise RootError(_in_words(folder, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(file)))) from None
    except OSError as error:
        raise RootError(_in_words(folder, error)) from None


def lock(root: str) -> str | None:
    """Take the lock of a results root, for as long as this process lives.

    Returns
    -------
    str or None
        A warning, where the file system has no locks: nothing then keeps a second run away.

    Raises
    ------
    RootError
        Another run holds it, or the folder cannot be used; with the reason and what to do.
    """
    folder, file = Path(root), Path(root, ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, writable = _open(file)
    except OSError as error:
        raise RootError(_in_words(folder, error)) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(handle, 200).decode(errors="replace").strip() or "unknown holder"
        os.close(handle)
        if error.errno == HELD:
            raise RootError(f"another run is writing below {folder}/ ({holder}); wait for it, stop it, or set another `root`") from None
        if error.errno in NO_LOCKS:
            return (
                f"the file system of {folder}/ has no locks ({error.strerror}): nothing keeps a second run from writing there at the same time. "
                "Start one run at a time, or ask for a mount with locks (Lustre: -o flock)"
            )
        raise RootError(
            f"{file} cannot be locked ({error.strerror}); set another `root`, or see what is wrong with its file system"
        ) from None
    try:
        if writable:
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
    except OSError as error:
        os.close(handle)
        raise RootError(_in_words(folder, error)) from None
    return None


def _open(file: Path) -> tuple[int, bool]:
    """Open the lock file, made by the umask as all files are; one that another user made need not be writable to be locked."""
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT, 0o666), True
    except PermissionError:
        if not file.exists():
            raise
        return os.open(file, os.O_RDONLY), False


def _in_words(folder: Path, error: OSError) -> str:
    if os.path.islink(folder) and not os.path.exists(folder):  # as a Path, a name that is too long would raise again
        return (
            f"the root {folder} is a link to {os.readlink(folder)}, which does not exist any more; make that folder, or set another `root`"
        )
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"the root {folder} needs a folder, but there is a file at {error.filename}; move it away, or set another `root`"
    where = f": {error.filename}" if error.filename else ""
    return (
        f"results cannot be written below {folder}/ ({error.strerror}{where}); check its permissions and free space, or set another `root`"
    )
