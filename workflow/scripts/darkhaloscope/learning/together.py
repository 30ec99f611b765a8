"""Training in several processes, one for each device: which stamps are whose, how the processes start, and how they end together.

The process that asked for the training is rank 0. It starts the others of its machine itself, and those of other nodes, in a job of Slurm, by `srun`. They get the call that they are to make through their standard input, and end when it closes:
none outlives rank 0. What a rank prints is kept until all is well, and said where it is not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from lightning.pytorch.plugins.environments import ClusterEnvironment
from numpy.typing import NDArray

from ..config.network import Training
from .ranks import Rank
from .scaling import LearningError

log = logging.getLogger(__name__)

#: Seconds that rank 0 has to notice by itself that another rank has failed; afterwards it is ended.
GRACE_SECONDS = 60.0

#: Seconds that another rank has to say why it is gone.
NOTICE_SECONDS = 20.0


class RankEnvironment(ClusterEnvironment):
    """A rank as the training library asks for it."""

    creates_processes_externally = True

    def __init__(self, rank: Rank) -> None:
        super().__init__()
        self.rank = rank

    @property
    def main_address(self) -> str:
        """Where rank 0 is."""
        return self.rank.address

    @property
    def main_port(self) -> int:
        """Where rank 0 listens."""
        return self.rank.port

    @staticmethod
    def detect() -> bool:
        """Never be chosen by itself."""
        return False

    def world_size(self) -> int:
        """Return how many processes there are."""
        return self.rank.ranks

    def set_world_size(self, size: int) -> None:
        """Keep what is known."""

    def global_rank(self) -> int:
        """Return which process this is."""
        return self.rank.rank

    def set_global_rank(self, rank: int) -> None:
        """Keep what is known."""

    def local_rank(self) -> int:
        """Return which process of its node this is."""
        return self.rank.rank % self.rank.devices

    def node_rank(self) -> int:
        """Return which node this is."""
        return self.rank.rank // self.rank.devices


@contextlib.contextmanager
def all_ranks(training: Training, threads: int, call: Callable[..., Any], **given: Any) -> Iterator[Rank]:
    """Start the other ranks of a training, each of which makes `call(**given, rank=…)`, and give rank 0 its own; end them with the block.

    Parameters
    ----------
    training : says on how many devices and nodes
    threads : of the job, shared by the ranks; in a job of Slurm those of a task, and each rank is one
    call : a function of a module; what it returns in other ranks is dropped

    Raises
    ------
    LearningError
        Devices or nodes are not there, or a rank failed: the message says which and what it said.
    """
    ranks = training.devices * training.nodes
    if ranks == 1:
        yield Rank(threads=threads)
        return
    check_devices(training.devices)
    slurm = _is_job_of_tasks()
    if training.nodes > 1 and not slurm:
        raise LearningError(
            f"training.nodes is {training.nodes}, but this is no job of Slurm on as many nodes: run with `--profile slurm`, or set "
            "training.nodes to 1"
        )
    first = Rank(
        ranks=ranks,
        devices=training.devices,
        threads=threads if slurm else max(1, threads // ranks),
        address=socket.gethostname() if training.nodes > 1 else "127.0.0.1",
        port=_free_port(),
    )
    log.info("%d processes train together, %d on each of %d nodes, %d threads each", ranks, training.devices, training.nodes, first.threads)
    others = _Others()
    try:
        for command, environment, start, step in _commands(training, first):
            others.start(command, environment, pickle.dumps((call, given, first, start, step)))
        others.watch()
        yield first
        others.join()
    except RuntimeError as error:  # what torch raises where another process is gone
        if failure := others.failure(NOTICE_SECONDS):
            raise LearningError(failure) from error
        raise
    finally:
        others.end()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def check_devices(devices: int) -> None:
    """Raise `LearningError` unless this machine shows as many GPUs, or, without any, has as many CPUs for as many processes."""
    gpus, cpus = torch.cuda.device_count(), len(os.sched_getaffinity(0))
    here = socket.gethostname()
    if gpus and gpus < devices:
        raise LearningError(
            f"training.devices asks for {devices} GPUs, but {here} shows {gpus} to this job: set it to {gpus}, or ask the cluster for more "
            "(docs/cluster.md, Training on several GPUs)"
        )
    if not gpus and cpus < devices:
        raise LearningError(
            f"training.devices asks for {devices} devices, but {here} has no GPU, and {cpus} CPUs for as many processes: lower training.devices"
        )


def gathered(values: NDArray) -> NDArray:
    """Return the rows of all ranks, in the order of the ranks; every rank gets the same."""
    found: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, values)
    return np.concatenate(found)


@dataclass
class _Others:
    """The processes of all ranks but this one."""

    processes: list[tuple[subprocess.Popen, IO[bytes]]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def start(self, command: list[str], environment: dict[str, str], work: bytes) -> None:
        said = tempfile.TemporaryFile()  # noqa: SIM115  closed by `end`
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=said, stderr=said)
        self.processes.append((process, said))
        with contextlib.suppress(BrokenPipeError):  # it has ended already; `failure` says why
            process.stdin.write(len(work).to_bytes(8, "big") + work)
            process.stdin.flush()

    def watch(self) -> None:
        """End this process where another has failed and this one waits for it: a GPU waits for half an hour."""
        threading.Thread(target=self._watch, name="ranks", daemon=True).start()

    def join(self) -> None:
        """Wait for the others to end as this one has."""
        deadline = time.monotonic() + GRACE_SECONDS
        for process, _ in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0.1))
        if failure := self.failure():
            raise LearningError(failure)

    def failure(self, wait_s: float = 0.0) -> str | None:
        """Return what the first rank that failed said, waiting for it for some seconds; None where none has failed."""
        deadline = time.monotonic() + wait_s
        while True:
            for process, said in self.processes:
                if process.poll():
                    said.seek(0)
                    text = said.read().decode(errors="replace").strip()
                    log.debug("%s", text)
                    ended = (
                        f"ended with status {process.returncode}" if process.returncode > 0 else f"ended by signal {-process.returncode}"
                    )
                    last = text.splitlines()[-1] if text else "and said nothing"
                    return f"a process of the training {ended}: {last}"
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.1)

    def end(self) -> None:
        """End all that are left; they see that their standard input is closed."""
        self.over.set()
        for process, _ in self.processes:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        for process, said in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            said.close()

    def _watch(self) -> None:
        while not self.over.wait(1.0):
            if any(process.poll() for process, _ in self.processes):
                break
        if not self.over.wait(GRACE_SECONDS):
            log.error("%s", self.failure())
            os._exit(1)


def _is_job_of_tasks() -> bool:
    """Say whether Slurm's executor started this as a job of several tasks: with resource `mpi` Snakemake runs beside the tasks, told of the job alone."""
    return "SLURM_JOB_ID" in os.environ and not {"SLURM_NTASKS", "SLURM_STEP_ID"} & set(os.environ)


def _commands(training: Training, first: Rank) -> Iterator[tuple[list[str], dict[str, str], int, bool]]:
    """Give the commands that start the other ranks, their environments, the rank of the first that each starts, and whether it starts several."""
    python = [sys.executable, "-m", __name__]
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (str(Path(__file__).parents[2]), environment.get("PYTHONPATH")) if p)
    environment["OMP_NUM_THREADS"] = str(first.threads)
    for rank in range(1, first.devices):
        yield python, environment, rank, False
    if training.nodes > 1:
        # The other nodes' GPUs are not those of this one. A rank has all that the job has on its node, as on this one.
        elsewhere = {name: value for name, value in environment.items() if name != "CUDA_VISIBLE_DEVICES"}
        srun = ["srun", f"--jobid={os.environ['SLURM_JOB_ID']}", f"--exclude={os.environ['SLURMD_NODENAME']}"]
        there = (training.nodes - 1) * first.devices
        srun += [f"--nodes={training.nodes - 1}", f"--ntasks={there}", f"--ntasks-per-node={first.devices}"]
        if environment.get("CUDA_VISIBLE_DEVICES"):  # otherwise a step asks for all GPUs of the job, of which this node has some
            srun.append(f"--gpus={there}")
        yield [*srun, "--overlap", "--whole", "--mem=0", "--cpu-bind=none", "--kill-on-bad-exit=1", *python], elsewhere, first.devices, True


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return free.getsockname()[1]


def _work() -> None:
    """Be one of the other ranks: read the call, make it, say what went wrong."""
    for number in (signal.SIGTERM, signal.SIGINT):  # rank 0 is told, too, and ends this one by closing its input
        signal.signal(number, signal.SIG_IGN)
    logging.disable()  # rank 0 says for all how far they are
    source = sys.stdin.buffer
    size = int.from_bytes(source.read(8), "big")
    if not size:
        sys.exit("rank 0 ended before it had said what to do")
    call, given, first, start, step = pickle.loads(source.read(size))  # from the process that started this one
    threading.Thread(target=_end_with, args=(source.fileno(),), daemon=True).start()
    rank = dataclasses.replace(first, rank=start + (int(os.environ["SLURM_PROCID"]) if step else 0))
    try:
        check_devices(rank.devices)
        call(**given, rank=rank)
    except Exception as error:
        traceback.print_exc()
        sys.exit(f"rank {rank.rank} on {socket.gethostname()}: {str(error) or type(error).__name__}")


def _end_with(source: int) -> None:
    """End this process when its standard input closes."""
    while os.read(source, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    _work()
