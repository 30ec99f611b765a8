"""Rule train_network: training and validation shards in; weights, their description and the history out."""

import shutil
from pathlib import Path

from darkhaloscope.config.network import Mining, Network
from darkhaloscope.core.tables import read_table
from darkhaloscope.jobs.stage import stage
from darkhaloscope.learning.finish import calibrate
from darkhaloscope.learning.fit import train_network, write_history
from darkhaloscope.learning.fit_head import fit_head
from darkhaloscope.learning.mining import MINED, copies_for, training_additions
from darkhaloscope.learning.weights import save_network

with stage(snakemake) as job:
    network, seed = Network.model_validate(job.params.network), int(job.wildcards.seed)
    checkpoints = Path(job.output.weights).parent / "checkpoints"
    validation = list(job.input.validation)
    extras, emphasis = training_additions(
        [read_table(path, MINED) for path in job.input.mined],
        job.wildcards.dataset,
        job.grouped(job.params.extra, job.input.extra),
        Mining.model_validate(job.params.mining),
        list(job.input.known),
        network.training.known_lens_weight,
        list(job.input.real),
        copies_for(network.training.real_share, job.input.train, job.input.real),
    )
    trained = train_network(list(job.input.train), validation, network, seed, checkpoints, job.threads, extras=extras, emphasis=emphasis)
    trained = fit_head(trained, list(job.input.real), list(job.input.train), job.threads)
    trained = calibrate(trained, validation, job.threads)
    write_history(trained.history, job.output.history)
    save_network(trained, job.output.weights, job.output.network)
    shutil.rmtree(checkpoints, ignore_errors=True)
