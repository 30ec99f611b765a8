"""Reading files that may be damaged: what a library says of one becomes an error with file, expectation and remedy."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What libraries raise for files that are missing, damaged, or of another kind; warnings that were made errors are among it.
UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, MemoryError, SystemError, OverflowError),
    *(zlib.error, zipfile.BadZipFile, struct.error, Warning),
)
_LIBRARY = __name__.partition(".")[0]

#: How the files begin that are found in the place of many others, and what they are.
_IN_ITS_PLACE = (
    (rb"version https://git-lfs", "it is a Git LFS pointer; `git lfs pull` fetches the file itself"),
    (rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head)", "it is a web page"),
)


@contextmanager
def readable(path: str | os.PathLike, expected: str, remedy: str, error: type[Exception]) -> Iterator[None]:
    """Give what libraries raise while `path` is read as an error of this library; those have their words already and pass.

    Parameters
    ----------
    path : the file
    expected : what it should be, such as "quality metrics as JSON"
    remedy : what a person can do, such as "inspect this galaxy's maps again"
    error : class of the error, with a message of these three and what was found
    """
    try:
        yield
    except Exception as found:  # readers have error classes of their own, and each of them means that the file is not read
        if type(found).__module__.partition(".")[0] == _LIBRARY:
            raise
        raise error(f"{path}: expected {expected}, but reading fails ({words(found, path)}); {remedy}") from found


def words(error: BaseException, path: str | os.PathLike | None = None) -> str:
    """Return what an error says, in one line; without its file, which the message around it names.

    Where that is given as `path`, what stands in its place is said, too: libraries do not know a pointer or a web page.
    """
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    said = " ".join(reason.split())[:300] or type(error).__name__
    instead = in_its_place(path) if path is not None else ""
    return f"{said.rstrip('.')}: {instead}" if instead else said


def absent(path: str | os.PathLike) -> str:
    """Say why a file is not there: it does not exist, or a folder above it may not be entered; empty where it is there."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be reached ({error.strerror})"
    return ""


def in_its_place(path: str | os.PathLike) -> str:
    """Say what is in the place of a file where that is a Git LFS pointer or a web page; empty where it is something else, or unreadable."""
    try:
        with open(path, "rb") as file:
            head = file.read(200)
    except OSError:
        return ""
    return next((what for begin, what in _IN_ITS_PLACE if re.match(begin, head, re.IGNORECASE)), "")


def read_json(path: str | os.PathLike, expected: str, remedy: str, error: type[Exception]) -> dict[str, Any]:
    """Read a JSON object strictly: a key twice, NaN and infinity are errors, as in what `write_json` leaves (RFC 8259, sections 4 and 6)."""
    with readable(path, expected, remedy, error):
        found = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
        if not isinstance(found, dict):
            raise TypeError(f"it holds a {type(found).__name__}, not keys and values")
        return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_twice("key", (key for key, _ in pairs))
    return dict(pairs)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def read_npz(content: bytes) -> dict[str, NDArray]:
    """Return the arrays of an NPZ file by name; call within `readable`.

    Raises
    ------
    ValueError and others of `UNREADABLE`
        It is none, holds pickled objects, or two arrays of one name.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise TypeError("one array, and no archive of them")
        _refuse_twice("array", archive.files)
        return {name: archive[name] for name in archive.files}


def _refuse_twice(what: str, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{what} {', '.join(twice)} is there twice")
