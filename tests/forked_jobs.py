"""Scripts of jobs in processes that begin with what they import from elsewhere: importing it is half of what a tiny run takes.

`use` lets a Snakemake process hand its scripts to a server, one for each process of tests, which imports libraries (never the project's) and forks.
What it forks has never run anything, and gets environment, folder, paths and output as Python itself would have.
"""

import atexit
import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

#: What scripts import from elsewhere, that which takes longest.
LIBRARIES = (
    *("numpy", "pandas", "pyarrow.parquet", "scipy.stats", "scipy.ndimage", "scipy.optimize", "scipy.spatial", "fitsio", "astropy.io.fits"),
    *("astropy.cosmology", "astropy.wcs", "pydantic", "jinja2", "yaml", "matplotlib.pyplot", "numba", "torch", "lightning.pytorch", "timm"),
    *("sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection", "statsmodels.stats.proportion", "snakemake.script"),
)


def use(server: str) -> None:
    """Let Snakemake, in this process, give the scripts of its jobs to the server at a socket."""
    from snakemake.benchmark import benchmarked
    from snakemake.script import PythonScript

    execute = PythonScript._execute_cmd

    def forked(script, cmd, **kwargs):
        if not kwargs.get("is_python_script") or script.conda_env or script.container_img or script.env_modules:
            return execute(script, cmd, **kwargs)
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(script.threads))
        environment |= dict.fromkeys(("TMPDIR", "TMP"), script.resources.get("tmpdir", "/tmp"))
        asked = {"script": kwargs["fname"], "folder": os.getcwd(), "environment": environment}
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(server)
            socket.send_fds(line, [b" "], [1, 2])
            answers = line.makefile("rw", encoding="utf-8")
            answers.write(json.dumps(asked) + "\n")
            answers.flush()
            process = int(answers.readline())
            with benchmarked(process, script.bench_record) if script.bench_record is not None else contextlib.nullcontext():
                status = int(answers.readline() or 1)
        if status:
            raise subprocess.CalledProcessError(status, kwargs["fname"])

    PythonScript._execute_cmd = forked


def start(folder: Path) -> str:
    """Start a server; return its socket. It ends with this process."""
    place = str(folder / "jobs.socket")
    settings = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    server = subprocess.Popen([sys.executable, __file__, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings)
    assert server.stdout.readline(), "the server that forks jobs has not started"

    def end() -> None:
        server.stdin.close()
        server.wait()

    atexit.register(end)
    return place


def _serve(place: str) -> None:
    here = str(Path(__file__).parent)
    sys.path[:] = [path for path in sys.path if path != here]
    for name in LIBRARIES:
        importlib.import_module(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who attend
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        line, _ = listener.accept()
        if not os.fork():
            listener.close()
            _attend(line)
            os._exit(0)
        line.close()


def _attend(line: socket.socket) -> None:
    """Fork one job, tell its number and its exit status; end it where who asked is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, output, _, _ = socket.recv_fds(line, 1, 2)
    answers = line.makefile("rw", encoding="utf-8")
    asked = json.loads(answers.readline())
    job = os.fork()
    if not job:
        line.detach()
        become(asked["folder"], asked["environment"], tuple(output), lambda: _run_script(asked["script"]))
    answers.write(f"{job}\n")
    answers.flush()
    ended = os.pidfd_open(job)
    if ended not in select.select([ended, line], [], [])[0]:
        os.killpg(job, signal.SIGTERM)
    status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        answers.write(f"{status}\n")
        answers.flush()


def become(folder: str, environment: dict[str, str], output: tuple[int, int], work: Callable[[], object]) -> NoReturn:
    """Be a process of a session of its own that does some work and ends as Python does: for a fork that has done nothing yet.

    Parameters
    ----------
    output : files that take the place of standard output and standard error
    """
    status = 1
    try:
        os.setsid()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, file in enumerate((nothing, *output)):
            os.dup2(file, number)
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run_script(script: str) -> None:
    sys.modules["numba"].config.reload_config()  # the server imported it with its own environment: loops would be kept elsewhere
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [os.path.dirname(script), *given, *sys.path]
    sys.argv = [script]
    sys.modules["numba"].config.reload_config()  # as it would have read the environment when it was imported
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    _serve(sys.argv[1])
