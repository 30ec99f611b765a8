"""How functions are compiled, and where compiled loops are kept between jobs.

Numba compiles a function again when its own file changed, not when a function that it calls, in another file, did; and it
must find a place to write to. Here the name of what is kept holds a digest of everything that was compiled in: the files of
all functions that are called, the values that they name, the versions of numba's parts, its settings. (Numba itself tells versions of
Python, processors and signatures apart, in a file each: see `_OneFileEach`.) So loops of another state of the code are never read, wherever they lie and
whatever their times say; where nothing can be written or read, loops are compiled in each job.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numba.core import caching, config
from numba.core.dispatcher import Dispatcher
from numba.misc.appdirs import AppDirs

#: Options of functions that Python calls. They are kept on disk by `keep`, at the end of their module.
outer = {"fastmath": {"nsz", "arcp", "contract", "afn", "reassoc"}, "nogil": True, "error_model": "numpy"}
#: … and of those that they call: all are inlined and none is kept. A function that is called, or that was read from disk,
#: rounds otherwise than the same one compiled within its caller, and a stamp's bits would depend on which job compiled what.
inner = outer | {"forceinline": True}

#: What the environment (`NUMBA_OPT` and its like) may change about all that is compiled. Numba's own cache does not look at these:
#: loops that were compiled once to look for a fault, without vectors or with checks of bounds, would be read for ever.
SETTINGS = (
    *("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "USING_SVML", "DISABLE_INTEL_SVML", "ENABLE_AVX", "BOUNDSCHECK", "DEBUGINFO_DEFAULT"),
    *("LLVM_REFPRUNE_PASS", "LLVM_REFPRUNE_FLAGS", "ENABLE_PROFILING"),
)


def keep(*functions: Dispatcher) -> None:
    """Keep compiled functions on disk by the contents of all that they are made of, which must be defined by now.

    Where no folder can be written every job compiles them anew, in half a minute; set NUMBA_CACHE_DIR to a folder that can.
    """
    for function in functions:
        digest = contents(function)
        folder = next((f for f in _folders(function.py_func) if _writable(f)), None)
        if folder is not None:
            function._cache = _Kept(function.py_func, folder, digest)


def contents(function: Dispatcher) -> str:
    """Return a digest of everything that is compiled into a function: 64 hexadecimal digits."""
    total = hashlib.sha256(repr([version(name) for name in ("numba", "llvmlite", "numpy")]).encode())
    total.update(repr([(name, str(getattr(config, name, None))) for name in SETTINGS]).encode())
    waiting, seen = [function], set()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        options = sorted((k, sorted(v) if isinstance(v, set) else v) for k, v in one.targetoptions.items())
        total.update(repr((one.py_func.__qualname__, options)).encode() + Path(inspect.getfile(one.py_func)).read_bytes())
        named = inspect.getclosurevars(one.py_func)
        for name, value in sorted({**named.globals, **named.nonlocals}.items()):
            if isinstance(value, Dispatcher):
                waiting.append(value)
            elif isinstance(value, np.ndarray):
                total.update(f"{name} {value.dtype} {value.shape}".encode() + value.tobytes())
            elif not inspect.ismodule(value):
                total.update(f"{name} {getattr(value, '__qualname__', value)!r}".encode())
    return total.hexdigest()


class _Kept(caching.FunctionCache):
    """Numba's cache of one function, in a folder and under a name that are given; what cannot be read or written is compiled anew."""

    def __init__(self, function, folder: Path, digest: str):
        class Place(caching.UserWideCacheLocator):
            def get_cache_path(self) -> str:
                return str(folder)

            def get_source_stamp(self) -> str:
                return digest

            def get_disambiguator(self) -> str:
                return digest[:16]

        class Files(caching.CompileResultCacheImpl):
            _locator_classes = (Place,)

        self._impl_class = Files
        super().__init__(function)
        self._cache_file = _OneFileEach(str(folder), self._impl.filename_base, digest)

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            # Files of a full disk, or of a job that ended while it wrote: pickle raises whatever it meets.
            return None

    def save_overload(self, sig, data):
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)
            _remove_others(Path(self.cache_path), self._impl.filename_base)


class _OneFileEach(caching.IndexDataCacheFile):
    """A file for the loops of each signature and processor, named by them.

    Numba keeps a list of numbered files. Two jobs that compile for different arguments, or on nodes with different
    processors, at the same moment find the same number free: one's loops then stand in the list under the other's name, and
    whoever calls them gets wrong numbers, writes where nothing is his, or ends with an illegal instruction.
    """

    def save(self, key, data):
        self._save_data(self._name(key), (key, data))

    def load(self, key):
        try:
            kept, data = self._load_data(self._name(key))
        except FileNotFoundError:
            return None
        return data if kept == key else None

    def _name(self, key) -> str:
        return self._data_name(int(hashlib.sha256(repr(key).encode()).hexdigest()[:12], 16))


def _folders(function) -> list[Path]:
    """Folders in which numba keeps compiled functions, first choice first."""
    given = [Path(config.CACHE_DIR) / "darkhaloscope"] if config.CACHE_DIR else []
    user = Path(AppDirs(appname="numba", appauthor=False).user_cache_dir) / "darkhaloscope"
    return [*given, Path(inspect.getfile(function)).parent / "__pycache__", user]


def _writable(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return True
    return False


def _remove_others(folder: Path, name: str) -> None:
    """Remove what the same function left beside its module in other states; a folder that several checkouts share keeps all."""
    if folder.name == "__pycache__":
        for path in folder.glob(f"{name.split('-')[0]}-*.nb[ic]"):
            if not path.name.startswith(name):
                with contextlib.suppress(OSError):
                    os.unlink(path)
