"""Rule import_network: weights trained elsewhere in; weights, their description and a history of one row out."""

from darkhaloscope.config.network import Network
from darkhaloscope.jobs.stage import stage
from darkhaloscope.learning.finish import calibrate, import_network
from darkhaloscope.learning.fit import write_history
from darkhaloscope.learning.weights import save_network

with stage(snakemake) as job:
    network, seed = Network.model_validate(job.params.network), int(job.wildcards.seed)
    taken = import_network(network, seed, list(job.input.train), list(job.input.validation), job.threads)
    taken = calibrate(taken, list(job.input.validation), job.threads)
    write_history(taken.history, job.output.history)
    save_network(taken, job.output.weights, job.output.network)
