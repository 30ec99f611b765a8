"""The cluster profile on a real Slurm: what Slurm records of each rule, and runs whose jobs, nodes and controller fail.

Two runs share the cluster: the tiny chain from its bank of sources on (what comes before runs where Snakemake runs), and one whose jobs are killed, starved, stopped and moved. The first
is started, the second follows it, and both must end with the stamps of a plain local run, to the bit, and with its
weights and scores up to rounding: training has 16 threads here and one there, which changes the order of sums.
"""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from slurm.cluster import Cluster, missing
from workbench import environment, from_rule

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

#: Faults hit jobs at moments that a busy machine can miss: their run of five quiet minutes is asked for by name.
asked = pytest.mark.skipif(
    not os.environ.get("DARK_HALO_SCOPE_FAULTS"),
    reason="faults of a Slurm are made when asked for: DARK_HALO_SCOPE_FAULTS=1 pytest tests/slurm",
)

RESULTS = "results/tiny"
PROFILE = "profiles/slurm/profile.yaml"
DATASET = f"{RESULTS}/datasets/subhalo"
NETWORKS = f"{RESULTS}/detectors/subhalo"

#: Rules of the tiny chain that run where Snakemake runs; all others are Slurm jobs.
LOCAL = {
    "make_mock_archive",
    "retrieve_catalogs",
    "rank_disks",
    "retrieve_maps",
    "inspect_maps",
    "draw_inspection",
    "score_lensability",
    "build_source_tensor",
    "normalise_source_tensor",
    "show_galaxies",
    "build_source_bank",
    "judge_experiment",
    "build_index",
}

#: Partition, memory [MB] and time [min] that the profile asks for; GPU rules are those on gh200.
REQUESTS = {
    "build_manifest": ("cpu", 4000, 60),
    "render_stamps": ("cpu", 4000, 60),
    "check_stamps": ("cpu", 4000, 120),
    "train_network": ("gh200", 64000, 480),
    "score_stamps": ("gh200", 32000, 120),
    "evaluate_scores": ("cpu", 8000, 60),
    "compare_networks": ("cpu", 8000, 60),
    "observe_marginal": ("cpu", 4000, 120),
    "choose_examples": ("cpu", 4000, 30),
    "build_report": ("cpu", 8000, 30),
    "build_dataset_page": ("cpu", 4000, 30),
}


class Run:
    """`snakemake --profile slurm` in a project, in the background."""

    def __init__(self, project, cluster, *targets):
        self.project, self.cluster = project, cluster
        project.edit(PROFILE, "software: conda ", "software: venv ")
        # The profile as a site has it, but for the seconds between two looks at the queue.
        options = ["--slurm-init-seconds-before-status-checks", "2", "--configfile", "tests/tiny.yaml"]
        with open(project.folder / "output.txt", "w", encoding="utf-8") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *targets, "--profile", "slurm", *options],
                cwd=project.folder,
                env=environment() | cluster.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def text(self):
        """Return all that Snakemake has printed so far."""
        return (self.project.folder / "output.txt").read_text(encoding="utf-8")

    def finish(self):
        """Wait for the end, which must be a good one, and return what Snakemake printed."""
        try:
            self.process.wait(1800)
        finally:
            self.process.kill()
        assert self.process.returncode == 0, self.text()[-8000:]
        return self.text()

    def ids(self):
        """Return rule and wildcards of each of this run's Slurm jobs, by job id."""
        lines = re.findall(r"submitted with SLURM jobid (\d+) \(log: \S+/rule_(\w+)/([^/]+)/\d+\.log\)", self.text())
        return {job: (rule, wildcards) for job, rule, wildcards in lines}

    def jobs(self, rule, wildcards):
        """Return the jobs of a rule as Slurm recorded them, first one first."""
        ids = self.ids()
        return [job for job in self.cluster.jobs() if ids.get(job["JobID"]) == (rule, wildcards)]

    def script(self, rule, wildcards):
        """Return the process of a job's script and its environment, if it works now."""
        ids = self.ids()
        for process in _scripts(self.project.folder, rule):
            values = _environment(process)
            if ids.get(values.get("SLURM_JOB_ID")) == (rule, wildcards):
                return process, values
        return None

    def wait_for(self, ready: Callable, what: str, limit_s: float = 900):
        """Wait until `ready()` is true and return it; the run must go on meanwhile."""
        deadline = time.monotonic() + limit_s
        while not (found := ready()):
            assert self.process.poll() is None, f"the run ended before {what}:\n{self.text()[-8000:]}"
            assert time.monotonic() < deadline, f"no sign of {what}:\n{self.text()[-8000:]}"
            time.sleep(0.2)
        return found


def _scripts(folder, rule):
    """Return the processes that run a rule's script in a project."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            arguments = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(word.startswith(f"{folder}/.snakemake/scripts/") and word.endswith(f".{rule}.py") and " " not in word for word in arguments):
            found.append(int(name))
    return found


def _environment(process):
    try:
        entries = Path(f"/proc/{process}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def hashes(project, *patterns):
    """Digest of every file that matches, by path."""
    root = project.folder / RESULTS
    found = {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for pattern in patterns for p in root.glob(pattern)}
    assert found, patterns
    return found


def assert_same_weights(one, two, network):
    """A few float32 roundings apart at most: 1e-6 of weights of order one, where an epoch moves them by 1e-3."""
    a, b = (load_file(project.folder / NETWORKS / network / "seed-1/network.safetensors") for project in (one, two))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=0, atol=1e-6, err_msg=name)


def memory_mb(text):
    """Return Slurm's way of writing a memory request as MB."""
    number, unit = re.fullmatch(r"([\d.]+)([MG])", text).groups()
    return float(number) * {"M": 1, "G": 1024}[unit]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("slurm") / "cluster")
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def chain(cluster, finished, tmp_path_factory):
    """The tiny chain from its bank of sources on, started and not waited for."""
    project = finished.copy(tmp_path_factory.mktemp("chain") / "project")
    project.forget("datasets", "detectors", "experiments", "logs")
    return Run(project, cluster)


@pytest.fixture(scope="module")
def faulty(chain, cluster, finished, tmp_path_factory):
    """A run from the manifest to trained networks during which everything fails once; it has ended well."""
    project = finished.copy(tmp_path_factory.mktemp("faulty") / "project")
    project.forget("datasets", "detectors", "experiments")
    # At the first attempt one shard gets too little memory, one too little time, and one is on the node that goes down.
    project.edit(
        PROFILE,
        "render_stamps: {mem_mb: 4000 * attempt, runtime: 60 * attempt}",
        "render_stamps:\n"
        "    mem_mb: 400 if wildcards.shard == '00001' and wildcards.split == 'train' and attempt == 1 else 2000 * attempt\n"
        "    runtime: 1 if wildcards.split == 'validation' and attempt == 1 else 30 * attempt\n"
        "    slurm_extra: \"'--nodelist=cpu2' if wildcards.split == 'test' and attempt == 1 else '--nodelist=cpu1'\"",
    )
    # Small networks share a GPU.
    project.edit(PROFILE, "gpu_shards: 0 ", "gpu_shards: 1 ")
    networks = [f"{NETWORKS}/{name}/seed-1/network.safetensors" for name in ("flux", "velocity")]
    run = Run(project, cluster, f"{DATASET}/quality/checks.json", *networks)
    # Each victim is held where its script works, so that none is done before it is hit.
    waiting = {"subhalo_test_00000", "subhalo_validation_00000", "subhalo_train_00000"}
    run.held, run.seen = {}, {}

    def hold():
        for shard in sorted(waiting):
            if found := run.script("render_stamps", shard):
                run.held[shard], run.seen[shard] = found
                os.kill(run.held[shard], signal.SIGSTOP)
                waiting.discard(shard)
        return not waiting

    run.wait_for(hold, "the scripts of three shards")
    # The validation shard hangs until its time is over.
    cluster.command("scancel", run.seen["subhalo_train_00000"]["SLURM_JOB_ID"])
    # The test shard works on until its node goes down; a node comes back with nothing running.
    os.kill(run.held["subhalo_test_00000"], signal.SIGCONT)
    cluster.command("scontrol", "update", "nodename=cpu2", "state=down", "reason=test")
    run.wait_for(lambda: len(run.jobs("render_stamps", "subhalo_test_00000")) == 2, "the node's job in the queue again")
    run.wait_for(lambda: not Path(f"/proc/{run.held['subhalo_test_00000']}").exists(), "the end of what ran on the node")
    cluster.bring_back("cpu2")
    run.queue = cluster.command("squeue", "--noheader", "--format=%i")
    # A controller that dies between the start of a job and its note of it (5 s at most) starts the job twice, and drains the node.
    cluster.command("scontrol", "update", "partitionname=cpu", "state=down")
    time.sleep(8)
    cluster.kill_controller()
    cluster.start_controller()
    cluster.command("scontrol", "update", "partitionname=cpu", "state=up")
    run.finish()
    return run


def states(jobs):
    """Return the final states in order; who cancelled a job is left out."""
    return [job["State"].split(" by ")[0] for job in jobs]


@asked
def test_a_cancelled_job_is_submitted_again_with_more_memory_and_time(faulty):
    first, second = faulty.jobs("render_stamps", "subhalo_train_00000")
    assert states([first, second]) == ["CANCELLED", "COMPLETED"] and first["JobID"] != second["JobID"]
    assert memory_mb(second["ReqMem"]) == 2 * memory_mb(first["ReqMem"]) == 4000
    assert int(second["TimelimitRaw"]) == 2 * int(first["TimelimitRaw"]) == 60


@asked
def test_a_job_over_its_memory_is_submitted_again_with_more(faulty):
    first, second = faulty.jobs("render_stamps", "subhalo_train_00001")
    assert states([first])[0] in ("FAILED", "OUT_OF_MEMORY", "CANCELLED") and second["State"] == "COMPLETED"
    assert memory_mb(first["ReqMem"]) == 400 and memory_mb(second["ReqMem"]) == 4000
    # The log of the job that failed is kept and says why; that of the one that did well is gone.
    logs = list((faulty.project.folder / "results/logs/slurm/rule_render_stamps/subhalo_train_00001").iterdir())
    assert [log.name for log in logs] == [f"{first['JobID']}.log"]
    assert "exceeded memory limit" in logs[0].read_text()


@asked
def test_a_job_over_its_time_is_submitted_again_with_more(faulty):
    first, second = faulty.jobs("render_stamps", "subhalo_validation_00000")
    assert states([first, second]) == ["TIMEOUT", "COMPLETED"]
    assert first["TimelimitRaw"] == "1" and second["TimelimitRaw"] == "60"
    assert f"SLURM-job '{first['JobID']}' failed, SLURM status is: 'TIMEOUT'" in faulty.text()


@asked
def test_a_job_of_a_failed_node_is_submitted_again_to_another(faulty):
    first, second = faulty.jobs("render_stamps", "subhalo_test_00000")
    assert states([first, second]) == ["NODE_FAIL", "COMPLETED"] and first["JobID"] != second["JobID"]
    assert (first["NodeList"], second["NodeList"]) == ("cpu2", "cpu1")
    assert "Failed nodes will be excluded from future job submissions" in faulty.text()


@asked
def test_a_new_controller_goes_on_with_the_jobs_of_the_old_one(faulty):
    kept = {job["JobID"]: states([job])[0] for job in faulty.cluster.jobs()}
    waiting = [job for job in faulty.queue.split() if job in faulty.ids()]
    # Of those that were there, only jobs with a fault of their own did not complete; all of them ended.
    others = [
        job for job in waiting if faulty.ids()[job][1] not in ("subhalo_validation_00000", "subhalo_train_00000", "subhalo_train_00001")
    ]
    assert waiting and not {kept[job] for job in waiting} & {"PENDING", "RUNNING"}
    assert {kept[job] for job in others} <= {"COMPLETED"}


@asked
def test_nothing_is_lost_or_half_written_whatever_failed(faulty, finished):
    for pattern in ("datasets/subhalo/manifest.parquet", "datasets/subhalo/stamps/*/*.parquet"):
        assert hashes(faulty.project, pattern) == hashes(finished, pattern)
    for name in ("flux", "velocity"):
        assert_same_weights(faulty.project, finished, name)
    assert not list((faulty.project.folder / RESULTS).rglob(".partial-*"))


@asked
def test_small_networks_train_side_by_side_on_one_gpu(faulty):
    one, two = (faulty.jobs("train_network", f"subhalo_{name}_1")[-1] for name in ("flux", "velocity"))
    for job in (one, two):
        assert job["NodeList"] == "gpu1" and "gres/shard=1" in job["AllocTRES"] and "gres/gpu" not in job["AllocTRES"], job
    assert max(one["Start"], two["Start"]) < min(one["End"], two["End"])


@asked
def test_scratch_is_the_jobs_own_and_threads_are_its_cpus(faulty):
    for shard, values in faulty.seen.items():
        node = "cpu2" if "test" in shard else "cpu1"
        assert values["TMPDIR"] == f"{faulty.cluster.folder}/scratch/{node}/{values['SLURM_JOB_ID']}"
        assert values["OMP_NUM_THREADS"] == "1"


def test_slurm_recorded_what_the_profile_asks_for(chain):
    chain.finish()
    jobs = [
        job | dict(zip(("rule", "wildcards"), chain.ids()[job["JobID"]], strict=True))
        for job in chain.cluster.jobs()
        if job["JobID"] in chain.ids()
    ]
    assert set(states(jobs)) <= {"COMPLETED", "NODE_FAIL"}
    assert {job["rule"] for job in jobs} == set(REQUESTS)
    for job in jobs:
        partition, mb, minutes = REQUESTS[job["rule"]]
        # A node that went down under this run's jobs has made second attempts of them.
        attempt = 1 + sum(other["Comment"] == job["Comment"] and int(other["JobID"]) < int(job["JobID"]) for other in jobs)
        assert (job["Partition"], memory_mb(job["ReqMem"]), int(job["TimelimitRaw"])) == (partition, mb * attempt, minutes * attempt), job
        assert job["Account"] == "astro" and job["Comment"] == f"rule_{job['rule']}_wildcards_{job['wildcards']}"
        gpu = partition == "gh200"
        assert ("gres/gpu:gh200=1" in job["AllocTRES"]) == gpu and int(job["ReqCPUS"]) == (16 if gpu else 1), job
        assert job["NodeList"].startswith("gpu" if gpu else "cpu"), job


def test_the_chain_on_slurm_leaves_what_a_local_run_leaves(chain, finished):
    chain.finish()
    ran = {path.name.removesuffix(".log") for path in (chain.project.folder / RESULTS / "logs").iterdir()}
    assert ran == set(REQUESTS) | (LOCAL & from_rule("build_manifest"))
    assert hashes(chain.project, "datasets/subhalo/stamps/*/*.parquet") == hashes(finished, "datasets/subhalo/stamps/*/*.parquet")
    for name in ("flux", "velocity", "both"):
        assert_same_weights(chain.project, finished, name)
        one, two = (pd.read_parquet(p.folder / NETWORKS / name / "seed-1/scores/subhalo.parquet") for p in (chain.project, finished))
        assert list(one["stamp_id"]) == list(two["stamp_id"])
        np.testing.assert_allclose(one["score"], two["score"], rtol=0, atol=1e-5)
    tables = "experiments/subhalo/evaluation/**/*.csv"
    assert hashes(chain.project, tables).keys() == hashes(finished, tables).keys()
    assert (chain.project.folder / RESULTS / "index.html").stat().st_size > 0
    # Where and with how many CPUs a result was made is no reason to make it again.
    assert chain.project.plan() == set()
    # Logs are kept of failed jobs alone.
    assert not list((chain.project.folder / "results/logs/slurm").rglob("*.log"))


def test_a_training_on_two_devices_or_nodes_is_one_job_of_two_tasks(cluster, finished, tmp_path):
    """Flux on two nodes of one GPU each, velocity on two GPUs of one node; the GPUs are declared, so the ranks compute on the CPU."""
    project = finished.copy(tmp_path / "project")
    project.forget("detectors", "experiments", "logs")
    project.edit(PROFILE, "gpu_partition: gh200 ", "gpu_partition: several ")
    for name, key in (("flux", "nodes"), ("velocity", "devices")):
        old = f"{name}: {{architecture: toy, training: {{epochs: 2, batch_size: 16"
        project.edit("tests/tiny.yaml", old, f"{old}, {key}: 2")
    run = Run(project, cluster, *(f"{NETWORKS}/{name}/seed-1/network.safetensors" for name in ("flux", "velocity")))
    run.finish()
    asked = {
        "flux": ("gpu[1-2]", "2 processes train together, 1 on each of 2 nodes"),
        "velocity": ("gpu2", "2 processes train together, 2 on each of 1 nodes"),
    }
    for name, (nodes, said) in asked.items():
        (job,) = run.jobs("train_network", f"subhalo_{name}_1")
        assert (job["State"], job["NodeList"], job["ReqCPUS"]) == ("COMPLETED", nodes, "32"), job
        assert "gres/gpu:gh200=2" in job["AllocTRES"], job
        # Rank 0 is in the batch script; a step holds those of other nodes.
        steps = cluster.command(
            "sacct", "--noheader", "--parsable2", "--jobs", job["JobID"], "--format=JobID,NTasks,State,NodeList"
        ).splitlines()
        assert [step for step in steps if re.match(r"\d+\.\d", step)] == [f"{job['JobID']}.0|1|COMPLETED|gpu2"] * (name == "flux"), steps
        log = (project.folder / RESULTS / f"logs/train_network/subhalo/{name}/seed-1.log").read_text()
        assert f"{said}," in log
        one, two = (pd.read_csv(p.folder / NETWORKS / name / "seed-1/history.csv") for p in (finished, project))
        # Sums in another order, of the same batches; steps of Adam make more of it.
        np.testing.assert_allclose(two[["train_loss", "val_loss"]], one[["train_loss", "val_loss"]], rtol=0.01)


def test_two_clusters_run_side_by_side_and_stop_alone(cluster, chain, tmp_path):
    other = Cluster(tmp_path / "other")
    other.start()
    try:
        assert other.command("sbatch", "--parsable", "-A", "astro", "--wrap", "true", "-o", "/dev/null").strip() == "1"
        # Started again in the same folder: what the first left is ended.
        processes = [daemon.pid for daemon in other.daemons.values()]
        Cluster(tmp_path / "other").start()
        assert not any(Path(f"/proc/{pid}/environ").exists() and _environment(pid) for pid in processes)
        assert "idle" in cluster.command("sinfo", "--noheader")
    finally:
        other.stop()
    assert "cpu" in cluster.command("sinfo", "--noheader")
