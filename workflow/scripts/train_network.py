"""Rule train_network: training and validation shards in; weights, their description and the history out."""

from pathlib import Path

from darkhaloscope.config.network import Network
from darkhaloscope.learning.fit import train_network
from darkhaloscope.learning.weights import save_network
from darkhaloscope.stage import stage

with stage(snakemake) as job:
    trained = train_network(
        list(job.input.train),
        list(job.input.validation),
        Network.model_validate(job.params.network),
        int(job.wildcards.seed),
        Path(job.output.weights).parent / "checkpoints",
        job.threads,
    )
    job.write_csv(job.output.history, trained.history)
    save_network(trained, job.output.weights, job.output.network)
    trained.remove_checkpoints()
