"""Compiled loops that are kept on disk are those of the code as it is, and no job ends where they cannot be kept."""

import itertools
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from darkhaloscope import lensing
from darkhaloscope.lensing import compiled

OUTSIDE = """
import numpy as np
SHIFT, TABLE = 1.0, np.arange(3.0)
"""
INNER = """
from numba import njit
from darkhaloscope.lensing.compiled import inner
@njit(**inner)
def added(x):
    return x + 1.0
"""
OUTER = """
from numba import njit
from darkhaloscope.lensing.compiled import keep, outer
from {inner} import added
from {outside} import SHIFT, TABLE
@njit(**outer)
def total(x):
    return added(x) + SHIFT + TABLE[1]
keep(total)
"""


#: Modules are imported once in a process.
NUMBERS = itertools.count()


@pytest.fixture
def loops(tmp_path, monkeypatch):
    """A function that writes three modules, imports them under new names and returns the compiled function `total`."""

    def load(outside=OUTSIDE, inner=INNER):
        number = next(NUMBERS)
        folder = tmp_path / "modules"
        folder.mkdir(exist_ok=True)
        names = {"outside": f"outside_{number}", "inner": f"inner_{number}"}
        texts = {names["outside"]: outside, names["inner"]: inner, f"outer_{number}": OUTER.format(**names)}
        for name, text in texts.items():
            (folder / f"{name}.py").write_text(text)
            # As after an update that keeps file times.
            os.utime(folder / f"{name}.py", (1e9, 1e9))
        monkeypatch.syspath_prepend(folder)
        return __import__(f"outer_{number}").total

    monkeypatch.setattr(compiled.config, "CACHE_DIR", str(tmp_path / "kept"))
    return load


def kept_in(function):
    """The files that are kept of a function."""
    return sorted(Path(function._cache.cache_path).glob(f"{function._cache._impl.filename_base}.*"))


def kept_of(function):
    (file,) = kept_in(function)
    return file


def test_what_is_kept_is_named_by_all_that_was_compiled_in(loops):
    """Values and functions of other modules count, whatever their files' times; the name of the function alone does not tell states apart."""
    states = [loops(), loops(outside=OUTSIDE.replace("1.0", "2.0")), loops(inner=INNER.replace("1.0", "5.0"))]
    states.append(loops(outside=OUTSIDE.replace("arange(3.0)", "arange(3.0) * 2")))
    assert [total(1.0) for total in states] == [4.0, 5.0, 8.0, 5.0]
    assert len({compiled.contents(total) for total in states}) == 4
    assert len({kept_of(total).name for total in states}) == 4


def test_another_numba_or_numpy_reads_nothing_of_the_old_one(loops, monkeypatch):
    total = loops()
    old = compiled.contents(total)
    installed = compiled.version
    for other in ("numba", "llvmlite", "numpy"):
        with monkeypatch.context() as patch:
            patch.setattr(compiled, "version", lambda name, other=other: "0.0" if name == other else installed(name))
            assert compiled.contents(total) != old


def test_loops_of_other_settings_of_numba_are_not_read(loops, monkeypatch):
    """Compiled once with `NUMBA_OPT=0` or the like, to look for a fault, they round otherwise, or are slower."""
    total = loops()
    usual = compiled.contents(total)
    for name, value in {"OPT": 0, "LOOP_VECTORIZE": 0, "BOUNDSCHECK": 1, "USING_SVML": "another", "DEBUGINFO_DEFAULT": 1}.items():
        with monkeypatch.context() as patch:
            patch.setattr(compiled.config, name, value)
            assert compiled.contents(total) != usual
    assert compiled.contents(total) == usual


def again(total):
    """The same function as a job that starts afterwards compiles or reads it."""
    function = njit(**compiled.outer)(total.py_func)
    compiled.keep(function)
    assert function(1.0) == 4.0
    return function


def hits(function):
    return sum(function.stats.cache_hits.values())


def test_kept_loops_are_found_again(loops):
    total = loops()
    total(1.0)
    assert hits(total) == 0 and hits(again(total)) == 1


@pytest.mark.parametrize("damage", ["cut short", "empty", "a folder"])
def test_what_cannot_be_read_is_compiled_anew(loops, damage):
    total = loops()
    total(1.0)
    file = kept_of(total)
    data = file.read_bytes()
    file.unlink()
    if damage == "a folder":
        file.mkdir()
    else:
        file.write_bytes(data[: len(data) // 2 if damage == "cut short" else 0])
    assert hits(again(total)) == 0


def test_two_jobs_that_compile_for_different_arguments_do_not_take_one_another_s_loops(loops, monkeypatch):
    """Issue 17, item 10: both look for a free name before either has written; numba alone then gives one job's loops the other's name.

    Loops for integers, called with numbers of the same length in memory, read bits of another meaning; those for arrays of
    other dimensions write where nothing is theirs, and the process ends later, anywhere.
    """
    total = loops()
    saved, both, last = {}, threading.Barrier(2), threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(compiled._Kept, "save_overload", lambda self, sig, data: saved.update({sig: data}))
        total(np.ones(2, np.int64))
        total(np.ones(2))
    write, writes = compiled.caching.IndexDataCacheFile._open_for_write, Counter()

    def in_turn(self, path):
        name = threading.current_thread().name
        writes[name] += 1
        if writes[name] == 1:
            both.wait(10)
        elif name == "early":
            last.wait(10)
        return write(self, path)

    def save(name, sig):
        job = njit(**compiled.outer)(total.py_func)
        compiled.keep(job)
        job._cache.save_overload(sig, saved[sig])
        if name == "late":
            last.set()

    monkeypatch.setattr(compiled.caching.IndexDataCacheFile, "_open_for_write", in_turn)
    jobs = [threading.Thread(target=save, args=each, name=each[0]) for each in zip(("early", "late"), saved, strict=True)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert all(writes.values()) and len(writes) == 2
    function = njit(**compiled.outer)(total.py_func)
    compiled.keep(function)
    for numbers in (np.array([1.0, 2.0]), np.array([1, 2])):
        assert function(numbers).tolist() == [4.0, 5.0]
    assert hits(function) == 2


def test_a_folder_that_vanishes_or_fills_up_ends_no_job(loops, monkeypatch):
    total = loops()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiled.caching.IndexDataCacheFile, "_open_for_write", full)
    assert total(1.0) == 4.0 and not kept_in(total)


def test_without_a_folder_that_can_be_written_loops_are_compiled_in_the_job(loops, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(compiled, "_folders", lambda _: [tmp_path / "file" / "below"])
    total = loops()
    assert total(1.0) == 4.0 and total._cache.cache_path is None


def test_loops_of_other_states_do_not_pile_up_beside_the_module(loops, monkeypatch, tmp_path):
    monkeypatch.setattr(compiled.config, "CACHE_DIR", "")
    total = loops()
    total(1.0)
    file = kept_of(total)
    other = file.with_name(file.name.replace(compiled.contents(total)[:16], "0" * 16))
    assert file.parent == tmp_path / "modules" / "__pycache__"
    other.touch()
    file.unlink()
    again(total)
    assert file.is_file() and not other.exists()


RENDER = """
import hashlib
import torch
from darkhaloscope.lensing import engine, sampling
from darkhaloscope.lensing.render import Grid
from unit.lensing.conftest import disk, pixels, random_lens, random_subhalos

torch.set_num_threads(1)
digest = hashlib.sha256()
grid = Grid(24, 0.2)
for light in (disk(4), pixels()):
    n = light.x.shape[0]
    arguments = light, random_lens(n), random_subhalos(n), grid, 1.0, 0.3
    plan = engine.plan_images(*arguments)
    image, doubt, _ = engine.compiled_images(*arguments, plan)
    for values in (plan.columns, image.numpy(), doubt.numpy()):
        digest.update(values.tobytes())
read = sum(sum(f.stats.cache_hits.values()) for f in (sampling.plan_rows, sampling.render_rows))
print(digest.hexdigest(), read)
"""


def copy(folder):
    """A copy of the library whose files were all written at one time."""
    shutil.copytree(Path(lensing.__file__).parents[1], folder / "darkhaloscope", ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.rglob("*.py"):
        os.utime(path, (1e9, 1e9))
    return folder / "darkhaloscope/lensing"


def run(folder, code=RENDER, **environment):
    """Run code with the copy of the library in `folder`, in a process of its own, and return the words that it prints.

    Those of `RENDER` are a digest of the images and how many functions were read from disk.
    """
    paths = [str(folder), *(p for p in sys.path if p and not p.endswith("workflow/scripts"))]
    environment = {**os.environ, "NUMBA_CACHE_DIR": "", "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True).stdout.split()


@pytest.fixture(scope="module")
def updated(tmp_path_factory):
    """A library updated so that file times say nothing, beside the loops of the state before, and what a process rendered with it.

    Returned are its folder, that of the loops of both states, and digest and functions read from disk, before and after.
    """
    folder = tmp_path_factory.mktemp("updated")
    kernels = copy(folder) / "kernels.py"
    shared = os.environ["NUMBA_CACHE_DIR"]  # other tests, too, need the loops as they are
    run(folder, NUMBA_CACHE_DIR=shared)
    shutil.copytree(shared, folder / "kept")
    before = run(folder, NUMBA_CACHE_DIR=str(folder / "kept"))
    text = kernels.read_text(encoding="utf-8")
    edited = text.replace("x[j] - scales[j] *", "x[j] - F(0.5) * scales[j] *")
    assert edited != text
    kernels.write_text(edited, encoding="utf-8")
    os.utime(kernels, (1e9, 1e9))
    old = {path.name for path in (folder / "kept/darkhaloscope").iterdir()}
    after = run(folder, NUMBA_CACHE_DIR=str(folder / "kept"))
    new = {path.name for path in (folder / "kept/darkhaloscope").iterdir()} - old
    return folder, new, before, after


def test_an_update_that_keeps_file_times_is_compiled_wherever_old_loops_lie(updated):
    """Issue 17, case 16: in a folder of NUMBA_CACHE_DIR, and with an update whose file times say nothing."""
    _, new, before, after = updated
    assert before[1] == "2"
    # Nothing was read, so that all is compiled from the code as it is, and kept beside what is there.
    assert after[0] != before[0] and after[1] == "0"
    assert {name.split("-")[0] for name in new} == {"sampling.plan_rows", "sampling.render_rows"}


def test_what_was_compiled_now_and_what_was_read_from_disk_give_the_same_bits(updated, tmp_path):
    """Whatever is on disk: nothing, everything, or one of the two functions, as where two jobs compile at a time."""
    folder, new, _, compiled_now = updated
    cache = tmp_path / "darkhaloscope"
    kept = {"nothing": compiled_now}
    for name, read in {"everything": "2", "plan_rows": "1", "render_rows": "1"}.items():
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        for file in new:
            if name == "everything" or f".{name}-" in file:
                shutil.copy(folder / "kept/darkhaloscope" / file, cache)
        kept[name] = run(folder, NUMBA_CACHE_DIR=str(tmp_path))
        assert kept[name][1] == read
        assert {path.name.split("-")[0] for path in cache.glob("*.nbc")} == {"sampling.plan_rows", "sampling.render_rows"}
    assert len({digest for digest, _ in kept.values()}) == 1, kept


def test_a_job_without_a_place_for_loops_starts_all_the_same(tmp_path):
    """Issue 17, case 17: a checkout that cannot be written and no home."""
    (copy(tmp_path) / "__pycache__").touch()
    code = "from darkhaloscope.lensing import sampling; print(sampling.plan_rows._cache.cache_path)"
    # Bytecode of other rooms may be written; no folder of loops can be made where a file lies.
    nowhere = {"HOME": "/dev/null/home", "XDG_CACHE_HOME": "/dev/null/cache", "NUMBA_CACHE_DIR": ""}
    assert run(tmp_path, code, **nowhere) == ["None"]
