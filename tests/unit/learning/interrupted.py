"""Training in a process of its own that gets a signal when it reads a certain batch."""

import json
import os
import subprocess
import sys

#: Training as `train_network.py` does it: within a stage, which turns SIGTERM into words.
SCRIPT = """
import importlib, json, os, sys
from pathlib import Path
from types import SimpleNamespace
from darkhaloscope.config.network import Network
from darkhaloscope.learning import fit
from darkhaloscope.jobs.stage import stage
given = json.loads(sys.argv[1])
module, name = given["batches"].rsplit(".", 1)
batches = getattr(importlib.import_module(module), name)
calls = 0
take = batches.__getitem__
def interrupted(self, batch):
    global calls
    calls += 1
    if calls == given["call"]:
        os.kill(os.getpid(), given["signal"])
    return take(self, batch)
batches.__getitem__ = interrupted
folder = Path(given["folder"])
job = {"rule": "train_network", "threads": 1, "log": [], "input": [], "output": [str(folder / "history.csv")], "params": {}, "wildcards": {}}
with stage(SimpleNamespace(**job)):
    network = Network.model_validate(given["network"])
    trained = fit.train_network(given["train"], given["validation"], network, 1, folder / "checkpoints", 1)
    fit.write_history(trained.history, folder / "history.csv")
"""


def train_until(signal, call, batches, splits, network, folder):
    """Train with checkpoints in `folder`/checkpoints; the process gets `signal` at the `call`-th batch that the class `batches` gives."""
    given = {
        "batches": batches,
        "call": call,
        "signal": int(signal),
        "train": [str(p) for p in splits["train"]],
        "validation": [str(p) for p in splits["validation"]],
        "network": network.model_dump(mode="json"),
        "folder": str(folder),
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", SCRIPT, json.dumps(given)], env=environment, capture_output=True, text=True)
