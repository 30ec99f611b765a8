"""A real Slurm on this one machine, from Debian's packages: munge, MariaDB, slurmdbd, slurmctld and four nodes.

    python tests/slurm/cluster.py start FOLDER    prints the line that points Slurm's commands at it
    python tests/slurm/cluster.py stop FOLDER

The nodes `cpu1` and `cpu2` are the partition `cpu`; `gpu1`, with a declared GPU of model gh200, is the partition
`gh200`; it and `gpu2`, with two of them, are the partition `several`. Nothing outside FOLDER is written and every port is free when it starts, so that several clusters can run
side by side. No systemd and no cgroups are needed: jobs over their memory are killed by Slurm's own accounting.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

#: Debian's packages, and a program of each that must be there.
PACKAGES = {
    "slurm-wlm": ["slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sacctmgr"],
    "slurmdbd": ["slurmdbd"],
    "munge": ["munged"],
    "mariadb-server": ["mariadbd", "mariadb-install-db", "mariadb"],
}
INSTALL = f"apt-get install --yes --no-install-recommends {' '.join(PACKAGES)}"

#: Daemons and jobs run as whoever starts the cluster: root, or a user of their own.
USER = pwd.getpwuid(os.geteuid()).pw_name

#: In the environment of every process of a cluster and of its jobs: how `stop` finds them, and no others.
MARK = "DARK_HALO_SCOPE_TEST_CLUSTER"

NODES = ("cpu1", "cpu2", "gpu1", "gpu2")

#: Memory and CPUs are declared, not measured: jobs may ask for what a real node has. Few CPUs per node keep jobs in
#: Slurm's queue instead of crowding this machine.
SLURM_CONF = """\
ClusterName=testcluster
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port_ctld}
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# As many sites do: every job gets a folder of its own on its node's disk.
TaskProlog={folder}/bin/prolog
MpiDefault=none
ReturnToService=2
# A site that requeues by default; the profile says what it wants by itself.
JobRequeue=1
KillWait=2
SlurmctldTimeout=30
SlurmdTimeout=30
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=1000
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port_dbd}
# With munge this is the socket that slurmdbd's clients use.
AccountingStoragePass={folder}/munge/socket
AccountingStorageEnforce=associations
AccountingStorageTRES=gres/gpu,gres/gpu:gh200,gres/shard
AccountingStoreFlags=job_comment
GresTypes=gpu,shard
NodeName=cpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port_cpu1} CPUs={cpus} RealMemory=16000
NodeName=cpu2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port_cpu2} CPUs={cpus} RealMemory=16000
NodeName=gpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port_gpu1} CPUs=72 RealMemory=480000 Gres=gpu:gh200:1,shard:4
NodeName=gpu2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port_gpu2} CPUs=72 RealMemory=480000 Gres=gpu:gh200:2
PartitionName=cpu Nodes=cpu1,cpu2 Default=YES MaxTime=1-0
PartitionName=gh200 Nodes=gpu1 MaxTime=1-0
PartitionName=several Nodes=gpu1,gpu2 MaxTime=1-0
"""

SLURMDBD_CONF = """\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port_dbd}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={port_db}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""

GRES_CONF = """\
NodeName=gpu1 Name=gpu Type=gh200 File=/dev/null
NodeName=gpu1 Name=shard Count=4
NodeName=gpu2 Name=gpu Type=gh200 File=/dev/null
NodeName=gpu2 Name=gpu Type=gh200 File=/dev/zero
"""


class ClusterError(RuntimeError):
    """The cluster did not start; the message holds the end of the log that says why."""


def missing() -> str | None:
    """Return why no cluster can be started here and the command that changes it, or None."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    absent = [package for package, programs in PACKAGES.items() if any(shutil.which(p, path=path) is None for p in programs)]
    if absent:
        return f"{', '.join(absent)} not installed; to run these tests: {INSTALL}"
    return None


class Cluster:
    """One Slurm in a folder of its own."""

    def __init__(self, folder: Path, cpus: int = 2) -> None:
        self.folder = folder.resolve()
        self.cpus = cpus
        self.daemons: dict[str, subprocess.Popen] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What points Slurm's commands at this cluster."""
        return {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": os.pathsep.join([str(self.folder / "bin"), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]),
            MARK: str(self.folder),
        }

    def start(self) -> None:
        """Start everything and wait until the nodes take jobs; what an earlier cluster left in the folder is ended first."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("bin", "munge", "state", "spool", "db"):
            (self.folder / name).mkdir(parents=True, mode=0o700)
        # munge's socket must be reachable by every user.
        for folder in (self.folder, self.folder / "munge"):
            folder.chmod(0o755)
        names = ("ctld", "dbd", "db", *NODES)
        ports = {f"port_{name}": port for name, port in zip(names, _free_ports(len(names)), strict=True)}
        values = {"folder": self.folder, "host": socket.gethostname().split(".")[0], "user": USER, "cpus": self.cpus, **ports}
        for name, text in (("slurm.conf", SLURM_CONF), ("slurmdbd.conf", SLURMDBD_CONF), ("gres.conf", GRES_CONF)):
            (self.folder / name).write_text(text.format(**values))
            (self.folder / name).chmod(0o600 if name == "slurmdbd.conf" else 0o644)
        # Snakemake's job steps drop SLURM_CONF from srun's environment; a site's srun finds /etc/slurm without it.
        self._script("srun", f'SLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun")} "$@"')
        scratch = f"{self.folder}/scratch/$SLURMD_NODENAME/$SLURM_JOB_ID"
        self._script("prolog", f'mkdir -p "{scratch}" && echo "export TMPDIR={scratch}"')
        try:
            self._start_munge()
            self._start_database(ports["port_db"])
            self._launch("slurmdbd", ["slurmdbd", "-D"])
            self._wait("slurmdbd", lambda: self._answers("sacctmgr", "-n", "list", "cluster"))
            for what in (["cluster", "testcluster"], ["account", "astro"], ["user", USER, "account=astro", "adminlevel=admin"]):
                self.command("sacctmgr", "-i", "add", *what)
            self.start_controller()
            for node in NODES:
                (self.folder / "spool" / node).mkdir()
                self._launch(f"slurmd-{node}", ["slurmd", "-D", "-N", node])
            self._wait(
                "slurmctld",
                lambda: set(self.command("sinfo", "-h", "-N", "-o", "%N %T").splitlines()) == {f"{node} idle" for node in NODES},
            )
        except BaseException:
            self.stop()
            raise

    def start_controller(self) -> None:
        """Start slurmctld, with the state that an earlier one saved."""
        self._launch("slurmctld", ["slurmctld", "-D"])
        self._wait("slurmctld", lambda: self._answers("scontrol", "ping"))

    def kill_controller(self) -> None:
        """End slurmctld at once, as a crash would."""
        self.daemons["slurmctld"].kill()
        self.daemons.pop("slurmctld").wait()

    def command(self, *arguments: str) -> str:
        """Run one of Slurm's commands and return what it printed."""
        done = subprocess.run(arguments, env=os.environ | self.environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise ClusterError(f"{' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def bring_back(self, node: str) -> None:
        """Take a node that is down into service again; it may have come back by itself (ReturnToService)."""

        def up() -> bool:
            if self.command("sinfo", "--noheader", "--nodes", node, "--format=%T").strip("*\n ") != "down":
                return True
            with contextlib.suppress(ClusterError):
                self.command("scontrol", "update", f"nodename={node}", "state=resume")
            return False

        self._wait("slurmctld", up)

    def jobs(self) -> list[dict[str, str]]:
        """Return every job as Slurm's accounting recorded it, requeued runs of a job apart."""
        fields = ["JobID", "Comment", "State", "Partition", "Account", "NodeList", "ReqCPUS", "ReqMem", "TimelimitRaw", "AllocTRES"]
        fields += ["Start", "End"]
        options = ["--allocations", "--duplicates", "--noheader", "--parsable2", "--delimiter=\t", "--starttime=now-1day"]
        lines = self.command("sacct", *options, f"--format={','.join(fields)}").splitlines()
        jobs = [dict(zip(fields, line.split("\t"), strict=True)) for line in lines]
        return sorted(jobs, key=lambda job: (int(job["JobID"]), job["Start"]))

    def stop(self) -> None:
        """End every process that bears this cluster's mark, its jobs included, by its id."""
        for wait_s in (10.0, 5.0):
            processes = _marked(self.folder)
            for process in processes:
                _signal(process, signal.SIGTERM if wait_s == 10 else signal.SIGKILL)
            deadline = time.monotonic() + wait_s
            while time.monotonic() < deadline:
                for daemon in self.daemons.values():
                    daemon.poll()
                if not _marked(self.folder):
                    break
                time.sleep(0.1)
        self.daemons.clear()
        if left := _marked(self.folder):
            raise ClusterError(f"processes {left} of the cluster in {self.folder} did not end")

    def _script(self, name: str, command: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o755)

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        (folder / "key").write_bytes(os.urandom(128))
        (folder / "key").chmod(0o600)
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        self._launch("munged", ["munged", "--foreground", "--force", *(f"--{option}={folder / name}" for option, name in files.items())])
        self._wait("munged", (folder / "socket").exists)

    def _start_database(self, port: int) -> None:
        common = ["--no-defaults", f"--datadir={self.folder}/db", *([f"--user={USER}"] if USER == "root" else [])]
        self.command("mariadb-install-db", *common, "--skip-test-db", "--auth-root-authentication-method=normal")
        connect = f"--socket={self.folder}/db.socket"
        small = ["--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0"]
        self._launch("mariadbd", ["mariadbd", *common, connect, f"--port={port}", "--bind-address=127.0.0.1", *small])
        self._wait("mariadbd", lambda: self._answers("mariadb", "--no-defaults", "--user=root", connect, "-e", "SELECT 1"))
        grant = "CREATE DATABASE slurm; GRANT ALL ON slurm.* TO 'slurm'@'%' IDENTIFIED BY 'slurm';"
        self.command("mariadb", "--no-defaults", "--user=root", connect, "-e", grant)

    def _launch(self, name: str, command: list[str]) -> None:
        with open(self.folder / f"{name}.out", "ab") as output:
            self.daemons[name] = subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _answers(self, *command: str) -> bool:
        try:
            self.command(*command)
        except ClusterError:
            return False
        return True

    def _wait(self, name: str, ready: Callable[[], bool], limit_s: float = 60) -> None:
        deadline = time.monotonic() + limit_s
        while not ready():
            ended = self.daemons[name].poll() is not None
            if ended or time.monotonic() > deadline:
                logs = [self.folder / f"{name}.log", self.folder / f"{name}.out"]
                tail = "\n".join(path.read_text(errors="replace")[-2000:] for path in logs if path.exists())
                raise ClusterError(f"{name} {'ended' if ended else f'was not ready after {limit_s:.0f} s'}:\n{tail}")
            time.sleep(0.1)


def _free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _marked(folder: Path) -> list[int]:
    """Return the processes whose environment says that they belong to the cluster in a folder."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if mark in environment.split(b"\0"):
            found.append(int(name))
    return found


def _signal(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        sys.exit(__doc__)
    if reason := missing():
        sys.exit(reason)
    cluster = Cluster(Path(sys.argv[2]))
    getattr(cluster, sys.argv[1])()
    if sys.argv[1] == "start":
        print("export", shlex.join(f"{name}={value}" for name, value in cluster.environment.items()))
