"""What every script does around its one library call: log, threads, whole files, provenance."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..core.files import whole, write_json, write_text
from ..core.stopping import Stopped, stopping
from . import digest, provenance
from .locations import plain_name, storage_options

log = logging.getLogger("darkhaloscope")

#: Environment variables through which the Snakefile tells its scripts the run's config files, and its edits on the command line.
CONFIGFILES, CONFIG = "DARK_HALO_SCOPE_CONFIGFILES", "DARK_HALO_SCOPE_CONFIG"


class Job:
    """The job that a script runs: its files, parameters and writers."""

    def __init__(self, snakemake: Any) -> None:
        self.rule: str = snakemake.rule
        self.input = snakemake.input
        self.output = snakemake.output
        self.params = SimpleNamespace(**{k: v for k, v in snakemake.params.items()})
        self.wildcards = snakemake.wildcards
        self.threads: int = snakemake.threads

    write_json = staticmethod(write_json)
    write_text = staticmethod(write_text)
    whole = staticmethod(whole)

    @staticmethod
    def grouped(groups: Mapping[str, Sequence[str]], files: Iterable[str]) -> dict[str, list[str]]:
        """Return a rule's input files by the groups whose names they were asked for by: results may lie elsewhere than their names say."""
        left = iter(files)
        return {name: [next(left) for _ in names] for name, names in groups.items()}

    @staticmethod
    def write_csv(path: str, frame: Any) -> None:
        """Write a pandas frame as CSV, whole, without its index."""
        with whole(path) as temporary:
            frame.to_csv(temporary, index=False)


@contextlib.contextmanager
def stage(snakemake: Any) -> Iterator[Job]:
    """Run a script's work as a job: log to its log file, keep to its threads, record provenance.

    An error ends the job with status 1; the log holds the traceback, the terminal the message alone. SIGTERM
    (a cluster's, or Snakemake's when it is stopped) and SIGINT end it with 128 plus the signal's number, files
    that are being written removed.
    """
    job = Job(snakemake)
    handlers = _start_log(snakemake)
    _limit_threads(job.threads)
    _tell_missing_gpu()
    started = time.monotonic()
    try:
        with stopping():
            _refuse_edited_code(snakemake)
            before = provenance.versions_of(snakemake.input)
            yield job
            provenance.refuse_changed(before)
            provenance.record(
                job.rule, dict(snakemake.wildcards.items()), dict(snakemake.params.items()), list(snakemake.input), list(snakemake.output)
            )
            log.info("%s finished in %.1f s", job.rule, time.monotonic() - started)
    except Stopped as stopped:
        log.debug("%s", traceback.format_exc())
        log.error(
            "%s was stopped by %s after %.1f s and left no half-written file; the same command starts it again",
            *(job.rule, stopped, time.monotonic() - started),
        )
        raise SystemExit(128 + stopped.number) from None
    except Exception as error:
        log.debug("%s", traceback.format_exc())
        log.error("%s failed: %s", job.rule, str(error) or type(error).__name__)
        raise SystemExit(1) from None
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


def rerun_command(snakemake: Any) -> str:
    """Return the command that runs just this job again."""
    configs = [os.path.relpath(c) for c in os.environ.get(CONFIGFILES, "").split(os.pathsep) if c]
    edits = json.loads(os.environ.get(CONFIG, "[]"))
    # The target comes first: --configfile and --config take every word after them.
    options = f" --configfile {shlex.join(configs)}" if configs else ""
    options += f" --config {shlex.join(edits)}" if edits else ""
    target = shlex.quote(plain_name(snakemake.output[0]))
    return f"snakemake --cores {snakemake.threads} --force {target}{storage_options()}{options}"


def _start_log(snakemake: Any) -> list[logging.Handler]:
    log.setLevel(logging.DEBUG)
    log.propagate = False
    handlers: list[logging.Handler] = []
    if len(snakemake.log):
        path = Path(str(snakemake.log[0]))
        path.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path, mode="w", encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        handlers.append(file)
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.WARNING)  # how far a job is stands in its log
    where = " ".join(str(v) for v in dict(snakemake.wildcards.items()).values())
    line = "\r\x1b[K" if sys.stderr and sys.stderr.isatty() else ""  # in place of the line of progress
    terminal.setFormatter(logging.Formatter(f"{line}[{snakemake.rule}{' ' + where if where else ''}] %(message)s"))
    handlers.append(terminal)
    for handler in handlers:
        log.addHandler(handler)
    log.debug("run this job again: %s", rerun_command(snakemake))
    log.debug("parameters: %s", provenance.plain(dict(snakemake.params.items())))
    return handlers


def _refuse_edited_code(snakemake: Any) -> None:
    """Refuse to run code that is not what the run recorded: an edit while it goes on would be run under the old digest."""
    planned, script = dict(snakemake.params.items()).get("code"), Path(str(getattr(snakemake, "scriptdir", "")), f"{snakemake.rule}.py")
    if planned is not None and script.is_file() and digest.PACKAGE.parent == script.parent.resolve():
        digest.remember(digest.DIGESTS)
        if not digest.is_todays(str(planned), script):
            raise provenance.ProvenanceError(
                f"the code of rule {snakemake.rule} was edited after this run had begun: the result would be recorded as made by the code "
                "before; give the same command again"
            )


def _limit_threads(threads: int) -> None:
    """Keep numpy's, torch's and numba's threads to those that the job was given."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if "numpy" in sys.modules:
        with contextlib.suppress(ImportError):
            from threadpoolctl import threadpool_limits

            threadpool_limits(threads)
    if "numba" in sys.modules:
        # It takes no more threads than it started with. Its variable stays as it was: numba reads it again at each
        # compilation and refuses to go on when it has changed.
        numba = sys.modules["numba"]
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    else:
        os.environ["NUMBA_NUM_THREADS"] = str(threads)
    # Last: numba starts its threads when they are first set, and gives the OpenMP that it shares with torch all of the machine's.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _tell_missing_gpu() -> None:
    """Say so when Slurm gave this job a GPU that torch does not see: it would sit idle for hours in silence."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "") if "SLURM_JOB_ID" in os.environ else ""
    if given and "torch" in sys.modules and not sys.modules["torch"].cuda.is_available():
        log.warning(
            "Slurm gave this job GPU %s, but torch %s sees none and works on the CPU: install a CUDA build of torch in the environment of "
            "this rule (docs/cluster.md), or check the node's driver with nvidia-smi",
            given,
            sys.modules["torch"].__version__,
        )
