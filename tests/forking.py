"""Snakemake in processes that begin with its modules imported: importing them is half of what a dry run takes.

`run` asks a server, one for each process that asks, which imports and forks. What it forks has never run anything, but for
one thing: what Snakemake's parser made of a file of rules is kept by the file's content (`Parsed`), and the text parsed once.
"""

import atexit
import functools
import hashlib
import importlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import forked_jobs


def run(arguments: list[str], folder: Path, environment: dict[str, str], timeout_s: float, touch: bool = False) -> tuple[int, str]:
    """Run Snakemake in a folder; return its exit status and all that it printed.

    Parameters
    ----------
    arguments : those of its command line
    environment : all that is in its environment
    timeout_s : after which it is killed, with exit status -9
    touch : its jobs leave empty outputs (`touching.py`)

    Scripts of jobs are forked, too (`forked_jobs.py`), but in a dry run, which has none.
    """
    server = _server()
    jobs = None if touch or {"-n", "--dry-run"} & set(arguments) else _jobs()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        asked = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": environment,
            "timeout_s": timeout_s,
            "touch": touch,
            "jobs": jobs,
        }
        asked["output"] = f"/proc/{os.getpid()}/fd/{output.fileno()}"
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer, "the server that forks Snakemake has died"
        output.seek(0)
        return int(answer), output.read()


@functools.cache
def _jobs() -> str:
    folder = tempfile.TemporaryDirectory(prefix="jobs-")
    atexit.register(folder.cleanup)
    return forked_jobs.start(Path(folder.name))


@functools.cache
def _server() -> subprocess.Popen:
    # A thread that numpy's BLAS had started would not be there after a fork.
    settings = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    settings.pop("PYTHONPATH", None)
    server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings)

    def end() -> None:
        server.stdin.close()
        server.wait()

    atexit.register(end)
    return server


class Parsed:
    """What Snakemake's parser makes of a file: a function of the file's text, its path and how many rules came before it.

    The path is in the code of each rule and nowhere else, so that copies of the project share what was parsed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def use(self) -> None:
        """Let Snakemake, in this process, parse only files of another content than those that were parsed before."""
        from snakemake import parser, workflow

        def parse(path, workflow, linemap, overwrite_shellcmd=None, rulecount=0):
            parser.Shell.overwrite_cmd = overwrite_shellcmd
            name = f"snakefile={path.get_path_or_uri(secret_free=True)!r}"
            with workflow.sourcecache.open(path) as source:
                key = hashlib.sha256(repr((source.read(), overwrite_shellcmd, rulecount)).encode()).hexdigest()
            try:
                code, lines, count = pickle.loads((self.folder / key).read_bytes())
            except FileNotFoundError:
                code, count = parser.parse(path, workflow, lines := {}, overwrite_shellcmd, rulecount)
                kept = self.folder / f"{key}.{os.getpid()}"
                kept.write_bytes(pickle.dumps((code.replace(name, ITS_PATH), lines, count)))
                kept.replace(self.folder / key)
            linemap.update(lines)
            return code.replace(ITS_PATH, name), count

        workflow.parse = parse


#: Stands for its path in what was parsed of a file.
ITS_PATH = "snakefile=<path of the file>"


def _serve() -> None:
    import requests  # noqa: F401
    import snakemake.report  # noqa: F401
    import yaml  # noqa: F401
    import yte  # noqa: F401
    from snakemake.cli import get_argument_parser

    import touching

    get_argument_parser()  # imports the plugins: a third of a dry run
    for name in ("difflib", "graphlib", "nbformat.validator", "packaging.version", "smart_open", "snakemake.storage"):
        importlib.import_module(name)  # what Snakemake imports where it needs it
    parsed = Parsed(Path(tempfile.mkdtemp(prefix="parsed-")))  # a TemporaryDirectory would go with the first child

    here = str(Path(__file__).parent)
    sys.path[:] = [path for path in sys.path if path != here]
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            output = os.open(asked["output"], os.O_WRONLY | os.O_APPEND)
            forked_jobs.become(
                asked["folder"], asked["environment"], (output, output), functools.partial(_run_snakemake, asked, touching, parsed)
            )
        print(_wait(child, asked["timeout_s"]), flush=True)
    shutil.rmtree(parsed.folder)


def _run_snakemake(asked: dict, touching: object, parsed: Parsed) -> None:
    from snakemake.cli import main

    sys.path.insert(0, asked["folder"])
    sys.argv = ["snakemake", *asked["arguments"]]
    if asked["jobs"]:
        forked_jobs.use(asked["jobs"])
    parsed.use()
    (touching.main if asked["touch"] else main)(sys.argv[1:])


def _wait(child: int, timeout_s: float) -> int:
    def kill(*_: object) -> None:
        os.killpg(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    _serve()
