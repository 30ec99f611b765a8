"""Rule train_network: training and validation shards in; weights, their description and the history out."""

import shutil
from pathlib import Path

from darkhaloscope.config.network import Network
from darkhaloscope.learning.fit import train_network, write_history
from darkhaloscope.learning.weights import save_network
from darkhaloscope.stage import stage

with stage(snakemake) as job:
    network, seed = Network.model_validate(job.params.network), int(job.wildcards.seed)
    checkpoints = Path(job.output.weights).parent / "checkpoints"
    trained = train_network(list(job.input.train), list(job.input.validation), network, seed, checkpoints, job.threads)
    write_history(trained.history, job.output.history)
    save_network(trained, job.output.weights, job.output.network)
    shutil.rmtree(checkpoints, ignore_errors=True)
