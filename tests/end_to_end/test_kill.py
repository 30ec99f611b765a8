"""A run killed at its worst moments, then started again by the same command, ends as if nothing had been."""

import functools
import hashlib
import http.server
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import yaml

from workbench import environment, new_project

RESULTS = "results/tiny"


def hashes(project, *patterns):
    """Digest of every file that matches, by path."""
    root = project.folder / RESULTS
    found = {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for pattern in patterns for p in root.glob(pattern)}
    assert found
    return found


def kill_when(project, config, ready, *targets, limit_s=900):
    """Start a run, wait until `ready()`, and kill every process of it at once."""
    process = subprocess.Popen(
        project.command(*targets, config=config),
        cwd=project.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    output = []
    reader = threading.Thread(target=lambda: output.extend(process.stdout), daemon=True)
    reader.start()
    deadline = time.monotonic() + limit_s
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            reader.join(5)
            raise AssertionError("the run ended before it could be killed:\n" + b"".join(output[-60:]).decode())
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def overlay(project, **values):
    (project.folder / "overlay.yaml").write_text(yaml.safe_dump({"extends": "tests/tiny.yaml", **values}))
    return "overlay.yaml"


class Slow(http.server.SimpleHTTPRequestHandler):
    """Serves a folder at a rate that leaves time to kill a download."""

    def copyfile(self, source, outputfile):
        while chunk := source.read(16384):
            outputfile.write(chunk)
            time.sleep(0.02)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def archive(finished):
    """The finished run's mock archive, behind a slow server on this machine."""
    folder = finished.folder / RESULTS / "mock/mock"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Slow, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_killed_during_download(finished, tmp_path, archive):
    project = new_project(tmp_path / "project")
    config = overlay(project, manga={"samples": {"mock": {"mock": False, "base": archive}}})
    maps = project.folder / RESULTS / "manga/mock/maps"
    bank = f"{RESULTS}/manga/mock/bank.parquet"
    kill_when(project, config, lambda: maps.is_dir() and any(p.stat().st_size > 0 for p in maps.iterdir() if "partial" in p.name), bank)
    whole = [p for p in maps.iterdir() if p.name.endswith(".fits.gz") and "partial" not in p.name]
    reference = hashes(finished, "manga/mock/maps/*.fits.gz")
    for path in whole:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == reference[f"manga/mock/maps/{path.name}"]
    project.snakemake(bank, config=config)
    assert not [p for p in maps.iterdir() if "partial" in p.name]
    for pattern in ("manga/mock/maps/*.fits.gz", "manga/mock/bank.parquet"):
        assert hashes(project, pattern) == hashes(finished, pattern)


def test_killed_during_rendering_and_during_training(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    project.forget("datasets", "detectors", "experiments")
    scores = [f"{RESULTS}/detectors/subhalo/{name}/seed-1/scores/subhalo.parquet" for name in ("flux", "both")]
    shards = project.folder / RESULTS / "datasets/subhalo/stamps"
    # Two shards are whole, others are being made.
    kill_when(project, "tests/tiny.yaml", lambda: len(list(shards.glob("*/*.parquet"))) >= 2, *scores)
    networks = project.folder / RESULTS / "detectors/subhalo"
    # One network has ended an epoch and is in the next.
    kill_when(project, "tests/tiny.yaml", lambda: any(p.is_file() for p in networks.glob("*/seed-1/checkpoints/**/*")), *scores)
    project.snakemake(*scores)
    stamps = "datasets/subhalo/stamps/*/*.parquet"
    assert hashes(project, stamps) == hashes(finished, stamps)
    for name in ("flux", "both"):
        made = (f"detectors/subhalo/{name}/**/*.safetensors", f"detectors/subhalo/{name}/**/scores/*.parquet")
        assert len(hashes(project, *made)) == 2 and hashes(project, *made) == hashes(finished, *made)
    assert not list(networks.glob("*/seed-1/checkpoints"))


def test_a_second_run_below_the_same_root_is_refused(finished, tmp_path):
    import fcntl

    project = finished.copy(tmp_path / "project")
    (project.folder / RESULTS / "index.html").unlink()
    with open(project.folder / RESULTS / ".lock", "a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        output = project.snakemake(check=False)
    assert "another run is writing below results/tiny/" in output
    project.snakemake()
    assert Path(project.folder / RESULTS / "index.html").is_file()
